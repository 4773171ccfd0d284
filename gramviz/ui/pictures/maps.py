"""Maps as picture files for print: what the page shows, and all maps of a run in the layout of the paper's Figure 1.

A patch is a flat square of the page's own colours, never smoothed. Knows panels and nothing of how they were made.
"""

from collections.abc import Mapping
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from gramviz.errors import InputError
from gramviz.ui.curves import TRUNK, grouped, look
from gramviz.ui.exports.maps import MapSet, step_of
from gramviz.ui.exports.painted import Appearance, Bar, Panel, Pixels, bar, panels, similarity_panel
from gramviz.ui.pictures.files import check_kind, written

WIDTH = 7.2  # inches: two columns of a journal (183 mm), at 300 dots an inch
DPI = 300
EDGE, GAP = 0.08, 0.1  # inches
HEAD, FOOT = 0.32, 0.36  # inches: names above a map; the scale beneath all
LINE = 0.125  # inches: a line of the caption
CAPTION, LETTERS = 6.5, 150  # points, and how many letters fit into a line of them
PHOTO_SIDE = 768  # pixels: what is shown of the photograph at most
MOST_ACROSS = 4
ROW_NAME = 0.85  # inches: what the names of the arms take
INK, SOFT = "#15181b", "#5a6068"

Box = tuple[float, float, float, float]  # left, bottom, width, height in inches


def maps_picture(
    maps: MapSet, seen: Appearance, common: Mapping[str, bytes] | None = None, kind: str = "png"
) -> bytes:
    """The photograph and the maps as the page shows them, with their settings beneath, as a file's bytes.

    kind: "png" (2,160 pixels wide), "svg" or "pdf"; 183 mm wide. common: colours in a common basis by checkpoint id.
    Raises InputError for another kind.
    """
    check_kind(kind)
    return written(maps_figure(maps, seen, common), kind)


def maps_figure(maps: MapSet, seen: Appearance, common: Mapping[str, bytes] | None = None) -> Figure:
    """As `maps_picture`, before it is written: the first axes hold the photograph, the next a map each."""
    shown = panels(maps, seen, common or {})
    across = min(MOST_ACROSS, len(shown) + 1)
    side = (WIDTH - 2 * EDGE - (across - 1) * GAP) / across
    # few maps are not blown up beyond what a row of three would have
    side = min(side, (WIDTH - 2 * EDGE - 2 * GAP) / 3)
    tall = side * maps.picture.size[1] / maps.picture.size[0]
    lines = -(-(len(shown) + 1) // across)
    page = _Page(HEAD * lines + (tall + GAP) * lines, bar(seen), maps.settings())

    def box(place: int) -> Box:
        row, column = divmod(place, across)
        return (EDGE + column * (side + GAP), (row + 1) * HEAD + row * (tall + GAP), side, tall)

    page.photograph(box(0), maps)
    page.head(
        box(0), "query", maps.query.describe(maps.grid) if len(maps.query.positive) < 2 else "marked", ""
    )
    for place, panel in enumerate(shown, 1):
        page.panel(box(place), panel)
        page.head(box(place), panel.title, panel.note, panel.colour)
    return page.figure


def sheet_picture(maps: MapSet, kind: str = "png") -> bytes:
    """All maps of one run as a contact sheet: the trunk, then a row an arm and a column a step, one fixed scale.

    Raises InputError for another kind, or where the maps are of several runs.
    """
    check_kind(kind)
    return written(sheet_figure(maps), kind)


def sheet_figure(maps: MapSet) -> Figure:
    """As `sheet_picture`, before it is written: the photograph, the trunk's maps by step, then each arm's by step."""
    if len(maps.runs) > 1:
        raise InputError(f"A contact sheet is of one run, not of {', '.join(maps.runs)}.")
    trunk = sorted(
        (view for view in maps.views if view.checkpoint.branch == TRUNK), key=lambda v: v.checkpoint.step
    )
    rest = [view for view in maps.views if view.checkpoint.branch != TRUNK]
    arms = list(dict.fromkeys(view.checkpoint.branch for view in rest))
    steps = sorted({view.checkpoint.step for view in rest})
    cells = {(view.checkpoint.branch, view.checkpoint.step): view for view in rest}
    left = 1 + len(trunk)
    names = ROW_NAME if arms else 0.0
    across = left + len(steps)
    side = (WIDTH - 2 * EDGE - (across - 1) * GAP - names) / across
    tall = side * maps.picture.size[1] / maps.picture.size[0]
    lines = max(1, len(arms))
    seen = Appearance()
    page = _Page(HEAD + (tall + GAP) * lines, bar(seen), maps.settings())

    def box(row: float, column: int) -> Box:
        shift = names if column >= left else 0.0
        return (EDGE + column * (side + GAP) + shift, HEAD + row * (tall + GAP), side, tall)

    middle = (lines - 1) / 2
    page.photograph(box(middle, 0), maps)
    for place, view in enumerate(trunk, 1):
        page.panel(box(middle, place), similarity_panel(maps, view, seen.scale))
        page.middle(box(middle, place), step_of(view.checkpoint))
    for row, arm in enumerate(arms):
        first = box(row, left)
        colour = look(arm).colour
        page.beside(first, look(arm).label, colour)
        if trunk:
            page.branch(box(middle, left - 1), first, colour)
        for column, step in enumerate(steps, left):
            if row == 0:
                page.middle(box(0, column), f"step {grouped(step)}")
            if (arm, step) in cells:
                page.panel(box(row, column), similarity_panel(maps, cells[arm, step], seen.scale))
            else:
                page.missing(box(row, column))
    return page.figure


class _Page:
    """A white sheet that is laid out in inches from its upper left corner, with a scale and a caption at its foot."""

    def __init__(self, body: float, scale: Bar | None, caption: str) -> None:
        lines = wrap(caption, LETTERS, break_on_hyphens=False)
        foot = (FOOT if scale else 0.0) + LINE * len(lines)
        self.height = EDGE + body + foot + EDGE
        self.figure = Figure(figsize=(WIDTH, self.height), dpi=DPI, facecolor="white")
        for index, line in enumerate(lines):
            self._write(EDGE, EDGE + body + foot - LINE * (len(lines) - index - 1), line, CAPTION, SOFT)
        self._foot = EDGE + body
        if scale:
            self._bar(scale)

    def axes(self, box: Box) -> Axes:
        left, top, width, height = box
        place = (
            left / WIDTH,
            1 - (EDGE + top + height) / self.height,
            width / WIDTH,
            height / self.height,
        )
        made: Axes = self.figure.add_axes(place)
        made.set_axis_off()
        return made

    def photograph(self, box: Box, maps: MapSet) -> None:
        axes = self.axes(box)
        rows, columns = maps.grid
        extent = (0, columns, rows, 0)
        axes.imshow(small(maps.picture.pixels), extent=extent, aspect="auto", interpolation="antialiased")
        for index in (*maps.query.positive, *maps.query.negative):
            if index == rows * columns:
                continue
            corner = (index % columns, index // columns)
            for colour, wide in (("black", 1.8), ("white", 0.8)):
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=colour, linewidth=wide))
        axes.set(xlim=(0, columns), ylim=(rows, 0))

    def panel(self, box: Box, panel: Panel) -> None:
        self.axes(box).imshow(panel.pixels, aspect="auto", interpolation="none")

    def missing(self, box: Box) -> None:
        axes = self.axes(box)
        axes.text(0.5, 0.5, "not saved", ha="center", va="center", fontsize=CAPTION, color=SOFT)

    def head(self, box: Box, title: str, note: str, colour: str) -> None:
        left, top, _, _ = box
        self._write(left, EDGE + top - 0.15, title, 7, colour or INK, weight="bold")
        self._write(left, EDGE + top - 0.03, note, CAPTION, SOFT)

    def middle(self, box: Box, text: str) -> None:
        left, top, width, _ = box
        self._write(left + width / 2, EDGE + top - 0.04, text, 7, INK, ha="center")

    def beside(self, box: Box, text: str, colour: str) -> None:
        left, top, _, height = box
        base = EDGE + top + height / 2 - 0.03
        self._write(left - GAP, base, text, 7, colour, ha="right", weight="bold")

    def branch(self, start: Box, end: Box, colour: str) -> None:
        """From the trunk's last map to the row of an arm, beneath the arm's name."""
        from_x, from_y = start[0] + start[2] + 0.03, EDGE + start[1] + start[3] / 2
        to_x, to_y = end[0] - 0.03, EDGE + end[1] + end[3] / 2 + 0.02
        turn = from_x + 0.05
        line = np.array([(from_x, from_y), (turn, from_y), (turn, to_y), (to_x, to_y)])
        line = line / (WIDTH, self.height)
        self.figure.add_artist(Line2D(line[:, 0], 1 - line[:, 1], color=colour, linewidth=0.9))

    def _bar(self, scale: Bar) -> None:
        width, left = 2.4, WIDTH - EDGE - 2.4
        axes = self.axes((left, self._foot + 0.03 - EDGE, width, 0.07))
        axes.imshow(scale.table[None], aspect="auto", interpolation="none")
        self._write(left - GAP, self._foot + 0.1, scale.label, CAPTION, INK, ha="right")
        for index, tick in enumerate(scale.ticks):
            share = index / (len(scale.ticks) - 1)
            align = "left" if index == 0 else "right" if share == 1 else "center"
            self._write(left + width * share, self._foot + 0.21, tick, CAPTION, INK, ha=align)

    def _write(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        colour: str,
        *,
        ha: str = "left",
        weight: str = "normal",
    ) -> None:
        self.figure.text(
            x / WIDTH, 1 - y / self.height, text, fontsize=size, color=colour, ha=ha, weight=weight
        )


def small(pixels: Pixels) -> Pixels:
    """The photograph with at most PHOTO_SIDE pixels a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)
