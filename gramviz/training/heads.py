"""The projection heads of DINO and iBOT: features to logits over unit-norm prototypes.

Knows nothing of losses or of the loop.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gramviz.training.config import HeadConfig


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

    def forward(self, features: Tensor) -> Tensor:
        """[N, d] -> [N, K] logits in [-1, 1] (before any temperature)."""
        hidden = self.mlp(features)
        # temperatures of 0.05 magnify rounding twentyfold, so the last product stays in float32
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = F.normalize(hidden.float(), dim=-1, eps=1e-6)
            return F.linear(hidden, F.normalize(self.prototypes.float(), dim=-1))
