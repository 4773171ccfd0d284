"""Equations 6 and 7 of the post "Why Patch Features Go Global" (Hernandez, 2025): the Gram loss and its gradient.

Each function takes features and the values of its controls and finds out whether the result holds, and why. Knows
tensors only; where they come from is settled elsewhere.

Letters: H [P, d] float64 patch features with rows h_i, X its rows at length 1, G = X X^T, X_G the Gram teacher's X.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gramviz.gram.finding import Chart, Finding
from gramviz.gram.losses import gram_gradient, gram_loss
from gramviz.gram.maps import MAPS, in_ring
from gramviz.gram.similarity import SHORTEST_ROW, gram_matrix, normalize_rows, row_lengths
from gramviz.gram.telling import drawn, line, numbers, told, written

BLIND = 1e-10  # of an entry of G: up to here a map leaves it as it is
FLAT = 1e-14  # of the mean loss: below, it is rounding of sums that cancel
AMOUNTS = 9  # points of the chart over 0 to 1
RELATIVE = 1e-9  # of the largest entry: up to here two gradients are the same
EPSILONS = tuple(10.0**exponent for exponent in range(-12, 0))
PROBED_ROWS = 16
CURVE_ROWS = 2  # of these, for the chart's 12 steps: 16 rows of width 768 would take 5 s
PROBE_SEED = 0
UNSEEN = {
    "rotation": "all features turn together, which keeps the angles between them",
    "scaling": "only lengths change, and G has none",
    "permutation": "the features of the patches that change places are the same",
    "stretch": "the angles between features stay",
}
SEEN = {
    "permutation": "features move to other patches, and G tells patches apart",
    "stretch": "the map is not orthogonal, and the angles between features change",
}
CLAIM = "Claim: the loss does not see this map."
ROUNDING = "more than rounding explains"
NO_GRADIENT = 1e-12  # an entry of dL/dX, for each patch


def eq6(features: Tensor, kind: str, amount: float) -> Finding:
    """Equation 6: is the Gram loss between features [P, d] and their image under a map blind to that map?

    kind: a name in `maps.MAPS`; amount: 0 (the identity) to 1. Holds if no entry of G moves by more than 1e-10.
    Orthogonal maps of the feature space pass, and so does what changes lengths alone.
    """
    moved = MAPS[kind](features, amount)
    change = float((gram_matrix(moved) - gram_matrix(features)).abs().max())
    total, mean = (float(gram_loss(moved[None], features[None], reduction=how)) for how in ("sum", "mean"))
    turn = float(turned_by(features, moved))
    holds = change <= BLIND
    if amount == 0:
        about = "the map is the identity"
    elif kind == "permutation" and not in_ring(len(features), amount):
        about = "the map moves nothing here, since this share is not even two patches"
    else:
        about = (UNSEEN if holds else SEEN).get(kind, ROUNDING)
    if holds:
        because = (
            f"{CLAIM} Features turn by {told(turn)} degrees in the mean, and no entry of G moves by more than "
            f"{told(change)} (allowed: {told(BLIND)}): {about}. The loss is {told(total)}, 0 to rounding."
        )
    else:
        because = (
            f"{CLAIM} An entry of G moves by {told(change)}, more than {told(BLIND)}: {about}. The loss is "
            f"{told(total)}, with features that turn by {told(turn)} degrees in the mean."
        )
    return Finding(
        holds=holds,
        because=because,
        numbers=numbers(
            ("Gram loss, sum", total, "||X X^T - X_G X_G^T||_F^2, as in the paper"),
            ("Gram loss, mean", mean, "the same divided by P^2, as it is trained with"),
            ("mean turn of a feature", turn, "degrees between h_i and its image"),
            ("largest change of G", change, "largest |G after the map - G| over all entries"),
        ),
        charts=drawn(*_map_charts(features, kind, amount)),
        matrices=written(("H", features), ("H after the map", moved), ("its G", gram_matrix(moved))),
    )


def turned_by(features: Tensor, moved: Tensor) -> Tensor:
    """Mean angle in degrees between rows of [P, d] and [P, d], over those that have a direction in both; 0 if none.

    2 atan2(|x - y|, |x + y|) of the rows at length 1, which keeps small angles that a cosine would round away.
    """
    x, y = normalize_rows(features), normalize_rows(moved)
    both = (x.norm(dim=-1) > 0) & (y.norm(dim=-1) > 0)
    angles = 2 * torch.atan2((x - y).norm(dim=-1), (x + y).norm(dim=-1))[both]
    return torch.rad2deg(angles).mean() if len(angles) else features.new_zeros(())


def eq7(features: Tensor, other: Tensor, epsilon: float) -> Finding:
    """Equation 7: dL/dX = 4 (X X^T - X_G X_G^T) X and its way to H, against autograd and central differences.

    other [P, d] gives X_G. Errors are the largest over entries, divided by the largest entry of dL/dX; with
    respect to H, of dL/dx_i / |h_i|, since what is left after the normalisation may be 0. Central differences of step
    `epsilon` are taken with respect to H, over all d entries of 16 seeded rows that have a direction. Holds if
    formula and autograd agree to 1e-9, for X and for H.
    """
    x, target = normalize_rows(features), gram_matrix(other)
    by_x = 4 * (x @ x.mT - target) @ x
    by_h = gram_gradient(features, other)
    loss = float((x @ x.mT - target).square().sum())
    scale_x, scale_h = float(by_x.abs().max()), float((by_x / row_lengths(features)).abs().max())
    if scale_x <= NO_GRADIENT * len(features):
        return Finding(
            None,
            f"The loss to the other checkpoint is {told(loss)} and its gradient is 0: there is nothing to compare.",
        )
    error_x = _largest(by_x - _autograd(x, target, normalised=False)) / scale_x
    error_h = _largest(by_h - _autograd(features, target, normalised=True)) / scale_h
    rows = _probed_rows(features)
    probe = _difference_error(features, target, by_h, rows, epsilon) / scale_h
    few = rows[:CURVE_ROWS]
    errors = [_difference_error(features, target, by_h, few, step) / scale_h for step in EPSILONS]
    radial = _largest((x * by_h).sum(-1)) / scale_h
    holds = max(error_x, error_h) <= RELATIVE
    because = (
        f"Formula and autograd differ by {told(error_x)} of the largest entry with respect to X and, of the largest "
        f"|dL/dx_i| / |h_i|, by {told(error_h)} with respect to H ({'within' if holds else 'above'} the "
        f"{told(RELATIVE)} that rounding is allowed). Central differences of step {told(epsilon)} differ by "
        f"{told(probe)}."
    )
    return Finding(
        holds=holds,
        because=because,
        numbers=numbers(
            (
                "error with respect to X",
                error_x,
                "largest |formula - autograd| / largest |entry|, of 4 (X X^T - X_G X_G^T) X",
            ),
            (
                "error with respect to H",
                error_h,
                "through the normalisation: largest |formula - autograd| / largest entry of |dL/dx_i| / |h_i|",
            ),
            ("error of central differences", probe, "the same against (L(h + e) - L(h - e)) / 2 e"),
            (
                "entries that were differenced",
                len(rows) * features.shape[1],
                f"all of {len(rows)} seeded rows of H",
            ),
            (
                "radial part",
                radial,
                "largest |x_i . dL/dh_i| / largest entry of |dL/dx_i| / |h_i|: no pull along the feature itself",
            ),
            ("Gram loss, sum", loss, "||X X^T - X_G X_G^T||_F^2 that is differentiated"),
            ("largest entry", float(by_h.abs().max()), "of dL/dH, in absolute value"),
        ),
        charts=drawn(_difference_chart(errors, epsilon, len(few))),
        matrices=written(("H", features), ("H of the teacher", other), ("dL/dX", by_x), ("dL/dH", by_h)),
    )


def _map_charts(features: Tensor, kind: str, amount: float) -> tuple[Chart, ...]:
    amounts = torch.linspace(0, 1, AMOUNTS, dtype=torch.float64).tolist()
    losses, turns = {}, {}
    for name, move in MAPS.items():
        moved = [move(features, each) for each in amounts]
        losses[name] = [float(gram_loss(each[None], features[None])) for each in moved]
        turns[name] = [float(turned_by(features, each)) for each in moved]
    blind = [name for name in MAPS if max(losses[name]) <= FLAT]
    order = sorted(MAPS, key=lambda name: name != kind)
    return tuple(
        Chart(
            title=title,
            x_axis="amount of the map",
            y_axis=unit,
            lines=tuple(
                line(name, amounts, values[name], "main" if name == kind else "other") for name in order
            ),
            about=about,
            mark=amount,
        )
        for title, unit, values, about in (
            (
                "Gram loss",
                "mean over the entries of G",
                losses,
                f"On 0 to rounding at every amount: {', '.join(blind) or 'none of the maps'}.",
            ),
            (
                "Turn of the features",
                "degrees, mean over patches",
                turns,
                "How far the same maps turn features.",
            ),
        )
    )


def _autograd(values: Tensor, target: Tensor, *, normalised: bool) -> Tensor:
    """Gradient of the plainly written loss with respect to X, or to H through the normalisation; [P, d]."""
    with torch.enable_grad():
        leaf = values.detach().clone().requires_grad_(True)
        x = normalize_rows(leaf) if normalised else leaf
        (gradient,) = torch.autograd.grad((x @ x.mT - target).square().sum(), leaf)
    return gradient


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


def _probed_rows(features: Tensor) -> list[int]:
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(PROBE_SEED))
    lengths = features.norm(dim=-1)
    return [int(row) for row in order if lengths[row] >= SHORTEST_ROW][:PROBED_ROWS]


def central_differences(features: Tensor, target: Tensor, row: int, epsilon: float) -> Tensor:
    """(L(H + epsilon e) - L(H - epsilon e)) / (2 epsilon) for each entry of one row of H [P, d]: [d].

    target: G of the teacher. Only the terms of L that this row enters are added up, since the others cancel.
    """
    moves = epsilon * torch.eye(features.shape[1], dtype=features.dtype)
    x = normalize_rows(features)
    others = torch.arange(len(features)) != row
    sums = []
    for sign in (1, -1):
        moved = normalize_rows(features[row] + sign * moves)  # [d, d], one moved entry a row
        off = (moved @ x[others].mT - target[row, others]).square().sum(-1)
        sums.append(2 * off + (moved.square().sum(-1) - target[row, row]).square())
    return (sums[0] - sums[1]) / (2 * epsilon)


def _difference_error(
    features: Tensor, target: Tensor, gradient: Tensor, rows: list[int], epsilon: float
) -> float:
    found = torch.stack([central_differences(features, target, row, epsilon) for row in rows])
    return _largest(found - gradient[rows])


def _difference_chart(errors: Sequence[float], epsilon: float, rows: int) -> Chart:
    return Chart(
        title="Error of central differences",
        x_axis="step epsilon",
        y_axis="error / largest |dL/dx_i| / |h_i|",
        lines=(line("error", EPSILONS, errors, positive=True),),
        about="It falls as epsilon^2 from the right, where curvature spoils it, and rises as 1 / epsilon to the "
        f"left, where rounding does. Over all entries of {rows} of the seeded rows.",
        log_x=True,
        log_y=True,
        mark=epsilon,
    )
