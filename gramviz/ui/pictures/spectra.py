"""The spectra of some checkpoints for one picture as a picture file: what the page's figures of them show, in one."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import InputError
from gramviz.metrics.spectra import Spectra
from gramviz.ui.figures.spectra import Drawn, drawn
from gramviz.ui.pictures.files import (
    captioned,
    check_kind,
    line_style,
    panelled,
    titled,
    with_legend,
    written,
)

FLOOR = 1e-6  # of the largest eigenvalue, and of the trace: less is not drawn on a logarithmic axis
REFERENCE = "#808080"
MARK_EVERY = 0.04  # of a panel, along a line of eigenvalues


def spectra_picture(
    found: Sequence[tuple[CheckpointInfo, Spectra]], kind: str = "png", caption: str = ""
) -> bytes:
    """Eigenvalues of G with those of random features, cumulative energy, energy by frequency, cosine by distance.

    kind: "png" (1,950 pixels wide), "svg" or "pdf". caption: stands beneath. Raises InputError for another
    kind, or for no checkpoint.
    """
    check_kind(kind)
    if not found:
        raise InputError("There are no spectra to draw.")
    lines = drawn(found)
    figure = panelled(2)
    panels = [figure.add_subplot(2, 2, place) for place in range(1, 5)]
    for panel, draw in zip(panels, (_eigenvalues, _cumulative, _frequencies, _distances), strict=True):
        draw(panel, lines)
    with_legend(figure, 3)
    captioned(figure, caption)
    return written(figure, kind)


def _eigenvalues(axes: Axes, lines: Sequence[Drawn]) -> None:
    titled(axes, "eigenvalues of G", "eigenvalue number k", "\u03bb")
    for width, values in {each.spectra.width: each.spectra.reference.numpy() for each in lines}.items():
        label = f"random features, d = {width}"
        axes.plot(_numbers(values), values, color=REFERENCE, linestyle=":", linewidth=1.2, label=label)
    for each in reversed(lines):
        _draw(axes, _numbers(each.eigenvalues), each.eigenvalues, each, MARK_EVERY)
    highest = max(float(each.eigenvalues[0]) for each in lines)
    limits = (FLOOR * highest, 2 * highest) if highest > 0 else (FLOOR, 1)
    axes.set(ylim=limits, xscale="log", yscale="log")


def _cumulative(axes: Axes, lines: Sequence[Drawn]) -> None:
    titled(axes, "cumulative energy", "eigenvalue number k", "share of the trace")
    for each in reversed(lines):
        total = each.eigenvalues.sum()
        shares = each.eigenvalues.cumsum() / (total if total > 0 else 1)
        _draw(axes, _numbers(shares), shares, each, MARK_EVERY)
    axes.set(xscale="log", ylim=(0, 1.02))


def _frequencies(axes: Axes, lines: Sequence[Drawn]) -> None:
    across = "spatial frequency, cycles a patch (0: the constant mode)"
    titled(axes, "energy of G by spatial frequency", across, "share of the trace")
    for each in reversed(lines):
        edges, profile = each.spectra.edges.numpy(), each.spectra.profile.numpy()
        middles = (edges[2:] + edges[1:-1]) / 2
        _draw(axes, np.r_[0, np.nan, middles], np.r_[profile[0], np.nan, profile[1:]], each)
    lowest = min(float(each.spectra.profile.clamp(min=FLOOR).min()) for each in lines)
    axes.set(ylim=(lowest / 2, 2), yscale="log")


def _distances(axes: Axes, lines: Sequence[Drawn]) -> None:
    titled(axes, "mean cosine by distance", "distance on the grid, patches", "mean cosine")
    for each in reversed(lines):
        _draw(axes, each.spectra.distance.numpy(), each.spectra.by_distance.numpy(), each)


def _numbers(values: np.ndarray) -> np.ndarray:
    return np.arange(1, len(values) + 1)


def _draw(axes: Axes, x: np.ndarray, y: np.ndarray, each: Drawn, mark_every: float | None = None) -> None:
    style = line_style(each.look)
    axes.plot(x, y, **style, linewidth=1.8, markersize=each.mark * 0.6, markevery=mark_every)
