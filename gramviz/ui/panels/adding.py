"""Adding models: turns the dialog's wishes into calls of the engine. What is added belongs to the visitor alone."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from gramviz.checkpoints.added import read_source
from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import GramvizError
from gramviz.serving.engine import Engine
from gramviz.ui.adder import Wish, changed_value, failed_value, fetching_value, offer_value
from gramviz.ui.files import Files
from gramviz.ui.panels.explore import UNEXPECTED, own_of, visitor_of

AT_ONCE = 4  # side by side: each may hold a model in memory
MIB = 2**20

log = logging.getLogger(__name__)


def connect_adder(view: gr.HTML, engine: Engine, files: Files) -> None:
    """Let `view`, the dialog, add models."""

    def run(event: gr.EventData, request: gr.Request) -> Iterator[dict[str, Any]]:
        yield from adding(engine, event._data, files, visitor_of(request))

    running = view.input(
        run,
        outputs=view,
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_limit=AT_ONCE,
        api_visibility="private",
    )
    view.stop(None, cancels=[running])


def adding(engine: Engine, data: Any, files: Files, visitor: str) -> Iterator[dict[str, Any]]:
    """The dialog's values for one wish. Never raises: what cannot be done is told in one sentence."""
    token = data.get("token", 0) if isinstance(data, dict) else 0
    try:
        wish = Wish.from_data(data, files.uploads)
        if wish.action == "look":
            yield offer_value(token, wish.name, engine.offer(wish.name))
        elif wish.action == "fetch":
            for found in engine.fetch_model(visitor, wish.name):
                yield (
                    changed_value(token, own_of(engine, visitor), found.run)
                    if isinstance(found, CheckpointInfo)
                    else fetching_value(token, *found)
                )
        elif wish.action == "file":
            info = taken(engine, wish, visitor)
            yield changed_value(token, own_of(engine, visitor), info.run)
        else:
            engine.forget(visitor, wish.name)
            yield changed_value(token, own_of(engine, visitor))
    except GramvizError as error:
        yield failed_value(token, str(error))
    except Exception:
        log.exception("a model could not be added")
        yield failed_value(token, UNEXPECTED)


def taken(engine: Engine, wish: Wish, visitor: str) -> CheckpointInfo:
    """Take an uploaded model in; its files are not kept."""
    assert wish.weights is not None, "checked when it came"
    try:
        most = engine.settings.model_mib * MIB
        name = re.sub(r"\.(safetensors|zip)$", "", wish.name, flags=re.IGNORECASE) or "model"
        found = read_source(wish.weights, wish.architecture, most, wish.config)
        source = replace(found, name=name)
        return engine.add_model(visitor, source, licence="", title=f"{name}: a model that you brought.")
    finally:
        for path in (wish.weights, wish.config):
            if path is not None:
                path.unlink(missing_ok=True)
