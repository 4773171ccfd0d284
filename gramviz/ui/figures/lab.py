"""A finding's charts as one Plotly figure: a panel a chart, each with its own axes and its own legend.

Lines are told apart by colour and dashes: what is looked at, what it is held against, and a faint reference. Computes
nothing but where ticks stand.
"""

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go

from gramviz.gram.finding import Chart, Line
from gramviz.ui.figures.panels import FOOT, INK, LEGEND_LINE, Panels
from gramviz.ui.findings import prose
from gramviz.ui.theme import ARMS, Arm

# pixels: a panel; a line of its title, and the room that a legend's entry takes beside its letters
PANEL, TITLE_LINE, ENTRY, LETTER = 250, 20, 46, 7
TITLE_LETTERS, LEGEND_WIDTH = 32, 260  # what the narrowest panel has room for
TICKS = 6  # about as many on an axis
MARKED = 24  # points up to which each is marked
LOOKS = {
    "main": (
        Arm("", "#A0459A"),
        Arm("", "#A0459A", "dot", "diamond"),
        Arm("", "#A0459A", "dashdot", "cross"),
    ),
    "other": (
        Arm("", "#8C7A00", "dash", "square"),
        Arm("", "#3F8F8F", "dashdot", "triangle-up"),
        Arm("", "#A86432", "longdash", "diamond"),
    ),
    "reference": (Arm("", "#808080", "dot", "x"), Arm("", "#808080", "longdash", "cross")),
}


def figure(charts: Sequence[Chart], columns: int) -> go.Figure | None:
    """The charts in at most `columns` columns; None where there are none."""
    if not charts:
        return None
    room = max(columns // len(charts), 1)  # times that of the narrowest panel
    titles = [wrap(chart.title, TITLE_LETTERS * room) for chart in charts]
    legend = LEGEND_LINE * max(_legend_lines(chart, room) for chart in charts)
    head = TITLE_LINE * max(len(title) for title in titles) + legend + 14
    names = ["<br>".join(map(prose, title)) for title in titles]
    panels = Panels(names, columns, "", panel=PANEL, gap=head + FOOT)
    panels.figure.update_annotations(yshift=legend + 6)
    for index, chart in enumerate(charts):
        _draw(panels, index, chart, room)
    return panels.finished(head)


def _legend_lines(chart: Chart, room: int) -> int:
    """How many lines a panel's legend takes: one, or where that is too long, one an entry. Lines (or sets of bars)
    that are alone are named by the title.
    """
    if len(chart.lines) < 2:
        return 0
    width = sum(ENTRY + LETTER * len(line.name) for line in chart.lines)
    return 1 if width <= LEGEND_WIDTH * room else len(chart.lines)


def _draw(panels: Panels, index: int, chart: Chart, room: int) -> None:
    place, made = panels.place(index), panels.figure
    legend = f"legend{index + 1}" if index else "legend"
    for line, look in zip(chart.lines, looks(chart.lines), strict=True):
        trace = _bars(line, look) if chart.kind == "bar" else _line(line, look)
        made.add_trace(trace.update(legend=legend, showlegend=len(chart.lines) > 1), **place)
    xs = [x for line in chart.lines for x in line.x]
    ys = [y for line in chart.lines for y in line.y]
    across = next(made.select_xaxes(**place))
    down = next(made.select_yaxes(**place))
    across.update(title_text=prose(chart.x_axis), tickformat="", tickangle=0, **_scale(chart.log_x, xs))
    down.update(_scale(chart.log_y, ys))
    panels.unit(index, prose(chart.y_axis))
    if chart.mark is not None and (chart.mark > 0 or not chart.log_x):
        made.add_vline(x=chart.mark, line={"color": INK, "width": 1.5, "dash": "dot"}, **place)
    made.update_layout(
        {
            legend: {
                "orientation": "h" if _legend_lines(chart, room) == 1 else "v",
                "x": across.domain[0],
                "xanchor": "left",
                "y": down.domain[1],
                "yanchor": "bottom",
                "yref": "paper",
                "traceorder": "normal",
                "font": {"size": 14},
            }
        }
    )


def _scale(log: bool, values: Sequence[float]) -> dict[str, Any]:
    """An axis: linear, with ticks at whole numbers where it counts a few; or of logarithms, with ticks at powers of
    ten where it spans some of them.
    """
    if not log:
        whole = bool(values) and all(value == int(value) for value in values)
        few = whole and 1 <= max(values) - min(values) <= TICKS
        return {"type": "linear", "exponentformat": "power", "dtick": 1 if few else None}
    exponents = [math.log10(value) for value in values if value > 0]
    span = max(exponents) - min(exponents) if exponents else 0.0
    tick = math.ceil(span / TICKS) if span >= 2 else "D2" if span >= 1 else None  # D2: 1, 2, 5, 10
    return {"type": "log", "exponentformat": "power", "dtick": tick}


def looks(lines: Sequence[Line]) -> list[Arm]:
    """Colour, dashes and mark of each line: an arm of the run has its own, the others have those of their role, by
    how many of that role came before.
    """
    arms = {arm.label: arm for arm in ARMS.values()}
    found = []
    for index, line in enumerate(lines):
        kind = LOOKS[line.role]
        before = sum(earlier.role == line.role for earlier in lines[:index])
        found.append(arms.get(line.name, kind[before % len(kind)]))
    return found


def _line(line: Line, look: Arm) -> go.Scatter:
    faint = line.role == "reference"
    return go.Scatter(
        x=line.x,
        y=line.y,
        name=prose(line.name),
        mode="lines+markers" if len(line.x) <= MARKED and not faint else "lines",
        line={"color": look.colour, "width": 1.75 if faint else 3, "dash": look.dash},
        marker={"symbol": look.marker, "size": 8},
        hovertemplate="%{y:.4~g} at %{x:.4~g}",
    )


def _bars(line: Line, look: Arm) -> go.Bar:
    return go.Bar(
        x=line.x,
        y=line.y,
        name=prose(line.name),
        marker={"color": look.colour, "opacity": 0.5 if line.role == "reference" else 1},
        hovertemplate="%{y:.4~g} at %{x:.4~g}",
    )
