"""Fine-tunes through the engine: frames, own checkpoints, pausing and stopping, and nothing shared by mistake."""

import dataclasses
import io
import threading
import zipfile

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from gramviz.errors import BusyError, CheckpointError, InputError
from gramviz.serving.engine import Engine
from gramviz.serving.plans import Plan
from gramviz.serving.settings import Settings
from gramviz.serving.tuning import START as START_MAP
from gramviz.serving.tuning import TEACHER, Begun, Finished, Frame, TuneRequest, Waiting
from gramviz.vit.images import picture_from_array
from tests.stores import make_store

START, ANCHOR = "tiny-plain-2000", "tiny-trunk-300"
PLAN = Plan(start=START, teacher=ANCHOR, images="picture", steps=6, batch=2, rate=1e-3)


def picture(seed=0, shape=(60, 80)):
    return picture_from_array(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def request(plan=PLAN, seed=0, **more):
    return TuneRequest(picture(seed), dataclasses.replace(plan, **more), 8)


@pytest.fixture
def made(tmp_path):
    engines = []

    def make(**settings):
        engine = Engine(make_store(tmp_path), Settings(device="cpu", models=tmp_path, **settings))
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(made):
    return made()


def unit(rows):
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_fine_tune_from_begin_to_own_checkpoint(engine):
    updates = list(engine.finetune(request(), "ann"))
    begun, finished = updates[0], updates[-1]
    assert isinstance(begun, Begun)
    assert (begun.grid, begun.steps, begun.arms) == ((6, 8), 6, ("tuned",))
    assert isinstance(finished, Finished)
    assert finished.reason == "done"
    (own,) = finished.own
    assert (own.id, own.branch, own.run, own.parent, own.step) == ("yours/1", "own1", "tiny", START, 2006)
    frames = [one for one in updates if isinstance(one, Frame)]
    assert [row.step for frame in frames for row in frame.rows] == [1, 2, 3, 4, 5, 6]
    looks = [look for frame in frames for look in frame.looks]
    assert [look.arm for look in looks[:3]] == [TEACHER, "tuned", START_MAP]
    assert looks[-1].step == 6
    assert engine.checkpoints("ann")[-1] == own
    assert own.id not in {info.id for info in engine.checkpoints()}


def test_what_is_shown_equals_numpy_in_float64_on_the_features_of_the_result(engine):
    updates = list(engine.finetune(request(), "ann"))
    last = [look for one in updates if isinstance(one, Frame) for look in one.looks][-1]
    features = engine.features(picture(), "yours/1", 8, visitor="ann")
    anchor = engine.features(picture(), ANCHOR, 8)
    x, y = (unit(one.patches.flatten(0, 1).numpy()) for one in (features, anchor))
    gram = x @ x.T
    shown = np.frombuffer(last.map, np.uint8) / 127.5 - 1
    # half a step of the map, and float16's rounding of the weights that are kept and of the directions
    assert np.abs(shown - gram[last.pinned]).max() < 0.5 / 127.5 + 3e-3
    assert last.pinned == 3 * 8 + 4
    eigenvalues = np.linalg.eigvalsh(gram)[::-1] / len(gram)
    assert np.abs(np.array(last.spectrum) - eigenvalues[: len(last.spectrum)]).max() < 1e-3
    distance = np.square(gram - y @ y.T).mean()
    assert last.measures["gram_distance"] == pytest.approx(distance, rel=0.02, abs=1e-5)
    cls = features.cls.numpy().astype(np.float64)
    assert last.measures["cls_alignment"] == pytest.approx((x @ (cls / np.linalg.norm(cls))).mean(), abs=2e-3)


def test_two_visitors_at_once_each_get_their_own(engine):
    results = {}

    def visit(name, seed):
        results[name] = list(engine.finetune(request(seed=seed), name))

    crowd = [threading.Thread(target=visit, args=(name, seed)) for seed, name in enumerate(("ann", "bob"))]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(60)
    shas = {}
    for seed, name in enumerate(("ann", "bob")):
        (own,) = results[name][-1].own
        alone = Engine(engine._store, engine.settings)
        (again,) = list(alone.finetune(request(seed=seed), "x"))[-1].own
        alone.close()
        assert own.sha256 == again.sha256, "what runs beside a fine-tune changes nothing in it"
        shas[name] = own.sha256
    assert shas["ann"] != shas["bob"]
    with pytest.raises(CheckpointError, match="no checkpoint 'yours/1'"):
        engine.features(picture(), "yours/1", 8, visitor="eve")
    for name in ("ann", "bob"):
        (view,) = engine.compare(picture(), ["yours/1"], 8, visitor=name)
        assert view.checkpoint.sha256 == shas[name]


def test_own_checkpoints_in_every_tab(engine):
    list(engine.finetune(request(), "ann"))
    ids = [START, "yours/1"]
    assert [v.checkpoint.id for v in engine.compare(picture(), ids, 8, visitor="ann")] == ids
    spectra = list(engine.spectra(picture(), ids, 8, visitor="ann"))
    assert all(view.problem is None for view in spectra)
    assert set(engine.common_colours(picture(), ids, 8, visitor="ann")) == set(ids)
    assert engine.theory(picture(), "yours/1", "eq1", {}, visitor="ann").because
    with pytest.raises(CheckpointError):
        engine.theory(picture(), "yours/1", "eq1", {}, visitor="bob")


def test_the_download_loads_with_plain_timm_and_says_where_it_is_from(engine, tmp_path):
    list(engine.finetune(request(), "ann"))
    name, content = engine.download("ann", "yours/1")
    assert name == "gramviz-tiny-yours-1.zip"
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert set(archive.namelist()) == {"model.safetensors", "README.md", "config.json"}
    network = engine.checkpoints()[0].network
    model = timm.create_model(network.architecture, **network.options)
    weights = safetensors.torch.load(archive.read("model.safetensors"))
    model.load_state_dict({key: value.float() for key, value in weights.items()}, strict=True)
    card = archive.read("README.md").decode()
    for words in (START, ANCHOR, "Gram 1", "6", "3 squares cut from ", "MIT"):
        assert words in card
    with pytest.raises(CheckpointError):
        engine.download("bob", "yours/1")
    engine.forget("ann", "yours/1")
    with pytest.raises(CheckpointError):
        engine.download("ann", "yours/1")


def test_pause_resume_and_stop(engine):
    run = engine.finetune(request(steps=400), "ann")
    number = next(one for one in run if isinstance(one, Begun)).number
    next(one for one in run if isinstance(one, Frame) and one.step >= 1)
    engine.pause("ann", number)
    held = next(one for one in run if isinstance(one, Frame) and one.paused)
    later = next(run)
    assert later.paused
    assert later.step <= held.step + 1
    engine.resume("ann", number)
    assert next(one for one in run if isinstance(one, Frame) and not one.paused).step < 400
    engine.stop("ann", number)
    finished = list(run)[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "stopped"
    assert 2000 < finished.own[0].step < 2400
    with pytest.raises(InputError, match="has ended"):
        engine.pause("ann", number)


def test_a_pinned_patch_is_the_visitors_only(engine):
    run = engine.finetune(request(steps=400), "ann")
    number = next(one for one in run if isinstance(one, Begun)).number
    next(one for one in run if isinstance(one, Frame) and {look.arm for look in one.looks} >= {"tuned"})
    looks = engine.pin("ann", number, 5)
    assert {look.arm for look in looks} == {TEACHER, "tuned", START_MAP}
    for look in looks:
        assert look.pinned == 5
        assert np.frombuffer(look.map, np.uint8).argmax() == 5
    for visitor, index in (("bob", 5), ("ann", 48), ("ann", -1), ("ann", "5"), ("ann", True)):
        with pytest.raises(InputError):
            engine.pin(visitor, number, index)
    run.close()


def test_closing_or_leaving_frees_the_place_and_the_room(made):
    engine = made(finetunes=1)
    first = engine.finetune(request(steps=400), "ann")
    assert isinstance(next(first), Begun)
    second = engine.finetune(request(), "bob")
    assert next(second) == Waiting(1)
    engine.leave("ann")
    assert isinstance(list(second)[-1], Finished)
    with pytest.raises(BusyError):
        list(first)
    assert engine.status()["streams_running"] == engine.status()["streams_waiting"] == 0
    assert engine.checkpoints("ann") == engine.checkpoints()
    third = engine.finetune(request(steps=400), "ann")
    assert isinstance(next(third), Begun)
    third.close()
    fourth = engine.finetune(request(), "ann")
    assert isinstance(list(fourth)[-1], Finished)


def test_stopping_one_that_waits(made):
    engine = made(finetunes=1)
    first, second = (engine.finetune(request(steps=400), name) for name in ("ann", "bob"))
    next(first)
    assert next(second) == Waiting(1)
    engine.stop("bob", 1)
    assert list(second)[-1].reason == "stopped"
    first.close()


def test_what_cannot_be_is_refused_before_it_waits(engine, made):
    refused = [
        (request(start="nowhere"), CheckpointError, "no checkpoint 'nowhere'"),
        (request(teacher=START), InputError, "anchored to itself"),
        (request(dino=1.0), InputError, "no projection heads"),
        (dataclasses.replace(request(), pinned=48), InputError, "no patch 48"),
        (dataclasses.replace(request(), patches=3), InputError, "out of range"),
    ]
    for asked, kind, words in refused:
        with pytest.raises(kind, match=words):
            list(engine.finetune(asked, "ann"))
    with pytest.raises(InputError, match="belongs to a visitor"):
        list(engine.finetune(request(), ""))
    with pytest.raises(BusyError, match="no room"):
        list(made(own_mib=0).finetune(request(), "ann"))
    assert engine.status()["streams_waiting"] == 0


def test_a_lost_device_is_survived_and_said(engine, monkeypatch):
    workshop = engine._compute.workshop
    workshop.device = torch.device("meta")  # stands for an accelerator: nothing on it can be computed
    calls = []

    def lost(*args, **options):
        calls.append(args)
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(workshop._forwards, "features", lost)
    (view,) = engine.compare(picture(), [START], 8)
    assert calls
    assert "CPU" in engine.notice
    assert view.grid == (6, 8)
    assert engine.healthy(10)
