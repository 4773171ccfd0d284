"""PatchFeatures: what a network makes of one picture, and how it was made.

The end of this room: features for the mathematics in `gram`. It knows no checkpoint, cache or queue.

Letters: h x w grid of patches, R registers, d width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.images import Picture, grid_for, to_tensor


@dataclass(frozen=True, eq=False)
class PatchFeatures:
    """The tokens of one picture, float32 on the CPU, and what was done to get them.

    patches: (h, w, d), row 0 at the top of the picture; cls: (d,); registers: (R, d).
    source_size: (width, height) of the picture before any scaling.
    patch_size: a patch in pixels of the network's input, which had h * patch_size x w * patch_size of them.
    layer: index of the block, 0..depth-1, after which the tokens were taken.
    norm: whether the network's final norm was applied (False too where it has none).
    cls_is_mean: True where the network has no CLS token and cls is the mean of the patches.
    token_lengths: (h, w), lengths of the patch tokens before the final norm, which makes them nearly equal; the same
    of the registers: register_lengths (R,).
    """

    patches: Tensor
    cls: Tensor
    registers: Tensor
    source_size: tuple[int, int]
    patch_size: int
    layer: int
    norm: bool
    cls_is_mean: bool
    token_lengths: Tensor
    register_lengths: Tensor


def extract(
    backbone: DenseBackbone,
    picture: Picture,
    patches: int,
    *,
    layer: int = -1,
    norm: bool = True,
    device: torch.device | str | None = None,
) -> PatchFeatures:
    """The features of `picture` with `patches` patches along its long side, without gradients.

    layer: counts from the end where negative.
    device: where to compute; the backbone is moved there, None leaves it where it is.
    The backbone runs in evaluation mode and gets its mode back. Raises InputError for a layer or a number of
    patches that does not exist.
    """
    index = backbone.layer_index(layer)
    if device is not None:
        backbone.to(device)
    rows, columns = grid_for(picture.size, patches)
    image = to_tensor(picture, (rows, columns), backbone.patch_size)[None].to(backbone.pixel_mean.device)
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.inference_mode():
            (raw,) = backbone(image, layers=(index,), norm=False)
            tokens = backbone.normed(raw) if norm else raw
    finally:
        backbone.train(was_training)
    # Copies made outside inference mode are plain tensors, fit for gradients later on.
    cls, registers, flat = (token[0].float().cpu().clone() for token in tokens)
    raw_registers, raw_flat = (token[0].float().cpu().clone() for token in raw[1:])
    return PatchFeatures(
        patches=flat.reshape(rows, columns, -1),
        cls=cls,
        registers=registers,
        source_size=picture.source_size,
        patch_size=backbone.patch_size,
        layer=index,
        norm=norm and backbone.has_final_norm,
        cls_is_mean=backbone.cls_is_mean,
        token_lengths=raw_flat.norm(dim=-1).reshape(rows, columns),
        register_lengths=raw_registers.norm(dim=-1),
    )
