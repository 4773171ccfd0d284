"""Losses on held-out images, and what drives the patches meanwhile: residuals and gradients.

Takes networks and a function that computes losses as they come; knows nothing of crops, masks, files or training.

Letters: B images, P patches, d feature width, M masked patches, K prototypes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gramviz.errors import InputError
from gramviz.metrics.evaluate import Value, rounded, summary
from gramviz.metrics.residuals import common_share, residual_measures, top_share
from gramviz.metrics.watching import watched_inputs, watched_outputs
from gramviz.vit.backbones import DenseBackbone

LAST_BLOCKS = 3


@dataclass(frozen=True, eq=False)
class Pupil:
    """A student at work. losses: (images [B, 3, S, S] uint8, number of the batch) -> scalars by name, "dino" among
    them, with their graph; it calls `student` for the two global views of every image, [2 B, ...] view-major,
    before any other views, and both heads once, on the masked patches: logits [M, K]. targets: the teacher head's
    logits [M, K] -> targets [M, K]. temperature: the student's.
    """

    student: DenseBackbone
    student_head: nn.Module
    teacher_head: nn.Module
    losses: Callable[[Tensor, int], Mapping[str, Tensor]]
    targets: Callable[[Tensor], Tensor]
    temperature: float


def heldout_measures(pupil: Pupil, batches: Sequence[Tensor]) -> dict[str, Value]:
    """Losses, residuals and gradients over batches [B, 3, S, S] uint8, as a row of plain numbers.

    heldout_<loss>: mean over batches. residual_*: `residual_measures` over the masked patches of all batches
    together. global_top1_b<i>, global_common_b<i>: `top_share` and `common_share` of D [P, d], the gradient of the
    DINO loss with respect to the patch tokens at the input of block i, for the last three blocks; mean over the
    two global views of an image, then over images, with the standard error over images.

    D is the whole derivative: along every way from these tokens to CLS, through other patches and registers too.
    Behind the last block patches have none, since CLS reads them no more. Where the loss joins images (BatchNorm,
    Sinkhorn), an image's D holds what its tokens do to the others of its batch. Scaling a loss changes no share.
    Independent rows of mean zero would give a common share of 1 / P and, if Gaussian, a top share of about
    (sqrt(P) + sqrt(d))^2 / (P d).

    Raises InputError where there is no batch.
    """
    if not batches:
        raise InputError("There is no held-out batch to measure losses on.")
    first_block = max(0, pupil.student.depth - LAST_BLOCKS)
    blocks = list(pupil.student.network.blocks)[first_block:]
    losses: dict[str, list[Tensor]] = {}
    shares: dict[str, list[Tensor]] = {}
    logits, targets = [], []
    for number, images in enumerate(batches):
        heads = [pupil.student_head, pupil.teacher_head]
        with watched_inputs(blocks) as tokens, watched_outputs(heads) as seen:
            found = pupil.losses(images, number)
        for name, loss in found.items():
            losses.setdefault(f"heldout_{name}", []).append(loss.detach().cpu())
        logits.append(seen[0][0].detach())
        targets.append(pupil.targets(seen[1][0].detach()))
        gradients = torch.autograd.grad(found["dino"], [calls[0] for calls in tokens])
        for offset, gradient in enumerate(gradients):
            d = gradient[:, pupil.student.prefix_tokens :]  # [2 B, P, d], view-major
            for name, share in (("top1", top_share(d)), ("common", common_share(d))):
                per_image = share.unflatten(0, (2, -1)).mean(0).cpu()
                shares.setdefault(f"global_{name}_b{first_block + offset}", []).append(per_image)
    residuals = residual_measures(torch.cat(logits), torch.cat(targets), pupil.temperature)
    return {
        **{name: rounded(float(torch.stack(values).mean())) for name, values in losses.items()},
        **{f"residual_{name}": rounded(value) for name, value in residuals.items()},
        **summary({name: torch.cat(values) for name, values in shares.items()}),
    }
