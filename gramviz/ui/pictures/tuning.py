"""A fine-tune as a picture file: the photograph and the map of each arm, and beneath them its curves."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramviz.ui.curves import grouped
from gramviz.ui.exports.painted import Appearance, Panel, Pixels, bar, coloured
from gramviz.ui.exports.tuned import CURVES, SCREENS, Points, Tuned
from gramviz.ui.pictures.files import JOURNAL, check_kind, titled, written
from gramviz.ui.pictures.sheet import CAPTION, EDGE, GAP, Box, Sheet

HEAD, CHART, LABELS = 0.32, 1.7, 0.45  # inches: names above a map; a chart; what its axes and title take
DASHES = {"teacher": ":", "start": "-.", "tuned": "-", "control": "--"}


def tuned_picture(tuned: Tuned, photograph: Pixels, caption: str, kind: str = "png") -> bytes:
    """Maps on one fixed scale, 0 to 1, and the curves, as a file's bytes. caption: stands behind the settings.

    kind: "png" (2,160 pixels wide), "svg" or "pdf". Raises InputError for another kind.
    """
    check_kind(kind)
    return written(tuned_figure(tuned, photograph, caption), kind)


def tuned_figure(tuned: Tuned, photograph: Pixels, caption: str) -> Figure:
    """As `tuned_picture`, before it is written: photograph, maps in the order of SCREENS, then the charts."""
    scale = bar(Appearance())
    assert scale is not None, "similarity always has a scale"
    across = len(tuned.screens) + 1
    side = (JOURNAL - 2 * EDGE - (across - 1) * GAP) / across
    tall = side * photograph.shape[0] / photograph.shape[1]
    charts = [name for name in CURVES if any(tuned.curves.get(name, {}).values())]
    below = HEAD + tall + GAP
    sheet = Sheet(below + (CHART + LABELS if charts else 0), scale, f"{tuned.settings()} {caption}".strip())
    boxes: list[Box] = [(EDGE + place * (side + GAP), HEAD, side, tall) for place in range(across)]
    sheet.photograph(boxes[0], photograph, tuned.grid, (tuned.pinned,))
    row, column = divmod(tuned.pinned, tuned.grid[1])
    sheet.head(boxes[0], "watched", f"the patch in row {row}, column {column}", "")
    for box, screen in zip(boxes[1:], tuned.screens, strict=True):
        label, colour = SCREENS[screen.name]
        note = "what it is anchored to" if screen.name == "teacher" else f"step {grouped(screen.step)}"
        sheet.panel(box, Panel(label, note, colour, coloured(screen.cosines, 0, 1, scale.table)))
        sheet.head(box, label, note, colour)
    wide = (JOURNAL - 2 * EDGE) / max(1, len(charts))
    for place, name in enumerate(charts):
        axes = sheet.axes((EDGE + place * wide + 0.5, below + 0.2, wide - 0.6, CHART - 0.1))
        _draw(axes, CURVES[name], tuned.curves[name])
    return sheet.figure


def _draw(axes: Axes, title: str, lines: Mapping[str, Points]) -> None:
    axes.set_axis_on()
    titled(axes, title, "step", "", CAPTION)
    for name, points in lines.items():
        label, colour = SCREENS[name]
        x, y = zip(*points, strict=True) if points else ((), ())
        axes.plot(x, y, DASHES[name], color=colour, linewidth=1.6, label=label)
    if len(lines) > 1:
        axes.legend(fontsize=CAPTION, frameon=False)
