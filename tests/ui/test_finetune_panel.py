"""The fine-tune panel without a browser: what its component is given, and what is refused."""

import base64
import json

import numpy as np
import pytest

from gramviz.errors import BusyError
from gramviz.serving.plans import Plan
from gramviz.serving.tuning import Begun, Finished, Frame, Looked, Row, Waiting
from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.ui.panels.finetune import handled, tuned
from gramviz.ui.tuner import WINDOW, Progress, control_config, plan_values, short
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine

CHOICE = {"token": 1, "sample": "chelsea", "file": None, "patches": 14, "ids": [], "layer": -1}
PLAN = plan_values(Plan(start="small-plain-8000", teacher="small-trunk-2000", steps=5))
DATA = {"token": 4, "plan": PLAN, "place": [0.5, 0.25], "files": []}

MEASURES = ("cls_alignment", "mean_similarity", "effective_rank", "top1_energy", "gram_distance")


@pytest.fixture
def engine():
    return FakeEngine()


def values(engine, cache, visitor="ann", **changes):
    return list(tuned(engine, CHOICE, {**DATA, **changes}, visitor, cache))


def test_from_waiting_to_the_end(engine, files):
    told = values(engine, files)
    assert all(value["token"] == 4 and value["error"] is None for value in told)
    assert [value["position"] for value in told[:3]] == [0, 2, 0]
    begun = told[2]["run"]
    assert (begun["grid"], begun["steps"], begun["arms"]) == ([9, 14], 5, ["tuned"])
    assert set(told[3]["frame"]["looks"]) == {"teacher", "start", "tuned"}
    assert [row[1] for row in told[-1]["frame"]["rows"]] == [1, 2, 3, 4, 5]
    assert told[-1]["frame"]["looks"] == {}  # told already: the end brings no map again
    finished = told[-1]["finished"]
    assert (finished["reason"], finished["made"]) == ("done", ["yours/1"])
    assert [own["parent"] for own in finished["own"]] == ["small-plain-8000"]
    _, request = engine.tunings[0]
    assert request.pinned == 2 * 14 + 7
    look = told[3]["frame"]["looks"]["tuned"]
    assert np.frombuffer(base64.b64decode(look["map"]), np.uint8).argmax() == request.pinned


def test_one_update_stays_small_at_the_finest_grid():
    """64 x 64 patches, four pictures, as many rows as are ever sent: below 30 kB."""
    generator = np.random.default_rng(0)
    looks = tuple(
        Looked(
            name,
            399,
            5,
            generator.integers(0, 256, 4096, dtype=np.uint8).tobytes(),
            tuple(generator.random(48)),
            dict(zip(MEASURES, generator.random(5), strict=True)),
        )
        for name in ("teacher", "start", "tuned", "control")
    )  # fmt: skip
    rows = tuple(
        Row(
            arm,
            step,
            dict(zip(("gram", "dino", "ibot", "koleo"), generator.random(4), strict=True)),
            1.23456789,
            0.1,
        )
        for step in range(300)
        for arm in ("tuned", "control")
    )
    progress = Progress(1, {"image": {"path": "x" * 120}, "width": 3000, "height": 2000})
    progress = progress.after(Waiting(3)).after(Begun(1, (64, 64), 500, ("tuned", "control"), 64))
    progress = progress.after(Frame(300, 500, 12.0, 8.0, False, rows, looks))
    progress = progress.after(Finished("done", "Finished all steps.", CHECKPOINTS[:2]), CHECKPOINTS[:4])
    value = progress.as_value()
    assert len(value["frame"]["rows"]) == WINDOW
    assert len(json.dumps(value).encode()) < 30_000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": {**PLAN, "steps": 9999}}, "steps is '9999'"),
        ({"plan": None}, "damaged"),
        ({"plan": {**PLAN, "start": "nowhere"}}, "no checkpoint 'nowhere'"),
        ({"place": [0.5]}, "incomplete"),
        ({"place": [0.5, float("nan")]}, "incomplete"),
        ({"files": "x"}, "incomplete"),
        ({"files": [{"path": "/etc/passwd"}], "plan": {**PLAN, "images": "own"}}, "uploaded here"),
        ({"files": [3], "plan": {**PLAN, "images": "own"}}, "damaged"),
        ({"files": [], "plan": {**PLAN, "images": "own"}}, "no image among them"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(engine, files, changes, words):
    last = values(engine, files, **changes)[-1]
    assert words in last["error"]
    assert last["token"] == 4
    assert str(files.uploads) not in last["error"]


@pytest.mark.parametrize("data", [None, [], {"token": "x"}, {"token": 3}])
def test_junk_is_answered(engine, files, data):
    assert list(tuned(engine, CHOICE, data, "ann", files))[-1]["error"]
    assert list(tuned(engine, data, DATA, "ann", files))[-1]["error"]
    assert handled(engine, data, "ann", files)["error"]


def test_trouble_of_the_engine_is_told_and_the_unexpected_kept_back(engine, files, monkeypatch, caplog):
    for error, words in (
        (BusyError("Busy; please wait."), "Busy; please wait."),
        (ValueError("secret"), UNEXPECTED),
    ):

        def fail(*args, error=error):
            raise error
            yield

        monkeypatch.setattr(engine, "finetune", fail)
        monkeypatch.setattr(engine, "pause", lambda *args, error=error: (_ for _ in ()).throw(error))
        assert values(engine, files)[-1]["error"] == words
        assert handled(engine, {"token": 4, "action": "pause", "number": 1}, "ann", files)["error"] == words


def test_small_wishes(engine, files):
    values(engine, files)

    def wish(action, visitor="ann", **more):
        return handled(engine, {"token": 4, "action": action, "number": 1, **more}, visitor, files)

    for action in ("pause", "resume", "stop"):
        assert wish(action) == {"token": 4, "action": action, "error": None}
    assert engine.wishes["ann"] == ["pause", "resume", "stop"]
    looks = wish("pin", index=3)["looks"]
    assert np.frombuffer(base64.b64decode(looks["tuned"]["map"]), np.uint8).argmax() == 3
    file = wish("download", id="yours/1")["file"]
    assert files.read(file["url"]) == b"zip"
    assert "no checkpoint" in wish("download", visitor="bob", id="yours/1")["error"]
    assert "has ended" in wish("pause", visitor="bob")["error"]
    assert wish("forget", id="yours/1")["own"] == []
    assert "incomplete" in wish("dance")["error"]


def test_the_controls_go_no_further_than_the_networks():
    from gramviz.serving.dials import CONTROLS

    told = {control.name: control_config(control, CHECKPOINTS) for control in CONTROLS}
    assert told["blocks"]["high"] == 12
    assert told["rate"]["log"] is True
    assert told["images"]["options"][0] == ("pack", "sample pack")


def test_numbers_are_short_and_always_json():
    assert short(0.123456789) == 0.12346
    assert short(float("nan")) is short(float("inf")) is short(None) is None
