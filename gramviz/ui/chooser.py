"""The chooser: picture, checkpoints, number of patches and layer, as one component whose value is one request.

What comes back from a browser is checked here, once. This module knows no engine.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.data.samples import SAMPLES, load
from gramviz.errors import InputError
from gramviz.ui.explorer import arms_config
from gramviz.ui.web import web_component
from gramviz.vit.backbones import NetworkConfig, depth_of
from gramviz.vit.images import Picture, to_jpeg

PATCHES = (14, 20, 28, 32, 40, 48, 64)
DEFAULT_PATCHES = 28
LAST_LAYER = -1
MOST_LAYERS = 64
THUMBNAIL_SIDE = 112  # pixels, for 56 on the page
MAX_UPLOAD_MB = 64
SCRIPTS = (
    "text.js",
    "fold.js",
    "fork.js",
    "address.js",
    "tabs.js",
    "chooser.js",
    "chooser_address.js",
    "chooser_begin.js",
)


@dataclass(frozen=True)
class Request:
    """What a visitor asks to see. Exactly one of `sample` (an id) and `file` (an uploaded file) is given.

    layer: the block after which the tokens are taken, counted from the end: -1 is the last.
    """

    token: int
    sample: str | None
    file: Path | None
    patches: int
    ids: tuple[str, ...]
    layer: int = LAST_LAYER

    @staticmethod
    def from_value(value: Any, uploads: Path) -> "Request":
        """Check the component's value. Raises InputError for anything that this page does not send itself.

        uploads: the folder of uploaded files; a file from anywhere else is refused.
        """
        value = value if isinstance(value, dict) else {}
        token, patches, ids = value.get("token"), value.get("patches"), value.get("ids")
        sample, file, layer = value.get("sample"), value.get("file"), value.get("layer", LAST_LAYER)
        path = file.get("path") if isinstance(file, dict) else None
        if not isinstance(token, int) or (isinstance(sample, str) == isinstance(path, str)):
            raise InputError("The request was incomplete; please choose a picture again.")
        if path and not Path(path).resolve().is_relative_to(uploads.resolve()):
            raise InputError("Only a picture that was uploaded here can be used; please choose it again.")
        if patches not in PATCHES:
            raise InputError(
                f"{str(patches)[:20]} patches cannot be chosen; possible are {_listed(PATCHES)}."
            )
        if not isinstance(layer, int) or layer not in range(-MOST_LAYERS, 0):
            raise InputError(
                f"There is no layer {str(layer)[:20]}; layers are counted back from the last, -1."
            )
        if not isinstance(ids, list) or not all(isinstance(entry, str) for entry in ids):
            raise InputError("The list of checkpoints was damaged; please choose them again.")
        if not ids:
            raise InputError("Please choose at least one checkpoint.")
        return Request(token, sample, Path(path) if path else None, patches, tuple(ids), layer)

    def picture(self, read: Callable[[Path], Picture]) -> tuple[Picture, str]:
        """The picture, and where it is from (empty for the visitor's own), whose file is given to `read`.

        Raises InputError, and what `read` raises.
        """
        if self.file is not None:
            return read(self.file), ""
        picture = load(str(self.sample))
        sample = next(sample for sample in SAMPLES if sample.id == self.sample)
        return picture, f"{sample.title}. {sample.source}. {sample.licence[:1].upper()}{sample.licence[1:]}."


def chooser(checkpoints: Sequence[CheckpointInfo], default_ids: Sequence[str], first_sample: str) -> gr.HTML:
    """The component. Its value is a request as `Request.from_value` reads it; it says `stop`, then `input`.

    It opens with `default_ids` on the sample picture of the id `first_sample`.
    """
    preset = {
        "sample": first_sample,
        "file": None,
        "patches": DEFAULT_PATCHES,
        "layer": LAST_LAYER,
        "ids": list(default_ids),
    }
    config = {
        "arms": arms_config(),
        "patches": PATCHES,
        "layers": layers_of(checkpoints),
        "maxBytes": MAX_UPLOAD_MB * 2**20,
        "preset": preset,
        "samples": [{"id": s.id, "title": s.title, "thumbnail": _thumbnail(s.id)} for s in SAMPLES],
        "checkpoints": [
            {
                "id": info.id,
                "run": info.run,
                "branch": info.branch,
                "step": info.step,
                "title": info.title,
            }
            for info in checkpoints
        ],
    }
    styles = ("base.css", "chooser.css")
    return web_component("chooser.html", styles, SCRIPTS, config, {"token": 0, **preset}, "gv-chooser")


def layers_of(checkpoints: Sequence[CheckpointInfo]) -> int:
    """How many layers every one of the networks has: the depth of the shallowest; 1 where there is no checkpoint."""
    return min(depths_of(checkpoints), default=1)


def depths_of(checkpoints: Sequence[CheckpointInfo]) -> list[int]:
    """The depth of each different network among the checkpoints."""
    networks: list[NetworkConfig] = []
    for info in checkpoints:
        if info.network not in networks:
            networks.append(info.network)
    return [depth_of(network) for network in networks]


def _thumbnail(sample: str) -> str:
    data = to_jpeg(load(sample), THUMBNAIL_SIDE * 3 // 2)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
