"""A checkpoint put back to work as in training: masked patches and crops of a picture, targets, losses and pushes.

Student and teacher are both the kept EMA network with its heads, since no other weights are kept. Crops, distortions
and masks are drawn from fixed seeds. Knows no results of the post and no page.

Letters: P patches, M masked patches, d feature width, K prototypes, B pictures of a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.func import functional_call

from gramviz.gram.drift import agreement
from gramviz.gram.losses import dino_loss, sinkhorn_knopp, softmax_center
from gramviz.gram.similarity import in_float64
from gramviz.metrics.pushes import (
    BlockPush,
    HeadPush,
    Weights,
    WeightStep,
    block_pushes,
    head_push,
    weight_step,
)
from gramviz.training.augment import block_masks, crop, distort, sample_boxes
from gramviz.training.config import LossConfig, ViewConfig
from gramviz.training.heads import Heads
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.images import Picture, picture_from_array, to_tensor

SQUARE = 8  # patches on a side of the square that crops are drawn from
CROP = 6  # and on a side of a crop
MASK_SEED, CROP_SEED = 1, 2
RATES = tuple(10.0**exponent for exponent in range(-4, 2))


@dataclass(frozen=True, eq=False)
class Training:
    """One picture and one checkpoint with heads. What is costly is computed when it is first asked for, and kept.

    network: on the device that `heads` are on. image [1, 3, H, W] float in 0..1: the picture on its grid. crops
    [2 B, 3, S, S]: two views of every picture of a batch, view-major; this picture is the first of the B.
    """

    network: DenseBackbone
    heads: Heads
    image: Tensor
    crops: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes held, with all that may be computed later: weights, their float64 copy and gradient, and pushes."""
        weights = sum(p.numel() for p in self.network.parameters())
        heads = sum(
            p.numel() for head in (self.heads.dino_head, self.heads.ibot_head) for p in head.parameters()
        )
        patch = self.network.patch_size
        tokens = (
            self.image[0, 0].numel()
            // patch**2
            * (3 * self.network.width + len(self.heads.ibot_head.prototypes))
        )
        pushes = 4 * self.network.depth * CROP**2 * self.network.width
        return 4 * (weights + heads + self.image.numel() + self.crops.numel() + pushes) + 8 * (
            2 * weights + tokens
        )

    @cached_property
    def mask(self) -> Tensor:
        """The masked patches: [P] bool on the CPU, blocks of the run's own share, the same for every grid."""
        rows, columns = (side // self.network.patch_size for side in self.image.shape[-2:])
        generator = torch.Generator().manual_seed(MASK_SEED)
        return block_masks(1, rows, columns, self.heads.loss.mask_share, 1.0, generator)[0]

    @cached_property
    def masked_push(self) -> HeadPush:
        """What the iBOT loss pushes the masked patches of the student to do, float64 on the CPU.

        Targets are the head's on the unmasked picture, balanced over these M patches alone where the run's were by
        Sinkhorn-Knopp; of a run with a softmax no centre is kept, so theirs have none.
        """
        loss, head, mask = self.heads.loss, self.heads.ibot_head, self.mask.to(self.image.device)
        with torch.no_grad():
            (teacher,) = self.network(self.image)
            (student,) = self.network(self.image, mask=mask[None], mask_token=self.heads.mask_token)
            targets = targets_of(in_float64(head(teacher.patches[0, mask])), loss)
        found = head_push(head, student.patches[0, mask], targets, loss.student_temperature)
        parts = (found.residuals, found.exact, found.rows, found.chained, found.linear)
        return HeadPush(*(part.cpu() for part in parts))

    @cached_property
    def masked_step(self) -> WeightStep:
        """A step on all weights of the backbone for the iBOT loss as it is weighed in the run; H [P, d] in float64.

        On the CPU, in float64: at small rates float32 would compare rounding.
        """
        network = copy.deepcopy(self.network).cpu().double()
        image, token, mask = self.image.cpu().double(), self.heads.mask_token.cpu().double(), self.mask

        def features(weights: Weights) -> Tensor:
            given = {"mask": mask[None], "mask_token": token}
            (tokens,) = functional_call(network, dict(weights), (image,), given)
            patches: Tensor = tokens.patches[0]
            return patches

        push = torch.zeros(len(mask), network.width, dtype=torch.float64)
        push[mask] = self.masked_push.exact * self.heads.loss.ibot / int(mask.sum())
        return weight_step(features, dict(network.named_parameters()), push)

    @cached_property
    def global_pushes(self) -> list[BlockPush]:
        """What the DINO loss of the batch pushes this picture's patch tokens to do, at each block's input: [2, ...].

        The loss is that of training over the two crops of each picture, each held to the other's targets.
        """
        loss, count = self.heads.loss, len(self.crops) // 2

        def dino() -> Tensor:
            (tokens,) = self.network(self.crops.clone().requires_grad_(True))
            logits = self.heads.dino_head(tokens.cls)
            targets, shape = targets_of(logits.detach(), loss), (2, count, -1)
            return dino_loss(
                logits.view(shape), targets.view(shape), loss.student_temperature, skip_same=True
            )

        return block_pushes(list(self.network.network.blocks), dino, (0, count), self.network.prefix_tokens)

    @cached_property
    def rate_errors(self) -> tuple[tuple[float, float, float], ...]:
        """(rate, best-scale error of -rate dL/dH, error of the first order) of true steps, on the masked patches."""
        step, found = self.masked_step, []
        for rate in RATES:
            change = step.change(rate)[self.mask]
            formula = agreement(-self.masked_push.exact, change)
            first = agreement(rate * step.slope[self.mask], change)
            found.append((rate, formula.best_scale_error, first.relative_error))
        return tuple(found)


def targets_of(logits: Tensor, loss: LossConfig) -> Tensor:
    """The teacher's targets as the run makes them, [N, K] -> [N, K], but with no centre, which is not kept."""
    if loss.targets == "sinkhorn":
        return sinkhorn_knopp(logits, loss.teacher_temperature)
    return softmax_center(logits, torch.zeros_like(logits[0]), loss.teacher_temperature)


def training_of(
    network: DenseBackbone,
    heads: Heads,
    picture: Picture,
    grid: tuple[int, int],
    companions: Sequence[Picture],
) -> Training:
    """The picture on its grid, and two crops of it and of its companions, on the device of the heads."""
    device, patch = heads.mask_token.device, network.patch_size
    batch = [picture, *(other for other in companions if other.digest != picture.digest)]
    squares = torch.stack([to_tensor(_middle(one), (SQUARE, SQUARE), patch) for one in batch])
    generator = torch.Generator().manual_seed(CROP_SEED)
    views = ViewConfig()
    crops = []
    for index in range(2):
        raw = crop(squares, sample_boxes(len(batch), views.global_scale, generator), CROP * patch)
        # the second view alone is solarised, as in training
        crops.append(distort(raw, generator, views.distortion, 0.2 * index))
    image = to_tensor(picture, grid, patch)[None]
    return Training(network, heads, image.to(device), torch.cat(crops).to(device))


def _middle(picture: Picture) -> Picture:
    """The middle square, as training images are cut."""
    height, width = picture.pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture_from_array(picture.pixels[top : top + side, left : left + side])
