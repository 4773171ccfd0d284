"""What the spectrum of G would be by chance: that of features without any structure.

Knows numbers of patches and widths only. Rows that are drawn at random on the sphere give a G whose eigenvalues
follow the law of Marchenko and Pastur; what stands above it is what the features have in common.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gramviz.errors import InputError

CELLS = 2**14


def marchenko_pastur(patches: int, width: int) -> Tensor:
    """The eigenvalues to expect of G of `patches` random unit rows: float64 [n], descending, n = min(P, d).

    Quantiles at (i - 1/2) / n of the law of Marchenko and Pastur ("Distribution of eigenvalues for some sets of
    random matrices", 1967): density proportional to sqrt((b - x) (x - a)) / x between a and b = (1 -+ sqrt(P/d))^2.
    For P > d this is the law of the d eigenvalues that are not zero. It holds for large P and d; among a few patches
    the largest eigenvalue is a little larger.

    Raises InputError for fewer than one patch or a width below 1.
    """
    if patches < 1 or width < 1:
        raise InputError(f"A random reference needs patches and a width, got {patches} and {width}.")
    ratio = math.sqrt(patches / width)
    # x = 1 + ratio^2 + 2 ratio cos(angle) goes from b to a; the density becomes sin^2(angle) / x, which is smooth
    edges = torch.linspace(0, math.pi, CELLS + 1, dtype=torch.float64)
    middle = (edges[1:] + edges[:-1]) / 2
    mass = (middle.sin().square() / _value(ratio, middle)).cumsum(0)
    above = torch.cat([torch.zeros(1, dtype=torch.float64), mass / mass[-1]])  # share beyond each edge
    n = min(patches, width)
    wanted = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    right = torch.searchsorted(above, wanted).clamp(1, CELLS)
    part = (wanted - above[right - 1]) / (above[right] - above[right - 1])
    return _value(ratio, edges[right - 1] + part * (edges[right] - edges[right - 1]))


def _value(ratio: float, angle: Tensor) -> Tensor:
    return 1 + ratio**2 + 2 * ratio * angle.cos()
