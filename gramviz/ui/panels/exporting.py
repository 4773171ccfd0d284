"""The export menu: turns a wish into calls of the engine, and its answers into a file for the visitor to save.

Nothing of a visitor is kept here but the file that was made, for as long as the page's files are.
"""

import io
import logging
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import GramvizError, InputError
from gramviz.serving.engine import Engine
from gramviz.serving.views import in_order
from gramviz.ui.cards import STATEMENTS
from gramviz.ui.chooser import Request
from gramviz.ui.exporter import Wish, failed_value, made_value
from gramviz.ui.exports import tables
from gramviz.ui.exports.maps import OWN, MapSet, layer_words
from gramviz.ui.exports.page import as_html
from gramviz.ui.exports.tuned import Tuned
from gramviz.ui.files import GONE, Files
from gramviz.ui.panels.explore import UNEXPECTED, visitor_of
from gramviz.ui.pictures.curves import curves_picture
from gramviz.ui.pictures.film import film
from gramviz.ui.pictures.lab import finding_picture, settings_words
from gramviz.ui.pictures.maps import maps_picture, sheet_picture
from gramviz.ui.pictures.spectra import spectra_picture
from gramviz.ui.pictures.tuning import tuned_picture
from gramviz.ui.spectra import first_ids
from gramviz.vit.images import Picture, grid_for

AT_ONCE = 4  # files that are made side by side; each takes a second or less of one core

log = logging.getLogger(__name__)


def connect_export(view: gr.HTML, engine: Engine, files: Files, choice: gr.HTML) -> None:
    """Let `view`, the menu, export what `choice`, the chooser, has."""

    def export(value: Any, event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        return exported(engine, value, event._data, files, visitor_of(request))

    view.input(
        export,
        inputs=choice,
        outputs=view,
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_limit=AT_ONCE,
        api_visibility="private",
    )


def exported(engine: Engine, value: Any, data: Any, files: Files, visitor: str = "") -> dict[str, Any]:
    """The menu's value for one wish. Never raises: what cannot be made is told in one sentence.

    value: the chooser's; data: what came with the event.
    """
    token = data.get("token", 0) if isinstance(data, dict) else 0
    try:
        known = engine.checkpoints(visitor)
        wish = Wish.from_data(data, tuple(dict.fromkeys(info.run for info in known)))
        request = Request.from_value(value, files.uploads)
        picture, caption = request.picture(engine.read)
        if wish.card is not None:
            name, content = f"gramviz-theory.{wish.kind}", _theory(engine, wish, picture, caption, visitor)
        elif wish.tuned is not None:
            name, content = f"gramviz-fine-tune.{wish.kind}", _tuned(wish.tuned, wish.kind, files)
        else:
            name, content = _made(engine, wish, request, picture, caption, known, visitor)
        return made_value(token, files.put(content, name), len(content))
    except GramvizError as error:
        return failed_value(token, str(error))
    except Exception:
        log.exception("an export failed")
        return failed_value(token, UNEXPECTED)


def _made(
    engine: Engine,
    wish: Wish,
    request: Request,
    picture: Picture,
    caption: str,
    known: tuple[CheckpointInfo, ...],
    visitor: str,
) -> tuple[str, bytes]:
    """Name and content of the file."""
    patches, layer = request.patches, request.layer
    if wish.what == "figure" and wish.tab == "story":
        return f"gramviz-curves.{wish.kind}", _curves(engine, wish)
    if wish.what == "figure" and wish.tab == "spectra":
        shown = first_ids(request.ids)  # as many as the tab shows
        spectra = engine.spectra(picture, shown, patches, layer=layer, visitor=visitor)
        found = [
            (view.checkpoint, view.spectra) for view in in_order(spectra, shown) if view.spectra is not None
        ]
        rows, columns = grid_for(picture.size, patches)
        seen = f"{rows} \u00d7 {columns} patches, {layer_words(layer)}"
        told = f"{seen}. Checkpoints: {', '.join(shown)}. {caption or OWN}"
        return f"gramviz-spectra.{wish.kind}", spectra_picture(found, wish.kind, told)

    ids = list(dict.fromkeys(request.ids))
    if wish.what in ("sheet", "film"):
        ids = [info.id for info in known if info.run == wish.run]
    views = in_order(engine.compare(picture, ids, patches, layer=layer, visitor=visitor), ids)
    maps = MapSet(picture, caption, tuple(views), wish.query(grid_for(picture.size, patches)), layer)
    if wish.what == "sheet":
        return f"gramviz-figure-1.{wish.kind}", sheet_picture(maps, wish.kind)
    if wish.what == "film":
        return f"gramviz-training.{wish.kind}", film(maps, wish.kind)
    if wish.what == "numbers":
        write = {"csv": tables.as_csv, "json": tables.as_json, "npz": tables.as_npz}[wish.kind]
        return f"gramviz-cosines.{wish.kind}", write(maps)
    if wish.what == "page":
        return "gramviz-maps.html", as_html(maps, wish.seen)
    common: dict[str, bytes] = {}
    if (wish.seen.view, wish.seen.basis) == ("colours", "common"):
        for run in maps.runs:  # one basis for each run, as on the page
            members = [view.checkpoint.id for view in maps.views if view.checkpoint.run == run]
            common |= engine.common_colours(picture, members, patches, layer=layer, visitor=visitor)
    return f"gramviz-maps.{wish.kind}", maps_picture(maps, wish.seen, common, wish.kind)


def _theory(engine: Engine, wish: Wish, picture: Picture, caption: str, visitor: str) -> bytes:
    assert wish.card is not None, "asked for by the caller"
    card, question = wish.card
    basis = None if question.blackboard else picture
    finding = engine.theory(basis, question.checkpoint, card, question.values, visitor=visitor)
    of = "" if question.blackboard else f"{question.checkpoint}. {caption or OWN}"
    settings = settings_words(question.values, of)
    return finding_picture(STATEMENTS[card].title, settings, finding, wish.kind)


def _tuned(tuned: Tuned, kind: str, files: Files) -> bytes:
    photograph = files.read(tuned.photograph)
    if photograph is None:
        raise InputError(GONE)
    with Image.open(io.BytesIO(photograph)) as image:
        return tuned_picture(tuned, np.asarray(image.convert("RGB")), "", kind)


def _curves(engine: Engine, wish: Wish) -> bytes:
    rows = engine.trajectory(wish.run)
    if not rows:
        raise InputError(f"Nothing was measured along {wish.run}, so there are no curves to export.")
    seeds = len({row["seed"] for row in rows if "seed" in row})
    told = (
        f"Run {wish.run}, {seeds} seeds: lines are means over the seeds at the steps that all of them have, bands "
        "reach from the lowest to the highest seed."
    )
    return curves_picture(rows, kind=wish.kind, caption=told)
