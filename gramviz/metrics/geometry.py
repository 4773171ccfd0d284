"""The geometry of a picture's patch features: how alike, how spread, how far likeness reaches, how long.

Knows features only: no network, no picture. The measures that the page shows of a picture are in `gram.spectrum`.

Letters: P patches, d feature width, H [P, d] features, X their rows at length 1, G = X X^T.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gramviz.gram.similarity import in_float64
from gramviz.gram.spectrum import (
    cls_alignment,
    effective_rank,
    eigenvalues,
    energy_share,
    energy_shares,
    mean_similarity,
    rayleigh_along_ones,
    stable_rank,
)

REACH = 16
SPECTRUM = 32
OUTLIER = 3.5
NORMAL_MAD = 0.6745  # the median absolute deviation of a standard normal variable
ROUNDING = 1e-5


def geometry(patches: Tensor, cls: Tensor) -> dict[str, Tensor]:
    """Measures of G, of patches [..., P, d] and CLS [..., d]: name -> [...]; P must be at least 2.

    cls_alignment: mean cosine of the patches to CLS. mean_similarity: mean of G off its diagonal. rayleigh:
    1^T G 1 / P, in 0..P. top1_energy, top3_energy, top10_energy: share of the first eigenvalues of G in their sum.
    effective_rank: exp of the entropy of these shares. stable_rank: ||G||_F^2 / ||G||_2^2. spectrum: [..., 32], the
    shares of the first eigenvalues, zero where there are fewer.
    """
    eigvals = eigenvalues(patches)
    shares = energy_shares(eigvals)[..., :SPECTRUM]
    return {
        **scalars(patches, cls, eigvals),
        "spectrum": F.pad(shares, (0, SPECTRUM - shares.shape[-1])),
    }


def scalars(patches: Tensor, cls: Tensor, eigvals: Tensor) -> dict[str, Tensor]:
    """What `geometry` has but the spectrum, of patches whose G is known to have the eigenvalues [..., n]."""
    return {
        "cls_alignment": cls_alignment(patches, cls),
        "mean_similarity": mean_similarity(patches),
        "rayleigh": rayleigh_along_ones(patches),
        **{f"top{k}_energy": energy_share(eigvals, k) for k in (1, 3, 10)},
        "effective_rank": effective_rank(eigvals),
        "stable_rank": stable_rank(eigvals),
    }


def outliers(lengths: Tensor) -> Tensor:
    """Which of the lengths [..., P] are outliers on the high side: bool [..., P].

    A modified z-score 0.6745 (x - median) / MAD above 3.5 (Iglewicz and Hoaglin, "How to detect and handle
    outliers", 1993), MAD the median of |x - median|. What lies within 1e-5 of the median is rounding, not an
    outlier, even where the MAD is zero.
    """
    values = in_float64(lengths)
    median = values.quantile(0.5, dim=-1, keepdim=True)
    mad = (values - median).abs().quantile(0.5, dim=-1, keepdim=True)
    limit = torch.maximum(OUTLIER * mad / NORMAL_MAD, ROUNDING * median)
    return values - median > limit


def outlier_share(lengths: Tensor) -> Tensor:
    """Share of the lengths [..., P] that are `outliers`: float64 [...] in 0..1."""
    return outliers(lengths).double().mean(-1)


def mean_by_distance(values: Tensor, distance: Tensor, reach: int = REACH) -> Tensor:
    """Mean of the values of pairs at each rounded distance 1, 2, .. reach: [..., N], [N] -> float64 [..., reach].

    NaN where there is no pair. A distance on a grid is the root of a whole number and so never half-way.
    """
    ring = distance.round().long()
    kept = ring <= reach
    sums = torch.zeros(*values.shape[:-1], reach, dtype=torch.float64)
    sums.index_add_(-1, ring[kept] - 1, in_float64(values)[..., kept])
    return sums / torch.bincount(ring[kept] - 1, minlength=reach)
