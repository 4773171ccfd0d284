"""The projection heads of DINO and iBOT: features to logits over unit-norm prototypes.

Knows nothing of losses or of the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gramviz.errors import CheckpointError
from gramviz.training.config import HeadConfig, LossConfig, from_mapping
from gramviz.training.parallel import ALONE, Peers


class ProjectionHead(nn.Module):
    """[N, d] -> [N, K] cosines to K prototypes (DINO, arXiv 2104.14294, appendix C).

    `batch_norm` puts BatchNorm behind the hidden layers; it always uses the statistics of its batch, in training
    and after (small DINO runs stay at ln K without it).
    """

    def __init__(self, width: int, config: HeadConfig, *, batch_norm: bool) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            norm = [nn.BatchNorm1d(outputs, track_running_stats=False)] if batch_norm else []
            return [nn.Linear(inputs, outputs, bias=not batch_norm), *norm, nn.GELU()]

        self.mlp = nn.Sequential(
            *block(width, config.hidden),
            *block(config.hidden, config.hidden),
            nn.Linear(config.hidden, config.bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(config.prototypes, config.bottleneck))
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.prototypes)

    def forward(self, features: Tensor, peers: Peers = ALONE) -> Tensor:
        """[N, d] -> [N, K] logits in [-1, 1] (before any temperature); BatchNorm sees the rows of all peers."""
        hidden = features
        for layer in self.mlp:
            hidden = peers.batch_norm(hidden, layer) if isinstance(layer, nn.BatchNorm1d) else layer(hidden)
        # temperatures of 0.05 magnify rounding twentyfold, so the last product stays in float32
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = F.normalize(hidden.float(), dim=-1, eps=1e-6)
            return F.linear(hidden, F.normalize(self.prototypes.float(), dim=-1))


@dataclass(frozen=True)
class Heads:
    """The heads kept beside a checkpoint, frozen, and the losses that they were trained with."""

    dino_head: ProjectionHead
    ibot_head: ProjectionHead
    mask_token: Tensor  # [d]
    loss: LossConfig


def heads_from(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: torch.device) -> Heads:
    """Build the heads that `CheckpointStore.load_heads` read. Raises CheckpointError where they do not fit.

    The networks are float32, need no gradient and are on `device`.
    """
    if not {"head", "loss"} <= metadata.keys() or "mask_token" not in tensors:
        raise CheckpointError("the file holds no projection heads that this version can read")
    shape = from_mapping(HeadConfig, metadata["head"], "head")
    width = len(tensors["mask_token"])
    built = {}
    for name in ("dino_head", "ibot_head"):
        head = ProjectionHead(width, shape, batch_norm=name == "dino_head")
        own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        try:
            head.load_state_dict(own)
        except RuntimeError as error:
            raise CheckpointError(f"the projection head {name} does not fit its configuration") from error
        built[name] = head.requires_grad_(False).to(device)
    loss = from_mapping(LossConfig, metadata["loss"], "loss")
    return Heads(built["dino_head"], built["ibot_head"], tensors["mask_token"].to(device), loss)
