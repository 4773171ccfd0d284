"""The adder: the dialog in which a visitor brings a model of their own, from the Hub or as a file.

What comes back from a browser is checked here, once. This module knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from gramviz.checkpoints.hub import Offer
from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.checkpoints.zoo import ZOO, told_of
from gramviz.errors import InputError
from gramviz.ui.explorer import arms_config
from gramviz.ui.tuner import listed
from gramviz.ui.web import web_component

SCRIPTS = ("text.js", "own.js", "adder.js")
ACTIONS = ("look", "fetch", "file", "forget")
LONGEST = 200  # characters of a name
INCOMPLETE = "The request was incomplete; please open the page again."


def adder(fetch: str, most_mib: int) -> gr.HTML:
    """The component. It says `stop`, then `input` with a `Wish`; its value is what the functions below give.

    fetch: what may come from the Hub, "none", "listed" or "any". most_mib: MiB of a model; 0 hides it all.
    """
    config = {
        "arms": arms_config(),
        "fetch": fetch,
        "mostMiB": most_mib,
        "zoo": [asdict(model) for model in ZOO],
        "architectures": sorted({model.name.partition(".")[0] for model in ZOO}),
    }
    return web_component("adder.html", ("base.css", "adder.css"), SCRIPTS, config, None, "gv-adder")


def failed_value(token: int, sentence: str) -> dict[str, Any]:
    """What cannot be done, in one sentence."""
    return {"token": token, "error": sentence}


def offer_value(token: int, name: str, offer: Offer) -> dict[str, Any]:
    """What the Hub has under a name, before anything of it is fetched; size in bytes."""
    licence, title = told_of(offer.name, offer.repository, offer.licence)
    told = {"repository": offer.repository, "size": offer.size, "licence": licence, "title": title}
    return {"token": token, "error": None, "stage": "offer", "offer": {"name": name, **told}}


def fetching_value(token: int, done: int, total: int) -> dict[str, Any]:
    """How far a download is, in bytes."""
    return {"token": token, "error": None, "stage": "fetching", "done": done, "total": total}


def changed_value(token: int, own: Sequence[CheckpointInfo], name: str = "") -> dict[str, Any]:
    """All that is the visitor's own now; name: of what was added, empty where something was forgotten."""
    stage = "added" if name else "forgotten"
    return {
        "token": token,
        "error": None,
        "stage": stage,
        "name": name,
        "own": [listed(info) for info in own],
    }


@dataclass(frozen=True)
class Wish:
    """What the dialog asks for. action: of ACTIONS; name: of a model on the Hub, of an uploaded file, or the id of a
    checkpoint to forget. weights, config: uploaded files; architecture: timm's name, None where none was given.
    """

    token: int
    action: str
    name: str
    weights: Path | None = None
    config: Path | None = None
    architecture: str | None = None

    @staticmethod
    def from_data(data: Any, uploads: Path) -> Wish:
        """Check what came with an event. Raises InputError for anything that the dialog does not send itself.

        uploads: the folder of uploaded files; a file from anywhere else is refused.
        """
        data = data if isinstance(data, dict) else {}
        token, action, name = data.get("token"), data.get("action"), data.get("name")
        if not isinstance(token, int) or action not in ACTIONS or not isinstance(name, str):
            raise InputError(INCOMPLETE)
        if not 0 < len(name) <= LONGEST:
            raise InputError(f"The name has {len(name)} characters; it must have 1 to {LONGEST}.")
        weights, config = (_uploaded(data.get(key), uploads) for key in ("weights", "config"))
        architecture = data.get("architecture") or None
        if action == "file" and weights is None:
            raise InputError("There is no file; please choose one.")
        if architecture is not None and not isinstance(architecture, str):
            raise InputError(INCOMPLETE)
        return Wish(token, str(action), name, weights, config, architecture and architecture[:LONGEST])


def _uploaded(value: Any, uploads: Path) -> Path | None:
    path = value.get("path") if isinstance(value, dict) else None
    if path is None:
        return None
    if (
        not isinstance(path, str)
        or "\0" in path
        or not Path(path).resolve().is_relative_to(uploads.resolve())
    ):
        raise InputError("Only files that were uploaded here can be used; please choose them again.")
    return Path(path)
