"""The guided tour and the exercises as one component beside the page.

See `web/guide.js` for the other side. It reads what other components show and leads the page to states; it asks the
server for nothing. This module knows no engine.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.ui.cards import with_maths
from gramviz.ui.exercises import EXERCISES, last_ids, named
from gramviz.ui.tour import STEPS, Step
from gramviz.ui.web import web_component

SCRIPTS = (
    "text.js",
    "address.js",
    "maths.js",
    "query.js",
    "guide_judges.js",
    "guide_exercises.js",
    "guide.js",
)


def guide(checkpoints: Sequence[CheckpointInfo]) -> gr.HTML:
    """The component. It has no value."""
    ids = last_ids(checkpoints)
    config = {
        "arms": {},
        "ids": ids,
        "tour": [_told(step, ids) for step in STEPS],
        "exercises": [_told(step, ids) for step in EXERCISES],
    }
    return web_component("guide.html", ("base.css", "guide.css"), SCRIPTS, config, None, "gv-guide")


def _told(step: Step, ids: Mapping[str, str]) -> dict[str, Any]:
    return {
        "title": step.title,
        "text": with_maths(step.text),
        "state": named(step.state, ids),
        "look": step.look,
        "ask": with_maths(step.ask),
        # a button that holds nothing but a formula has no name for a screen reader
        "options": [{"html": with_maths(option), "name": option.replace("$", "")} for option in step.options],
        "reveal": with_maths(step.reveal),
        "right": step.right,
        "judge": step.judge,
        "after": step.after,
    }
