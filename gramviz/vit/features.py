"""PatchFeatures: what a network makes of one picture, and how it was made.

The end of this room: features for the mathematics in `gram`. It knows no checkpoint, cache or queue.

Letters: h x w grid of patches, R registers, d width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gramviz.errors import InputError
from gramviz.vit.backbones import DenseBackbone, Tokens
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
    (features,) = extract_all(backbone, [picture], patches, layer=layer, norm=norm, device=device)
    return features


def extract_all(
    backbone: DenseBackbone,
    pictures: Sequence[Picture],
    patches: int,
    *,
    layer: int = -1,
    norm: bool = True,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
) -> list[PatchFeatures]:
    """`extract` of several pictures in one forward. They must come out on one grid of patches.

    The values are those of single forwards within float32's rounding (a batch may sum in another order: cosines move
    by less than 1e-5). autocast: type of the network's products, None for float32. Raises InputError as `extract`,
    and for pictures of several grids.
    """
    index = backbone.layer_index(layer)
    if device is not None:
        backbone.to(device)
    images, grid = batch_of(pictures, patches, backbone)
    was_training = backbone.training
    backbone.eval()
    try:
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, dtype=autocast, enabled=autocast is not None),
        ):
            (raw,) = backbone(images, layers=(index,), norm=False)
            tokens = backbone.normed(raw) if norm else raw
    finally:
        backbone.train(was_training)
    return [
        features_of(backbone, raw, tokens, row, pictures[row], grid, index, norm)
        for row in range(len(images))
    ]


def extract_stacked(
    backbones: Sequence[DenseBackbone],
    picture: Picture,
    patches: int,
    *,
    layer: int = -1,
    norm: bool = True,
) -> list[PatchFeatures]:
    """`extract` of one picture by several networks of one architecture, in evaluation mode and on one device, in one
    stacked forward (torch.func.vmap over their weights). Values as for `extract_all`. Raises InputError likewise.
    """
    first = backbones[0]
    index = first.layer_index(layer)
    images, grid = batch_of([picture], patches, first)
    readers = [Reader(one, index) for one in backbones]
    parameters, buffers = stack_module_state(readers)

    def forward(weights: dict[str, Tensor], held: dict[str, Tensor]) -> tuple[Tokens, Tokens]:
        found: tuple[Tokens, Tokens] = functional_call(readers[0], (weights, held), (images,))
        return found

    # torch has no rule to stack the fused kernel of attention; plain products it stacks well
    attentions = [module for module in first.modules() if hasattr(module, "fused_attn")]
    fused = [module.fused_attn for module in attentions]
    try:
        for module in attentions:
            module.fused_attn = False  # type: ignore[assignment]
        with torch.no_grad():
            raws, normeds = vmap(forward)(parameters, buffers)
    finally:
        for module, was in zip(attentions, fused, strict=True):
            module.fused_attn = was
    return [
        features_of(
            one,
            Tokens(*(token[row] for token in raws)),
            Tokens(*(token[row] for token in (normeds if norm else raws))),
            0,
            picture,
            grid,
            index,
            norm,
        )
        for row, one in enumerate(backbones)
    ]


class Reader(nn.Module):
    """A backbone read after one layer: images -> its tokens there without and with the final norm."""

    def __init__(self, backbone: DenseBackbone, layer: int) -> None:
        super().__init__()
        self.backbone, self.layer = backbone, layer

    def forward(self, images: Tensor) -> tuple[Tokens, Tokens]:
        """(B, 3, H, W) in 0..1 -> tokens as they leave the layer, and with the final norm."""
        (raw,) = self.backbone(images, layers=(self.layer,), norm=False)
        return raw, self.backbone.normed(raw)


def batch_of(
    pictures: Sequence[Picture], patches: int, backbone: DenseBackbone
) -> tuple[Tensor, tuple[int, int]]:
    """The pictures as one batch on the network's device, and their grid. Raises InputError for several grids."""
    grids = {grid_for(picture.size, patches) for picture in pictures}
    if len(grids) != 1:
        raise InputError(f"One batch needs pictures of one grid of patches; these have {sorted(grids)}.")
    (grid,) = grids
    device = backbone.pixel_mean.device
    images = torch.stack([to_tensor(picture, grid, backbone.patch_size) for picture in pictures])
    if device.type == "cuda":  # from pinned memory the copy goes on beside what the device is computing
        return images.pin_memory().to(device, non_blocking=True), grid
    return images.to(device), grid


def features_of(
    backbone: DenseBackbone,
    raw: Tokens,
    tokens: Tokens,
    row: int,
    picture: Picture,
    grid: tuple[int, int],
    index: int,
    norm: bool,
) -> PatchFeatures:
    """One picture's features out of a batch of tokens."""
    # Copies made outside inference mode are plain tensors, fit for gradients later on.
    cls, registers, flat = (token[row].float().cpu().clone() for token in tokens)
    raw_registers, raw_flat = (token[row].float().cpu().clone() for token in raw[1:])
    return PatchFeatures(
        patches=flat.reshape(*grid, -1),
        cls=cls,
        registers=registers,
        source_size=picture.source_size,
        patch_size=backbone.patch_size,
        layer=index,
        norm=norm and backbone.has_final_norm,
        cls_is_mean=backbone.cls_is_mean,
        token_lengths=raw_flat.norm(dim=-1).reshape(grid),
        register_lengths=raw_registers.norm(dim=-1),
    )


def nbytes(features: PatchFeatures) -> int:
    """Bytes of all tensors of features."""
    tensors = (
        features.patches,
        features.cls,
        features.registers,
        features.token_lengths,
        features.register_lengths,
    )
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
