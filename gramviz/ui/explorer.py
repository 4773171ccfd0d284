"""The patch explorer: the photograph and the maps of some checkpoints, drawn by the browser from low-rank factors.

What is sent is small and JSON-able, with the binary parts (half-float factors, colour bytes) as files of their own;
see `web/explorer.js` for the other side. This module knows no engine and computes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from gramviz.checkpoints.manifest import OWN_BRANCHES, CheckpointInfo
from gramviz.serving.views import View
from gramviz.ui.colours import as_hex, diverging, sequential
from gramviz.ui.files import Files
from gramviz.ui.theme import ARMS
from gramviz.ui.web import web_component
from gramviz.vit.images import Picture, grid_for

# What every component with maps and a photograph is made of, and what those that share their marks have besides.
PICTURE_SCRIPTS = (
    "text.js",
    "fold.js",
    "maths.js",
    "colours.js",
    "stage.js",
    "query.js",
    "map.js",
    "download.js",
    "photo.js",
)
MAP_SCRIPTS = (*PICTURE_SCRIPTS, "marks.js")
SCRIPTS = (
    *MAP_SCRIPTS,
    "fork.js",
    "difference.js",
    "address.js",
    "explorer.js",
    "explorer_address.js",
    "settings.js",
    "draw.js",
    "input.js",
    "begin.js",
)
MAP_STYLES = ("base.css", "maps.css")


def arms_config() -> dict[str, dict[str, str]]:
    """Names of the arms for the page's scripts, in the order in which branches are stacked."""
    return {name: {"label": arm.label} for name, arm in ARMS.items()}


def explorer() -> gr.HTML:
    """The component. Its value is what `Comparison.as_value` or `error_value` gives."""
    return web_component(
        "explorer.html",
        (*MAP_STYLES, "explorer.css"),
        SCRIPTS,
        {"arms": arms_config(), "sequential": as_hex(sequential()), "diverging": as_hex(diverging())},
        elem_id="gv-explorer",
    )


def error_value(token: int, sentence: str) -> dict[str, Any]:
    """What the explorer gets instead of a comparison: what was shown stays, with the sentence above it."""
    return {"token": token, "error": sentence}


@dataclass(frozen=True)
class Comparison:
    """One picture seen by some checkpoints, as far as it has come.

    token: number of the visitor's request. key: equal for two comparisons of the same picture in the same patches at
    the same layer, whose features then are the same, checkpoint by checkpoint. views: what is ready, by
    checkpoint id. position: how many computations are before this one in the queue; None while it goes on at once.
    """

    token: int
    key: str
    image: dict[str, Any]
    size: tuple[int, int]
    grid: tuple[int, int]
    caption: str
    notes: tuple[str, ...]
    checkpoints: tuple[CheckpointInfo, ...]
    views: Mapping[str, dict[str, Any]]
    position: int | None = None

    @staticmethod
    def begin(
        token: int,
        picture: Picture,
        caption: str,
        checkpoints: Sequence[CheckpointInfo],
        patches: int,
        files: Files,
        layer: int = -1,
    ) -> "Comparison":
        """The comparison before its first view; `files` takes what the scripts fetch."""
        return Comparison(
            token=token,
            key=f"{picture.digest}:{patches}:{layer}",
            image=files.photograph(picture),
            size=picture.size,
            grid=grid_for(picture.size, patches),
            caption=caption,
            notes=picture.notes,
            checkpoints=tuple(checkpoints),
            views={},
        )

    def with_view(self, view: View, files: Files) -> "Comparison":
        """The same with one more checkpoint."""
        return self.with_entry(
            view.checkpoint.id,
            {**factor_entry(view, files), "colours": files.put(view.colours, "colours.bin")},
        )

    def with_entry(self, checkpoint_id: str, entry: dict[str, Any]) -> "Comparison":
        """The same with what is known of one more checkpoint."""
        return replace(self, views={**self.views, checkpoint_id: entry}, position=None)

    def with_place(self, position: int) -> "Comparison":
        """The same while it waits in the queue."""
        return replace(self, position=position)

    def with_common_colours(self, colours: Mapping[str, bytes], files: Files) -> "Comparison":
        """The same with colours in a common basis: the id of each of its checkpoints -> uint8 (P, 3)."""
        views = {
            key: {**entry, "common": files.put(colours[key], "colours.bin")}
            for key, entry in self.views.items()
        }
        return replace(self, views=views)

    def as_value(self) -> dict[str, Any]:
        """The value of the component: JSON with files."""
        return {
            "token": self.token,
            "key": self.key,
            "error": None,
            "picture": {
                "image": self.image,
                "width": self.size[0],
                "height": self.size[1],
                "caption": self.caption,
                "notes": list(self.notes),
            },
            "grid": list(self.grid),
            "checkpoints": [
                {"id": i.id, "run": i.run, "branch": i.branch, "step": i.step, "parent": parent_of(i)}
                for i in self.checkpoints
            ],
            "views": dict(self.views),
            "position": self.position,
            "done": len(self.views),
            "total": len(self.checkpoints),
            "complete": bool(self.views) and all("common" in view for view in self.views.values()),
        }


def parent_of(info: CheckpointInfo) -> str | None:
    """Where a visitor's own checkpoint parted; None for those of a run, which part from their trunk."""
    return info.parent if info.branch in OWN_BRANCHES else None


def factor_entry(view: View, files: Files) -> dict[str, Any]:
    """What the page's scripts need of a view to compute cosines, and its measures."""
    return {
        "rank": view.rank,
        "error": view.error,
        "measures": view.measures,
        "factor": files.put(view.factor, "factor.bin"),
    }
