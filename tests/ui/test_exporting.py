"""The export menu's wishes: checked, and answered with a file or a sentence."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from gramviz.errors import InputError
from gramviz.ui.exporter import WHATS, Wish
from gramviz.ui.exports.maps import Query
from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.ui.panels.exporting import exported
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
    return {**data, **pointer, **seen, **other}


def export(files, engine=None, ids=IDS, value=None, **other):
    value = {**CHOICE, "ids": ids} if value is None else value
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
    named = {"story": "curves", "spectra": "spectra"}.get(tab, "maps") if what == "figure" else ""
    assert told["file"]["name"].startswith(f"gramviz-{named}")
    assert told["file"]["name"].endswith(f".{kind}")


def test_the_numbers_are_of_what_was_asked(files):
    told = json.loads(content(files, export(files, pins=[{"x": 0.25, "y": 0.3, "sign": 1}])))
    assert [each["checkpoint"]["id"] for each in told["maps"]] == IDS
    assert told["query"]["positive"] == [2 * 14 + 3]
    assert told["picture"]["caption"].startswith("Chelsea")
    from gramviz.data.samples import load

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
