"""What a step minimises: the losses of one batch of views, with self-distillation or by the Gram loss alone.

Knows nothing of steps, optimizers or images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gramviz.gram.losses import (
    dino_loss,
    gram_loss,
    ibot_loss,
    koleo_loss,
    sinkhorn_knopp,
    softmax_center,
    update_center,
)
from gramviz.training.config import LossConfig, TrainConfig
from gramviz.training.parallel import ALONE, Peers
from gramviz.training.state import TrainState
from gramviz.training.views import Views
from gramviz.vit.backbones import DenseBackbone

CENTER_MOMENTUM = 0.9
Centers = tuple[Tensor, Tensor]  # DINO's and iBOT's, [K] each


def compute_losses(
    state: TrainState, config: TrainConfig, views: Views, peers: Peers = ALONE
) -> tuple[dict[str, Tensor], Centers]:
    """The losses of one batch (before weighting) and the two centres as they are after it.

    `views` are this process's; the mean over `peers` of each loss is that of the whole batch. By the Gram loss
    alone there are no heads to run, no EMA teacher and no masks, and the centres stay.
    """
    if config.gram_alone:
        (tokens,) = state.student.backbone(views.globals)
        patches, centers = tokens.patches, (state.dino_center, state.ibot_center)
        losses: dict[str, Tensor] = {}
    else:
        patches, losses, centers = _distil(state, config, views, peers)
    if views.clean is not None:
        assert state.gram_teacher is not None, "the Gram teacher is taken before Gram anchoring starts"
        anchor = gram_targets(state.gram_teacher, views.clean, config.gram.resolution)
        losses["gram"] = gram_loss(patches, anchor)
    return losses, centers


def _distil(
    state: TrainState, config: TrainConfig, views: Views, peers: Peers
) -> tuple[Tensor, dict[str, Tensor], Centers]:
    """The student's patches of the global views [2 B, P, d], the losses of self-distillation and the centres."""
    student, teacher, loss = state.student, state.teacher, config.loss
    count = len(views.globals) // 2
    with torch.no_grad():
        (target,) = teacher.backbone(views.globals)
        cls_targets, dino_center = _targets(
            teacher.dino_head(target.cls, peers), state.dino_center, loss, peers
        )
        patch_targets, ibot_center = _targets(
            teacher.ibot_head(target.patches[views.masks], peers), state.ibot_center, loss, peers
        )
    (tokens,) = student.backbone(views.globals, mask=views.masks, mask_token=student.mask_token)
    cls = tokens.cls
    if len(views.locals):
        (local,) = student.backbone(views.locals)
        cls = torch.cat([cls, local.cls])
    cls_logits = student.dino_head(cls, peers).view(-1, count, config.head.prototypes)
    patch_logits = student.ibot_head(tokens.patches[views.masks], peers)
    first, second = (peers.gather(view)[0] for view in tokens.cls.split(count))
    losses = {
        "dino": dino_loss(
            cls_logits, cls_targets.view(2, count, -1), loss.student_temperature, skip_same=True
        ),
        "ibot": ibot_loss(
            patch_logits, patch_targets, loss.student_temperature, _mask_weights(views.masks, peers)
        ),
        "koleo": (koleo_loss(first) + koleo_loss(second)) / 2,
    }
    return tokens.patches, losses, (dino_center, ibot_center)


@torch.no_grad()
def gram_targets(teacher: DenseBackbone, images: Tensor, resolution: int) -> Tensor:
    """Patch features of the Gram teacher on the student's grid: [B, P, d], not yet normalised.

    A teacher that saw the images at twice the size has its grid brought down by bicubic interpolation
    (align_corners false, no antialias) before normalisation, as in DINOv3.
    """
    (tokens,) = teacher(images)
    rows, columns = (side // teacher.patch_size for side in images.shape[-2:])
    return to_grid(tokens.patches, (rows, columns), resolution)


def to_grid(patches: Tensor, grid: tuple[int, int], resolution: int) -> Tensor:
    """Patches [B, P, d] on a grid of (rows, columns), brought down to one `resolution` times as coarse."""
    if resolution == 1:
        return patches
    rows, columns = grid
    whole = patches.float().transpose(1, 2).unflatten(2, grid)
    size = (rows // resolution, columns // resolution)
    return F.interpolate(whole, size, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


def _targets(logits: Tensor, center: Tensor, loss: LossConfig, peers: Peers) -> tuple[Tensor, Tensor]:
    """Targets of this process's logits [N, K], made over the logits of all peers, and the centre after them."""
    everyones, own = peers.gather(logits)
    if loss.targets == "sinkhorn":
        return sinkhorn_knopp(everyones, loss.teacher_temperature)[own], center
    targets = softmax_center(logits, center, loss.teacher_temperature)
    return targets, update_center(center, everyones, CENTER_MOMENTUM)


def _mask_weights(masks: Tensor, peers: Peers) -> Tensor:
    """Weight of each masked patch so that every masked view of the batch counts the same: [2 B, P] bool -> [M]."""
    per_view = masks.sum(1, keepdim=True)
    weights = peers.count / (per_view.clamp(min=1) * peers.total((per_view > 0).sum()))
    return weights.expand_as(masks)[masks]
