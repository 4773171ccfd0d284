"""The spectra of some checkpoints as Plotly figures.

Every number that is drawn is one of `Spectra`, or a cumulative sum or a count of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.metrics.spectra import Spectra
from gramviz.ui import curves
from gramviz.ui.figures.panels import HEAD, LEGEND_LINE, Panels
from gramviz.ui.theme import Arm

PANEL = 270  # pixels
# legend entries that fit into a line of a figure, by columns of the page: across the page, and beside words
ENTRIES = {1: 1, 2: 3, 4: 6}
ENTRIES_BESIDE = {1: 1, 2: 3, 4: 4}
PALEST = 0.6  # how far towards white the earliest step of an arm goes
MARKS = (7.0, 5.0)  # pixels: of the latest and the earliest step
BINS = 24
FLOOR = 1e-6  # of the largest eigenvalue: what is smaller counts as that where the axis is logarithmic
DRAWN_SHARE = 1e-5  # lowest share on a logarithmic axis
REFERENCE = "#808080"

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A checkpoint with its spectra, its name among the others, and how its lines look."""

    info: CheckpointInfo
    spectra: Spectra
    look: Arm
    mark: float

    @property
    def eigenvalues(self) -> Vector:
        """[n] float64, descending."""
        return self.spectra.eigenvalues.numpy()


def drawn(found: Sequence[tuple[CheckpointInfo, Spectra]]) -> list[Drawn]:
    """The looks of some checkpoints: the arm's own, the paler and smaller the earlier the step."""
    several = len({info.run for info, _ in found}) > 1
    looks = []
    for info, spectra in found:
        steps = sorted(
            other.step for other, _ in found if (other.run, other.branch) == (info.run, info.branch)
        )
        early = 1 - steps.index(info.step) / (len(steps) - 1) if len(steps) > 1 else 0.0
        arm = curves.look(info.branch)
        name = curves.name_of(info, several_runs=several)
        look = Arm(name, _paler(arm.colour, early * PALEST), arm.dash, arm.marker)
        looks.append(Drawn(info, spectra, look, MARKS[0] + early * (MARKS[1] - MARKS[0])))
    return looks


def eigenvalues(found: Sequence[tuple[CheckpointInfo, Spectra]], columns: int) -> go.Figure | None:
    """Four panels of the eigenvalues of G: log-log, linear, cumulative energy, counts; None for no checkpoint.

    The layout's `meta.numbers` names the horizontal axes that count eigenvalues.
    """
    if not found:
        return None
    titles = ["eigenvalues, log-log", "eigenvalues, linear", "cumulative energy", "counts by size"]
    panels = Panels(titles, min(columns, 4), "eigenvalue number k", panel=PANEL)
    lines = drawn(found)
    references = {each.spectra.width: each.spectra.reference.numpy() for each in lines}
    edges = bin_edges([*(each.eigenvalues for each in lines), *references.values()])
    for width, values in references.items():
        look = Arm(f"random features, d = {width}", REFERENCE, "dot", "x")
        _spectrum(panels, values, look, 0.0, edges)
    for each in reversed(lines):
        _spectrum(panels, each.eigenvalues, each.look, each.mark, edges)
    for index, log in enumerate((True, False, True)):
        panels.across(index, "eigenvalue number k", log)
    panels.across(3, "eigenvalue \u03bb", log=True)
    for index, unit in enumerate(("\u03bb", "\u03bb", "share of the trace", "eigenvalues a bin")):
        panels.unit(index, unit)
    panels.figure.update_yaxes(type="log", tickformat="~g", range=_decades(edges), **panels.place(0))
    panels.figure.update_layout(meta={"axis": "number", "numbers": ["xaxis", "xaxis2", "xaxis3"]})
    return panels.finished(_head(len(lines) + len(references), ENTRIES[columns]))


def _spectrum(panels: Panels, values: Vector, look: Arm, mark: float, edges: Vector) -> None:
    """One spectrum in all four panels; the reference has no marks."""
    line = {"color": look.colour, "width": 2.5 if mark else 1.75, "dash": look.dash}
    marker = {"symbol": look.marker, "size": mark}
    of = f"<extra>{look.label}</extra>"
    panels.curve(
        3,
        np.sqrt(edges[1:] * edges[:-1]).tolist(),
        counts(values, edges).tolist(),
        look,
        thin=not mark,
        customdata=first_in_bin(values, edges).tolist(),
        hovertemplate="%{y} near %{x:.3~g}" + of,
        line={**line, "shape": "hvh"},
        marker=marker,
    )
    numbers = np.arange(1, len(values) + 1)
    marked = _marked(len(values))
    cumulative = np.cumsum(values) / values.sum() if values.sum() > 0 else np.zeros_like(values)
    forms = ("\u03bb<sub>%{x}</sub> = %{y:.5~g}",) * 2 + ("first %{x}: %{y:.4f} of the trace",)
    for index, (heights, form) in enumerate(zip((values, values, cumulative), forms, strict=True)):
        panels.curve(
            index, numbers.tolist(), heights.tolist(), look, True, hovertemplate=form + of, line=line
        )
        if mark:
            panels.curve(
                index,
                numbers[marked].tolist(),
                heights[marked].tolist(),
                look,
                mode="markers",
                marker={**marker, "color": look.colour},
                hoverinfo="skip",
            )


def bin_edges(spectra: Sequence[Vector]) -> Vector:
    """Edges of logarithmic bins [BINS + 1] from the smallest eigenvalue of all to the largest, above rounding."""
    highest = max(float(values.max()) for values in spectra)
    real = [
        float(values[values > FLOOR * highest].min()) for values in spectra if values.max() > FLOOR * highest
    ]
    low = min(real, default=FLOOR)
    return np.geomspace(low, max(highest, low * (1 + FLOOR)), BINS + 1)


def counts(values: Vector, edges: Vector) -> NDArray[np.int64]:
    """How many eigenvalues are in each bin; what is below the first counts to it."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]


def first_in_bin(values: Vector, edges: Vector) -> NDArray[np.int64]:
    """For each bin the number of the largest eigenvalue that is not above it, counted from 1."""
    above = (values[None, :] > edges[1:, None]).sum(1)
    return np.minimum(above + 1, len(values))


def where_energy_lives(found: Sequence[tuple[CheckpointInfo, Spectra]], columns: int) -> go.Figure | None:
    """Energy of G by spatial frequency, the constant mode apart, and mean cosine by distance."""
    if not found:
        return None
    panels = Panels(
        ["energy of G by spatial frequency", "mean cosine by distance"], min(columns, 2), "", panel=PANEL
    )
    lines = drawn(found)
    for each in reversed(lines):
        edges, profile = each.spectra.edges.numpy(), each.spectra.profile.numpy()
        middles = (edges[2:] + edges[1:-1]) / 2
        shares = [share if share > 0 else None for share in profile.tolist()]
        style: dict[str, Any] = {"marker": {"symbol": each.look.marker, "size": each.mark + 1}}
        hover = "%{y:.3~g} of the trace at %{x:.3f} cycles a patch<extra>" + each.look.label + "</extra>"
        panels.curve(
            0,
            [0.0, None, *middles.tolist()],
            [shares[0], None, *shares[1:]],
            each.look,
            hovertemplate=hover,
            **style,
        )
        hover = "%{y:.4f} at %{x} patches<extra>" + each.look.label + "</extra>"
        by_distance = each.spectra.by_distance.tolist()
        panels.curve(
            1, each.spectra.distance.tolist(), by_distance, each.look, thin=True, hovertemplate=hover
        )
    panels.across(0, "cycles a patch (0: constant mode)")
    panels.across(1, "distance on the grid, patches")
    panels.unit(0, "share of the trace")
    panels.unit(1, "mean cosine")
    lowest = min(float(each.spectra.profile.clamp(min=DRAWN_SHARE).min()) for each in lines)
    limits = [math.log10(lowest) - 0.1, 0.1]
    panels.figure.update_yaxes(type="log", tickformat="~g", dtick=1, range=limits, **panels.place(0))
    return panels.finished(_head(len(lines), ENTRIES_BESIDE[columns]))


def _head(entries: int, in_line: int) -> int:
    return HEAD + LEGEND_LINE * (-(-entries // in_line) - 1)


def _marked(count: int) -> list[int]:
    """Which points have a mark: about eight a decade, so that they stay apart on a logarithmic axis."""
    return sorted({round(10 ** (step / 8)) - 1 for step in range(int(8 * math.log10(count)) + 1)})


def _decades(edges: Vector) -> list[float]:
    return [math.log10(edges[0]) - 0.15, math.log10(edges[-1]) + 0.15]


def _paler(colour: str, share: float) -> str:
    channels = (round(channel + (255 - channel) * share) for channel in bytes.fromhex(colour[1:]))
    return "#" + bytes(channels).hex()
