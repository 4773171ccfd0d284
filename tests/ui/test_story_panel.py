"""The story panel: films of a run for the player, and its curves with their words."""

import logging

import pytest

from gramviz.data.samples import load
from gramviz.errors import CheckpointError, InputError
from gramviz.ui.drawings import Drawings
from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.ui.panels.story import AT_A_TIME, LEGEND, NOT_MEASURED, films
from gramviz.ui.panels.story import drawn as drawn_with
from gramviz.ui.player import Wish
from gramviz.ui.story import CHAPTERS
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine, checkpoint

CHOICE = {"token": 3, "sample": "coffee", "file": None, "patches": 14, "ids": []}
RUNS = ("small",)
DATA = {"token": 9, "run": "small"}


def drawn(engine, runs, data):
    return drawn_with(engine, runs, data, Drawings())


@pytest.fixture
def engine():
    return FakeEngine()


def test_a_film_has_every_checkpoint_of_its_run_and_no_other(files):
    engine = FakeEngine([*CHECKPOINTS, checkpoint("plain", 5, "other")])
    values = list(films(engine, ("small", "other"), CHOICE, DATA, files))
    ids = [info.id for info in CHECKPOINTS]
    assert [value["done"] for value in values] == list(range(len(ids) + 1))
    assert all((value["token"], value["run"], value["error"]) == (9, "small", None) for value in values)
    assert list(values[-1]["views"]) == ids
    assert {digest for digest, _, _ in engine.computed} == {load("coffee").digest}


def test_whatever_checkpoints_the_visitor_explores_the_film_is_whole(engine, files):
    *_, last = films(engine, RUNS, {**CHOICE, "ids": ["small-plain-4000"]}, DATA, files)
    assert last["total"] == len(CHECKPOINTS)


@pytest.mark.parametrize(
    ("choice", "data", "sentence"),
    [
        (CHOICE, {"token": 9, "run": "none"}, "There is no run 'none'; there are small."),
        ({**CHOICE, "sample": "dog"}, DATA, "There is no sample 'dog'"),
        ({**CHOICE, "patches": 15}, DATA, "15 patches cannot be chosen"),
        (None, DATA, "incomplete"),
        (CHOICE, {"token": "9", "run": "small"}, "incomplete"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(engine, files, choice, data, sentence):
    *_, last = films(engine, RUNS, choice, data, files)
    assert sentence in last["error"]
    assert last["token"] == data["token"]


def test_the_unexpected_is_logged_and_not_shown(engine, files, monkeypatch, caplog):
    def broken(*_args, **_named):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(engine, "compare", broken)
    monkeypatch.setattr(engine, "trajectory", broken)
    with caplog.at_level(logging.ERROR):
        *_, last = films(engine, RUNS, CHOICE, DATA, files)
        intro, *chapters = drawn(engine, RUNS, {"run": "small", "columns": 3})
    assert last == {"token": 9, "error": UNEXPECTED}
    assert (intro, chapters) == (f"<p>{UNEXPECTED}</p>", [("", None)] * len(CHAPTERS))
    assert caplog.text.count("/secret/path") >= 2


def test_stopping_a_film_stops_the_engine(engine, files):
    running = films(engine, RUNS, CHOICE, DATA, files)
    next(running)
    next(running)
    running.close()
    assert engine.closed == 1


def test_a_film_asks_for_a_few_checkpoints_at_a_time(engine, files, monkeypatch):
    asked = []
    compare = engine.compare

    def noted(picture, ids, patches, layer, visitor):
        asked.append((len(engine.computed), list(ids)))
        return compare(picture, ids, patches, layer=layer, visitor=visitor)

    monkeypatch.setattr(engine, "compare", noted)
    *_, last = films(engine, RUNS, CHOICE, DATA, files)
    assert last["done"] == len(CHECKPOINTS) > AT_A_TIME
    assert max(len(ids) for _, ids in asked) == AT_A_TIME
    assert [key for _, ids in asked for key in ids] == [info.id for info in CHECKPOINTS]
    # each part is asked for only after all of the one before came
    assert [before for before, _ in asked] == list(range(0, len(CHECKPOINTS), AT_A_TIME))


def test_curves_have_a_legend_words_and_a_figure_a_chapter(engine):
    intro, *chapters = drawn(engine, RUNS, {"run": "small", "columns": 3})
    assert intro == f"<p>{LEGEND}</p>"
    assert len(chapters) == len(CHAPTERS)
    for chapter, (text, figure) in zip(CHAPTERS, chapters, strict=True):
        assert text.startswith(f"<h2>{chapter.title}</h2>")
        assert "<b>without Gram.</b>" in text or chapter.key in ("quality", "losses")
        assert figure is not None


def test_a_chapter_that_was_not_measured_says_so(engine):
    engine.rows["small"] = [
        {key: value for key, value in row.items() if not key.startswith(("residual", "global"))}
        for row in engine.rows["small"]
    ]
    _, *chapters = drawn(engine, RUNS, {"run": "small", "columns": 3})
    text, figure = next(chapter for chapter in chapters if "Residuals" in chapter[0])
    assert figure is None
    assert (
        "Not measured: residuals: top-1 share, residuals: effective rank, residuals: common row, "
        "gradient of the global loss."
    ) in text


def test_a_chapter_that_cannot_be_drawn_leaves_the_others(engine, caplog):
    engine.rows["small"] = [
        {**row, "heldout_ibot": "low"} if row["arm"] == "gram" else row for row in engine.rows["small"]
    ]
    with caplog.at_level(logging.ERROR):
        _, *chapters = drawn(engine, RUNS, {"run": "small", "columns": 3})
    failed = [text for text, figure in chapters if figure is None]
    assert failed == [f"<h2>Losses on held-out images</h2><p>{UNEXPECTED}</p>"]
    assert "the chapter losses could not be drawn" in caplog.text


def test_chapters_are_drawn_once_for_the_same_rows(engine):
    drawings = Drawings(most=2)

    def figures(columns):
        _, *chapters = drawn_with(engine, RUNS, {"run": "small", "columns": columns}, drawings)
        return [id(figure) for _, figure in chapters]

    first = figures(3)
    assert figures(3) == first
    assert figures(2) != first
    assert figures(3) == first
    old = engine.rows["small"]
    engine.rows["small"] = (*old, old[0])
    assert figures(3) != first  # read anew, drawn anew


def test_a_run_without_measurements_has_one_sentence(engine):
    engine.rows.clear()
    assert drawn(engine, RUNS, {"run": "small"}) == [f"<p>{NOT_MEASURED}</p>", *[("", None)] * len(CHAPTERS)]


def test_damaged_measurements_are_told_in_a_sentence(engine, monkeypatch):
    def damaged(_run):
        raise CheckpointError("line 3 of the measurements of <small> is not JSON")

    monkeypatch.setattr(engine, "trajectory", damaged)
    assert (
        drawn(engine, RUNS, {"run": "small"})[0]
        == "<p>line 3 of the measurements of &lt;small&gt; is not JSON</p>"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "incomplete"),
        ({"run": "small", "columns": 5}, "incomplete"),
        ({"run": 3}, "There is no run '3'"),
    ],
)
def test_what_the_player_never_sends_is_refused(data, message):
    with pytest.raises(InputError, match=message if data else "no run|incomplete"):
        Wish.from_data(data, RUNS)


def test_a_wish_is_read():
    assert Wish.from_data({"token": 2, "run": "small", "columns": 4}, RUNS) == Wish(2, "small", 4)
