"""Gradient descent on the Gram loss alone, with nothing else to learn: what it takes back, and what it cannot see.

Knows tensors only.

Letters: H [P, d] patch features, X its rows at length 1, X_G those of the Gram teacher, E = X X^T - X_G X_G^T.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gramviz.gram.losses import gram_gradient, gram_loss
from gramviz.gram.similarity import SHORTEST_ROW, gram_matrix, normalize_rows

GROWTH = 2.0  # of the step, after each that was taken
HALVINGS = 40


def anchor_descent(features: Tensor, teacher: Tensor, steps: int) -> tuple[Tensor, list[float]]:
    """H after gradient steps on ||X X^T - X_G X_G^T||_F^2, and the loss before and after each: [P, d], [steps + 1].

    H <- H - tau dL/dH, the formula's gradient (`gram_gradient`). The first tau is `safe_rate`; later ones are twice
    the last, halved until the loss does not rise, so that the loss never does. Ends early, with the loss as it is,
    where no step lowers it any more: the gradient is 0 there, up to rounding. That need not be its smallest value:
    patches that all point one way have no gradient, whatever the target, since all of it is along them.
    """
    losses = [_loss(features, teacher)]
    rate = safe_rate(features, teacher)
    while len(losses) <= steps:
        gradient = gram_gradient(features, teacher)
        for _ in range(HALVINGS):
            moved = features - rate * gradient
            loss = _loss(moved, teacher)
            if loss < losses[-1]:
                break
            rate /= 2
        else:
            losses += losses[-1:] * (steps + 1 - len(losses))
            break
        features, rate = moved, rate * GROWTH
        losses.append(loss)
    return features, losses


def safe_rate(features: Tensor, teacher: Tensor) -> float:
    """A step that curvature allows: 1 over the largest second derivative of the loss by X, in units of H.

    Along V it is 4 <V, (X V^T + V X^T) X + E V>, at most 8 |X|^2 + 4 |E| with spectral norms; |h_i|^2 of the
    shortest row brings it to H.
    """
    gram = gram_matrix(features)
    widest = float(torch.linalg.matrix_norm(gram, 2))
    off = float(torch.linalg.matrix_norm(gram - gram_matrix(teacher), 2))
    lengths = features.norm(dim=-1)
    lengths = lengths[lengths >= SHORTEST_ROW]
    return float(lengths.min()) ** 2 / (8 * widest + 4 * off) if len(lengths) else 0.0


def distance(features: Tensor, target: Tensor, *, turned: bool) -> float:
    """|X - X_0| / |X_0| of the rows at length 1, [P, d] both; `turned`: after the rotation of X that is best for it.

    The best orthogonal Q is U V^T of X^T X_0 = U S V^T (Schoenemann 1966). 0 where there is nothing to compare.
    """
    x, y = normalize_rows(features), normalize_rows(target)
    if turned:
        u, _, v = torch.linalg.svd(x.mT @ y)
        x = x @ (u @ v)
    length = float(y.norm())
    return float((x - y).norm()) / length if length > 0 else 0.0


def _loss(features: Tensor, teacher: Tensor) -> float:
    return float(gram_loss(features, teacher, reduction="sum"))
