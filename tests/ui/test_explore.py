import dataclasses
import json
import logging

import numpy as np
import pytest

from gramviz.data.samples import load
from gramviz.serving.tuning import Waiting
from gramviz.ui.panels.explore import UNEXPECTED, comparisons
from gramviz.vit.images import grid_for
from tests.ui.fake_engine import CHECKPOINTS, WIDTH, FakeEngine, checkpoint, features

IDS = ["small-trunk-1000", "small-plain-8000", "small-gram-8000"]
REQUEST = {"token": 5, "sample": "coffee", "file": None, "patches": 14, "ids": IDS}


@pytest.fixture
def engine():
    return FakeEngine()


def test_one_more_checkpoint_at_a_time(engine, files):
    values = list(comparisons(engine, REQUEST, files))
    assert [value["done"] for value in values] == [0, 1, 2, 3, 3]
    assert all(value["total"] == 3 and value["token"] == 5 and value["error"] is None for value in values)
    assert [value["complete"] for value in values] == [False] * 4 + [True]
    assert [list(value["views"]) for value in values[:4]] == [IDS[:count] for count in range(4)]
    assert [info["id"] for info in values[0]["checkpoints"]] == IDS
    assert values[0]["grid"] == list(grid_for(load("coffee").size, 14))
    assert "Cup of coffee" in values[0]["picture"]["caption"]


def test_common_colours_come_last(engine, files):
    *before, last = comparisons(engine, REQUEST, files)
    assert not any("common" in view for value in before for view in value["views"].values())
    wanted = engine.common_colours(load("coffee"), IDS, 14)
    assert {key: files.read(view["common"]["url"]) for key, view in last["views"].items()} == wanted


def test_each_run_has_a_common_basis_of_its_own(files):
    wide = [checkpoint("gram", 8000, "wide"), checkpoint("plain", 8000, "wide")]
    engine = FakeEngine([*CHECKPOINTS, *wide])
    *_, last = comparisons(engine, {**REQUEST, "ids": [*IDS, *(info.id for info in wide)]}, files)
    assert engine.bases == [IDS, [info.id for info in wide]]
    assert last["complete"]


def test_values_are_small_json_and_binaries_are_files(engine, files):
    *_, last = comparisons(engine, REQUEST, files)
    assert len(json.dumps(last)) < 8000
    view = last["views"][IDS[1]]
    info = next(info for info in engine.checkpoints() if info.id == IDS[1])
    stored = np.frombuffer(files.read(view["factor"]["url"]), dtype="<f2").reshape(-1, WIDTH)
    assert np.array_equal(stored, features(load("coffee"), info, 14).astype("<f2"))
    assert view["rank"] == WIDTH
    assert set(view["measures"]) == {"cls_alignment", "mean_similarity", "effective_rank", "top1_energy"}
    assert files.read(last["picture"]["image"]["url"]).startswith(b"\xff\xd8")


def test_same_features_have_the_same_key_and_files(engine, files):
    first = list(comparisons(engine, REQUEST, files))[-1]
    second = list(comparisons(engine, {**REQUEST, "token": 6, "ids": IDS[:1]}, files))[-1]
    assert first["key"] == second["key"]
    assert first["views"][IDS[0]]["factor"] == second["views"][IDS[0]]["factor"]
    assert list(comparisons(engine, {**REQUEST, "patches": 20}, files))[-1]["key"] != first["key"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ids": ["nothing"]}, "There is no checkpoint 'nothing'."),
        ({"sample": "dog"}, "There is no sample 'dog'"),
        ({"patches": 1000}, "1000 patches cannot be chosen"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(engine, files, change, sentence):
    value = list(comparisons(engine, {**REQUEST, **change}, files))[-1]
    assert sentence in value["error"]
    assert value["token"] == 5


def test_the_unexpected_is_logged_and_not_shown(engine, files, monkeypatch, caplog):
    def broken(*_args, **_named):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(engine, "common_colours", broken)
    with caplog.at_level(logging.ERROR):
        *_, last = comparisons(engine, REQUEST, files)
    assert last == {"token": 5, "error": UNEXPECTED}
    assert "/secret/path" in caplog.text


def test_stopping_early_stops_the_engine(engine, files):
    running = comparisons(engine, REQUEST, files)
    assert [next(running)["done"], next(running)["done"]] == [0, 1]
    running.close()
    assert engine.closed == 1
    assert len(engine.computed) == 1


def test_what_was_there_already_comes_in_one_value(engine, files, monkeypatch):
    views = list(engine.compare(load("coffee"), IDS, 14))
    kept = [dataclasses.replace(view, cached=True) for view in views[:2]]
    monkeypatch.setattr(engine, "compare_with_places", lambda *_, **__: iter([*kept, Waiting(4), views[2]]))
    values = list(comparisons(engine, REQUEST, files))
    assert [(value["done"], value["position"]) for value in values] == [(2, 4), (3, None), (3, None)]
    monkeypatch.setattr(engine, "compare_with_places", lambda *_, **__: iter(kept))
    values = list(comparisons(engine, {**REQUEST, "ids": IDS[:2]}, files))
    assert [(value["done"], value["complete"]) for value in values] == [(2, False), (2, True)]
