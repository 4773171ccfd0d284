"""The fine-tune panel: a visitor plans a short Gram-anchored fine-tune, watches it, and has what came out of it.

The panel turns events into calls of the engine and its updates into values of the tuner. All that belongs to a
visitor is in the engine's room of theirs, under the hash of their session.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from gramviz.data.bundles import read_bundle
from gramviz.errors import GramvizError, InputError
from gramviz.serving.dials import MOST_IMAGES
from gramviz.serving.engine import Engine
from gramviz.serving.tuning import Finished, Frame, TuneRequest
from gramviz.ui.chooser import Request
from gramviz.ui.files import Files
from gramviz.ui.panels.explore import UNEXPECTED, own_of, visitor_of
from gramviz.ui.tuner import INCOMPLETE, Progress, Wish, listed, looks_config, replies, tuner
from gramviz.vit.images import grid_for

AT_ONCE = 64  # visitors whose fine-tunes run or wait; the engine has its own, smaller bounds behind

log = logging.getLogger(__name__)


def finetune_panel(page: gr.Blocks, engine: Engine, files: Files, choice: gr.HTML) -> None:
    """Add the panel to `page`, inside whose context it is called. It watches the picture that `choice` has."""
    view, reply = tuner(engine.checkpoints(), engine.presets(), engine.terms), replies()

    def run(value: Any, event: gr.EventData, request: gr.Request) -> Iterator[dict[str, Any]]:
        yield from tuned(engine, value, event._data, visitor_of(request), files)

    def handle(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        return handled(engine, event._data, visitor_of(request), files)

    def leave(request: gr.Request) -> None:
        engine.leave(visitor_of(request))

    running = view.input(
        run,
        inputs=choice,
        outputs=view,
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_limit=AT_ONCE,
        api_visibility="private",
    )
    view.stop(None, cancels=[running])
    # past the queue, so that a click never waits behind anyone's computation
    view.select(
        handle,
        outputs=reply,
        show_progress="hidden",
        trigger_mode="multiple",
        queue=False,
        api_visibility="private",
    )
    page.unload(leave)


def tuned(engine: Engine, value: Any, data: Any, visitor: str, files: Files) -> Iterator[dict[str, Any]]:
    """Values of the tuner for one fine-tune, from waiting to its end. Never raises.

    value: the chooser's; data: what came with the event.
    """
    token = data.get("token", 0) if isinstance(data, dict) else 0
    try:
        wish = Wish.from_data(data, files.uploads)
        value = {**value, "ids": [wish.plan.start]} if isinstance(value, dict) else value
        asked = Request.from_value(value, files.uploads)
        picture, _ = asked.picture(engine.read)
        own, broken = (
            read_bundle(wish.files, MOST_IMAGES, engine.read) if wish.plan.images == "own" else ((), 0)
        )
        request = TuneRequest(
            picture, wish.plan, asked.patches, wish.pinned(grid_for(picture.size, asked.patches)), own
        )
        image = files.photograph(picture)
        notes = (f"{broken} of the files could not be read and were left out.",) if broken else ()
        width, height = picture.size
        progress = Progress(token, {"image": image, "width": width, "height": height}, notes)
        yield progress.as_value()
        for update in engine.finetune(request, visitor):
            progress = progress.after(update, own_of(engine, visitor) if isinstance(update, Finished) else ())
            yield progress.as_value()
            if isinstance(update, Frame) and progress.frame is not None:
                progress = replace(progress, frame={**progress.frame, "looks": {}})
    except GramvizError as error:
        yield {"token": token, "error": str(error)}
    except Exception:
        log.exception("a fine-tune failed")
        yield {"token": token, "error": UNEXPECTED}


def handled(engine: Engine, data: Any, visitor: str, files: Files) -> dict[str, Any]:
    """The answer to one of the tuner's other wishes: {token, action, error, ...}. Never raises."""
    data = data if isinstance(data, dict) else {}
    action, number = data.get("action"), data.get("number")
    told: dict[str, Any] = {"token": data.get("token"), "action": action, "error": None}
    try:
        if action in ("pause", "resume", "stop"):
            {"pause": engine.pause, "resume": engine.resume, "stop": engine.stop}[action](visitor, number)
        elif action == "pin":
            told["looks"] = looks_config(engine.pin(visitor, number, data.get("index")))
        elif action == "download":
            name, content = engine.download(visitor, str(data.get("id")))
            told["file"] = files.put(content, name)
        elif action == "forget":
            engine.forget(visitor, str(data.get("id")))
            told["own"] = [listed(info) for info in own_of(engine, visitor)]
        else:
            raise InputError(INCOMPLETE)
    except GramvizError as error:
        told["error"] = str(error)
    except Exception:
        log.exception("an event of the tuner failed")
        told["error"] = UNEXPECTED
    return told
