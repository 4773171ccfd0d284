"""The explore panel: the chosen picture seen by the chosen checkpoints, to point at its patches.

The panel turns requests into calls of the engine and its answers into values of the explorer. All that belongs to a
visitor is in the events' values; nothing is kept here.
"""

import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.checkpoints.own import OWN
from gramviz.errors import GramvizError
from gramviz.serving.engine import Engine
from gramviz.serving.tuning import Waiting
from gramviz.ui.chooser import Request
from gramviz.ui.explorer import Comparison, error_value, explorer
from gramviz.ui.files import Files

UNEXPECTED = "Something went wrong on our side; please try again."
# Visitors served at once. Most of them sleep in the engine's queue, and must not keep those from coming to whom the
# engine could answer at once.
SIMULTANEOUS = 128
ON_A_TAB = 32  # of the other tabs

log = logging.getLogger(__name__)


def explore_panel(page: gr.Blocks, engine: Engine, files: Files, choice: gr.HTML) -> None:
    """Add the panel to `page`, inside whose context it is called. It shows what `choice`, the chooser, asks for."""
    view = explorer()

    def compare(value: Any, request: gr.Request) -> Iterator[dict[str, Any]]:
        yield from comparisons(engine, value, files, visitor_of(request))

    running = gr.on(
        [page.load, choice.input],
        compare,
        inputs=choice,
        outputs=view,
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_limit=SIMULTANEOUS,
        api_visibility="private",
    )
    # the chooser says `stop` just before `input`: the older comparison ends at its next step
    choice.stop(None, cancels=[running])


def visitor_of(request: gr.Request | None) -> str:
    """The name under which a visitor is known while their page is open; "" for a program without one."""
    return str(getattr(request, "session_hash", None) or "")


def own_of(engine: Engine, visitor: str) -> list[CheckpointInfo]:
    """All that is a visitor's own."""
    return [info for info in engine.checkpoints(visitor) if info.id.startswith(OWN)]


def comparisons(engine: Engine, value: Any, files: Files, visitor: str = "") -> Iterator[dict[str, Any]]:
    """Values of the explorer for one request: the picture, then one more checkpoint at a time, then common colours.

    While nothing comes, the place in the queue is told. What was there already comes at once. Never raises: what
    cannot be done is told in one sentence.
    """
    token = value.get("token", 0) if isinstance(value, dict) else 0
    try:
        request = Request.from_value(value, files.uploads)
        picture, caption = request.picture(engine.read)
        known = {info.id: info for info in engine.checkpoints(visitor)}
        chosen = [known[key] for key in dict.fromkeys(request.ids) if key in known]
        comparison = Comparison.begin(
            request.token, picture, caption, chosen, request.patches, files, request.layer
        )
        views = engine.compare_with_places(
            picture, request.ids, request.patches, layer=request.layer, visitor=visitor
        )
        told = None
        for view in views:
            if isinstance(view, Waiting):
                comparison = comparison.with_place(view.position)
            else:
                comparison = comparison.with_view(view, files)
                if view.cached:
                    continue  # told with what comes next: a value costs as much as all its maps
            told = comparison
            yield comparison.as_value()
        if told is not comparison:
            yield comparison.as_value()
        common: dict[str, bytes] = {}
        for run in dict.fromkeys(info.run for info in chosen):
            # one basis for each run: networks of different runs need not have features of one width
            ids = [info.id for info in chosen if info.run == run]
            common |= engine.common_colours(
                picture, ids, request.patches, layer=request.layer, visitor=visitor
            )
        yield comparison.with_common_colours(common, files).as_value()
    except GramvizError as error:
        yield error_value(token, str(error))
    except Exception:
        log.exception("a comparison failed")
        yield error_value(token, UNEXPECTED)
