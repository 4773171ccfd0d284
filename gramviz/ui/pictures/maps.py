"""Maps as picture files for print: what the page shows, and all maps of a run in the layout of the paper's Figure 1.

A patch is a flat square of the page's own colours, never smoothed. Knows panels and nothing of how they were made.
"""

from collections.abc import Mapping

from matplotlib.figure import Figure

from gramviz.errors import InputError
from gramviz.ui.curves import TRUNK, grouped, look, step_of
from gramviz.ui.exports.maps import MapSet
from gramviz.ui.exports.painted import Appearance, bar, panels, similarity_panel
from gramviz.ui.pictures.files import JOURNAL, check_kind, written
from gramviz.ui.pictures.sheet import EDGE, GAP, Box, Sheet

HEAD = 0.32  # inches: names above a map
MOST_ACROSS = 4
ROW_NAME = 0.85  # inches: what the names of the arms take


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
    side = (JOURNAL - 2 * EDGE - (across - 1) * GAP) / across
    # few maps are not blown up beyond what a row of three would have
    side = min(side, (JOURNAL - 2 * EDGE - 2 * GAP) / 3)
    tall = side * maps.picture.size[1] / maps.picture.size[0]
    lines = -(-(len(shown) + 1) // across)
    page = Sheet(HEAD * lines + (tall + GAP) * lines, bar(seen), maps.settings())

    def box(place: int) -> Box:
        row, column = divmod(place, across)
        return (EDGE + column * (side + GAP), (row + 1) * HEAD + row * (tall + GAP), side, tall)

    page.photograph(box(0), maps.picture.pixels, maps.grid, maps.query.named)
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
    side = (JOURNAL - 2 * EDGE - (across - 1) * GAP - names) / across
    tall = side * maps.picture.size[1] / maps.picture.size[0]
    lines = max(1, len(arms))
    seen = Appearance()
    page = Sheet(HEAD + (tall + GAP) * lines, bar(seen), maps.settings())

    def box(row: float, column: int) -> Box:
        shift = names if column >= left else 0.0
        return (EDGE + column * (side + GAP) + shift, HEAD + row * (tall + GAP), side, tall)

    middle = (lines - 1) / 2
    page.photograph(box(middle, 0), maps.picture.pixels, maps.grid, maps.query.named)
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
