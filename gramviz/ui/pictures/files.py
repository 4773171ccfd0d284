"""Figures in one style, as files: the same figure gives the same bytes. Knows nothing of what is drawn."""

import io
from textwrap import wrap
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramviz.errors import InputError
from gramviz.ui.theme import Arm

FORMATS = ("png", "svg", "pdf")
DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^"}
INK, SOFT, FAINT = "#15181b", "#5a6068", "#d5d9dd"
JOURNAL = 7.2  # inches: two columns of a journal (183 mm)
CAPTION_LETTERS = 200  # that fit into a line beneath
PANEL, LEGEND = 3.4, 0.5  # inches: height of a line of panels, and of a line of the legend


def check_kind(kind: str) -> None:
    """Raises InputError for a format that cannot be written."""
    if kind not in FORMATS:
        raise InputError(f"A picture of kind {kind!r} cannot be written; possible are {', '.join(FORMATS)}.")


def panelled(lines: int) -> Figure:
    """An empty figure for lines of panels, 1,950 pixels wide as a PNG."""
    return Figure(figsize=(13, PANEL * lines + LEGEND), dpi=150, layout="constrained")


def titled(axes: Axes, title: str, across: str, unit: str, small: float | None = None) -> None:
    """Name a panel and its axes, and give it the grid that all have. small: points of its letters on a page as
    wide as JOURNAL; without it they are as large as `panelled` wants them.
    """
    axes.set_title(title, loc="left", fontsize=small or 12, weight="bold" if small else "normal")
    axes.set_xlabel(across, fontsize=small)
    axes.set_ylabel(unit, fontsize=small)
    if small:
        axes.tick_params(labelsize=small)
    axes.grid(color=FAINT, linewidth=0.6 if small else 0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def line_style(arm: Arm) -> dict[str, Any]:
    """Colour, dashes and mark of an arm in Matplotlib's words."""
    return {
        "color": arm.colour,
        "linestyle": DASHES.get(arm.dash, "-"),
        "marker": MARKERS.get(arm.marker, "o"),
        "label": arm.label,
    }


def with_legend(figure: Figure, columns: int) -> None:
    """One legend above all panels, since a line may be missing in any of them; what was drawn first stands last."""
    entries = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    first_drawn_last = dict(reversed(entries.items()))
    figure.legend(
        first_drawn_last.values(), first_drawn_last, loc="outside upper left", ncols=columns, frameon=False
    )


def captioned(figure: Figure, text: str) -> None:
    """Small print beneath all panels; nothing for no text."""
    if text:
        lines = "\n".join(wrap(text, CAPTION_LETTERS, break_on_hyphens=False))
        figure.supxlabel(lines, x=0.01, ha="left", fontsize=9, color=SOFT)


def written(figure: Figure, kind: str) -> bytes:
    """The figure as a file of that kind, without a date or random names inside."""
    target = io.BytesIO()
    fixed = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "gramviz"}):
        figure.savefig(target, format=kind, metadata=fixed[kind])
    return target.getvalue()
