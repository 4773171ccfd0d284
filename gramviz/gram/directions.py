"""Equation 1 of the post "Why Patch Features Go Global" (Hernandez, 2025): G has directions and no lengths.

Takes features and the value of its control and finds out whether the result holds, and why. Knows tensors only.

Letters: H [P, d] patch features, X its rows at length 1, G = X X^T, G_H = H H^T.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gramviz.gram.finding import Chart, Finding
from gramviz.gram.similarity import SHORTEST_ROW, gram_matrix
from gramviz.gram.spectrum import eigenvalues, energy_share, singular_energies
from gramviz.gram.telling import drawn, line, numbers, told, written

UNCHANGED = 1e-12  # of an entry of G
EIGENVALUE_ROUNDING = 1e-10
STRETCHES = 25  # points of the chart, over 0.01 to 100


def stretched(features: Tensor, stretch: float) -> Tensor:
    """H with its longest row multiplied by `stretch`: [P, d] -> [P, d]."""
    moved = features.clone()
    moved[features.norm(dim=-1).argmax()] *= stretch
    return moved


def eq1(features: Tensor, stretch: float) -> Finding:
    """Equation 1, G = X X^T: the longest of the patches [P, d] is multiplied by `stretch` >= 0, and G stays.

    Holds if no entry of G moves by more than 1e-12, G_ii = 1 as exactly, and no eigenvalue is below -1e-10.
    """
    moved = stretched(features, stretch)
    gram = gram_matrix(moved)
    change = float((gram - gram_matrix(features)).abs().max())
    off_one = float((gram.diagonal() - 1).abs().max())
    smallest = float(torch.linalg.eigvalsh(gram)[0])
    no_direction = int((moved.norm(dim=-1) < SHORTEST_ROW).sum())
    holds = change <= UNCHANGED and off_one <= UNCHANGED and smallest >= -EIGENVALUE_ROUNDING
    longer = "as it is" if stretch == 1 else f"{told(stretch)} times as long"
    if no_direction:
        which = "One patch has" if no_direction == 1 else f"{no_direction} patches have"
        because = (
            f"{which} length 0 and so no direction: G_ii = 0 there instead of 1, and the trace of G is "
            f"{told(float(gram.trace()))} for {len(moved)} patches."
        )
    else:
        because = (
            f"With the longest patch {longer}, {_what_g_does(change, off_one, smallest)}, and the trace is "
            f"{told(float(gram.trace()))}."
        )
    return Finding(
        holds=holds,
        because=because,
        numbers=numbers(
            ("largest change of G", change, "largest |G - G before the stretch| over all entries"),
            ("largest error of the diagonal", off_one, "largest |G_ii - 1|"),
            ("smallest eigenvalue of G", smallest, "0 or more for any G = X X^T, up to rounding"),
            ("trace of G", float(gram.trace()), "sum of G_ii, the number of patches"),
            (
                "top-1 energy of G_H",
                top_energy(moved),
                "share of the first eigenvalue of H H^T, lengths kept",
            ),
            ("top-1 energy of G", float(energy_share(eigenvalues(moved), 1)), "the same of X X^T"),
            ("patches without a direction", no_direction, "rows of length 0"),
        ),
        charts=drawn(_stretch_chart(features, stretch)),
        matrices=written(("H", moved), ("G", gram)),
    )


def _what_g_does(change: float, off_one: float, smallest: float) -> str:
    """Each of the three conditions of `eq1`, as it came out."""
    moves = (
        f"no entry of G moves by more than {told(change)} (allowed: {told(UNCHANGED)}): dividing by the lengths "
        "takes them out"
        if change <= UNCHANGED
        else f"an entry of G moves by {told(change)}, more than the {told(UNCHANGED)} allowed"
    )
    diagonal = (
        f"The diagonal is 1 to {told(off_one)}"
        if off_one <= UNCHANGED
        else f"The diagonal misses 1 by {told(off_one)}, more than the {told(UNCHANGED)} allowed"
    )
    which = "no" if smallest >= -EIGENVALUE_ROUNDING else "an"
    return (
        f"{moves}. {diagonal}, {which} eigenvalue is negative beyond rounding (smallest {told(smallest)}, allowed "
        f"{told(-EIGENVALUE_ROUNDING)})"
    )


def top_energy(features: Tensor) -> float:
    """Share of the first eigenvalue of G_H in its trace, lengths and all: [P, d] -> 0..1."""
    return float(energy_share(singular_energies(features), 1))


def _stretch_chart(features: Tensor, stretch: float) -> Chart:
    factors = torch.logspace(-2, 2, STRETCHES, dtype=torch.float64).tolist()
    moved = [stretched(features, factor) for factor in factors]
    without = float(energy_share(eigenvalues(features), 1))  # of directions, which no factor changes
    return Chart(
        title="One long patch takes over H H^T, but not G",
        x_axis="length of the longest patch, times its own",
        y_axis="top-1 energy, share",
        lines=(
            line("G_H = H H^T", factors, [top_energy(each) for each in moved]),
            line("G = X X^T", factors, [without] * len(factors), "other"),
        ),
        about="Share of the first eigenvalue in the trace: with the lengths in it, and without them.",
        log_x=True,
        mark=stretch if stretch > 0 else None,
    )
