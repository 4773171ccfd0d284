"""The spectra panel: Gram matrices of the chosen picture by the chosen checkpoints, read as an analyst does.

The panel turns requests into calls of the engine and its answers into values of the maps, figures and a table. All
that belongs to a visitor is in the events' values; nothing is kept here.
"""

import logging
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import GramvizError
from gramviz.metrics.spectra import Spectra
from gramviz.serving.engine import Engine
from gramviz.ui.chooser import Request
from gramviz.ui.curves import Row
from gramviz.ui.drawings import Drawings
from gramviz.ui.explorer import Comparison, error_value
from gramviz.ui.figures.spectra import eigenvalues, where_energy_lives
from gramviz.ui.figures.training import along_training
from gramviz.ui.files import Files
from gramviz.ui.panels.explore import ON_A_TAB, UNEXPECTED, visitor_of
from gramviz.ui.spectra import Spectral, Wanted, first_ids, measures_table, spectra

EIGENVALUES = (
    "Eigenvalues of G",
    "G holds the cosines of all pairs of the P patches of this picture, so its eigenvalues add up to P. The dotted "
    "line is what P random directions in d dimensions would have (Marchenko and Pastur). The bins of the counts are "
    "evenly spaced in log \u03bb; what is smaller than the first counts to it. Click a point to see its eigenvector "
    "below.",
)
LIVES = (
    "Where the energy lives",
    "By frequency: how the trace of G divides over the cosine waves of the patch grid, gathered in rings of one "
    "spatial frequency. The point at 0 is the constant mode; its share is the Rayleigh quotient along 1 over P, "
    "which a common drift feeds (Lemma 2).",
    "By distance: the mean cosine of all pairs of patches at each distance, rounded to whole patches. Local features "
    "fall off; a shared direction lifts the whole curve.",
)
ALONG = (
    "Along training",
    "The share of each of the first 32 eigenvalues of G, at every measured step: a column a step, equally spaced "
    "whatever lies between; colours are logarithmic and the same in all panels. Each arm begins with the trunk that "
    "it parts from.",
)
NOTHING = (gr.skip(),) * 8  # new for no output of the panel

log = logging.getLogger(__name__)


def spectra_panel(engine: Engine, files: Files, choice: gr.HTML) -> None:
    """Add the panel in whose context it is called. It shows what `choice`, the chooser, has."""
    with gr.Column(elem_classes="gv-spectra"):
        with gr.Column(elem_classes="gv-spectrum"):
            gr.HTML(_words(*EIGENVALUES), elem_classes="gv-words")
            spectrum = gr.Plot(show_label=False, container=False)
        view = spectra()
        with gr.Row(elem_classes="gv-chapter", visible=False) as lives:
            gr.HTML(_words(*LIVES), elem_classes="gv-words")
            energy = gr.Plot(show_label=False, container=False)
        with gr.Row(elem_classes="gv-chapter", visible=False) as along:
            told = gr.HTML(elem_classes="gv-words")
            training = gr.Plot(show_label=False, container=False)
        table = measures_table()

    drawings: Drawings[Any] = Drawings()

    def portray(value: Any, event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        yield from portraits(engine, value, event._data, files, drawings, visitor_of(request))

    running = view.input(
        portray,
        inputs=choice,
        outputs=[view, table, spectrum, lives, energy, along, told, training],
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_limit=ON_A_TAB,
        api_visibility="private",
    )
    view.stop(None, cancels=[running])


def portraits(
    engine: Engine, value: Any, data: Any, files: Files, drawings: Drawings[Any], visitor: str = ""
) -> Iterator[list[Any]]:
    """Values of the panel's eight outputs for one request: one more checkpoint at a time, then the figures.

    value: the chooser's; data: what came with the component's event; drawings: those of runs. Never raises.
    """
    token = data.get("token", 0) if isinstance(data, dict) else 0
    try:
        wanted = Wanted.from_data(data)
        request = Request.from_value(value, files.uploads)
        for found in spectrals(engine, request, wanted.token, files, visitor):
            table = found.as_table() if found.found else gr.skip()
            yield [found.as_value(), table, *NOTHING[2:]]
        # one figure at a time: each takes the page some frames
        there = found.spectra()
        yield [gr.skip(), gr.skip(), eigenvalues(there, wanted.columns), *NOTHING[3:]]
        lives = where_energy_lives(there, wanted.columns)
        shown = [gr.Row(visible=lives is not None), lives]
        yield [*NOTHING[:3], *shown, *NOTHING[5:]]
        words, training = _along(engine, there, wanted.columns, drawings)
        # a figure whose row has just appeared is lost where the next value skips it: so it comes along again, which
        # costs nothing, since only what differs is sent
        yield [*NOTHING[:3], *shown, gr.Row(visible=bool(words)), words, training]
    except GramvizError as error:
        yield [error_value(token, str(error)), *NOTHING[1:]]
    except Exception:
        log.exception("spectra could not be shown")
        yield [error_value(token, UNEXPECTED), *NOTHING[1:]]


def spectrals(
    engine: Engine, request: Request, token: int, files: Files, visitor: str = ""
) -> Iterator[Spectral]:
    """What there is to show before the first checkpoint and after each, in the order of the request."""
    picture, caption = request.picture(engine.read)
    known = {info.id: info for info in engine.checkpoints(visitor)}
    ids = first_ids(request.ids)
    chosen = [known[key] for key in ids if key in known]
    comparison = Comparison.begin(token, picture, caption, chosen, request.patches, files, request.layer)
    found = Spectral.begin(comparison, len(set(request.ids)) - len(ids), files)
    yield found
    for key in ids:
        (spectral,) = engine.spectra(picture, [key], request.patches, layer=request.layer, visitor=visitor)
        view = None
        if spectral.problem is None:
            (view,) = engine.compare(picture, [key], request.patches, layer=request.layer, visitor=visitor)
        found = found.with_view(spectral, view, files)
        yield found


def _along(
    engine: Engine, there: Sequence[tuple[CheckpointInfo, Spectra]], columns: int, drawings: Drawings[Any]
) -> tuple[str, Any]:
    """Words and figure along training of the first checkpoint's run; neither where nothing was measured."""
    if not there:
        return "", None
    run = there[0][0].run
    try:
        rows = engine.trajectory(run)
        figure = drawings.of((run, columns), rows, lambda: along_training(rows, columns))
    except GramvizError as error:
        return _words(ALONG[0], str(error)), None
    except Exception:
        log.exception("the spectrum along training could not be drawn")
        return _words(ALONG[0], UNEXPECTED), None
    return (_words(*ALONG, _conditions(run, rows)), figure) if figure is not None else ("", None)


def _conditions(run: str, rows: Sequence[Row]) -> str:
    """Of what the means along training are."""
    measured = [row for row in rows if row.get("spectrum")]
    seeds = len({row["seed"] for row in measured})
    pictures = max((row.get("pictures", 0) for row in measured), default=0)
    of = f", over {pictures} held-out pictures" if pictures else ""
    return f"Run {run}: not of your picture, but means over {seeds} seed{'s' * (seeds > 1)}{of}, at the last layer."


def _words(title: str, *sentences: str) -> str:
    return f"<h2>{escape(title)}</h2>" + "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
