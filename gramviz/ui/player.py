"""The player: one picture along a whole run, a map an arm, moved by the browser without asking the server.

Its value is a `Comparison` of every checkpoint of the run, under the run's name; see `web/player.js` for the other
side. This module knows no engine and computes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gramviz.errors import InputError
from gramviz.ui.colours import as_hex, sequential
from gramviz.ui.explorer import MAP_SCRIPTS, MAP_STYLES, arms_config
from gramviz.ui.web import web_component

SCRIPTS = (
    *MAP_SCRIPTS,
    "address.js",
    "track.js",
    "player.js",
    "again.js",
    "timeline.js",
    "plots.js",
    "figure1.js",
    "input.js",
    "launch.js",
)
MOST_COLUMNS = 4


def player(runs: Sequence[str]) -> gr.HTML:
    """The component. It says `stop`, then `input` with {token, run} to get a value, and `select` with {run, columns}
    when the curves of a run are wanted in so many columns.
    """
    return web_component(
        "player.html",
        (*MAP_STYLES, "player.css"),
        SCRIPTS,
        {"arms": arms_config(), "sequential": as_hex(sequential()), "runs": list(runs)},
        elem_id="gv-player",
    )


@dataclass(frozen=True)
class Wish:
    """What the player asks for: the number of the request, one of the runs, and columns for its curves."""

    token: int
    run: str
    columns: int

    @staticmethod
    def from_data(data: Any, runs: Sequence[str]) -> "Wish":
        """Check what came with an event. Raises InputError for anything that the player does not send itself."""
        data = data if isinstance(data, dict) else {}
        token, run, columns = data.get("token", 0), data.get("run"), data.get("columns", 1)
        if not isinstance(token, int) or columns not in range(1, MOST_COLUMNS + 1):
            raise InputError("The request was incomplete; please open the page again.")
        if run not in runs:
            raise InputError(f"There is no run {str(run)[:40]!r}; there are {', '.join(runs)}.")
        return Wish(token, run, columns)
