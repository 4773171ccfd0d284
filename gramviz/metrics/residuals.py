"""Are updates nearly rank 1? Shares of singular values of what drives the patches.

Two matrices are looked at: the residual R = p - t of the masked-patch loss [M, K], whose rows each push one patch,
and the gradient D [P, d] of a global loss with respect to an image's patch tokens. If D = 1 a^T, all patches are
pushed the same way (the assumption behind "patch features go global"). Knows matrices only: no network, no loss.

Letters: M masked patches, K prototypes, P patches, d feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gramviz.gram.similarity import in_float64
from gramviz.gram.spectrum import effective_rank, energy_share, singular_energies


def top_share(rows: Tensor) -> Tensor:
    """Share of the first squared singular value in their sum: [..., M, K] -> [...]; 1 for rank 1, 0 for zeros."""
    return energy_share(singular_energies(rows), 1)


def common_share(rows: Tensor) -> Tensor:
    """How much of ||A||_F^2 the model 1 m^T explains, m the mean row: [..., M, K] -> [...] in 0..1; 0 for zeros.

    It is M |m|^2 / ||A||_F^2, at most `top_share`; independent rows of mean zero give 1 / M on average.
    """
    a = in_float64(rows)
    total = a.square().sum((-2, -1))
    explained = a.shape[-2] * a.mean(-2).square().sum(-1)
    return explained / torch.where(total > 0, total, 1.0)


def residual_measures(student_logits: Tensor, targets: Tensor, temperature: float) -> dict[str, float]:
    """top1, effective_rank and common of R = softmax(student_logits / temperature) - targets, [M, K] both.

    top1: `top_share`; effective_rank: exp of the entropy of the shares of squared singular values; common:
    `common_share`. Each row of R sums to zero, so its rank is at most K - 1.
    """
    residual = torch.softmax(student_logits.double() / temperature, dim=-1) - targets.double()
    energies = singular_energies(residual)
    return {
        "top1": float(energy_share(energies, 1)),
        "effective_rank": float(effective_rank(energies)),
        "common": float(common_share(residual)),
    }
