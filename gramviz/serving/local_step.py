"""Equation 2 of the post "Why Patch Features Go Global" (Hernandez, 2025): a step on the masked-patch loss.

On a checkpoint with heads, or on the blackboard.

Letters: P patches, M masked patches, d feature width, K prototypes, R [M, K] residuals, W [K, d] a linear head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gramviz.gram.drift import Agreement, agreement, numerical_rank, patch_step
from gramviz.gram.finding import Chart, Finding, Number
from gramviz.gram.spectrum import effective_rank, singular_energies
from gramviz.gram.telling import drawn, line, numbers, share, told, written
from gramviz.metrics.pushes import HeadPush, WeightStep, head_push
from gramviz.metrics.residuals import common_share, top_share
from gramviz.serving.rehearsal import Training

NEAR = 0.9  # cosine of the formula's step to the true one
EXACT = 1e-9

# of the blackboard
HEAD = ((1.0, 0.0), (0.0, 1.0), (-1.0, -1.0))
TARGETS = ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0))


def eq2(training: Training, rate: float) -> Finding:
    """Equation 2, Delta H = -eta R W: does a true step on the weights move the masked patches that way?

    Holds if the cosine of -dL/dH (exact for the head as it is) to the true Delta H of the masked patches is at
    least 0.9.
    """
    push, step, mask = training.masked_push, training.masked_step, training.mask
    change = step.change(rate)
    if not float(change[mask].norm()) > 0:
        return Finding(
            None, "The gradient of the masked-patch loss is 0 here, so there is no step to look at."
        )
    formula = agreement(-push.exact, change[mask])
    holds = formula.cosine >= NEAR
    because = (
        "Claim: a training step moves masked patches along -R W. The formula's step is minus the gradient in H; at "
        f"rate {told(rate)} the true step of the {int(mask.sum())} masked patches has cosine {told(formula.cosine)} "
        f"to it ({told(NEAR)} asked for)"
    )
    if not holds:
        because += (
            f". A step moves weights, not patches, and all patches share them: {share(_elsewhere(change, mask))} of "
            "the squared movement is of patches that were not masked"
        )
    one = agreement(push.linear, push.exact)
    return Finding(
        holds=holds,
        because=f"{because}. With the head's mean Jacobian for W, R W has cosine {told(one.cosine)} to the gradient.",
        numbers=(
            *_residual_numbers(push.residuals),
            *_head_numbers(push),
            *_step_numbers(step, change, mask, formula, rate),
        ),
        charts=drawn(_rate_chart(training, rate)),
    )


def eq2_blackboard(features: Tensor, rate: float) -> Finding:
    """The same with a linear head on features [4, 2] that are moved themselves: exact to rounding at any rate."""
    head = torch.tensor(HEAD, dtype=torch.float64)
    targets = torch.tensor(TARGETS, dtype=torch.float64)
    push = head_push(lambda h: h @ head.mT, features, targets, 1.0)
    formula, true = patch_step(push.residuals, head, rate), -rate * push.exact
    found = agreement(formula, true)
    return Finding(
        holds=found.relative_error <= EXACT,
        because=(
            "Claim: a step moves patches along -R W. Here features are moved themselves and the head is one matrix, "
            f"so -eta R W is the gradient step: they differ by {told(found.relative_error)} of it (allowed: "
            f"{told(EXACT)}), at any rate."
        ),
        numbers=(
            *_residual_numbers(push.residuals),
            *numbers(
                ("true step", found.cosine, "cosine of -eta R W to the gradient step"),
                ("relative error", found.relative_error, "|-eta R W - step| / |step|"),
            ),
        ),
        matrices=written(
            ("H", features),
            ("W", head),
            ("R = p - t", push.residuals),
            ("R W", push.residuals @ head),
            ("Delta H", formula),
        ),
    )


def _residual_numbers(residuals: Tensor) -> tuple[Number, ...]:
    energies = singular_energies(residuals)
    masked, prototypes = residuals.shape
    return numbers(
        ("masked patches", masked, "M, rows of R"),
        ("rank of R", numerical_rank(residuals), "numerically"),
        ("bound on the rank", min(masked, prototypes - 1), "min(M, K - 1), since each row of R adds up to 0"),
        (
            "effective rank of R",
            float(effective_rank(energies)),
            "exp of the entropy of the squared singular values",
        ),
        ("top share of R", float(top_share(residuals)), "of its first squared singular value"),
        ("common share of R", float(common_share(residuals)), "of 1 m^T, m the mean residual"),
    )


def _head_numbers(push: HeadPush) -> tuple[Number, ...]:
    chain, one = agreement(push.chained, push.exact[push.rows]), agreement(push.linear, push.exact)
    count = len(push.rows)
    return numbers(
        ("chain rule", chain.cosine, f"cosine of {count} rows r_i J_i to the gradient by autograd: 1"),
        ("one W for all", one.cosine, f"cosine of R W, W the mean of {count} J_i, to the gradient in H"),
    )


def _step_numbers(
    step: WeightStep, change: Tensor, mask: Tensor, formula: Agreement, rate: float
) -> tuple[Number, ...]:
    first = agreement(rate * step.slope[mask], change[mask]).relative_error
    size = float(change[mask].norm() / step.before[mask].norm())
    top, common = float(top_share(change)), float(common_share(change))
    return numbers(
        ("true step", formula.cosine, "cosine of -dL/dH to the true Delta H of the masked patches"),
        ("error at the best scale", formula.best_scale_error, "min over c |c dL/dH + Delta H| / |Delta H|"),
        ("error of the first order", first, "|first order in the weights - Delta H| / |Delta H|"),
        ("size of the step", size, "|Delta H| / |H|, masked patches"),
        ("moved elsewhere", _elsewhere(change, mask), "share of |Delta H|^2 on patches that were not masked"),
        ("common share of the true step", common, "of 1 a^T in Delta H of all patches"),
        ("top share of the true step", top, "of its first squared singular value"),
    )


def _elsewhere(change: Tensor, mask: Tensor) -> float:
    return float(change[~mask].square().sum() / change.square().sum())


def _rate_chart(training: Training, rate: float) -> Chart:
    rates, formula, first = zip(*training.rate_errors, strict=True)
    return Chart(
        title="Error of the formula against the learning rate",
        x_axis="learning rate eta",
        y_axis="relative error on masked patches",
        lines=(
            line("gradient in H, best scale", rates, formula, positive=True),
            line("first order in the weights", rates, first, "other", positive=True),
        ),
        about="Student and teacher are the kept EMA weights, and targets are made from these patches alone. Over "
        f"these rates the formula at its best scale is off by {_span(formula)} of the true step, the first order by "
        f"{_span(first)}.",
        log_x=True,
        log_y=True,
        mark=rate,
    )


def _span(errors: Sequence[float]) -> str:
    finite = [error for error in errors if math.isfinite(error)]
    return f"{told(min(finite))} to {told(max(finite))}" if finite else "no finite share"
