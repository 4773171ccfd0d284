"""A fine-tune as its tab shows it, told by the page: the maps of its arms, and curves of its steps.

The page has it all and the server may have forgotten it, so what comes is checked as anything from outside is.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gramviz.errors import InputError
from gramviz.serving.dials import MOST_STEPS
from gramviz.serving.plans import Plan
from gramviz.ui.exports.maps import Array
from gramviz.ui.theme import ARMS

MOST_SIDE = 64  # patches
# name -> what it is called, and the colour it has on the page
SCREENS: Mapping[str, tuple[str, str]] = {
    "teacher": ("Gram teacher", ARMS["trunk"].colour),
    "start": ("start", ARMS["plain"].colour),
    "tuned": ("now", ARMS["gram"].colour),
    "control": ("now, Gram weight 0", ARMS["own1"].colour),
}
CURVES = {"distance": "Gram distance", "loss": "loss, weighted sum"}
DAMAGED = "There is nothing of a fine-tune to export yet; start one, and wait for its first maps."

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Screen:
    """A map of the fine-tune: its name in SCREENS, the step it is of, cosines (rows, columns) in -1..1."""

    name: str
    step: int
    cosines: Array


@dataclass(frozen=True, eq=False)
class Tuned:
    """A fine-tune as far as it came. photograph: address of the picture's file; pinned: whose maps these are.

    curves: of CURVES, by arm, (step, value) pairs.
    """

    photograph: str
    grid: tuple[int, int]
    pinned: int
    plan: Plan
    screens: tuple[Screen, ...]
    curves: Mapping[str, Mapping[str, Points]]

    @staticmethod
    def from_data(data: Any) -> Tuned:
        """Check what a page told. Raises InputError for anything that it does not send itself."""
        data = data if isinstance(data, dict) else {}
        grid, looks, curves = data.get("grid"), data.get("looks"), data.get("curves")
        if not (_is_grid(grid) and isinstance(looks, dict) and looks and isinstance(curves, dict)):
            raise InputError(DAMAGED)
        rows, columns = grid
        if not (set(looks) <= set(SCREENS) and set(curves) <= set(CURVES)):
            raise InputError(DAMAGED)
        pinned, photograph = data.get("pinned"), data.get("photograph")
        if not isinstance(photograph, str) or not _is_count(pinned) or not pinned < rows * columns:
            raise InputError(DAMAGED)
        screens = tuple(_screen(name, looks[name], (rows, columns)) for name in SCREENS if name in looks)
        told = {name: _lines(curves[name]) for name in CURVES if name in curves}
        return Tuned(photograph, (rows, columns), pinned, Plan.from_values(data.get("plan")), screens, told)

    def settings(self) -> str:
        """The plan in a sentence, with what differs from nothing done."""
        plan, (rows, columns) = self.plan, self.grid
        weights = ", ".join(
            f"{label} {getattr(plan, name):g}"
            for name, label in (("gram", "Gram"), ("dino", "DINO"), ("ibot", "iBOT"), ("koleo", "KoLeo"))
            if getattr(plan, name)
        )
        trained = {"all": "all weights", "blocks": f"the last {plan.blocks} blocks", "norms": "norms only"}
        return (
            f"Fine-tune of {plan.start}, Gram teacher {plan.teacher or 'the start itself'} at {plan.resolution}x the "
            f"resolution; weights: {weights}; {trained[plan.trained]}, images: {plan.images}, {plan.steps} steps, "
            f"learning rate {plan.rate:g}, batch {plan.batch}, seed {plan.seed}. Maps of the patch in row "
            f"{self.pinned // columns}, column {self.pinned % columns} of {rows} \u00d7 {columns}, to 1/255."
        )


def _screen(name: str, look: Any, grid: tuple[int, int]) -> Screen:
    look = look if isinstance(look, dict) else {}
    step, text = look.get("step"), look.get("map")
    try:
        stored = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        stored = b""
    if len(stored) != grid[0] * grid[1] or not _is_count(step):
        raise InputError(DAMAGED)
    return Screen(name, int(step), (np.frombuffer(stored, np.uint8) / 127.5 - 1).reshape(grid))


def _lines(data: Any) -> dict[str, Points]:
    """Arm -> points; values that are missing are left out."""
    if not isinstance(data, dict) or not set(data) <= set(SCREENS):
        raise InputError(DAMAGED)
    found = {}
    for arm, points in data.items():
        if not isinstance(points, list) or len(points) > MOST_STEPS + 1:
            raise InputError(DAMAGED)
        if not all(isinstance(point, list) and len(point) == 2 for point in points):
            raise InputError(DAMAGED)
        found[arm] = tuple((float(x), float(y)) for x, y in points if _is_number(x) and _is_number(y))
    return found


def _is_grid(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(_is_count(x) and 0 < x <= MOST_SIDE for x in value)
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
