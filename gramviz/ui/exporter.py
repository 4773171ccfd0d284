"""The menu of exports: which files there are, and what the page asks for when one is wanted.

What comes back from a browser is checked here, once. This module knows no engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gramviz.errors import InputError
from gramviz.ui.cards import STATEMENTS
from gramviz.ui.exports import tables
from gramviz.ui.exports.maps import Query
from gramviz.ui.exports.painted import Appearance
from gramviz.ui.exports.tuned import Tuned
from gramviz.ui.pictures import film
from gramviz.ui.pictures.files import FORMATS
from gramviz.ui.teaching import TABS
from gramviz.ui.theory import Question
from gramviz.ui.web import web_component
from gramviz.vit.images import patch_at

SCRIPTS = ("text.js", "address.js", "tabs.js", "exporter.js")
MOST_PINS = 64
# What can be had, with the formats of each. The figure is the one of the open tab.
WHATS: Mapping[str, tuple[str, ...]] = {
    "figure": FORMATS,
    "sheet": FORMATS,
    "film": film.FORMATS,
    "numbers": tables.FORMATS,
    "page": ("html",),
}
DAMAGED = "The request was incomplete; please open the page again."


def exporter() -> gr.HTML:
    """The component. It says `input` with a `Wish`; its value is what `made_value` or `failed_value` gives."""
    config = {"whats": {what: list(formats) for what, formats in WHATS.items()}}
    return web_component("exporter.html", ("base.css", "exporter.css"), SCRIPTS, config, None, "gv-exporter")


def made_value(token: int, file: Mapping[str, str], size: int) -> dict[str, Any]:
    """The value of the component once the file is there; size in bytes."""
    return {"token": token, "error": None, "file": dict(file), "bytes": size}


def failed_value(token: int, sentence: str) -> dict[str, Any]:
    """The value of the component where there is none."""
    return {"token": token, "error": sentence, "file": None, "bytes": 0}


@dataclass(frozen=True)
class Place:
    """A place on the picture, as fractions of its width and height in 0..1."""

    x: float
    y: float

    @staticmethod
    def from_data(data: Any) -> Place:
        """Check what came from a page."""
        data = data if isinstance(data, dict) else {}
        values = [data.get("x"), data.get("y")]
        if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in values):
            raise InputError("A place was not on the picture; please point at it again.")
        return Place(*map(float, values))

    def patch(self, grid: tuple[int, int]) -> int:
        """The patch it is on, row by row from 0."""
        return patch_at(self.x, self.y, grid)


@dataclass(frozen=True)
class Wish:
    """What is to be made. what and kind: of WHATS; tab: that is open; run: whose sheet, film or curves.

    added, taken: what is pinned; where nothing is, what the pointer is at. cls: the CLS token instead. card: of the
    theory lab, with what it is checked on; tuned: the fine-tune on the page. Both where a figure of their tab is
    wanted, else None.
    """

    token: int
    what: str
    kind: str
    tab: str
    run: str
    cls: bool
    added: tuple[Place, ...]
    taken: tuple[Place, ...]
    seen: Appearance
    card: tuple[str, Question] | None = None
    tuned: Tuned | None = None

    @staticmethod
    def from_data(data: Any, runs: Sequence[str]) -> Wish:
        """Check what came with an event. Raises InputError for anything that the menu does not send itself."""
        data = data if isinstance(data, dict) else {}
        token, what, kind = data.get("token"), data.get("what"), data.get("kind")
        tab, run, pins = data.get("tab"), data.get("run"), data.get("pins")
        if not isinstance(token, int) or not isinstance(pins, list) or len(pins) > MOST_PINS:
            raise InputError(DAMAGED)
        if kind not in WHATS.get(str(what), ()):
            raise InputError(f"There is no {str(what)[:20]!r} as {str(kind)[:20]!r} to export.")
        if tab not in TABS:
            raise InputError(DAMAGED)
        if run not in runs:
            raise InputError(f"There is no run {str(run)[:40]!r}; there are {', '.join(runs)}.")
        what, kind = str(what), str(kind)
        signs = [pin.get("sign") if isinstance(pin, dict) else None for pin in pins]
        if not all(sign in (1, -1) for sign in signs):
            raise InputError(DAMAGED)
        places = [Place.from_data(pin) for pin in pins]
        added = [place for place, sign in zip(places, signs, strict=True) if sign == 1]
        taken = [place for place, sign in zip(places, signs, strict=True) if sign == -1]
        if not places:
            added = [Place.from_data(data.get("pointer"))]
        seen = Appearance.from_data(data)
        cls = data.get("cls") is True
        figure = what == "figure"
        card = _card(data.get("theory")) if figure and tab == "theory" else None
        tuned = Tuned.from_data(data.get("tuned")) if figure and tab == "finetune" else None
        return Wish(token, what, kind, tab, run, cls, tuple(added), tuple(taken), seen, card, tuned)

    def query(self, grid: tuple[int, int]) -> Query:
        """The query on a grid."""
        if self.cls:
            return Query((grid[0] * grid[1],))
        return Query(
            tuple(place.patch(grid) for place in self.added),
            tuple(place.patch(grid) for place in self.taken),
        )


def _card(data: Any) -> tuple[str, Question]:
    """Name and question of a card of the theory lab."""
    data = data if isinstance(data, dict) else {}
    name = data.get("card")
    if not isinstance(name, str) or name not in STATEMENTS:
        raise InputError(DAMAGED)
    return name, Question.from_data(
        data.get("head"), {"token": 0, "values": data.get("values"), "columns": 1}
    )
