"""Lecture mode, parts of the page that an address can hide, and the notes for lecturers, as one component.

In an address, lecture=1 is lecture mode, only=explore,story leaves these tabs, and hide=photograph,layer takes parts
away. See `web/teaching.js` and `web/page.css` for the other side. This module knows no engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType

import gradio as gr

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.ui.exercises import EXERCISES, last_ids, named
from gramviz.ui.lessons import LESSONS
from gramviz.ui.web import web_component

SCRIPTS = ("text.js", "address.js", "tabs.js", "teaching.js")
TABS: Mapping[str, str] = MappingProxyType(
    {
        "explore": "Explore",
        "story": "Training story",
        "spectra": "Spectra",
        "theory": "Theory lab",
        "finetune": "Fine-tune",
    }
)
# What `hide` can name; the rules are in web/page.css.
PARTS: Mapping[str, str] = MappingProxyType(
    {
        "title": "title",
        "photograph": "photographs",
        "checkpoints": "checkpoints",
        "patches": "patches",
        "layer": "layer",
        "link": "copy link",
        "view": "view and query",
        "numbers": "numbers of each map",
        "tour": "tour",
        "teach": "teach",
        "export": "export",
        "models": "add a model",
    }
)


def teaching(checkpoints: Sequence[CheckpointInfo]) -> gr.HTML:
    """The component. It has no value."""
    ids = last_ids(checkpoints)
    lessons = [
        replace(lesson, parts=tuple(replace(part, state=named(part.state, ids)) for part in lesson.parts))
        for lesson in LESSONS
    ]
    config = {
        "arms": {},
        "tabs": dict(TABS),
        "parts": dict(PARTS),
        "lessons": [asdict(lesson) for lesson in lessons],
        "exercises": [step.title for step in EXERCISES],
    }
    return web_component("teaching.html", ("base.css", "teaching.css"), SCRIPTS, config, None, "gv-teaching")
