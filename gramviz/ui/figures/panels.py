"""Panels in a grid that share one legend: what every Plotly figure of the page is made of.

Told apart without colour, too: every arm has dashes and marks of its own. Nothing here fetches anything. Colours of
text and grid are those of a white page; the page's style sheet gives them their dark ones.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gramviz.ui import curves
from gramviz.ui.curves import Line
from gramviz.ui.theme import SYSTEM_FONTS, Arm

# pixels: height of a panel, between rows, above the first row, below the last
PANEL, GAP, HEAD, FOOT = 240, 82, 78, 58
LEGEND_LINE = 21
BAND = 0.16  # opacity
INK, GRID = "#15181b", "#d5d9dd"


class Panels:
    """A grid of panels that share one legend."""

    def __init__(
        self,
        titles: Sequence[str],
        columns: int,
        axis: str,
        shared: bool = False,
        panel: int = PANEL,
        gap: int = GAP,
    ) -> None:
        self.count = -(-len(titles) // columns)
        self.columns = -(-len(titles) // self.count)  # rows of one length, as far as that goes
        self._inner = self.count * panel + (self.count - 1) * gap
        self.figure = make_subplots(
            rows=self.count,
            cols=self.columns,
            specs=_cells(len(titles), self.count, self.columns),
            subplot_titles=list(titles),
            shared_yaxes="all" if shared else False,
            vertical_spacing=gap / self._inner,
            horizontal_spacing={1: 0.0, 2: 0.11}.get(self.columns, 0.075),
        )
        self._named: set[str] = set()
        self._shared = shared
        self.figure.update_layout(
            template="none",
            font={"family": ", ".join(SYSTEM_FONTS), "size": 15, "color": INK},
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            separators=f".{curves.THIN}",
            legend={
                "traceorder": "reversed",
                "orientation": "h",
                "x": 0,
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "font": {"size": 14},
            },
            hoverlabel={"font": {"size": 14}},
            dragmode=False,
            meta={"axis": axis},
        )
        self.figure.update_annotations(font={"size": 16, "color": INK}, yshift=6)
        common = {"gridcolor": GRID, "zeroline": False, "automargin": True, "fixedrange": True, "nticks": 6}
        self.figure.update_xaxes(
            **common,
            title={"text": axis, "standoff": 6, "font": {"size": 14}},
            tickformat=",d",
            showline=True,
        )
        self.figure.update_yaxes(**common)

    def finished(self, head: int | None = None) -> go.Figure:
        """The figure with the room that its legend takes: a line, or one for each entry where it is narrow.

        head: the room above the first row where it is known otherwise, in pixels.
        """
        if head is None:
            head = HEAD if self.columns > 1 else HEAD + LEGEND_LINE * (len(self._named) - 1)
        margin = {"l": 62, "r": 14, "t": head, "b": FOOT}
        return self.figure.update_layout(margin=margin, height=head + self._inner + FOOT)

    def place(self, index: int) -> dict[str, int]:
        """Where a panel is, in Plotly's words."""
        return {"row": index // self.columns + 1, "col": index % self.columns + 1}

    def unit(self, index: int, text: str) -> None:
        """Name the vertical axis of a panel; one that all share is named once a row."""
        if self._shared and index % self.columns:
            return
        self.figure.update_yaxes(
            title={"text": text, "standoff": 4, "font": {"size": 14}}, **self.place(index)
        )

    def across(self, index: int, text: str, log: bool = False) -> None:
        """Name the horizontal axis of a panel where it is not the one of all."""
        self.figure.update_xaxes(
            title_text=text, type="log" if log else "linear", tickformat="~g", **self.place(index)
        )

    def draw(self, index: int, line: Line, arm: Arm, thin: bool = False) -> None:
        """A line with its band; the legend names each arm once, and hides all its lines together."""
        if line.seeds > 1:
            self.figure.add_trace(
                go.Scatter(
                    x=[*line.steps, *reversed(line.steps)],
                    y=[*line.high, *reversed(line.low)],
                    fill="toself",
                    fillcolor=_faint(arm.colour),
                    line={"width": 0},
                    mode="lines",
                    hoverinfo="skip",
                    showlegend=False,
                    legendgroup=arm.label,
                ),
                **self.place(index),
            )
        of = f"mean of {line.seeds} seeds" if line.seeds > 1 else "one seed"
        hover = f"%{{y:.4~f}} at %{{x:,}}<extra>{arm.label}, {of}</extra>"
        self.curve(index, line.steps, line.mean, arm, thin, hovertemplate=hover)

    def curve(
        self,
        index: int,
        x: Sequence[float | None],
        y: Sequence[float | None],
        arm: Arm,
        thin: bool = False,
        **style: Any,
    ) -> None:
        """A line without a band; `style` is more of it in Plotly's words."""
        first = arm.label not in self._named
        self._named.add(arm.label)
        usual = {
            "name": arm.label,
            "legendgroup": arm.label,
            "showlegend": first,
            "mode": "lines" if thin else "lines+markers",
            "line": {"color": arm.colour, "width": 1.75 if thin else 3, "dash": arm.dash},
            "marker": {"symbol": arm.marker, "size": 8},
        }
        self.figure.add_trace(go.Scatter(x=x, y=y, **{**usual, **style}), **self.place(index))

    def start(self, index: int, step: int | None, said: bool) -> None:
        """Mark the step at which the arms part from the trunk."""
        if step is not None:
            text = {"annotation_text": "arms part", "annotation_position": "bottom right"} if said else {}
            self.figure.add_vline(
                x=step, line={"color": INK, "width": 1, "dash": "dot"}, **text, **self.place(index)
            )

    def level(self, index: int, value: float, text: str) -> None:
        """A labelled horizontal line."""
        style = {"line": {"color": "#808080", "width": 1.5, "dash": "dot"}, "annotation_text": text}
        self.figure.add_hline(y=value, **style, annotation_position="bottom right", **self.place(index))


def _cells(used: int, rows: int, columns: int) -> list[list[dict[str, str] | None]]:
    """The grid as Plotly wants it, with nothing where the last row is shorter."""
    return [
        [{} if row * columns + column < used else None for column in range(columns)] for row in range(rows)
    ]


def _faint(colour: str) -> str:
    return f"rgba({','.join(str(channel) for channel in bytes.fromhex(colour[1:]))},{BAND})"
