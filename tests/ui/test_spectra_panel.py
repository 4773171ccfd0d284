"""The spectra panel: what is sent for maps, matrix and table, and what is said where something is wrong."""

import json
import logging

import numpy as np
import pytest

from gramviz.data.samples import load
from gramviz.errors import InputError
from gramviz.gram.orders import hilbert_order
from gramviz.ui.drawings import Drawings
from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.ui.panels.spectra import portraits
from gramviz.ui.spectra import MOST_CHECKPOINTS, Wanted, packed
from tests.ui.fake_engine import CHECKPOINTS, REGISTERS, FakeEngine, checkpoint, features, patch_features

IDS = ["small-trunk-2000", "small-plain-8000", "small-gram-8000"]
CHOICE = {"token": 3, "sample": "coffee", "file": None, "patches": 14, "layer": -1, "ids": IDS}
DATA = {"token": 9, "columns": 4}
INFO = {info.id: info for info in CHECKPOINTS}
PICTURE = load("coffee")


@pytest.fixture
def engine():
    return FakeEngine()


def values(engine, cache, choice=CHOICE, data=DATA):
    """The values of the maps, of the table, and all outputs of each step."""
    steps = list(portraits(engine, choice, data, cache, Drawings()))
    shown = [step[0] for step in steps if "token" in step[0]]
    tables = [step[1] for step in steps if "rows" in step[1]]
    return shown, tables, steps


def part(files, view, name):
    """An array of a packed file, read as the page's script reads it."""
    kind, offset, *shape = view["parts"][name]
    assert offset % 8 == 0
    count = int(np.prod(shape))
    return np.frombuffer(
        files.read(view["file"]["url"]), np.dtype(kind).newbyteorder("<"), count, offset
    ).reshape(shape)


def test_one_more_checkpoint_at_a_time_and_figures_last(engine, files):
    shown, tables, steps = values(engine, files)
    assert [value["done"] for value in shown] == [0, 1, 2, 3]
    assert [len(table["rows"]) for table in tables] == [1, 2, 3]
    assert all((value["token"], value["error"]) == (9, None) for value in shown)
    assert all(len(step) == 8 for step in steps)
    assert steps[-1][4] is steps[-2][4]  # what a row that has just appeared holds must not be skipped
    figures = [[step[2], step[4], step[7]] for step in steps[-3:]]
    assert [hasattr(figures[i][i], "to_plotly_json") for i in range(3)] == [True] * 3
    assert "means over 3 seeds, over 100 held-out pictures" in steps[-1][6]


@pytest.mark.parametrize("layer", [-1, -3])
def test_what_is_sent_is_what_numpy_finds(engine, files, layer):
    shown, tables, _ = values(engine, files, {**CHOICE, "layer": layer})
    rows, columns = shown[0]["grid"]
    assert (
        files.read(shown[0]["hilbert"]["url"]) == hilbert_order(rows, columns).numpy().astype("<u2").tobytes()
    )
    for key, row in zip(IDS, tables[-1]["rows"], strict=True):
        view = shown[-1]["views"][key]
        x = features(PICTURE, INFO[key], 14, layer=layer)[:-1]
        g = x @ x.T
        wanted, vectors = np.linalg.eigh(g)
        wanted, vectors = wanted[::-1], vectors[:, ::-1]
        sent, numbers = part(files, view, "vectors").astype(np.float64), part(files, view, "numbers")
        k = len(sent)
        assert np.allclose(numbers[0], wanted[:k], rtol=0, atol=1e-9)
        assert np.allclose(numbers[1], wanted[:k] / len(x), rtol=0, atol=1e-12)
        apart = [
            i for i in range(10) if min(wanted[i] - wanted[i + 1], (wanted[i - 1] - wanted[i]) or 1) > 1e-2
        ]
        for i in apart:
            sign = 1 if vectors[:, i].sum() >= 0 else -1
            assert np.abs(sent[i] - sign * vectors[:, i]).max() < 1e-3
        lengths = patch_features(PICTURE, INFO[key], 14).token_lengths.numpy().ravel()
        assert np.allclose(part(files, view, "lengths"), lengths, rtol=1e-6)
        assert part(files, view, "outliers").sum() == row["outliers"] >= 3
        assert part(files, view, "registers").shape == (REGISTERS, len(x))
        assert sorted(part(files, view, "cluster_order")) == list(range(len(x)))
        assert np.all(
            np.diff(part(files, view, "clusters")[part(files, view, "cluster_order")].astype(int)) >= 0
        )
        assert row["rayleigh"] == pytest.approx(g.sum() / len(x), abs=1e-9)
        assert row["top3_energy"] == pytest.approx(wanted[:3].sum() / len(x), abs=1e-12)
        assert row["patches"] == len(x)
    assert {entry[3] for entry in engine.analysed} == {layer}


def test_values_are_small(engine, files):
    shown, _, _ = values(engine, files)
    assert len(json.dumps(shown[-1])) < 8000


def test_a_checkpoint_with_a_problem_says_so_and_leaves_the_others(engine, files):
    engine.damaged.add(IDS[1])
    shown, tables, steps = values(engine, files)
    assert shown[-1]["views"][IDS[1]] == {"problem": "The features hold values that are no numbers."}
    assert [row["problem"] is None for row in tables[-1]["rows"]] == [True, False, True]
    drawn = {trace.name for trace in steps[-3][2].data}
    assert "with Gram, step 8\u202f000" in drawn
    assert "without Gram, step 8\u202f000" not in drawn
    assert all(entry[1] != IDS[1] for entry in engine.computed)


def test_nothing_but_problems_leaves_no_figure(engine, files):
    engine.damaged.update(IDS)
    _, _, steps = values(engine, files)
    assert (steps[-3][2], steps[-2][4], steps[-1][6:]) == (None, None, ["", None])


def test_more_checkpoints_than_are_drawn(files):
    many = [checkpoint("plain", 100 * step) for step in range(1, 12)]
    shown, tables, _ = values(FakeEngine(many), files, {**CHOICE, "ids": [info.id for info in many]})
    assert shown[-1]["total"] == len(tables[-1]["rows"]) == MOST_CHECKPOINTS
    assert shown[-1]["notes"][0] == "Only the first 8 of 11 chosen checkpoints are drawn here."


def test_notes_name_those_whom_they_are_about(files):
    other = checkpoint("gram", 8000, "wide")
    shown, _, _ = values(FakeEngine(), files)
    assert shown[-1]["notes"] == []
    engine = FakeEngine(
        [*CHECKPOINTS, other], width=4
    )  # too few ways to differ for six groups, for all alike
    shown, _, _ = values(engine, files)
    assert not [note for note in shown[-1]["notes"] if "step" in note]


@pytest.mark.parametrize(
    ("choice", "data", "sentence"),
    [
        ({**CHOICE, "ids": ["nothing"]}, DATA, "There is no checkpoint 'nothing'."),
        ({**CHOICE, "sample": "dog"}, DATA, "There is no sample 'dog'"),
        ({**CHOICE, "layer": 3}, DATA, "There is no layer 3"),
        (None, DATA, "incomplete"),
        (CHOICE, {"token": 9, "columns": 3}, "incomplete"),
        (CHOICE, {"token": "9", "columns": 4}, "incomplete"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(engine, files, choice, data, sentence):
    shown, _, _ = values(engine, files, choice, data)
    assert sentence in shown[-1]["error"]
    assert shown[-1]["token"] == data["token"]


def test_the_unexpected_is_logged_and_not_shown(engine, files, monkeypatch, caplog):
    def broken(*_args, **_named):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(engine, "trajectory", broken)
    with caplog.at_level(logging.ERROR):
        _, _, steps = values(engine, files)
    assert UNEXPECTED in steps[-1][6]
    monkeypatch.setattr(engine, "spectra", broken)
    with caplog.at_level(logging.ERROR):
        shown, _, _ = values(engine, files)
    assert shown[-1] == {"token": 9, "error": UNEXPECTED}
    assert caplog.text.count("/secret/path") >= 2


def test_a_run_without_measurements_has_no_figure_along_training(engine, files):
    engine.rows.clear()
    _, _, steps = values(engine, files)
    assert steps[-1][6:] == ["", None]


def test_packed_arrays_come_back():
    arrays = {
        "a": np.arange(3, dtype=np.uint8),
        "b": np.linspace(0, 1, 4).reshape(2, 2),
        "c": np.zeros((0, 5), "float16"),
    }
    bytes_, parts = packed(arrays)
    for name, array in arrays.items():
        kind, offset, *shape = parts[name]
        assert offset % 8 == 0
        assert np.array_equal(np.frombuffer(bytes_, kind, array.size, offset).reshape(shape), array)


@pytest.mark.parametrize("data", [None, {}, {"token": 1}, {"token": 1, "columns": "4"}])
def test_what_the_page_never_sends_is_refused(data):
    with pytest.raises(InputError, match="incomplete"):
        Wanted.from_data(data)
