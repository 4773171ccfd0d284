"""The two lemmas of the post "Why Patch Features Go Global" (Hernandez, 2025), checked on features.

Each function takes features and the values of its controls and finds out whether the result holds, and why. Knows
tensors only; where they come from is settled elsewhere.

Letters: H [P, d] patch features with rows h_i, G_H = H H^T, G the cosine matrix, 1 the vector of ones,
R = 1^T G_H 1 / P.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gramviz.gram.directions import top_energy
from gramviz.gram.drift import (
    RayleighChange,
    common_drift,
    exact_change,
    first_order_change,
    numerical_rank,
    rayleigh_change,
    strongest_part,
)
from gramviz.gram.finding import Chart, Finding
from gramviz.gram.similarity import SHORTEST_ROW, gram_matrix
from gramviz.gram.spectrum import rayleigh_along_ones, singular_energies
from gramviz.gram.telling import drawn, line, numbers, told, written

SIZES = 41  # points of the chart, over 0 to LARGEST_SIZE
LARGEST_SIZE = 2.0
EVEN = 1e-9  # of R: a smaller change is none
SHOWN = 32  # eigenvalues
MARGIN = (
    2  # what the singular values that are left out of a step make of its change, and rounding beside them
)
BEYOND = 6  # singular values shown beyond the bound


def lemma1(features: Tensor, other: Tensor, rank: int, size: float) -> Finding:
    """Equation 5 and Lemma 1: rank(Delta G_H) <= 2 rank(Delta H), for features and other features [P, d].

    Delta H = size times the strongest part of (other - H) of that rank, which cannot exceed min(P, d). Ranks are
    numerical: singular values above max(P, d) times the rounding unit times |Delta H| for the step, and times twice
    the size of the terms that were added up for its change, 2 |Delta H| |H| to first order and
    |Delta H| (2 |H| + |Delta H|) exactly (`numerical_rank`): a singular value that is left out of the rank of the
    step, with the rounding of the products, stays below that in the change.
    """
    patches = len(features)
    possible = min(rank, *features.shape)
    step = size * strongest_part(other - features, possible)
    long, wide = (float(torch.linalg.matrix_norm(m, 2)) for m in (step, features))
    if long <= SHORTEST_ROW:
        return Finding(
            None, "The two checkpoints give the same features, so Delta H = 0 and there is nothing to bound."
        )
    first, exact = first_order_change(features, step), exact_change(features, step)
    terms = max(features.shape)
    of_step = numerical_rank(step, long, terms)
    bound = 2 * of_step
    of_first = numerical_rank(first, 2 * long * wide, MARGIN * terms)
    of_exact = numerical_rank(exact, long * (2 * wide + long), MARGIN * terms)
    cosine = gram_matrix(features + step) - gram_matrix(features)
    of_cosine = numerical_rank(cosine, 2.0 * patches)
    holds = max(of_first, of_exact) <= bound
    asked = f" (rank {rank} was asked for)" if of_step < rank else ""
    empty = f" With {patches} patches no rank can exceed {patches}, so the bound says nothing here." * (
        bound >= patches
    )
    because = (
        f"Delta H has rank {of_step}{asked}, so the change of G_H may have rank {bound} at most: it has {of_first} "
        f"to first order and {of_exact} exactly.{empty} The cosine matrix G is not bound by the lemma; its change "
        f"has rank {of_cosine}."
    )
    return Finding(
        holds=holds,
        because=because,
        numbers=numbers(
            ("rank of Delta H", of_step, "r, numerically"),
            ("bound", bound, "2 r"),
            ("rank of the first-order change", of_first, "of Delta H H^T + H Delta H^T"),
            ("rank of the exact change", of_exact, "of the first order + Delta H Delta H^T"),
            ("rank of the change of G", of_cosine, "of the cosine matrix; the lemma does not speak of it"),
            (
                "second order",
                float((step @ step.mT).norm() / exact.norm()),
                "|Delta H Delta H^T| / |exact change|",
            ),
            ("relative size of the step", float(step.norm() / features.norm()), "|Delta H| / |H|"),
        ),
        charts=drawn(_rank_chart(first, exact, bound, holds)),
        matrices=written(
            ("H", features), ("Delta H", step), ("Delta G, first order", first), ("Delta G, exact", exact)
        ),
    )


def lemma2(features: Tensor, direction: Tensor, size: float) -> Finding:
    """Lemma 2: does a common drift 1 a^T make R grow, a = size |mean(h)| times the unit vector along `direction` [d]?

    Only if mean(h) . a > 0, to first order: R changes by 2 P mean(h) . a, and by P |a|^2 >= 0 beyond it. Holds
    where that condition does; cannot be decided where there is no drift or no mean feature.
    """
    mean = features.mean(-2)
    along = (
        direction / direction.norm()
        if float(direction.norm()) > SHORTEST_ROW
        else torch.zeros_like(direction)
    )
    unit = float(mean.norm()) * along
    change = rayleigh_change(features, size * unit)
    chart = _size_chart(features, unit, size)
    if float(unit.norm()) <= SHORTEST_ROW or size == 0:
        reason = (
            "The size is 0, so there is no drift and nothing to decide."
            if float(unit.norm()) > SHORTEST_ROW
            else "The mean feature is 0, so no size of a drift follows from it."
            if float(mean.norm()) <= SHORTEST_ROW
            else "The direction is the zero vector, so there is no drift."
        )
        return Finding(None, reason, charts=(chart,) if float(unit.norm()) > SHORTEST_ROW else ())
    drift = common_drift(size * unit, len(features))
    moved = features + drift
    return Finding(
        holds=change.condition > 0,
        because=f"Claim: R grows to first order. {_drift_sentence(change)}",
        numbers=numbers(
            (
                "mean(h) . a",
                change.condition,
                "the condition: R grows to first order only where this is positive",
            ),
            (
                "cosine of mean(h) and a",
                float((mean @ along / mean.norm()).clamp(-1, 1)),
                "the condition without the lengths",
            ),
            ("R before", change.before, "1^T H H^T 1 / P = P |mean(h)|^2"),
            ("R after", change.after, "the same after the drift, exactly"),
            ("first order", change.first_order, "2 P mean(h) . a"),
            ("second order", change.second_order, "P |a|^2, never negative"),
            (
                "R of G before",
                float(rayleigh_along_ones(features)),
                "1^T G 1 / P, of cosines, at most P: how alike patches are",
            ),
            ("R of G after", float(rayleigh_along_ones(moved)), "the same after the drift"),
            ("top-1 energy before", top_energy(features), "share of the first eigenvalue of H H^T"),
            ("top-1 energy after", top_energy(moved), "the same after the drift"),
        ),
        charts=drawn(chart, _before_after_chart(features, moved)),
        matrices=written(
            ("H", features), ("a", size * unit[None]), ("H + 1 a^T", moved), ("its G_H", moved @ moved.mT)
        ),
    )


def _drift_sentence(change: RayleighChange) -> str:
    terms = (
        f"mean(h) . a = {told(change.condition)}",
        f"the second-order term adds {told(change.second_order)}",
        f"R goes from {told(change.before)} to {told(change.after)}",
    )
    if change.condition > 0:
        return (
            f"{terms[0]} is positive: to first order R rises by {told(change.first_order)}. Apart from that, "
            f"{terms[1]}; {terms[2]}."
        )
    how = f"R falls by {told(-change.first_order)}" if change.condition < 0 else "R stays"
    if abs(change.after - change.before) <= EVEN * change.before:
        end = "which just makes up for it"
    else:
        end = "which outweighs it at this size" if change.grows else "too little to make up for it"
    return (
        f"{terms[0]} is not positive: to first order {how}. Apart from that, {terms[1]}, {end}: {terms[2]}."
    )


def _rank_chart(first: Tensor, exact: Tensor, bound: int, holds: bool) -> Chart:
    if bound >= len(first):
        about = (
            f"There are {len(first)} singular values, no more than 2 r = {bound}: the bound leaves none out."
        )
    else:
        about = f"Beyond 2 r = {bound} there is {'rounding only' if holds else 'more than rounding'}."
    count = min(bound + BEYOND, len(first))
    index = [float(i) for i in range(1, count + 1)]
    values = [torch.linalg.svdvals(matrix)[:count].tolist() for matrix in (exact, first)]
    return Chart(
        title="Singular values of the change of G_H",
        x_axis="number of the singular value",
        y_axis="singular value",
        lines=(
            line("exact", index, values[0], positive=True),
            line("first order", index, values[1], "other", positive=True),
        ),
        about=about,
        log_y=True,
        mark=float(bound),
    )


def _size_chart(features: Tensor, unit: Tensor, size: float) -> Chart:
    sizes = torch.linspace(0, LARGEST_SIZE, SIZES, dtype=torch.float64).tolist()
    changes = [rayleigh_change(features, each * unit) for each in sizes]
    return Chart(
        title="R as the drift grows",
        x_axis="|a| / |mean(h)|",
        y_axis="R = 1^T H H^T 1 / P",
        lines=(
            line("exact", sizes, [change.after for change in changes]),
            line("first order", sizes, [change.before + change.first_order for change in changes], "other"),
            line("before", sizes, [change.before for change in changes], "reference"),
        ),
        about="The first order alone decides near 0; the second order, P |a|^2, bends every curve upward.",
        mark=size,
    )


def _before_after_chart(before: Tensor, after: Tensor) -> Chart:
    count = min(SHOWN, *before.shape)
    index = [float(i) for i in range(1, count + 1)]
    spectra = [singular_energies(features)[:count].tolist() for features in (after, before)]
    return Chart(
        title="Spectrum of G_H",
        x_axis="number of the eigenvalue",
        y_axis="eigenvalue of H H^T",
        lines=(
            line("after the drift", index, spectra[0], positive=True),
            line("before", index, spectra[1], "other", positive=True),
        ),
        about=f"The first {count} eigenvalues, largest first.",
        log_y=True,
    )
