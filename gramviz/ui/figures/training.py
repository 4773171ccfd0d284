"""The spectrum of G along a run as heat maps: a panel an arm, a column a measured step."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gramviz.ui import curves
from gramviz.ui.colours import sequential
from gramviz.ui.curves import Row
from gramviz.ui.figures.panels import HEAD, LEGEND_LINE, Panels
from gramviz.ui.story import MAIN

PANEL, GAP = 300, 120  # pixels; the gap has room for steps that stand upright
COLOURS = 16  # of the scale, which Plotly joins by straight lines


def along_training(rows: Sequence[Row], columns: int) -> go.Figure | None:
    """The first energy shares over the steps, a panel an arm, as mean over seeds; None where none was measured."""
    maps = {arm: table for arm in MAIN if (table := spectrum_along(rows, arm))}
    if not maps:
        return None
    titles = [curves.look(arm).label for arm in maps]
    panels = Panels(titles, {4: 3}.get(columns, columns), "step", shared=True, panel=PANEL, gap=GAP)
    shares = np.concatenate([np.asarray(list(table.values())).ravel() for table in maps.values()])
    shares = shares[shares > 0]
    low, high = (math.log10(shares.min()), math.log10(shares.max())) if len(shares) else (-1.0, 0.0)
    for index, table in enumerate(maps.values()):
        z = np.asarray(list(table.values())).T  # (numbers, steps)
        panels.figure.add_trace(
            go.Heatmap(
                x=[curves.grouped(step) for step in table],
                y=list(range(1, len(z) + 1)),
                z=[[math.log10(share) if share > 0 else None for share in line] for line in z.tolist()],
                customdata=z.tolist(),
                zmin=low,
                zmax=high,
                colorscale=_scale(),
                showscale=index == 0,
                colorbar=_colour_bar(low, high),
                hovertemplate="number %{y} at step %{x}: %{customdata:.3~g} of the trace<extra></extra>",
            ),
            **panels.place(index),
        )
        panels.unit(index, "eigenvalue number k")
    panels.figure.update_xaxes(type="category", tickformat="", showgrid=False)
    panels.figure.update_yaxes(showgrid=False)
    return panels.finished(HEAD - LEGEND_LINE)


def spectrum_along(rows: Sequence[Row], arm: str) -> dict[int, list[float]]:
    """Mean over seeds of the energy shares at each step that all seeds of an arm have, the trunk's before it."""
    measured = [row for row in rows if row.get("spectrum") and None not in row["spectrum"]]
    length = min((len(row["spectrum"]) for row in measured), default=0)
    parts = []
    for number in range(length):
        single = [{**_place(row), "share": row["spectrum"][number]} for row in measured]
        parts.append(curves.line(curves.history(single, arm, "share")))
    if not parts or parts[0] is None:
        return {}
    lines = [part for part in parts if part is not None]
    return {step: [line.mean[index] for line in lines] for index, step in enumerate(lines[0].steps)}


def _place(row: Row) -> dict[str, int | str]:
    return {name: row[name] for name in ("arm", "seed", "step")}


def _scale() -> list[tuple[float, str]]:
    """The page's sequential colours in Plotly's words."""
    table, places = sequential(), np.linspace(0, 1, COLOURS)
    return [(float(at), f"rgb{tuple(int(c) for c in table[round(255 * at)])}") for at in places]


def _colour_bar(low: float, high: float) -> dict[str, object]:
    """Beside the panels, with a number a decade."""
    decades = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    return {
        "thickness": 14,
        "lenmode": "pixels",
        "len": PANEL,
        "y": 1,
        "yanchor": "top",
        "title": {"text": "share of the trace", "side": "right", "font": {"size": 14}},
        "tickvals": list(decades),
        "ticktext": [f"{10.0**decade:g}" for decade in decades],
    }
