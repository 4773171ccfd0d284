"""First-order dynamics of patch features: a step on H, what it does to the Gram matrix, and what bounds it.

Knows tensors only; where a step comes from (a loss, a slider) is settled elsewhere. Here the Gram matrix is the
uncentred, unnormalised G_H = H H^T of the post "Why Patch Features Go Global" (Hernandez, 2025), whose equations
these are; `gram.similarity` has the cosine Gram matrix.

Letters: H [P, d] patch features with rows h_i, W [K, d] a linear head, R [P, K] residuals p - t, a [d] a direction,
1 the vector of ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gramviz.errors import InputError


def patch_step(residuals: Tensor, head: Tensor, rate: float) -> Tensor:
    """Delta H = -rate R W, the gradient step of the patch cross-entropy on H: [P, K], [K, d] -> [P, d].

    Equation 2 of the post: exact for a linear head and a loss summed over patches with temperature 1.
    """
    return -rate * residuals @ head


def common_drift(direction: Tensor, patches: int) -> Tensor:
    """Delta H = 1 a^T: the same step for every patch, [d] -> [patches, d] (equation 4 of the post)."""
    return direction.expand(patches, -1)


def first_order_change(features: Tensor, step: Tensor) -> Tensor:
    """Delta H H^T + H Delta H^T, the change of G_H to first order: [P, d], [P, d] -> [P, P] (equation 5)."""
    product = step @ _same_shape(features, step).mT
    return product + product.mT


def exact_change(features: Tensor, step: Tensor) -> Tensor:
    """(H + Delta H)(H + Delta H)^T - H H^T = first order + Delta H Delta H^T: [P, d], [P, d] -> [P, P]."""
    return first_order_change(features, step) + step @ step.mT


def numerical_rank(matrix: Tensor, scale: float | None = None, terms: int | None = None) -> int:
    """How many singular values of [n, m] exceed scale times `terms` times the dtype's rounding unit.

    scale: how large the terms are that the matrix was added up from, since that is what its rounding follows; its
    own largest singular value where None. Terms that cancel leave a small matrix of full rank, made of rounding,
    which only the terms' size gives away. terms: how many were added up for an entry, max(n, m) where None; ranks
    that are held against each other need the same.
    """
    values = torch.linalg.svdvals(matrix)
    if values.numel() == 0 or values[0] == 0:
        return 0
    rounding = (max(matrix.shape) if terms is None else terms) * torch.finfo(matrix.dtype).eps
    return int((values > (float(values[0]) if scale is None else scale) * rounding).sum())


def strongest_part(step: Tensor, rank: int) -> Tensor:
    """The best approximation of a step [P, d] of at most that rank (Eckart and Young 1936); same shape.

    Raises InputError for a rank below 0.
    """
    if rank < 0:
        raise InputError(f"A rank cannot be negative, got {rank}.")
    u, s, v = torch.linalg.svd(step, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


@dataclass(frozen=True)
class RayleighChange:
    """What a common drift 1 a^T does to R = 1^T G_H 1 / P (Lemma 2 of the post).

    before, after: R. first_order: 2 P mean(h) . a, of either sign. second_order: P |a|^2, never negative.
    condition: mean(h) . a; the lemma's claim that R grows holds to first order only where this is positive.
    """

    before: float
    after: float
    first_order: float
    second_order: float
    condition: float

    @property
    def grows(self) -> bool:
        """Whether R grew, both orders together."""
        return self.after > self.before


def rayleigh_change(features: Tensor, direction: Tensor) -> RayleighChange:
    """The terms of Lemma 2 for features [P, d] and a drift direction [d]."""
    patches = features.shape[-2]
    mean = features.double().mean(-2)
    a = direction.double()
    condition = float(mean @ a)
    return RayleighChange(
        before=float(patches * mean @ mean),
        after=float(patches * (mean + a) @ (mean + a)),
        first_order=2 * patches * condition,
        second_order=float(patches * a @ a),
        condition=condition,
    )


@dataclass(frozen=True)
class Agreement:
    """How well a predicted step matches the true one: cosine in [-1, 1] and |predicted - true| / |true|."""

    cosine: float
    relative_error: float

    @property
    def best_scale_error(self) -> float:
        """min over c of |c predicted - true| / |true|: what no learning rate would mend."""
        return math.sqrt(max(0.0, 1 - self.cosine**2))


def agreement(predicted: Tensor, actual: Tensor) -> Agreement:
    """Compare two steps of one shape as vectors. A zero step has cosine 0; an actual step of 0 an infinite error."""
    p, q = _same_shape(predicted, actual).double().flatten(), actual.double().flatten()
    lengths = p.norm() * q.norm()
    return Agreement(
        cosine=float(p @ q / lengths) if lengths > 0 else 0.0,
        relative_error=float((p - q).norm() / q.norm()) if q.norm() > 0 else float("inf"),
    )


def _same_shape(one: Tensor, other: Tensor) -> Tensor:
    if one.shape != other.shape:
        raise InputError(f"Two steps must have one shape, got {tuple(one.shape)} and {tuple(other.shape)}.")
    return one
