"""The engine's way to the theory lab: material built once, identical requests computed once, bad values refused."""

import json
import threading

import numpy as np
import pytest
import torch

from gramviz.errors import BusyError, CheckpointError, InputError
from gramviz.serving import forwards, lab, workshop
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.vit.images import picture_from_array
from tests.gram.test_lemmas import values
from tests.stores import add_heads, make_store, make_wild

PLAIN, TRUNK, START = "tiny-plain-2000", "tiny-trunk-300", "tiny-trunk-0"


def picture(seed=0, shape=(60, 80)):
    return picture_from_array(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


@pytest.fixture
def engine(tmp_path):
    make_store(tmp_path)
    made = Engine(add_heads(tmp_path, PLAIN), Settings(device="cpu", models=tmp_path))
    yield made
    made.close()


@pytest.fixture
def counted(monkeypatch):
    """Counts forwards for features, materials and checks."""
    calls = {"extract_all": 0, "material_of": 0}

    def count(name):
        module = forwards if name == "extract_all" else workshop
        real = getattr(module, name)

        def counting(*args, **options):
            calls[name] += 1
            return real(*args, **options)

        monkeypatch.setattr(module, name, counting)

    for name in calls:
        count(name)
    return calls


def test_a_card_is_checked_on_the_features_of_sixteen_patches(engine):
    pic = picture()
    found = values(engine.theory(pic, PLAIN, "lemma2", {"size": 0.5}))
    features = engine.features(pic, PLAIN, 16).patches.flatten(0, 1).double().numpy()
    assert len(features) == 12 * 16
    mean = features.mean(0)
    assert found["R before"] == pytest.approx(192 * mean @ mean)
    assert found["R after"] == pytest.approx(192 * 2.25 * mean @ mean)
    lengths = values(engine.theory(pic, PLAIN, "eq1", {}))
    assert lengths["trace of G"] == pytest.approx(192)


def test_all_cards_on_a_checkpoint_with_heads_and_on_one_without(engine):
    for card in lab.CARDS:
        assert engine.theory(picture(), PLAIN, card.name, {}).holds is not None
    for name in ("eq2", "eq34"):
        found = engine.theory(picture(), TRUNK, name, {})
        assert found.holds is None
        assert f"Of its run, {PLAIN} has some" in found.because
    assert "those of tiny-trunk-300" in engine.theory(picture(), START, "lemma1", {}).because


def test_material_is_built_once_a_picture_and_checkpoint(engine, counted):
    for size in (0.1, 0.2, 0.3):
        for card in ("lemma2", "prop2"):
            engine.theory(picture(), PLAIN, card, {"size": size})
    assert counted == {"extract_all": 2, "material_of": 1}  # its own features and its neighbour's
    engine.theory(picture(1), PLAIN, "eq1", {})
    engine.theory(picture(), TRUNK, "eq1", {})
    assert counted["material_of"] == 3


def test_what_is_costly_is_computed_once_for_all_positions_of_a_slider(engine, monkeypatch):
    steps, pushes = [], []
    from gramviz.serving import rehearsal

    for name, calls in (("weight_step", steps), ("block_pushes", pushes)):
        real = getattr(rehearsal, name)

        def counting(*args, real=real, calls=calls):
            calls.append(1)
            return real(*args)

        monkeypatch.setattr(rehearsal, name, counting)
    for rate in (1e-3, 1e-2, 1e-1):
        engine.theory(picture(), PLAIN, "eq2", {"rate": rate})
    for block in (0, 1):
        engine.theory(picture(), PLAIN, "eq34", {"block": block})
    engine.theory(picture(), PLAIN, "lemma2", {"direction": "gradient"})
    assert (len(steps), len(pushes)) == (1, 1)


def test_the_same_question_has_the_same_answer_at_once(engine, monkeypatch):
    gate, calls, real = threading.Event(), [], lab.check

    def slow(*args):
        gate.wait(20)
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(lab, "check", slow)
    answers = []
    crowd = [
        threading.Thread(
            target=lambda: answers.append(engine.theory(picture(), PLAIN, "eq6", {"amount": 0.5}))
        )
        for _ in range(8)
    ]
    for one in crowd:
        one.start()
    gate.set()
    for one in crowd:
        one.join(20)
    assert len(answers) == 8
    assert len(calls) == 1
    assert engine.theory(picture(), PLAIN, "eq6", {"amount": 0.5, "map": "rotation"}) is answers[0]
    assert engine.theory(picture(), PLAIN, "eq6", {"amount": 0.5, "map": "scaling"}) is not answers[0]


def test_the_blackboard_needs_no_picture_and_no_checkpoint(engine, counted):
    found = engine.theory(None, "", "lemma2", {"size": 1.0})
    assert values(found)["R after"] == pytest.approx(41)
    assert counted["extract_all"] == 0
    assert engine.theory(None, PLAIN, "lemma2", {"size": 1.0}) is found


def test_what_cannot_be_asked(engine, counted):
    for card, given, message in (
        ("lemma9", {}, "no card 'lemma9'"),
        ("lemma2", {"size": 3}, "size is '3'; it must be a number from 0 to 2"),
        ("lemma2", {"length": 1}, "no control 'length'"),
    ):
        with pytest.raises(InputError, match=message):
            engine.theory(picture(), PLAIN, card, given)
    with pytest.raises(CheckpointError, match="no checkpoint 'nobody'"):
        engine.theory(picture(), "nobody", "eq1", {})
    assert counted["extract_all"] == 0


def test_what_is_measured_meanwhile_is_drawn_and_a_damaged_file_spoils_no_card(engine, tmp_path, caplog):
    def row(step):
        return {"arm": "plain", "run": "tiny", "seed": 0, "step": step, "global_common_b1": 0.5}

    path = tmp_path / "tiny" / "metrics.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(row(100)))
    (first,) = engine.theory(picture(), PLAIN, "eq34", {}).charts[1].lines
    assert first.x == (100,)
    path.write_text("\n".join(json.dumps(row(step)) for step in (100, 900)))
    (second,) = engine.theory(picture(), PLAIN, "eq34", {}).charts[1].lines
    assert second.x == (100, 900)
    path.write_text("{")
    for name in ("eq1", "eq34"):
        assert engine.theory(picture(), PLAIN, name, {}).holds is not None
    assert len(engine.theory(picture(), PLAIN, "eq34", {}).charts) == 1
    assert "without the measurements of tiny" in caplog.text
    with pytest.raises(CheckpointError, match="is not JSON"):
        engine.trajectory("tiny")


def test_features_that_are_not_finite_are_said_and_a_neighbour_s_are_left_out(tmp_path):
    make_store(tmp_path)
    made = Engine(make_wild(tmp_path, TRUNK), Settings(device="cpu", models=tmp_path))
    with pytest.raises(InputError, match="not finite"):
        made.theory(picture(), TRUNK, "eq1", {})
    found = made.theory(picture(), START, "lemma1", {})  # whose neighbour it is
    assert found.holds is None
    assert "has no other that fits" in found.because
    made.close()


def test_the_cache_stays_within_its_bytes(tmp_path):
    make_store(tmp_path)
    store = add_heads(tmp_path, PLAIN)
    made = Engine(store, Settings(device="cpu", models=tmp_path, feature_cache=1))
    for seed in range(6):
        made.theory(picture(seed), PLAIN, "eq34", {})
        made.theory(picture(seed), PLAIN, "eq1", {})
        assert made._results.used <= 2**20
    made.close()


def test_too_much_waiting_is_refused(tmp_path, monkeypatch):
    made = Engine(make_store(tmp_path), Settings(device="cpu", models=tmp_path, pending=1))
    gate, begun, real = threading.Event(), threading.Event(), lab.check

    def slow(*args):
        begun.set()
        gate.wait(20)
        return real(*args)

    monkeypatch.setattr(lab, "check", slow)
    first = threading.Thread(target=lambda: made.theory(picture(), PLAIN, "eq1", {}))
    first.start()
    assert begun.wait(20)
    with pytest.raises(BusyError):
        made.theory(picture(), PLAIN, "eq6", {})
    gate.set()
    first.join(20)
    made.close()


def test_the_networks_of_the_engine_are_left_as_they_were(engine):
    before = {k: v.clone() for k, v in engine._store.load(PLAIN, torch.device("cpu")).state_dict().items()}
    for card in ("eq2", "eq34"):
        engine.theory(picture(), PLAIN, card, {"rate": 10.0} if card == "eq2" else {})
    (info,) = [one for one in engine.checkpoints() if one.id == PLAIN]
    network = engine._compute.workshop._networks.get(info.sha256)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
