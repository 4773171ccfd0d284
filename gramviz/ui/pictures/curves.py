"""The curves of a run as a picture file. Knows rows of measurements; nothing of pages."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from gramviz.errors import InputError
from gramviz.ui import curves
from gramviz.ui.curves import Line, Row, measure
from gramviz.ui.pictures.files import (
    captioned,
    check_kind,
    line_style,
    panelled,
    titled,
    with_legend,
    written,
)
from gramviz.ui.theme import CONTROLS, Arm

CARD = ("near_auc", "knn", "scenes_near_auc", "cls_alignment", "top1_energy", "heldout_ibot")


def curves_picture(
    rows: Sequence[Row], names: Sequence[str] = CARD, kind: str = "png", caption: str = ""
) -> bytes:
    """Small multiples of some measures along every arm, bands from the lowest to the highest seed, as a file's bytes.

    kind: "png" (1,950 pixels wide), "svg" or "pdf". caption: stands beneath. Measures that no row has are left
    out. Raises InputError for another kind, for an unknown measure, or where none is left.
    """
    check_kind(kind)
    for name in names:
        if not curves.is_measure(name):
            raise InputError(f"There is no measure {name!r}; there are {', '.join(curves.MEASURES)}.")
    there = [name for name in names if any(name in row for row in rows)]
    if not there:
        raise InputError(f"No row has any of the measures {', '.join(names)}.")
    columns = min(3, len(there))
    lines = -(-len(there) // columns)
    figure = panelled(lines)
    for index, name in enumerate(there):
        _panel(figure.add_subplot(lines, columns, index + 1), rows, name)
    with_legend(figure, 5)
    captioned(figure, caption)
    return written(figure, kind)


def _panel(axes: Axes, rows: Sequence[Row], name: str) -> None:
    known = measure(name)
    titled(axes, known.label, "step", known.unit)
    for arm in (*curves.arms(rows)[::-1], curves.TRUNK):
        if line := curves.own_line(rows, arm, name):
            _draw(axes, line, curves.look(arm), thin=arm in CONTROLS)
    if (start := curves.fork(rows)) is not None:
        axes.axvline(start, color="#15181b", linewidth=0.8, linestyle=":")
    for label, value in curves.baselines(rows, name).items():
        text = label if label == curves.CHANCE else f"{label} alone"
        if curves.far_off(rows, name, value):
            axes.set_title(f"{text} {value:.2f}", loc="right", fontsize=9)
            continue
        axes.axhline(value, color="#808080", linewidth=0.8, linestyle=":")
        axes.annotate(text, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom")


def _draw(axes: Axes, line: Line, arm: Arm, *, thin: bool) -> None:
    if line.seeds > 1:
        axes.fill_between(line.steps, line.low, line.high, color=arm.colour, alpha=0.16, linewidth=0)
    style = line_style(arm)
    axes.plot(
        line.steps,
        line.mean,
        **({**style, "marker": ""} if thin else style),
        linewidth=1.1 if thin else 2.2,
        markersize=5,
    )
