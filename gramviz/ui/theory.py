"""The theory lab's components: its head, which says what is checked on what, and a card for each result.

What comes back from a browser is checked here, as far as it does not belong to one result; `serving.lab` checks the
rest. See `web/lab.js` and `web/card.js` for the other side. This module knows no engine and computes nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import InputError
from gramviz.serving.lab import THEORY_PATCHES, Card, Choice, Slider
from gramviz.ui.cards import STATEMENTS, mathml, with_maths
from gramviz.ui.explorer import arms_config
from gramviz.ui.findings import prose
from gramviz.ui.web import web_component

HEAD_SCRIPTS = ("text.js", "address.js", "lab.js")
CARD_SCRIPTS = ("text.js", "address.js", "knobs.js", "card.js")
SOURCES = ("photograph", "blackboard")
MOST_COLUMNS = 3
MOST_VALUES = 8
INCOMPLETE = "The request was incomplete; please open the page again."


def default_checkpoint(checkpoints: Sequence[CheckpointInfo]) -> str:
    """The last one without Gram anchoring that is shown to a new visitor, or where there is none, the last of all."""
    plain = [info.id for info in checkpoints if info.branch == "plain" and info.shown]
    return (plain or [info.id for info in checkpoints])[-1]


def lab_head(checkpoints: Sequence[CheckpointInfo]) -> gr.HTML:
    """The component. Its value is {checkpoint, source}; it tells the cards by an event of the document."""
    chosen = {"checkpoint": default_checkpoint(checkpoints), "source": SOURCES[0]}
    config = {
        "arms": arms_config(),
        "chosen": chosen,
        "patches": THEORY_PATCHES,
        "checkpoints": [
            {"id": i.id, "run": i.run, "branch": i.branch, "step": i.step, "heads": i.heads is not None}
            for i in checkpoints
        ],
    }
    return web_component("lab.html", ("base.css", "lab.css"), HEAD_SCRIPTS, config, chosen, "gv-lab-head")


def lab_card(card: Card, depth: int) -> gr.HTML:
    """The component of one result. It says `input` with {token, values, columns} when it wants an answer, and its
    value is what `answer` gives.

    depth: blocks of the deepest network, beyond which no slider for a block goes.
    """
    statement = STATEMENTS[card.name]
    config = {
        "arms": arms_config(),
        "name": card.name,
        "title": statement.title,
        "formulas": [mathml(formula, "block") for formula in statement.formulas],
        "symbols": with_maths(statement.symbols),
        "condition": with_maths(statement.condition),
        "try": with_maths(statement.to_try),
        "controls": [_control(control, depth) for control in card.controls],
    }
    return web_component(
        "card.html", ("base.css", "card.css"), CARD_SCRIPTS, config, elem_id=f"gv-card-{card.name}"
    )


def _control(control: Slider | Choice, depth: int) -> dict[str, Any]:
    if isinstance(control, Choice):
        return {"name": control.name, "label": prose(control.label), "options": control.options}
    most = depth - 1 if control.name == "block" else control.high
    return {
        "name": control.name,
        "label": prose(control.label),
        "low": control.low,
        "high": min(control.high, most),
        "step": control.step,
        "start": min(control.start, most),
        "log": control.log,
    }


def answer(
    token: int,
    error: str | None,
    spoken: str = "",
    height: int = 0,
    numbers: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The value of a card: the number of its request, what went wrong, what a screen reader says, how high the plot
    beside it is, in pixels, and the numbers that were found, by name.
    """
    told = {"token": token, "error": error, "spoken": spoken, "height": height}
    return {**told, "numbers": dict(numbers or {})}


@dataclass(frozen=True)
class Question:
    """What a card asks: the number of its request, what it is checked on, its controls, columns for its charts."""

    token: int
    checkpoint: str
    blackboard: bool
    values: Mapping[str, float | str]
    columns: int

    @staticmethod
    def from_data(head: Any, data: Any) -> "Question":
        """Check the head's value and what came with a card's event. Raises InputError for anything that the page does
        not send itself; names and ranges of the values are not looked at.
        """
        head, data = (part if isinstance(part, dict) else {} for part in (head, data))
        checkpoint, source = head.get("checkpoint"), head.get("source")
        token, values, columns = data.get("token"), data.get("values"), data.get("columns")
        sound = (
            isinstance(token, int)
            and isinstance(checkpoint, str)
            and source in SOURCES
            and columns in range(1, MOST_COLUMNS + 1)
            and isinstance(values, dict)
            and len(values) <= MOST_VALUES
            and all(isinstance(name, str) and _is_value(value) for name, value in values.items())
        )
        if not sound:
            raise InputError(INCOMPLETE)
        return Question(int(token or 0), str(checkpoint), source == "blackboard", values, int(columns))


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
