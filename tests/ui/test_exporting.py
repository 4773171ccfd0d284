"""The export menu's wishes: checked, and answered with a file or a sentence."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from gramviz.data.samples import load
from gramviz.errors import InputError
from gramviz.serving.lab import CARDS
from gramviz.ui.colours import sequential
from gramviz.ui.exporter import WHATS, Wish
from gramviz.ui.exports.maps import Query
from gramviz.ui.exports.tuned import Tuned
from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.ui.panels.exporting import exported
from gramviz.ui.pictures.lab import finding_figure
from gramviz.ui.pictures.tuning import tuned_figure
from gramviz.ui.teaching import TABS
from tests.ui.fake_engine import FakeEngine, checkpoint, features
from tests.ui.test_exports import INFO

RUNS = ("small",)
CHOICE = {"token": 3, "sample": "chelsea", "file": None, "patches": 14, "layer": -1}
IDS = ["small-trunk-2000", "small-plain-8000"]
GRID = (9, 14)


def wish(**other):
    data = {"token": 7, "what": "numbers", "kind": "json", "tab": "explore", "run": "small", "cls": False}
    pointer = {"pointer": {"x": 0.5, "y": 0.5}, "pins": []}
    seen = {"view": "similarity", "scale": "unit", "basis": "own", "a": "", "b": ""}
    head = {"checkpoint": "small-plain-8000", "source": "photograph"}
    theory = {"theory": {"card": "lemma2", "head": head, "values": {"size": 0.5}}}
    return {**data, **pointer, **seen, **theory, **other}


def tuned(files, **other):
    """A fine-tune as the page tells it: 4 x 6 patches, two arms."""
    shades = {"teacher": 40, "start": 200, "tuned": 120, "control": 190}
    maps = {name: base64.b64encode(bytes([shade] * 24)).decode() for name, shade in shades.items()}
    looks = {name: {"step": 3, "map": text} for name, text in maps.items()}
    distance = {"tuned": [[0, 0.8], [1, None], [3, 0.4]], "control": [[0, 0.8]]}
    curves = {"distance": distance, "loss": {"tuned": [[1, 2.0]]}}
    plan = {"start": "small-plain-8000", "teacher": "small-trunk-2000", "gram": 2, "steps": 5}
    photograph = files.photograph(load("chelsea"))["url"]
    told = {
        "photograph": photograph,
        "grid": [4, 6],
        "pinned": 7,
        "plan": plan,
        "looks": looks,
        "curves": curves,
    }
    return {**told, **other}


def export(files, engine=None, ids=IDS, value=None, **other):
    value = {**CHOICE, "ids": ids} if value is None else value
    if other.get("tab") == "finetune":
        other = {"tuned": tuned(files), **other}
    return exported(engine or FakeEngine(), value, wish(**other), files)


def content(files, told):
    assert told["error"] is None
    data = files.read(told["file"]["url"])
    assert len(data) == told["bytes"]
    return data


def test_places_become_the_patches_they_are_on():
    pin = {"x": 3.5 / 14, "y": 2.5 / 9, "sign": 1}
    other = {"x": 1, "y": 1, "sign": -1}
    assert Wish.from_data(wish(), RUNS).query(GRID) == Query((4 * 14 + 7,))
    assert Wish.from_data(wish(pins=[pin]), RUNS).query(GRID) == Query((31,))
    assert Wish.from_data(wish(pins=[pin, other]), RUNS).query(GRID) == Query((31,), (9 * 14 - 1,))
    assert Wish.from_data(wish(pins=[pin], cls=True), RUNS).query(GRID) == Query((9 * 14,))


@pytest.mark.parametrize(
    "bad",
    [
        *({"token": "7"}, {"pins": None}, {"pins": [{"x": 0, "y": 0, "sign": 1}] * 65}),
        *({"pins": [{"x": 0, "y": 0, "sign": 2}]}, {"pins": [{"x": 2, "y": 0, "sign": 1}]}, {"pins": [3]}),
        *({"pointer": None}, {"pointer": {"x": "a", "y": 0}}, {"tab": "attic"}, {"run": "../etc"}),
        *(
            {"what": "film", "kind": "png"},
            {"what": "all"},
            {"what": ["film"]},
            {"scale": "loud"},
            {"view": 1},
        ),
    ],
    ids=str,
)
def test_what_the_menu_does_not_send_is_refused(bad, files):
    with pytest.raises(InputError):
        Wish.from_data(wish(**bad), RUNS)
    told = export(files, **bad)
    assert told["file"] is None
    assert told["error"].endswith((".", "again.", "small."))
    assert told["error"] != UNEXPECTED


@pytest.mark.parametrize("data", [None, 3, [], "x"])
def test_no_wish_at_all(data, files):
    told = exported(FakeEngine(), {**CHOICE, "ids": IDS}, data, files)
    assert (told["token"], told["file"]) == (0, None)


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize(("what", "kind"), [(what, kind) for what, kinds in WHATS.items() for kind in kinds])
def test_every_file_is_made_on_every_tab(what, kind, tab, files):
    told = export(files, what=what, kind=kind, tab=tab)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "gif": b"GIF8", "webp": b"RIFF"}
    starts |= {"csv": b"# gramviz", "json": b"{", "npz": b"PK", "html": b"<!doctype html>"}
    assert content(files, told).startswith(starts[kind])
    assert told["token"] == 7
    figures = dict(zip(TABS, ("maps", "curves", "spectra", "theory", "fine-tune"), strict=True))
    named = figures[tab] if what == "figure" else ""
    assert told["file"]["name"].startswith(f"gramviz-{named}")
    assert told["file"]["name"].endswith(f".{kind}")


def test_the_numbers_are_of_what_was_asked(files):
    told = json.loads(content(files, export(files, pins=[{"x": 0.25, "y": 0.3, "sign": 1}])))
    assert [each["checkpoint"]["id"] for each in told["maps"]] == IDS
    assert told["query"]["positive"] == [2 * 14 + 3]
    assert told["picture"]["caption"].startswith("Chelsea")
    x = features(load("chelsea"), INFO[IDS[1]], 14)
    cosines = np.ravel(told["maps"][1]["cosines"])
    assert np.abs(cosines - x[:-1] @ x[31]).max() <= told["maps"][1]["bound"]


def test_the_layer_counts(files):
    last, earlier = (
        json.loads(content(files, export(files, value={**CHOICE, "ids": IDS, "layer": layer})))
        for layer in (-1, -2)
    )
    assert earlier["layer"] == -2
    assert last["maps"][1]["cosines"] != earlier["maps"][1]["cosines"]


def test_a_film_is_of_the_whole_run_and_numbers_of_what_is_shown(files):
    engine = FakeEngine()
    export(files, engine, what="film", kind="gif")
    assert len({key for _, key, _ in engine.computed}) == 8
    engine = FakeEngine()
    export(files, engine)
    assert [key for _, key, _ in engine.computed] == IDS


def test_common_components_have_one_basis_a_run(files):
    other = checkpoint("plain", 4000, "large")
    engine = FakeEngine([*FakeEngine().checkpoints(), other])
    told = export(files, engine, [*IDS, other.id], what="figure", kind="png", view="colours", basis="common")
    assert engine.bases == [IDS, [other.id]]
    with Image.open(io.BytesIO(content(files, told))) as image:
        image.load()


def test_a_run_without_measurements_says_so(files):
    engine = FakeEngine()
    engine.rows = {}
    told = export(files, engine, what="figure", kind="png", tab="story")
    assert told["error"] == "Nothing was measured along small, so there are no curves to export."


def test_a_bug_tells_nothing_of_itself(files, monkeypatch, caplog):
    monkeypatch.setattr(FakeEngine, "compare", lambda *a, **k: 1 / 0)
    told = export(files)
    assert told == {"token": 7, "error": UNEXPECTED, "file": None, "bytes": 0}
    assert "ZeroDivisionError" in caplog.text


def test_a_file_from_elsewhere_is_not_read(files):
    value = {**CHOICE, "ids": IDS, "sample": None, "file": {"path": "/etc/passwd"}}
    assert "uploaded here" in export(files, value=value)["error"]


# ---- the figures of the theory lab and of a fine-tune


def words(figure):
    return " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("card", [card.name for card in CARDS])
def test_a_card_is_drawn_with_its_verdict_and_every_number(card):
    finding = FakeEngine().theory(load("chelsea"), "small-plain-8000", card, {})
    figure = finding_figure("Title", "Settings.", finding)
    assert len(figure.axes) == len(finding.charts)
    for axes, chart in zip(figure.axes, finding.charts, strict=True):
        if chart.kind == "bar":
            found = [[bar.get_height() for bar in group] for group in axes.containers]
        else:
            found = [line.get_ydata() for line in axes.lines[: len(chart.lines)]]
        for drawn, line in zip(found, chart.lines, strict=True):
            np.testing.assert_array_equal(drawn, line.y)
    said = words(figure)
    assert "".join(finding.because.split()) in "".join(said.split())
    for number in finding.numbers:
        assert number.name in said.replace("\n", " ") or "".join(number.name.split()) in "".join(said.split())


def test_the_card_is_that_of_its_controls(files):
    engine = FakeEngine()
    export(files, engine, what="figure", kind="svg", tab="theory")
    assert engine.theories == [("lemma2", {"size": 0.5})]
    bad = {
        "card": "lemma2",
        "head": {"checkpoint": "small-plain-8000", "source": "photograph"},
        "values": {"x": 1},
    }
    told = export(files, what="figure", kind="svg", tab="theory", theory=bad)
    assert "no control 'x'" in told["error"]
    told = export(files, what="figure", kind="svg", tab="theory", theory={**bad, "card": "eq99"})
    assert told["error"].startswith("The request was incomplete")


def test_a_blackboard_needs_no_picture(files):
    head = {"checkpoint": "small-plain-8000", "source": "blackboard"}
    told = export(
        files, what="figure", kind="svg", tab="theory", theory={"card": "lemma1", "head": head, "values": {}}
    )
    assert b"blackboard" in content(files, told)


def test_a_fine_tune_is_drawn_with_its_maps_curves_and_plan(files):
    told = Tuned.from_data(tuned(files))
    figure = tuned_figure(told, load("chelsea").pixels, "")
    _scale, _photograph, *maps, distance, loss = figure.axes
    for axes, shade in zip(maps, (40, 200, 120, 190), strict=True):
        place = round(255 * max(0.0, shade / 127.5 - 1))
        assert np.unique(axes.images[0].get_array().reshape(-1, 3), axis=0).tolist() == [
            sequential()[place].tolist()
        ]
    assert [line.get_xydata().tolist() for line in distance.lines] == [[[0, 0.8], [3, 0.4]], [[0, 0.8]]]
    assert [line.get_xydata().tolist() for line in loss.lines] == [[[1, 2.0]]]
    said = words(figure)
    for word in (
        "Gram teacher",
        "small-plain-8000",
        "small-trunk-2000",
        "Gram 2",
        "5 steps",
        "row 1, column 1",
    ):
        assert word in said


@pytest.mark.parametrize(
    "bad",
    [
        *(
            {"grid": [4, 65]},
            {"grid": None},
            {"pinned": 24},
            {"pinned": -1},
            {"photograph": 3},
            {"looks": {}},
        ),
        *({"looks": {"spy": {}}}, {"looks": {"tuned": {"step": 1, "map": "AAAA"}}}, {"looks": {"tuned": 3}}),
        *(
            {"curves": {"distance": {"tuned": [[0]]}}},
            {"curves": {"spy": {}}},
            {"curves": {"loss": {"tuned": 3}}},
        ),
        *({"curves": {"loss": {"tuned": [[0, 1]] * 502}}}, {"plan": {"start": 3}}, {"plan": None}),
    ],
    ids=str,
)
def test_a_fine_tune_that_the_page_does_not_tell_is_refused(bad, files):
    told = export(files, what="figure", kind="png", tab="finetune", tuned=tuned(files, **bad))
    assert told["file"] is None
    assert told["error"] != UNEXPECTED
    assert told["error"].endswith(".")


def test_no_fine_tune_or_one_whose_picture_is_gone(files):
    told = export(files, what="figure", kind="png", tab="finetune", tuned=None)
    assert told["error"].startswith("There is nothing of a fine-tune to export yet")
    told = export(
        files, what="figure", kind="png", tab="finetune", tuned=tuned(files, photograph="files/x/y.jpg")
    )
    assert "not kept any more" in told["error"]


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("spectra", ("9 \u00d7 14 patches", "last layer", *IDS, "Chelsea")),
        ("story", ("Run small", "seeds", "means over the seeds")),
    ],
)
def test_figures_of_other_tabs_name_their_settings(files, tab, words):
    data = content(files, export(files, what="figure", kind="svg", tab=tab)).decode()
    said = " ".join(re.findall(r"<!-- (.*?) -->", data))
    for word in words:
        assert word in said, (word, said[-600:])


def test_files_have_the_order_of_the_page_whatever_is_ready_first(files, monkeypatch):
    engine = FakeEngine()
    monkeypatch.setattr(engine, "compare", lambda *a, **k: reversed(list(FakeEngine().compare(*a, **k))))
    told = json.loads(content(files, export(files, engine)))
    assert [each["checkpoint"]["id"] for each in told["maps"]] == IDS
