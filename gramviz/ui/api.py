"""The named endpoints for programs: checkpoints, similarity, spectrum, theory. `gradio_client` calls them, and where
the page is served with `--mcp` they are tools of the Model Context Protocol, which reads their docstrings.

Their images come in through a file component, so that only files a caller uploaded are ever read. This module knows
the engine and nothing of the page.
"""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from gramviz.errors import GramvizError, InputError
from gramviz.serving.engine import Engine
from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.vit.images import Picture

AT_ONCE = 4  # calls of one endpoint that run side by side; the engine has its own queue behind

log = logging.getLogger(__name__)


def add_endpoints(engine: Engine) -> None:
    """Add `/checkpoints`, `/similarity`, `/spectrum` and `/theory` to the page in whose context this is called."""

    def checkpoints() -> list[dict[str, Any]]:
        """List the checkpoints: id, run, branch, step, parent, licence, title and images seen of each."""
        return [_described(info) for info in engine.checkpoints()]

    def similarity(image: str, checkpoint: str, row: int, column: int, patches: int) -> dict[str, Any]:
        """Cosine of one patch of an image to every patch of it.

        Args:
            image: the image, at most 50 megapixels.
            checkpoint: the id of a checkpoint, as /checkpoints lists them.
            row: row of the patch, from 0 at the top.
            column: column of the patch, from 0 at the left.
            patches: patches along the longer side of the image, 4 to 64.

        Returns:
            The checkpoint's id, the grid [rows, columns], row and column, and map, rows of cosines in -1..1.
        """
        return _answer(lambda: engine.similarity(_opened(engine, image), checkpoint, patches, row, column))

    def spectrum(image: str, checkpoint: str, patches: int) -> dict[str, Any]:
        """Eigenvalues of the cosine Gram matrix of an image's patches, in falling order, and measures of it.

        Args:
            image: the image, at most 50 megapixels.
            checkpoint: the id of a checkpoint, as /checkpoints lists them.
            patches: patches along the longer side of the image, 4 to 64.

        Returns:
            The checkpoint's id, the grid [rows, columns], the eigenvalues, and measures by name.
        """
        return _answer(lambda: engine.spectrum(_opened(engine, image), checkpoint, patches))

    def theory(image: str, checkpoint: str, card: str, values: dict[str, Any]) -> dict[str, Any]:
        """Check an equation or a lemma of "Why Patch Features Go Global" on an image's features.

        Args:
            image: the image, at most 50 megapixels.
            checkpoint: the id of a checkpoint, as /checkpoints lists them.
            card: eq1, eq2, eq34, lemma1, lemma2, eq6, eq7 or prop2.
            values: of the card's controls by name; what is not there stands at its start.

        Returns:
            Whether it holds (null where that is not asked), why, and the numbers with their meanings.
        """

        def found() -> dict[str, Any]:
            if not isinstance(values, dict):
                raise InputError("values must be an object of numbers and words by name, such as {}.")
            finding = engine.theory(_opened(engine, image), checkpoint, card, values)
            numbers = [dataclasses.asdict(number) for number in finding.numbers]
            return {"card": card, "holds": finding.holds, "because": finding.because, "numbers": numbers}

        return _answer(found)

    gr.api(checkpoints, api_name="checkpoints", queue=False)
    with gr.Group(visible=False):
        image = gr.File(label="image", type="filepath")
        checkpoint = gr.Textbox(label="checkpoint")
        row = gr.Number(label="row", precision=0, value=0)
        column = gr.Number(label="column", precision=0, value=0)
        patches = gr.Number(label="patches", precision=0, value=28)
        card = gr.Textbox(label="card", value="lemma2")
        values = gr.JSON(label="values", value={})
        answer = gr.JSON(label="answer")
        caller = gr.Button()
    for work, inputs in (
        (similarity, [image, checkpoint, row, column, patches]),
        (spectrum, [image, checkpoint, patches]),
        (theory, [image, checkpoint, card, values]),
    ):
        caller.click(work, inputs, answer, api_name=work.__name__, concurrency_limit=AT_ONCE)


def _described(info: Any) -> dict[str, Any]:
    names = ("id", "run", "branch", "step", "parent", "licence", "title", "images_seen")
    return {name: getattr(info, name) for name in names}


def _opened(engine: Engine, image: str | None) -> Picture:
    if image is None:
        raise InputError("There is no image; please upload one.")
    return engine.read(Path(image))


def _answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result, or an error whose message is one sentence fit for a stranger."""
    try:
        return work()
    except GramvizError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception:
        log.exception("an API call failed")
        raise gr.Error(UNEXPECTED, print_exception=False) from None
