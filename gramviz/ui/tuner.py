"""The tuner: the component with which a fine-tune is planned, watched and ended, and what goes to it and comes back.

What comes from a browser is checked here, as far as `serving.plans` does not. See `web/tuner.js` for the other side.
This module knows no engine and computes nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import InputError
from gramviz.serving.controls import Choice, Slider
from gramviz.serving.dials import CONTROLS, MOST_IMAGES
from gramviz.serving.plans import Plan, Preset
from gramviz.serving.tuning import Begun, Finished, Frame, Looked, Update, Waiting
from gramviz.ui.colours import as_hex, sequential
from gramviz.ui.explorer import MAP_STYLES, PICTURE_SCRIPTS, arms_config
from gramviz.ui.web import web_component
from gramviz.vit.backbones import depth_of
from gramviz.vit.images import patch_at

SCRIPTS = (
    *PICTURE_SCRIPTS,
    "knobs.js",
    "own.js",
    "tuner.js",
    "tuner_plan.js",
    "tuner_files.js",
    "tuner_charts.js",
    "tuner_input.js",
    "address.js",
    "tuner_address.js",
    "tuner_begin.js",
)
INCOMPLETE = "The request was incomplete; please open the page again."
# Of the last so many steps every update tells, so that one that a browser passes over leaves no gap.
WINDOW = 40
DIGITS = 5  # significant, of what is drawn

# The order of the numbers in a row that is sent.
LOSSES = ("gram", "dino", "ibot", "koleo")


def tuner(checkpoints: Sequence[CheckpointInfo], presets: Sequence[Preset], terms: str = "") -> gr.HTML:
    """The component. It says `stop`, then `input` with {token, plan, place, files} to start a fine-tune, and `select`
    with {token, action, number, index, id} for everything else; its value is what `Progress.as_value` gives.

    terms: what a visitor should know before they start one.
    """
    config = {
        "arms": arms_config(),
        "sequential": as_hex(sequential()),
        "controls": [control_config(control, checkpoints) for control in CONTROLS],
        "checkpoints": [listed(info) for info in checkpoints],
        "presets": [
            {"name": p.name, "title": p.title, "sentence": p.sentence, "plan": plan_values(p.plan)}
            for p in presets
        ],
        "losses": LOSSES,
        "terms": terms,
        "mostImages": MOST_IMAGES,
    }
    return web_component(
        "tuner.html", (*MAP_STYLES, "card.css", "tuner.css"), SCRIPTS, config, None, "gv-tuner"
    )


def replies() -> gr.HTML:
    """A component that hands answers to the tuner's `select` on to it, apart from the stream of its updates."""
    return web_component("tuner_reply.html", (), ("tuner_reply.js",), {}, None, "gv-tuner-reply")


def control_config(control: Slider | Choice, checkpoints: Sequence[CheckpointInfo]) -> dict[str, Any]:
    """A control as `web/knobs.js` takes it; no more last blocks than the deepest network has."""
    if isinstance(control, Choice):
        return {"name": control.name, "label": control.label, "options": control.options}
    told = dataclasses.asdict(control)
    if control.name == "blocks":
        told["high"] = max([1, *(depth_of(info.network) for info in checkpoints)])
    return told


def listed(info: CheckpointInfo) -> dict[str, Any]:
    """A checkpoint as the page's lists have it. network: equal for those that can be each other's teacher."""
    return {
        "id": info.id,
        "run": info.run,
        "branch": info.branch,
        "step": info.step,
        "title": info.title,
        "parent": info.parent,
        "heads": info.heads is not None,
        "network": str(info.network.to_dict()),
    }


def plan_values(plan: Plan) -> dict[str, Any]:
    """A plan as the page sends it back."""
    return {**dataclasses.asdict(plan), "resolution": str(plan.resolution)}


@dataclass(frozen=True)
class Wish:
    """What the tuner asks for: the number of its request, the plan, the place (x, y in 0..1) whose map is watched,
    and uploaded files.
    """

    token: int
    plan: Plan
    place: tuple[float, float]
    files: tuple[Path, ...]

    @staticmethod
    def from_data(data: Any, uploads: Path) -> Wish:
        """Check what came with an event. Raises InputError for anything that the page does not send itself.

        uploads: the folder of uploaded files; a file from anywhere else is refused.
        """
        data = data if isinstance(data, dict) else {}
        token, place, files = data.get("token"), data.get("place"), data.get("files", [])
        if not isinstance(token, int) or not isinstance(files, list):
            raise InputError(INCOMPLETE)
        if (
            not isinstance(place, list)
            or len(place) != 2
            or not all(isinstance(x, int | float) and math.isfinite(x) for x in place)
        ):
            raise InputError(INCOMPLETE)
        paths = [file.get("path") if isinstance(file, dict) else None for file in files]
        if not all(isinstance(path, str) for path in paths):
            raise InputError("The list of files was damaged; please choose them again.")
        found = tuple(Path(str(path)) for path in paths)
        if not all(path.resolve().is_relative_to(uploads.resolve()) for path in found):
            raise InputError("Only images that were uploaded here can be used; please choose them again.")
        plan = Plan.from_values(data.get("plan"))
        return Wish(token, plan, (float(place[0]), float(place[1])), found if plan.images == "own" else ())

    def pinned(self, grid: tuple[int, int]) -> int:
        """The patch at the place, on a grid of (rows, columns)."""
        return patch_at(*self.place, grid)


@dataclass(frozen=True)
class Progress:
    """A fine-tune as far as it has come. Each value tells enough to be understood without those before it, but for
    the steps before the last WINDOW and maps that have not changed.
    """

    token: int
    picture: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    position: int = 0
    run: Mapping[str, Any] | None = None
    frame: Mapping[str, Any] | None = None
    rows: tuple[tuple[Any, ...], ...] = ()
    finished: Mapping[str, Any] | None = None

    def after(self, update: Update, own: Sequence[CheckpointInfo] = ()) -> Progress:
        """The same with what is new. own: all of the visitor's checkpoints, where it has ended."""
        if isinstance(update, Waiting):
            return replace(self, position=update.position)
        if isinstance(update, Begun):
            run = {**dataclasses.asdict(update), "grid": list(update.grid), "arms": list(update.arms)}
            return replace(self, position=0, run=run)
        if isinstance(update, Finished):
            told = {
                "reason": update.reason,
                "sentence": update.sentence,
                "made": [info.id for info in update.own],
                "own": [listed(info) for info in own],
            }
            return replace(self, finished=told)
        return self._framed(update)

    def _framed(self, frame: Frame) -> Progress:
        rows = tuple(
            (row.arm, row.step, short(row.total), *(short(row.losses.get(name)) for name in LOSSES))
            for row in frame.rows
        )
        told = {
            "step": frame.step,
            "steps": frame.steps,
            "elapsed": round(frame.elapsed, 2),
            "left": None if frame.left is None else round(frame.left, 1),
            "paused": frame.paused,
            "looks": looks_config(frame.looks),
        }
        return replace(self, frame=told, rows=(*self.rows, *rows)[-WINDOW:])

    def as_value(self) -> dict[str, Any]:
        """The value of the component."""
        frame = None if self.frame is None else {**self.frame, "rows": [list(row) for row in self.rows]}
        return {
            "token": self.token,
            "error": None,
            "picture": dict(self.picture),
            "notes": list(self.notes),
            "position": self.position,
            "run": self.run,
            "frame": frame,
            "finished": self.finished,
        }


def looks_config(looks: Sequence[Looked]) -> dict[str, Any]:
    """Looks by the name of their arm, maps in base 64."""
    return {
        look.arm: {
            "step": look.step,
            "pinned": look.pinned,
            "map": base64.b64encode(look.map).decode(),
            "spectrum": [short(value) for value in look.spectrum],
            "measures": {name: short(value) for name, value in look.measures.items()},
        }
        for look in looks
    }


def short(value: float | None) -> float | None:
    """A number with few digits; None for none, and for what JSON cannot hold."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")
