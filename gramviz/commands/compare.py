"""`gramviz compare`: similarity maps of one picture by some checkpoints, as numbers, pictures, a film or a page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gramviz.commands.options import Commands, add_engine, bar, engine
from gramviz.errors import InputError

if TYPE_CHECKING:
    from gramviz.ui.exports.maps import MapSet

FILES = "csv, json, npz (numbers), png, svg, pdf (pictures), gif, webp (a film of a run), html (a page that hovers)"


def add(commands: Commands) -> None:
    """The command and its options."""
    compare = commands.add_parser(
        "compare",
        help="similarity maps of a picture by some checkpoints",
        description="Cosine of one patch, or of CLS, to every patch of an image, by some checkpoints: what the page "
        "shows. Prints the measures of each, or writes files.",
    )
    compare.add_argument("image", type=Path, help="an image file")
    compare.add_argument(
        "--checkpoint",
        action="append",
        metavar="ID",
        help="may be repeated (default: those of a new visitor)",
    )
    query = compare.add_mutually_exclusive_group()
    query.add_argument("--at", metavar="ROW,COLUMN", help="the patch, from 0,0 (default: the middle)")
    query.add_argument("--cls", action="store_true", help="the CLS token in place of a patch")
    compare.add_argument(
        "--patches", type=int, default=28, help="patches on the long side, 4 to 64 (%(default)s)"
    )
    compare.add_argument(
        "--layer", type=int, default=-1, help="block after which features are taken, from 0; -1 is the last"
    )
    compare.add_argument(
        "--out", type=Path, action="append", metavar="FILE", help=f"may be repeated: {FILES}"
    )
    compare.add_argument(
        "--sheet", action="store_true", help="draw pictures in the layout of the paper's Figure 1"
    )
    compare.add_argument("--json", action="store_true", help="print what a .json file would hold")
    add_engine(compare)
    compare.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print a table or JSON, and write files. Raises InputError for a patch or a kind of file that there is not."""
    from gramviz.checkpoints.files import write_atomic
    from gramviz.serving.views import in_order
    from gramviz.ui.exports.maps import MapSet, Query
    from gramviz.ui.exports.tables import as_json
    from gramviz.vit.images import grid_for, read_picture

    picture = read_picture(options.image)
    grid = grid_for(picture.size, options.patches)
    query = Query((grid[0] * grid[1],) if options.cls else (_patch(options.at, grid),)).checked(grid)
    asked = engine(options)
    try:
        ids = list(dict.fromkeys(options.checkpoint or asked.default_ids()))
        found = asked.compare(picture, ids, options.patches, layer=options.layer)
        views = in_order(bar(found, len(ids), "checkpoint"), ids)
    finally:
        asked.close()
    maps = MapSet(picture, options.image.name, tuple(views), query, options.layer)
    files = [
        (path, _content(maps, path.suffix.removeprefix("."), sheet=options.sheet))
        for path in options.out or ()
    ]
    for path, content in files:
        write_atomic(path, content)
    if options.json:
        print(as_json(maps).decode())
    elif not files:
        print(_table(maps))


def _patch(text: str | None, grid: tuple[int, int]) -> int:
    """The patch's number, row by row."""
    rows, columns = grid
    if text is None:
        return rows // 2 * columns + columns // 2
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{text[:40]!r} is no patch; write its row and column, such as 5,7.") from error
    if not (0 <= row < rows and 0 <= column < columns):
        raise InputError(
            f"There is no patch {row},{column}; rows go to {rows - 1}, columns to {columns - 1}."
        )
    return row * columns + column


def _content(maps: MapSet, kind: str, *, sheet: bool) -> bytes:
    """The bytes of a file of that kind."""
    from gramviz.ui.exports import tables
    from gramviz.ui.exports.page import as_html
    from gramviz.ui.exports.painted import Appearance
    from gramviz.ui.pictures.files import FORMATS
    from gramviz.ui.pictures.film import FORMATS as MOVING
    from gramviz.ui.pictures.film import film
    from gramviz.ui.pictures.maps import maps_picture, sheet_picture

    if kind in FORMATS:
        return sheet_picture(maps, kind) if sheet else maps_picture(maps, Appearance(), kind=kind)
    if kind in MOVING:
        return film(maps, kind)
    if kind == "html":
        return as_html(maps, Appearance())
    writers = {"csv": tables.as_csv, "json": tables.as_json, "npz": tables.as_npz}
    if kind not in writers:
        raise InputError(f"A file of kind {kind!r} cannot be written; possible are {FILES}.")
    return writers[kind](maps)


def _table(maps: MapSet) -> str:
    """The measures of each checkpoint, a line each."""
    names = list(maps.views[0].measures)
    width = max(len(view.checkpoint.id) for view in maps.views)
    head = " ".join([f"{'checkpoint':{width}}", *(f"{name:>16}" for name in names), f"{'mean cosine':>16}"])
    lines = [
        " ".join(
            [
                f"{view.checkpoint.id:{width}}",
                *(f"{view.measures[name]:16.4f}" for name in names),
                f"{maps.cosines(view).mean():16.4f}",
            ]
        )
        for view in maps.views
    ]
    return "\n".join([f"Query: {maps.query.describe(maps.grid)}.", head, *lines])
