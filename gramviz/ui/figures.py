"""The curves of a run as Plotly figures: small multiples, one line an arm, bands over the seeds.

Told apart without colour, too: every arm has dashes and marks of its own. Nothing here fetches anything. Colours of
text and grid are those of a white page; the page's style sheet gives them their dark ones.
"""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gramviz.ui import curves
from gramviz.ui.curves import Line, Row, measure
from gramviz.ui.story import MAIN, Chapter
from gramviz.ui.theme import CONTROLS, SYSTEM_FONTS, Arm

# pixels: height of a panel and of one of the crossing, between rows, above the first row, below the last
PANEL, CROSSING_PANEL, GAP, HEAD, FOOT = 240, 360, 82, 78, 58
LEGEND_LINE = 21
BAND = 0.16  # opacity
INK, GRID = "#15181b", "#d5d9dd"
# In the crossing a line is a measure, not an arm.
CROSSING = {
    "knn": Arm("k-NN of CLS (global)", "#A0459A", "solid", "circle"),
    "near_auc": Arm("near AUC (dense)", "#8C7A00", "dash", "square"),
    "auc": Arm("AUC, all pairs (dense)", "#8C7A00", "dot", "diamond"),
}


def figure(rows: Sequence[Row], chapter: Chapter, columns: int) -> go.Figure | None:
    """The figure of a chapter, in at most `columns` columns; None where none of its measures is in the rows."""
    if chapter.key == "crossing":
        return _crossing(rows, columns)
    if chapter.key == "locality":
        return _locality(rows, columns)
    names = [name for name in chapter.names(rows) if any(name in row for row in rows)]
    return _multiples(rows, names, columns) if names else None


class _Panels:
    """A grid of panels that share one legend."""

    def __init__(
        self, titles: Sequence[str], columns: int, axis: str, shared: bool = False, panel: int = PANEL
    ) -> None:
        self.count = -(-len(titles) // columns)
        self.columns = -(-len(titles) // self.count)  # rows of one length, as far as that goes
        self._inner = self.count * panel + (self.count - 1) * GAP
        self.figure = make_subplots(
            rows=self.count,
            cols=self.columns,
            specs=_cells(len(titles), self.count, self.columns),
            subplot_titles=list(titles),
            shared_yaxes="all" if shared else False,
            vertical_spacing=GAP / self._inner,
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

    def finished(self) -> go.Figure:
        """The figure with the room that its legend takes: a line, or one for each entry where it is narrow."""
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

    def draw(self, index: int, line: Line, arm: Arm, thin: bool = False) -> None:
        """A line with its band; the legend names each arm once, and hides all its lines together."""
        first = arm.label not in self._named
        self._named.add(arm.label)
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
        self.figure.add_trace(
            go.Scatter(
                x=line.steps,
                y=line.mean,
                name=arm.label,
                legendgroup=arm.label,
                showlegend=first,
                mode="lines" if thin else "lines+markers",
                line={"color": arm.colour, "width": 1.75 if thin else 3, "dash": arm.dash},
                marker={"symbol": arm.marker, "size": 8},
                hovertemplate=f"%{{y:.4~f}} at %{{x:,}}<extra>{arm.label}, {of}</extra>",
            ),
            **self.place(index),
        )

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


def _multiples(rows: Sequence[Row], names: Sequence[str], columns: int) -> go.Figure:
    """A panel a measure: the trunk, then every arm from where it parts; controls thin."""
    panels = _Panels([_title(rows, name) for name in names], columns, "step")
    for index, name in enumerate(names):
        panels.unit(index, measure(name).unit)
        for arm in (curves.TRUNK, *reversed(curves.arms(rows))):
            if line := curves.own_line(rows, arm, name):
                panels.draw(index, line, curves.look(arm), thin=arm in CONTROLS)
        panels.start(index, curves.fork(rows), said=index == 0)
        for label, value in curves.baselines(rows, name).items():
            if label != curves.CHANCE and not curves.far_off(rows, name, value):
                panels.level(index, value, f"{label} alone")
    return panels.finished()


def _title(rows: Sequence[Row], name: str) -> str:
    """Name of a measure, with what guessing gets where that was had, and below it levels that lie far off."""
    known = dict(curves.baselines(rows, name))
    chance = known.pop(curves.CHANCE, None)
    title = measure(name).label + ("" if chance is None else f" (chance {chance:.2f})")
    far = [
        f"{label} alone {value:.2f}" for label, value in known.items() if curves.far_off(rows, name, value)
    ]
    return title + (f'<br><span style="font-size:13px">{", ".join(far)}</span>' if far else "")


def _crossing(rows: Sequence[Row], columns: int) -> go.Figure | None:
    """A panel an arm: global and dense measures together, as their change since the fork."""
    start = curves.fork(rows)
    drawn = {arm: _since(rows, arm, start) for arm in MAIN if start is not None}
    drawn = {arm: lines for arm, lines in drawn.items() if lines}
    if not drawn:
        return None
    panels = _Panels(
        [curves.look(arm).label for arm in drawn], columns, "step", shared=True, panel=CROSSING_PANEL
    )
    for index, lines in enumerate(drawn.values()):
        panels.unit(index, "change since the fork, points")
        panels.level(index, 0.0, "")
        for name, line in reversed(lines.items()):
            panels.draw(index, line, CROSSING[name])
        panels.start(index, start, said=index == 0)
    return panels.finished()


def _since(rows: Sequence[Row], arm: str, start: int) -> dict[str, Line]:
    """Lines of the crossing's measures along an arm: each seed less its value at the fork, in hundredths."""
    lines = {}
    for name in CROSSING:
        changes = {
            seed: {step: 100 * (value - each[start]) for step, value in each.items()}
            for seed, each in curves.since_fork(rows, arm, name).items()
        }
        if line := curves.line(changes):
            lines[name] = line
    return lines


def _locality(rows: Sequence[Row], columns: int) -> go.Figure | None:
    """Mean cosine against distance, at the fork, halfway and at the end."""
    steps = _three_steps(rows)
    if not steps:
        return None
    panels = _Panels(
        [f"step {curves.grouped(step)}" for step in steps],
        columns,
        "distance on the grid, patches",
        shared=True,
    )
    for index, step in enumerate(steps):
        panels.unit(index, "mean cosine")
        for arm in (curves.TRUNK, *reversed(MAIN)):
            found = [row for row in rows if row["arm"] == arm and row["step"] == step and "locality" in row]
            by_seed = {
                row["seed"]: {d: v for d, v in enumerate(row["locality"], 1) if v is not None}
                for row in found
            }
            if line := curves.line(by_seed):
                panels.draw(index, line, curves.look(arm))
    return panels.finished()


def _three_steps(rows: Sequence[Row]) -> list[int]:
    steps = sorted({row["step"] for row in rows if "locality" in row})
    start = curves.fork(rows)
    later = [step for step in steps if start is None or step > start]
    first = [step for step in steps if step == start] or steps[:1]
    if not later:
        return first
    middle = min(later, key=lambda step: abs(step - later[-1] / 2))
    return list(dict.fromkeys([*first, middle, later[-1]]))
