"""What the networks see of one batch of images: crops, distortions, masks and the Gram teacher's clean crops.

All randomness comes from the generator that is passed in. Knows nothing of losses or of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gramviz.training.augment import block_masks, crop, distort, sample_boxes
from gramviz.training.config import TrainConfig
from gramviz.training.parallel import Peers
from gramviz.training.state import TrainState


@dataclass(frozen=True)
class Views:
    """One batch's inputs. `clean` are the global crops undistorted, at the Gram teacher's size; None if unused.

    By the Gram loss alone there are neither local crops nor masks: their first dimension is 0.
    """

    globals: Tensor  # [2 B, 3, S, S], view-major
    locals: Tensor  # [L B, 3, s, s]
    masks: Tensor  # [2 B, P] bool
    clean: Tensor | None

    def share(self, peers: Peers) -> Views:
        """The views of this process's images."""
        images = len(self.globals) // 2
        return Views(
            globals=peers.share(self.globals, images),
            locals=peers.share(self.locals, images),
            masks=peers.share(self.masks, images),
            clean=None if self.clean is None else peers.share(self.clean, images),
        )


def make_views(
    images: Tensor, config: TrainConfig, state: TrainState, generator: torch.Generator, *, with_clean: bool
) -> Views:
    """Crops, distortions and masks of one batch: [B, 3, S, S] float in 0..1 -> Views."""
    sizes, count = config.views, len(images)
    boxes = [sample_boxes(count, sizes.global_scale, generator) for _ in range(2)]
    raw = [crop(images, box, sizes.global_size) for box in boxes]
    # the second view alone is solarised, as in BYOL and DINO
    seen = [distort(v, generator, sizes.distortion, 0.2 * i) for i, v in enumerate(raw)]
    small = [
        distort(
            crop(images, sample_boxes(count, sizes.local_scale, generator), sizes.local_size),
            generator,
            sizes.distortion,
        )
        for _ in range(0 if config.gram_alone else sizes.locals)
    ]
    side, loss = sizes.global_size // state.student.backbone.patch_size, config.loss
    if config.gram_alone:
        masks = torch.zeros(0, side * side, dtype=torch.bool, device=images.device)
    else:
        masks = block_masks(2 * count, side, side, loss.mask_share, loss.masked_views, generator)
    clean = None
    if with_clean:
        scale = config.gram.resolution
        clean = torch.cat(
            [
                v if scale == 1 else crop(images, b, sizes.global_size * scale)
                for v, b in zip(raw, boxes, strict=True)
            ]
        )
    return Views(
        globals=torch.cat(seen),
        locals=torch.cat(small) if small else images.new_zeros(0, 3, sizes.local_size, sizes.local_size),
        masks=masks,
        clean=clean,
    )
