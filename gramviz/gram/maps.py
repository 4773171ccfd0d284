"""Maps of patch features by degrees: a rotation, a scaling of rows, a swap of patches, a stretch along one direction.

Each takes an amount in 0..1, is the identity at 0, and draws what is random from a seed, so that every call has the
same map. Knows tensors only.

Letters: H [P, d] float64 patch features, Q [d, d] an orthogonal matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

SEED = 0
HALF_TURN = math.pi


def rotation(width: int, angle: float, seed: int = SEED) -> Tensor:
    """Q = exp(angle A): turns width / 2 random planes by `angle` in radians each; [width, width] float64.

    A = B S B^T is antisymmetric, B a random orthonormal basis, S made of blocks [[0, -1], [1, 0]]; so Q is known in
    closed form and orthogonal to rounding. Where the width is odd, one axis stays.
    """
    basis = _random_basis(width, seed)
    first, second = basis[:, 0 : width - 1 : 2], basis[:, 1::2]  # the two axes of each plane
    turned = torch.empty_like(basis)
    turned[:, 0 : width - 1 : 2] = math.cos(angle) * first + math.sin(angle) * second
    turned[:, 1::2] = math.cos(angle) * second - math.sin(angle) * first
    if width % 2:
        turned[:, -1] = basis[:, -1]
    return turned @ basis.mT


def rotated(features: Tensor, amount: float) -> Tensor:
    """H Q, every plane turned by amount times 180 degrees."""
    return features @ rotation(features.shape[-1], amount * HALF_TURN).mT


def scaled(features: Tensor, amount: float) -> Tensor:
    """Each row times a positive random factor between 10^-amount and 10^amount."""
    exponents = 2 * torch.rand(len(features), 1, dtype=features.dtype, generator=_generator()) - 1
    return features * 10 ** (amount * exponents)


def permuted(features: Tensor, amount: float) -> Tensor:
    """The share `amount` of the patches, drawn at random, changes places in a ring; one alone cannot."""
    places = torch.randperm(len(features), generator=_generator())[: in_ring(len(features), amount)]
    moved = features.clone()
    moved[places] = features[places.roll(1)]
    return moved


def in_ring(patches: int, amount: float) -> int:
    """How many of the patches `permuted` moves: their share, rounded; 0 where that leaves one alone."""
    count = round(amount * patches)
    return count if count > 1 else 0


def pulled(features: Tensor, amount: float) -> Tensor:
    """H (I + amount v v^T): the strongest direction v of H (its first right singular vector) grows by 1 + amount."""
    strongest = torch.linalg.svd(features, full_matrices=False).Vh[:1]
    return features + amount * (features @ strongest.mT) @ strongest


MAPS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "rotation": rotated,
    "scaling": scaled,
    "permutation": permuted,
    "stretch": pulled,
}


def _random_basis(width: int, seed: int) -> Tensor:
    basis: Tensor = torch.linalg.qr(
        torch.randn(width, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ).Q
    return basis


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
