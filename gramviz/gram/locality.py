"""How far likeness reaches: the mean cosine of two patches against their distance on the grid.

Knows tensors only. All pairs count, and none is formed: the sum of cosines over all pairs that lie one offset apart
is a value of the two-dimensional autocorrelation of X, which the fast Fourier transform gives in O(P d log P).

Letters: H [h, w, d] patch features on their grid, X its rows brought to length 1, P = h w.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.similarity import in_float64, normalize_rows

CHANNELS = 16  # at a time, which bounds the memory whatever the width


def similarity_by_distance(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of G over all pairs at each distance: [h, w, d] -> distances [m] int64, mean cosines [m] float64.

    A distance in patches is rounded to a whole number from 1 on (the root of a whole number is never half-way); one
    at which no pair lies is left out. A single patch has no pair and gives nothing.

    Raises InputError for features that are not on a grid or not finite.
    """
    x = normalize_rows(in_float64(features).cpu())
    if x.ndim != 3 or x.numel() == 0 or not bool(x.sum().isfinite()):
        raise InputError(
            f"Similarity by distance needs finite features [h, w, d], got {tuple(features.shape)}."
        )
    rows, columns = x.shape[:2]
    down, across = _offsets(rows)[:, None], _offsets(columns)[None, :]
    pairs = (rows - down.abs()).clamp(min=0) * (columns - across.abs()).clamp(min=0)
    ring = torch.hypot(down.double(), across.double()).round().long()
    ring = torch.where(pairs > 0, ring, 0).flatten()  # 0 gathers each patch with itself, and padding
    sums = torch.bincount(ring, _autocorrelation(x).flatten())
    counts = torch.bincount(ring, pairs.flatten().double())
    distance = counts.nonzero()[:, 0]
    distance = distance[distance > 0]
    return distance, sums[distance] / counts[distance]


def _autocorrelation(x: Tensor) -> Tensor:
    """Sums of products of rows of x [h, w, d] by their offset, [2 h, 2 w], offsets as in `_offsets`."""
    rows, columns, width = x.shape
    size = (2 * rows, 2 * columns)  # so padded that nothing wraps round
    power = torch.zeros(
        size[0], size[1] // 2 + 1, 2, dtype=torch.float64
    )  # squares of real and imaginary parts
    for start in range(0, width, CHANNELS):
        block = x[..., start : start + CHANNELS].permute(2, 0, 1).contiguous()
        power += torch.view_as_real(torch.fft.rfft2(block, s=size)).square().sum(0)
    return torch.fft.irfft2(power.sum(-1), s=size)


def _offsets(size: int) -> Tensor:
    """The offset that each place of a transform of length 2 size stands for: 0 .. size - 1, -size .. -1."""
    return torch.cat([torch.arange(size), torch.arange(-size, 0)])
