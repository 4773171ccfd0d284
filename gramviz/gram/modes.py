"""Where the energy of G lives in space: by frequency of the patch grid, and of single eigenvectors.

Knows tensors only. With the orthonormal two-dimensional DCT-II basis f_uv of the grid, the energy of a mode is
f_uv^T G f_uv = |row uv of the transformed X|^2; the energies of all modes add up to the trace of G. Mode (0, 0) is
the constant vector 1 / sqrt(P): its energy is the Rayleigh quotient along 1, and "low-frequency modes" in the post
"Why Patch Features Go Global" (Lemma 2) are its neighbours.

Letters: H [h, w, d] patch features on their grid, X its rows brought to length 1, G = X X^T, P = h w.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.similarity import normalize_rows

ROUNDING = 1e-12


def dct_basis(size: int, like: Tensor) -> Tensor:
    """The orthonormal DCT-II: [size, size], row k the k-th cosine; dtype and device of `like`."""
    k = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi / size * (k[None] + 0.5) * k[:, None]) * math.sqrt(2 / size)
    basis[0] = math.sqrt(1 / size)
    return basis.to(like)


def transform(values: Tensor) -> Tensor:
    """Two-dimensional DCT-II over the first two axes, [h, w, ...] -> same shape; keeps the sum of squares."""
    rows, columns = values.shape[:2]
    flat = values.reshape(rows, columns, -1)
    moved = torch.einsum("uh,hwc->uwc", dct_basis(rows, flat), flat)
    return torch.einsum("vw,uwc->uvc", dct_basis(columns, flat), moved).reshape(values.shape)


def frequency_energy(features: Tensor) -> Tensor:
    """Energy of G in each mode of the grid: [h, w, d] -> [h, w], >= 0, with the trace of G as its sum.

    Raises InputError for features that are not on a grid.
    """
    if features.ndim != 3 or features.numel() == 0:
        raise InputError(f"Energy by frequency needs features [h, w, d], got {tuple(features.shape)}.")
    return transform(normalize_rows(features)).square().sum(-1)


def frequencies(rows: int, columns: int) -> Tensor:
    """Spatial frequency of each mode in cycles a patch: [rows, columns], 0 to sqrt(0.5).

    The k-th cosine over n patches has k / 2 periods, so k / (2 n) cycles a patch in its direction.
    """
    down = torch.arange(rows, dtype=torch.float64) / (2 * rows)
    across = torch.arange(columns, dtype=torch.float64) / (2 * columns)
    return torch.hypot(down[:, None], across[None, :])


def radial_profile(energy: Tensor, bins: int = 12) -> tuple[Tensor, Tensor]:
    """Energy by radial frequency: [..., h, w] -> edges [bins + 1] in cycles a patch, shares [..., bins] that add up
    to 1.

    Bin 0 holds the constant mode alone (edge 0 to 0); the others divide (0, highest] evenly. All-zero energy gives
    zero shares. Raises InputError for fewer than 2 bins.
    """
    if bins < 2:
        raise InputError(
            f"A radial profile needs at least 2 bins, the constant mode and the rest, got {bins}."
        )
    radius = frequencies(*energy.shape[-2:])
    rings = torch.linspace(0, float(radius.max()), bins, dtype=torch.float64)
    edges = torch.cat([torch.zeros(1, dtype=torch.float64), rings])
    # 0 for the constant mode; what lies on an edge belongs below it, whatever its last digit
    index = torch.bucketize(radius.flatten() * (1 - ROUNDING), rings)
    sums = torch.zeros(*energy.shape[:-2], bins, dtype=torch.float64).index_add_(
        -1, index.clamp(max=bins - 1), energy.flatten(-2).double().cpu()
    )
    total = sums.sum(-1, keepdim=True)
    return edges, sums / torch.where(total > 0, total, 1.0)
