"""Curves as picture files: PNG, SVG or PDF for model cards and papers, without a browser.

The page draws with Plotly, which needs a browser to write a file; here Matplotlib does. Knows rows of measurements;
nothing of pages.
"""

import io
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramviz.errors import InputError
from gramviz.ui import curves
from gramviz.ui.curves import Line, Row, measure
from gramviz.ui.theme import CONTROLS, Arm

CARD = ("near_auc", "knn", "scenes_near_auc", "cls_alignment", "top1_energy", "heldout_ibot")
FORMATS = ("png", "svg", "pdf")
DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^"}
FAINT = "#d5d9dd"


def curves_picture(rows: Sequence[Row], names: Sequence[str] = CARD, kind: str = "png") -> bytes:
    """Small multiples of some measures along every arm, bands from the lowest to the highest seed, as a file's bytes.

    kind: "png" (1,950 pixels wide), "svg" or "pdf". Measures that no row has are left out. Raises InputError for
    another kind, for an unknown measure, or where none is left.
    """
    if kind not in FORMATS:
        raise InputError(f"A picture of kind {kind!r} cannot be written; possible are {', '.join(FORMATS)}.")
    for name in names:
        if not curves.is_measure(name):
            raise InputError(f"There is no measure {name!r}; there are {', '.join(curves.MEASURES)}.")
    there = [name for name in names if any(name in row for row in rows)]
    if not there:
        raise InputError(f"No row has any of the measures {', '.join(names)}.")
    columns = min(3, len(there))
    lines = -(-len(there) // columns)
    figure = Figure(figsize=(13, 3.4 * lines + 0.5), dpi=150, layout="constrained")
    for index, name in enumerate(there):
        _panel(figure.add_subplot(lines, columns, index + 1), rows, name)
    # one legend for all, from every panel: an arm may lack a measure
    entries = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    first_drawn_last = dict(reversed(entries.items()))
    figure.legend(
        first_drawn_last.values(), first_drawn_last, loc="outside upper left", ncols=5, frameon=False
    )
    target = io.BytesIO()
    # no date and no random names inside: the same rows give the same bytes
    fixed = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "gramviz"}):
        figure.savefig(target, format=kind, metadata=fixed[kind])
    return target.getvalue()


def _panel(axes: Axes, rows: Sequence[Row], name: str) -> None:
    known = measure(name)
    axes.set_title(known.label, loc="left", fontsize=12)
    axes.set_xlabel("step")
    axes.set_ylabel(known.unit)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
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
    axes.plot(
        line.steps,
        line.mean,
        color=arm.colour,
        linestyle=DASHES.get(arm.dash, "-"),
        linewidth=1.1 if thin else 2.2,
        marker="" if thin else MARKERS.get(arm.marker, "o"),
        markersize=5,
        label=arm.label,
    )
