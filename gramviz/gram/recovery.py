"""Proposition 2 of the post "Why Patch Features Go Global" (Hernandez, 2025): what Gram anchoring takes back.

Knows tensors only; where they come from is settled elsewhere.

Letters: H [P, d] float64 patch features, X its rows at length 1, G = X X^T, G_0 and X_0 before the drift.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gramviz.gram.descent import anchor_descent, distance
from gramviz.gram.drift import common_drift
from gramviz.gram.finding import Chart, Finding
from gramviz.gram.maps import rotation
from gramviz.gram.modes import radial_profile, transform
from gramviz.gram.similarity import gram_matrix
from gramviz.gram.spectrum import rayleigh_along_ones
from gramviz.gram.telling import drawn, line, numbers, share, told, written

TURN = 30.0  # degrees
REMOVED = 0.9  # of the squared change of G
TURN_LEFT = 0.5  # of the distance that the rotation alone makes
NO_LOSS = 1e-16  # for each entry of G; below, it is rounding of features that were float32 once
EIGENVECTORS = 10
EMPTY = 1e-12  # of the whole: less energy is rounding


def prop2(features: Tensor, grid: tuple[int, int], size: float, steps: int) -> Finding:
    """Proposition 2: descent on the Gram loss alone takes back a common drift and leaves a rotation.

    Features H [P, d] become (H + 1 a^T) Q, a = size mean(h), Q a turn by 30 degrees in d / 2 planes; then `steps` of
    `anchor_descent` towards the Gram matrix of H. Holds if at least 90 % of ||G - G_0||_F^2 is gone, X is nearer to
    where it was after the best rotation, and as it is stays away at least half of what the rotation alone makes.
    That the loss reaches 0 is a tendency and no law: where all patches point one way, descent rests at once.
    """
    turn = rotation(features.shape[1], math.radians(TURN))
    drift = common_drift(size * features.mean(-2), len(features))
    start = (features + drift) @ turn
    end, losses = anchor_descent(start, features, steps)
    first, last = losses[0], losses[-1]
    nothing = first <= NO_LOSS * len(features) ** 2
    removed = 1 - last / first if not nothing else None
    near, nearer = (distance(each, features, turned=True) for each in (start, end))
    far, farther = (distance(each, features, turned=False) for each in (start, end))
    alone = distance(features @ turn, features, turned=False)
    turn_stays = farther >= TURN_LEFT * alone
    if removed is None:
        because = (
            f"Nothing has to be removed: after drift and rotation the loss is {told(first)}, 0 to rounding. "
            f"The features stay {told(farther)} of their length away from where they were."
        )
    else:
        because = (
            f"After {steps} steps {share(removed)} of ||G - G_0||_F^2 is gone ({share(REMOVED)} are asked for). "
            f"After the best rotation X is {told(nearer)} of its length away from where it was, {told(near)} before; "
            f"as it is, {told(farther)}: descent {'does not take' if turn_stays else 'takes'} the rotation back, "
            f"which alone makes {told(alone)}."
        )
        if removed < REMOVED and len(losses) > 1 and losses[-2] == last:
            because += " The gradient is 0 to rounding before the loss is: more steps bring nothing back."
    before, drifted, recovered = (float(rayleigh_along_ones(each)) for each in (features, start, end))
    return Finding(
        holds=turn_stays and (removed is None or (removed >= REMOVED and nearer < near)),
        because=because,
        numbers=numbers(
            ("loss before", first, "||G_start - G_0||_F^2, after drift and rotation"),
            ("loss after", last, f"after {steps} steps"),
            ("removed", removed, "share of ||G - G_0||_F^2 that is gone"),
            ("R of G before the drift", before, "1^T G 1 / P, where it should return to"),
            ("R of G after the drift", drifted, "1^T G 1 / P at the start"),
            ("R of G after the steps", recovered, "1^T G 1 / P at the end"),
            ("distance before, best rotation", near, "|X Q - X_0| / |X_0| at the start, smallest over all Q"),
            ("distance after, best rotation", nearer, "the same after the steps"),
            ("distance before, as it is", far, "|X - X_0| / |X_0| at the start"),
            ("distance after, as it is", farther, "the same after the steps"),
            ("distance of the rotation alone", alone, "|X_0 Q - X_0| / |X_0|"),
        ),
        charts=() if nothing else drawn(*_removal_charts(features, start, end, grid, losses)),
        matrices=written(("H", features), ("H at the start", start), ("H after the steps", end)),
    )


def _removal_charts(
    features: Tensor, start: Tensor, end: Tensor, grid: tuple[int, int], losses: list[float]
) -> tuple[Chart, ...]:
    """What is left of the change of G, by frequency and by eigenvector of G_0, and the loss step by step."""
    origin = gram_matrix(features)
    changes = [gram_matrix(each) - origin for each in (start, end)]  # [P, P]
    energies, basis = torch.linalg.eigh(origin)
    # those without energy are no directions of G_0 but any basis of what it leaves out
    count = min(EIGENVECTORS, int((energies > EMPTY * energies.sum()).sum()))
    vectors = basis.flip(-1)[:, :count]
    before, after = (change_by_frequency(change, grid) for change in changes)
    along = [(change @ vectors).square().sum(0) for change in changes]
    edges, _ = radial_profile(torch.ones(grid, dtype=torch.float64))
    centres = torch.cat([edges[:1], (edges[1:-1] + edges[2:]) / 2])
    index = torch.arange(1, vectors.shape[1] + 1)
    return (
        _share_chart(
            "What is left, by spatial frequency",
            "cycles a patch, 0 for the constant mode",
            (centres, before, after),
            "Of the squared change of G, by frequency of its rows over the picture: end / start.",
        ),
        _share_chart(
            "What is left, by eigenvector of G_0",
            "number of the eigenvector",
            (index, *along),
            "Of |(G - G_0) v|^2 for the first eigenvectors v of G_0, the Gram matrix before the drift: end / start.",
        ),
        Chart(
            title="Gram loss, step by step",
            x_axis="step",
            y_axis="||G - G_0||_F^2",
            lines=(line("loss", range(len(losses)), losses, positive=True),),
            about="A step of descent is taken only if the loss falls.",
            log_y=True,
            mark=float(len(losses) - 1),
        ),
    )


def change_by_frequency(change: Tensor, grid: tuple[int, int]) -> Tensor:
    """Energy of a change of G [P, P] in each radial bin of its rows' frequency: [bins], adding up to its square."""
    energy = transform(change.unflatten(0, grid)).square().sum(-1)  # [h, w]
    _, shares = radial_profile(energy)
    return shares * energy.sum()


def _share_chart(title: str, x_axis: str, values: tuple[Tensor, Tensor, Tensor], about: str) -> Chart:
    """Bars of after / before, where there was anything before."""
    x, before, after = values
    kept = before > EMPTY * before.sum()
    left = after[kept] / before[kept]
    return Chart(
        title=title,
        x_axis=x_axis,
        y_axis="share that is left",
        lines=(line("left", x[kept].tolist(), left.tolist(), positive=True),),
        about=about,
        kind="bar",
        log_y=True,
    )
