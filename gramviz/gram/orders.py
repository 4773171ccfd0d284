"""Orders of patches in which G can be read as an image: along a Hilbert curve, or group by group.

Knows tensors only. In raster order neighbours below each other lie a whole row apart; along a Hilbert curve what is
near in the order is near on the grid, and in groups what is alike stands together.

Letters: H [P, d] patch features, X its rows brought to length 1, G = X X^T, P patches.
"""

from __future__ import annotations

import torch
from scipy.cluster.vq import ClusterError, kmeans2
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.similarity import column_products, in_float64, normalize_rows

STARTS, STEPS = 3, 20  # of k-means
DIGITS = 8  # to which rows of the embedding are told apart
ROUNDING = 1e-10  # an eigenvalue below this share of the largest is rounding


def hilbert_order(rows: int, columns: int) -> Tensor:
    """The patches of a grid along a Hilbert curve: int64 [P], a permutation of the row-major indices.

    The curve is that of the smallest square with a power of two as its side that covers the grid; what lies outside
    is skipped, so that only on such a square each step goes to a neighbour. It begins at the top left.

    Raises InputError for a grid without patches.
    """
    if rows < 1 or columns < 1:
        raise InputError(f"An order needs a grid of patches, got {rows} x {columns}.")
    levels = (max(rows, columns) - 1).bit_length()
    place = torch.arange(4**levels)
    down, across = torch.zeros_like(place), torch.zeros_like(place)
    # from the smallest squares up: a curve of side s is turned into its quarter of one of side 2 s
    for level in range(levels):
        side = 2**level
        half, quarter = place >> (2 * level + 1) & 1, place >> (2 * level) & 1
        lower = half ^ quarter
        turned, mirrored = lower == 0, (lower == 0) & (half == 1)
        down, across = (
            torch.where(mirrored, side - 1 - down, down),
            torch.where(mirrored, side - 1 - across, across),
        )
        down, across = torch.where(turned, across, down), torch.where(turned, down, across)
        down, across = down + side * lower, across + side * half
    inside = (down < rows) & (across < columns)
    return (down * columns + across)[inside]


def cluster_patches(features: Tensor, count: int, seed: int = 0) -> Tensor:
    """Groups of patches by spectral clustering of G: [P, d] -> int64 [P], numbered from 0 by falling size.

    Ng, Jordan and Weiss, "On spectral clustering" (NIPS 2001), on the affinity (1 + G) / 2 with its diagonal left
    in place: [X, 1] / sqrt(2) is a factor of it, so that this takes O(P d^2) and P x P is never formed. Where the
    patches differ in fewer than `count` ways there are fewer groups. The same features and seed give the same groups;
    of groups of one size the one that comes first on the grid has the smaller number.

    Raises InputError if count is below 1, or features are not finite or not [P, d].
    """
    if count < 1:
        raise InputError(f"Patches can be put into one group or more, not {count}.")
    x = normalize_rows(in_float64(features).cpu())
    if x.ndim != 2 or x.numel() == 0 or not bool(x.sum().isfinite()):
        raise InputError(f"Groups need finite features [patches, width], got {tuple(features.shape)}.")
    return _by_size(_k_means(_embedding(x, count), count, seed))


def _embedding(x: Tensor, count: int) -> Tensor:
    """The first eigenvectors of D^-1/2 A D^-1/2, A = (1 + G) / 2, D = its row sums, rows at length 1: [P, k]."""
    factor = torch.cat([x, x.new_ones(x.shape[0], 1)], dim=1) / 2**0.5  # [P, d + 1]
    degrees = factor @ factor.sum(0)  # at least 1 / 2: a patch is like itself
    factor = factor / degrees.sqrt()[:, None]
    if factor.shape[0] > factor.shape[1]:
        values, small = torch.linalg.eigh(column_products(factor))
        vectors = factor @ small[:, -count:]
    else:
        values, vectors = torch.linalg.eigh(factor @ factor.mT)
        vectors = vectors[:, -count:]
    kept = values[-count:] > ROUNDING * values[-1]
    return normalize_rows(vectors[:, kept] / vectors[:, kept].norm(dim=0))


def _k_means(points: Tensor, count: int, seed: int) -> Tensor:
    """The best of some starts: [P, k] -> [P]. Fewer groups where there are fewer different points."""
    different, which = points.mul(10**DIGITS).round().unique(dim=0, return_inverse=True)
    if len(different) <= count:
        return which
    data, best, least = points.numpy(), None, float("inf")
    for start in range(seed, seed + STARTS):
        try:
            centres, labels = kmeans2(
                data, count, iter=STEPS, minit="++", missing="raise", check_finite=False, rng=start
            )
        except ClusterError:  # a group ran empty on the way
            continue
        found = torch.from_numpy(labels).long()
        spread = float((points - torch.from_numpy(centres)[found]).square().sum())
        if spread < least:
            best, least = found, spread
    return best if best is not None else _k_means(points, count - 1, seed)


def _by_size(labels: Tensor) -> Tensor:
    """The same groups with new numbers, the largest first."""
    count = int(labels.max()) + 1
    sizes = torch.bincount(labels, minlength=count)
    first = torch.full((count,), len(labels)).scatter_reduce(
        0, labels, torch.arange(len(labels)), reduce="amin", include_self=True
    )
    order = (sizes * (len(labels) + 1) - first).argsort(descending=True)
    number = torch.empty_like(order)
    number[order] = torch.arange(count)
    return number[labels]
