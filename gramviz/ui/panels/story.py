"""The story panel: the maps of a whole run as a film, and beneath it the curves of what was measured along the run.

The panel turns requests into calls of the engine and its answers into values of the player, plots and sentences.
Nothing of a visitor is kept here.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from gramviz.errors import GramvizError
from gramviz.serving.engine import Engine
from gramviz.ui import curves
from gramviz.ui.chooser import Request
from gramviz.ui.drawings import Drawings
from gramviz.ui.explorer import Comparison, error_value
from gramviz.ui.figures.story import figure
from gramviz.ui.files import Files
from gramviz.ui.panels.explore import ON_A_TAB, UNEXPECTED, visitor_of
from gramviz.ui.player import Wish, player
from gramviz.ui.story import CHAPTERS, Chapter

NOT_MEASURED = "Nothing was measured along this run, so there are no curves to show."
LEGEND = (
    "Lines are means over seeds at the steps that all seeds have; bands reach from the lowest to the highest seed; "
    "thin lines are controls of one seed. In the text, \u00b1 is the standard deviation over seeds. From three "
    "seeds on there is a verdict. Where seeds differ in sign, \u201cno effect\u201d or, if the mean is large, "
    "\u201cseeds disagree\u201d; else \u201csmall\u201d: less than the experiment set out to see; \u201cweak\u201d: "
    "less than twice the deviation; or \u201cclear\u201d. The dense peak was chosen after the fact, on the same rows."
)

AT_A_TIME = 4  # checkpoints of a film asked for at once, so that other visitors get in between

Row = curves.Row
Chapters = list[tuple[str, Any]]  # text (HTML) and figure of each, ("", None) where there is nothing

log = logging.getLogger(__name__)


def story_panel(engine: Engine, files: Files, choice: gr.HTML) -> None:
    """Add the panel in whose context it is called. It shows the picture that `choice`, the chooser, has."""
    steps = Counter(info.run for info in engine.checkpoints())
    runs = tuple(run for run, count in steps.items() if count > 1)  # a model alone has no story
    view = player(runs)
    drawings: Drawings[Chapters] = Drawings()

    def film(value: Any, event: gr.EventData, request: gr.Request) -> Iterator[dict[str, Any]]:
        yield from films(engine, runs, value, event._data, files, visitor_of(request))

    def draw(event: gr.EventData) -> list[Any]:
        intro, *chapters = drawn(engine, runs, event._data, drawings)
        shown = [gr.Row(visible=plot is not None or bool(text)) for text, plot in chapters]
        return [intro, *shown, *(part for chapter in chapters for part in chapter)]

    with gr.Column(elem_classes="gv-curves"):
        intro = gr.HTML(elem_classes="gv-intro")
        rows, parts = [], []
        for _ in CHAPTERS:
            with gr.Row(elem_classes="gv-chapter", visible=False) as row:
                parts += [gr.HTML(elem_classes="gv-words"), gr.Plot(show_label=False, container=False)]
            rows.append(row)

    running = view.input(
        film,
        inputs=choice,
        outputs=view,
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_limit=ON_A_TAB,
        api_visibility="private",
    )
    view.stop(None, cancels=[running])
    view.select(
        draw,
        outputs=[intro, *rows, *parts],
        show_progress="hidden",
        trigger_mode="always_last",
        concurrency_limit=ON_A_TAB,
        api_visibility="private",
    )


def films(
    engine: Engine, runs: Sequence[str], value: Any, data: Any, files: Files, visitor: str = ""
) -> Iterator[dict[str, Any]]:
    """Values of the player for one request: the picture, then one more checkpoint of the run at a time.

    value: the chooser's; data: what came with the player's event. Never raises.
    """
    token = data.get("token", 0) if isinstance(data, dict) else 0
    try:
        wish = Wish.from_data(data, runs)
        chosen = [info for info in engine.checkpoints(visitor) if info.run == wish.run]
        ids = [info.id for info in chosen]
        value = {**value, "ids": ids} if isinstance(value, dict) else value
        request = replace(Request.from_value(value, files.uploads), token=wish.token)
        picture, caption = request.picture(engine.read)
        comparison = Comparison.begin(
            request.token, picture, caption, chosen, request.patches, files, request.layer
        )
        yield {**comparison.as_value(), "run": wish.run}
        for first in range(0, len(ids), AT_A_TIME):
            part = ids[first : first + AT_A_TIME]
            for view in engine.compare(picture, part, request.patches, layer=request.layer, visitor=visitor):
                comparison = comparison.with_view(view, files)
                yield {**comparison.as_value(), "run": wish.run}
    except GramvizError as error:
        yield error_value(token, str(error))
    except Exception:
        log.exception("a film failed")
        yield error_value(token, UNEXPECTED)


def drawn(engine: Engine, runs: Sequence[str], data: Any, drawings: Drawings[Chapters]) -> list[Any]:
    """A line on top, then text (HTML) and figure of each chapter, ("", None) where there is nothing. Never raises."""
    nothing: Chapters = [("", None)] * len(CHAPTERS)
    try:
        wish = Wish.from_data(data, runs)
        rows = engine.trajectory(wish.run)
        if not rows:
            return [f"<p>{NOT_MEASURED}</p>", *nothing]
        chapters = drawings.of(
            (wish.run, wish.columns), rows, lambda: [_chapter(each, rows, wish.columns) for each in CHAPTERS]
        )
    except GramvizError as error:
        return [f"<p>{escape(str(error))}</p>", *nothing]
    except Exception:
        log.exception("curves could not be drawn")
        return [f"<p>{UNEXPECTED}</p>", *nothing]
    return [f"<p>{escape(LEGEND)}</p>", *chapters]


def _chapter(chapter: Chapter, rows: Sequence[Row], columns: int) -> tuple[str, Any]:
    """Text and figure of a chapter; one that cannot be drawn says so and leaves the others alone."""
    try:
        return words(chapter, rows), figure(rows, chapter, columns)
    except Exception:
        log.exception("the chapter %s could not be drawn", chapter.key)
        return f"<h2>{escape(chapter.title)}</h2><p>{UNEXPECTED}</p>", None


def words(chapter: Chapter, rows: Sequence[Row]) -> str:
    """Title, theory, what is seen and what was not measured, as HTML."""
    seen = "".join(
        f'<p class="gv-seen" style="--arm: var(--arm-{arm})">'
        f"<b>{escape(curves.look(arm).label)}.</b> {escape(text)}</p>"
        for arm, text in chapter.seen(rows)
    )
    seen += "".join(f'<p class="gv-seen">{escape(text)}</p>' for text in chapter.remarks(rows))
    missing = chapter.missing(rows)
    rest = f'<p class="gv-missing">Not measured: {escape(", ".join(missing))}.</p>' if missing else ""
    return f'<h2>{escape(chapter.title)}</h2><p class="gv-theory">{escape(chapter.theory)}</p>{seen}{rest}'
