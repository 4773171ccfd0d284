"""The curves of a run as Plotly figures: small multiples, one line an arm, bands over the seeds."""

from collections.abc import Sequence

import plotly.graph_objects as go

from gramviz.ui import curves
from gramviz.ui.curves import Line, Row, measure
from gramviz.ui.figures.panels import Panels
from gramviz.ui.story import MAIN, Chapter
from gramviz.ui.theme import CONTROLS, Arm

CROSSING_PANEL = 360  # pixels
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


def _multiples(rows: Sequence[Row], names: Sequence[str], columns: int) -> go.Figure:
    """A panel a measure: the trunk, then every arm from where it parts; controls thin."""
    panels = Panels([_title(rows, name) for name in names], columns, "step")
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
    panels = Panels(
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
    panels = Panels(
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
