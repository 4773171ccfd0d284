"""The theory panel: each result of the post as a card that is checked on the visitor's picture or on a blackboard.

The panel turns a card's request into one call of the engine and the finding into a verdict, a figure and numbers.
Nothing of a visitor is kept here.
"""

import logging
import math
from collections.abc import Callable
from typing import Any

import gradio as gr

from gramviz.errors import GramvizError
from gramviz.gram.finding import Finding
from gramviz.serving.engine import Engine
from gramviz.serving.lab import CARDS
from gramviz.ui.chooser import Request, depths_of
from gramviz.ui.figures.lab import figure
from gramviz.ui.files import Files
from gramviz.ui.findings import details, verdict, verdict_word
from gramviz.ui.panels.explore import ON_A_TAB, UNEXPECTED, visitor_of
from gramviz.ui.theory import Question, answer, lab_card, lab_head
from gramviz.vit.images import Picture

log = logging.getLogger(__name__)


def theory_panel(engine: Engine, files: Files, choice: gr.HTML) -> None:
    """Add the panel in whose context it is called. It is about the picture that `choice`, the chooser, has."""
    head = lab_head(engine.checkpoints())
    depth = max(depths_of(engine.checkpoints()))
    with gr.Column(elem_classes="gv-lab"):
        for card in CARDS:
            with gr.Row(elem_classes="gv-theorem"):
                view = lab_card(card, depth)
                with gr.Column(elem_classes="gv-outcome"):
                    said = gr.HTML(elem_classes="gv-said")
                    plot = gr.Plot(show_label=False, container=False, elem_classes="gv-plot")
                    numbers = gr.HTML(elem_classes="gv-details")
            view.input(
                _check(engine, card.name, files),
                inputs=[choice, head],
                outputs=[view, said, plot, numbers],
                show_progress="hidden",
                trigger_mode="multiple",
                concurrency_limit=ON_A_TAB,
                concurrency_id="gv-theory",
                api_visibility="private",
            )


def _check(engine: Engine, card: str, files: Files) -> Callable[..., list[Any]]:
    """The function of a card's event."""

    def check(value: Any, head: Any, event: gr.EventData, request: gr.Request) -> list[Any]:
        return checked(engine, card, value, head, event._data, files, visitor_of(request))

    return check


def checked(
    engine: Engine, card: str, value: Any, head: Any, data: Any, files: Files, visitor: str = ""
) -> list[Any]:
    """The card's value, its verdict (HTML), its figure and its numbers (HTML); what cannot be had leaves those that
    were shown before.

    value: the chooser's; head: the head's; data: what came with the card's event. Never raises.
    """
    token = data.get("token", 0) if isinstance(data, dict) else 0
    left = [gr.skip()] * 3
    try:
        question = Question.from_data(head, data)
        picture = None if question.blackboard else _picture(engine, value, question, files)
        finding = engine.theory(picture, question.checkpoint, card, question.values, visitor=visitor)
        return _shown(finding, question)
    except GramvizError as error:
        return [answer(token, str(error)), *left]
    except Exception:
        log.exception("the card %s could not be checked", card)
        return [answer(token, UNEXPECTED), *left]


def _picture(engine: Engine, value: Any, question: Question, files: Files) -> Picture:
    """The chosen picture; which checkpoints are chosen on another tab does not matter."""
    value = {**value, "ids": [question.checkpoint]} if isinstance(value, dict) else value
    return Request.from_value(value, files.uploads).picture(engine.read)[0]


def _shown(finding: Finding, question: Question) -> list[Any]:
    drawn = figure(finding.charts, question.columns)
    spoken = f"{verdict_word(finding)}: {finding.because}"
    found = {number.name: number.value for number in finding.numbers if math.isfinite(number.value)}
    height = int(drawn.layout.height) if drawn else 0
    value = answer(question.token, None, spoken, height, found)
    return [value, verdict(finding), drawn, details(finding, question.columns)]
