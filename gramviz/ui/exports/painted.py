"""From cosines to coloured panels, by the page's own scales and tables. Knows no file format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gramviz.errors import InputError
from gramviz.serving.views import View
from gramviz.ui.colours import diverging, sequential
from gramviz.ui.curves import heading_of, look, step_of
from gramviz.ui.exports.maps import Array, MapSet, colours_of

SCALES = ("unit", "signed", "own")
VIEWS = ("similarity", "difference", "colours")
BASES = ("own", "common")
MINUS = "\u2212"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Appearance:
    """How the maps are shown, in the words of the page's settings.

    view: similarity, difference (of the checkpoints `a` and `b`), or colours (principal components). scale: unit
    (0 to 1), signed (-1 to 1), or own (each map from its lowest to its highest). basis: of colours, own or common.
    """

    view: str = "similarity"
    scale: str = "unit"
    basis: str = "own"
    a: str = ""
    b: str = ""

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Appearance:
        """Check what came from a page. Raises InputError that names what is not known."""
        for name, known in (("view", VIEWS), ("scale", SCALES), ("basis", BASES)):
            if data.get(name) not in known:
                raise InputError(f"The {name} {str(data.get(name))[:20]!r} is none of {', '.join(known)}.")
        return Appearance(*(str(data.get(name, "")) for name in ("view", "scale", "basis", "a", "b")))


@dataclass(frozen=True, eq=False)
class Panel:
    """A map as it is drawn. colour: of its arm, or "" where it is of none. pixels: (rows, columns, 3)."""

    title: str
    note: str
    colour: str
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class Bar:
    """A colour scale: its table (256, 3), what stands beneath at even distances, and what it is of."""

    table: Pixels
    ticks: tuple[str, ...]
    label: str


def panels(maps: MapSet, seen: Appearance, common: Mapping[str, bytes]) -> list[Panel]:
    """What the page shows, a panel a map. common: colours in a common basis by checkpoint id, where these are shown.

    Raises InputError where a checkpoint of the difference is not among the maps.
    """
    if seen.view == "colours":
        return [
            _named(maps, view, "", colours_of(view, common[view.checkpoint.id] if common else None))
            for view in maps.views
        ]
    if seen.view == "difference":
        return _difference(maps, seen)
    return [similarity_panel(maps, view, seen.scale) for view in maps.views]


def similarity_panel(maps: MapSet, view: View, scale: str) -> Panel:
    """The map of one checkpoint; its note tells its range where the scale is its own."""
    values = maps.cosines(view)
    low, high = _ends(values, scale)
    note = f"{decimal(low)} to {decimal(high)}" if scale == "own" else ""
    return _named(maps, view, note, coloured(values, low, high, _table(scale)))


def bar(seen: Appearance) -> Bar | None:
    """The scale that stands beneath the panels; None for colours, which have none."""
    if seen.view == "colours":
        return None
    ticks = {
        "unit": (f"{chr(0x2264)} 0", "0.25", "0.5", "0.75", "1"),
        "signed": (f"{MINUS}1", f"{MINUS}0.5", "0", "0.5", "1"),
        "own": ("lowest in the map", "highest in the map"),
    }[seen.scale]
    return Bar(_table(seen.scale), ticks, "cosine")


def coloured(values: Array, low: float, high: float, table: Pixels) -> Pixels:
    """Colours of values by their place between low and high, as on the page; (..., 3) uint8."""
    scale = 255 / (high - low) if high > low else 0.0
    places = np.floor((values - low) * scale + 0.5).astype(np.int64)
    return np.asarray(table[np.clip(places, 0, 255)])


def decimal(value: float, digits: int = 2) -> str:
    """A number with a fixed count of decimals and a true minus sign."""
    text = f"{abs(value):.{digits}f}"
    return (MINUS if value < 0 and float(text) != 0 else "") + text


def _difference(maps: MapSet, seen: Appearance) -> list[Panel]:
    known = {view.checkpoint.id: view for view in maps.views}
    for key in (seen.a, seen.b):
        if key not in known:
            raise InputError(f"The checkpoint {key[:60]!r} is not among the maps.")
    a, b = known[seen.a], known[seen.b]
    values = maps.cosines(a) - maps.cosines(b)
    reach = float(np.abs(values).max()) if seen.scale == "own" else 1.0
    note = f"blue {decimal(-reach)}, red {decimal(reach)}"
    sides = [
        Panel(f"{letter}: {panel.title}", panel.note, panel.colour, panel.pixels)
        for letter, panel in (
            ("A", similarity_panel(maps, a, seen.scale)),
            ("B", similarity_panel(maps, b, seen.scale)),
        )
    ]
    return [*sides, Panel(f"A {MINUS} B", note, "", coloured(values, -reach, reach, diverging()))]


def _named(maps: MapSet, view: View, note: str, pixels: Pixels) -> Panel:
    info = view.checkpoint
    title = heading_of(info, several_runs=len(maps.runs) > 1)
    return Panel(title, ", ".join(filter(None, (step_of(info), note))), look(info.branch).colour, pixels)


def _ends(values: Array, scale: str) -> tuple[float, float]:
    return {"unit": (0.0, 1.0), "signed": (-1.0, 1.0), "own": (float(values.min()), float(values.max()))}[
        scale
    ]


def _table(scale: str) -> Pixels:
    return diverging() if scale == "signed" else sequential()
