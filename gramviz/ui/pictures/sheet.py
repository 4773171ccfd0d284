"""A white sheet for print on which maps and photographs are laid out in inches. Knows nothing of what they are of."""

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from gramviz.ui.exports.painted import Bar, Panel, Pixels
from gramviz.ui.pictures.files import INK, JOURNAL, SOFT

DPI = 300
EDGE, GAP = 0.08, 0.1  # inches
FOOT = 0.36  # inches: the scale beneath all
LINE = 0.125  # inches: a line of the caption
CAPTION, LETTERS = 6.5, 150  # points, and how many letters fit into a line of them
PHOTO_SIDE = 768  # pixels: what is shown of a photograph at most

Box = tuple[float, float, float, float]  # left, top, width, height in inches


class Sheet:
    """A white sheet that is laid out in inches from its upper left corner, with a scale and a caption at its foot."""

    def __init__(self, body: float, scale: Bar | None, caption: str) -> None:
        """body: height in inches of what stands above the scale."""
        lines = wrap(caption, LETTERS, break_on_hyphens=False)
        foot = (FOOT if scale else 0.0) + LINE * len(lines)
        self.height = EDGE + body + foot + EDGE
        self.figure = Figure(figsize=(JOURNAL, self.height), dpi=DPI, facecolor="white")
        for index, line in enumerate(lines):
            self.write(EDGE, EDGE + body + foot - LINE * (len(lines) - index - 1), line, CAPTION, SOFT)
        self._foot = EDGE + body
        if scale:
            self._bar(scale)

    def axes(self, box: Box) -> Axes:
        """Axes in a box, without lines and ticks."""
        left, top, width, height = box
        place = (
            left / JOURNAL,
            1 - (EDGE + top + height) / self.height,
            width / JOURNAL,
            height / self.height,
        )
        made: Axes = self.figure.add_axes(place)
        made.set_axis_off()
        return made

    def photograph(self, box: Box, pixels: Pixels, grid: tuple[int, int], marked: Sequence[int]) -> None:
        """A photograph with frames around some of its patches; those that are none of them have no frame."""
        axes = self.axes(box)
        rows, columns = grid
        extent = (0, columns, rows, 0)
        axes.imshow(small(pixels), extent=extent, aspect="auto", interpolation="antialiased")
        for index in marked:
            if index == rows * columns:
                continue
            corner = (index % columns, index // columns)
            for colour, wide in (("black", 1.8), ("white", 0.8)):
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=colour, linewidth=wide))
        axes.set(xlim=(0, columns), ylim=(rows, 0))

    def panel(self, box: Box, panel: Panel) -> None:
        """A map, a flat square a patch."""
        self.axes(box).imshow(panel.pixels, aspect="auto", interpolation="none")

    def missing(self, box: Box) -> None:
        """In place of a map, that there is none."""
        axes = self.axes(box)
        axes.text(0.5, 0.5, "not saved", ha="center", va="center", fontsize=CAPTION, color=SOFT)

    def head(self, box: Box, title: str, note: str, colour: str) -> None:
        """Two lines above a map."""
        left, top, _, _ = box
        self.write(left, EDGE + top - 0.15, title, 7, colour or INK, weight="bold")
        self.write(left, EDGE + top - 0.03, note, CAPTION, SOFT)

    def middle(self, box: Box, text: str) -> None:
        """One line above the middle of a map."""
        left, top, width, _ = box
        self.write(left + width / 2, EDGE + top - 0.04, text, 7, INK, ha="center")

    def beside(self, box: Box, text: str, colour: str) -> None:
        """A name on the left of a map."""
        left, top, _, height = box
        base = EDGE + top + height / 2 - 0.03
        self.write(left - GAP, base, text, 7, colour, ha="right", weight="bold")

    def branch(self, start: Box, end: Box, colour: str) -> None:
        """From the trunk's last map to the row of an arm, beneath the arm's name."""
        from_x, from_y = start[0] + start[2] + 0.03, EDGE + start[1] + start[3] / 2
        to_x, to_y = end[0] - 0.03, EDGE + end[1] + end[3] / 2 + 0.02
        turn = from_x + 0.05
        line = np.array([(from_x, from_y), (turn, from_y), (turn, to_y), (to_x, to_y)])
        line = line / (JOURNAL, self.height)
        self.figure.add_artist(Line2D(line[:, 0], 1 - line[:, 1], color=colour, linewidth=0.9))

    def _bar(self, scale: Bar) -> None:
        width, left = 2.4, JOURNAL - EDGE - 2.4
        axes = self.axes((left, self._foot + 0.03 - EDGE, width, 0.07))
        axes.imshow(scale.table[None], aspect="auto", interpolation="none")
        self.write(left - GAP, self._foot + 0.1, scale.label, CAPTION, INK, ha="right")
        for index, tick in enumerate(scale.ticks):
            share = index / (len(scale.ticks) - 1)
            align = "left" if index == 0 else "right" if share == 1 else "center"
            self.write(left + width * share, self._foot + 0.21, tick, CAPTION, INK, ha=align)

    def write(
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
        """Text whose base line is so many inches below the upper edge."""
        self.figure.text(
            x / JOURNAL, 1 - y / self.height, text, fontsize=size, color=colour, ha=ha, weight=weight
        )


def small(pixels: Pixels) -> Pixels:
    """The photograph with at most PHOTO_SIDE pixels a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)
