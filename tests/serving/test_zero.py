"""Fine-tunes on lent GPUs, over a stand-in that forks and keeps ZeroGPU's rules: the same weights, come what may."""

import contextvars
import dataclasses
import sys
import time

import numpy as np
import pytest
import torch

from gramviz.errors import ConfigError
from gramviz.serving.backends import chosen
from gramviz.serving.engine import Engine
from gramviz.serving.plans import Plan
from gramviz.serving.settings import Settings
from gramviz.serving.tuning import Finished, Frame, TuneRequest
from gramviz.training.finetune import Saved
from gramviz.vit.images import picture_from_array
from tests.serving.zero_stand_in import VISITOR, Lender
from tests.stores import make_store

PLAN = Plan(start="tiny-plain-2000", teacher="tiny-trunk-300", images="picture", steps=24, batch=2, rate=1e-3)
OURS = ("gramviz.serving.zero_compute", "gramviz.serving.zero_finetune")


def picture():
    return picture_from_array(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))


def request(**more):
    return TuneRequest(picture(), dataclasses.replace(PLAN, **more), 8)


@pytest.fixture
def lender(monkeypatch):
    """Stands for `spaces`; what has imported it before or after is imported anew."""
    lender = Lender()
    monkeypatch.setitem(sys.modules, "spaces", lender.module())
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    for name in OURS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield lender
    assert lender.at_work == 0
    for name in OURS:
        sys.modules.pop(name, None)


@pytest.fixture
def make(tmp_path):
    engines = []
    before = torch.get_num_threads()

    def engine(kind="zero", **settings):
        told = Settings(device="cpu", threads=1, models=tmp_path, engine=kind, **settings)
        engines.append(Engine(make_store(tmp_path), told))
        return engines[-1]

    yield engine
    for one in engines:
        one.close()
    torch.set_num_threads(before)


def slices(monkeypatch, seconds):
    import gramviz.serving.zero_finetune as module

    monkeypatch.setattr(module, "SLICE", seconds)


def tuned(engine, visitor="ann", **more):
    """Updates of a fine-tune that a visitor of that name asks for, in a context of their own."""
    updates = engine.finetune(request(**more), visitor)
    context = contextvars.copy_context()
    context.run(VISITOR.set, visitor)
    try:
        while True:
            yield context.run(next, updates)
    except StopIteration:
        return
    finally:
        context.run(updates.close)


def steps_of(updates):
    return [row.step for one in updates if isinstance(one, Frame) for row in one.rows]


def weights(engine, visitor="ann", checkpoint="yours/1"):
    return engine._visitors.get(visitor, checkpoint).weights


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def given_back(lender):
    """Wait until no process is at work."""
    until = time.monotonic() + 30
    while lender.at_work and time.monotonic() < until:
        time.sleep(0.02)
    assert lender.at_work == 0


def locally(make, **more):
    """Weights that this process makes of the same plan."""
    engine = make("local")
    assert isinstance(list(engine.finetune(request(**more), "ann"))[-1], Finished)
    return weights(engine)


@pytest.fixture
def reference(make):
    return locally(make)


def test_a_lent_fine_tune_is_the_local_one_bit_for_bit(lender, make, reference):
    engine = make()
    updates = list(tuned(engine))
    assert isinstance(updates[-1], Finished)
    assert (updates[-1].reason, updates[-1].sentence) == ("done", "Finished all 24 steps.")
    assert steps_of(updates) == list(range(1, 25))
    assert equal(weights(engine), reference)
    assert [visitor for visitor, _ in lender.calls] == ["ann"]
    assert lender.broken_off == 0
    assert "30 seconds at a time" in engine.terms
    assert make("local").terms == ""


def test_slices_make_what_one_call_makes(lender, make, monkeypatch):
    engine = make()
    slices(monkeypatch, 0)
    updates = list(tuned(engine, "ben", steps=4))
    assert [visitor for visitor, _ in lender.calls] == ["ben"] * 4  # no time at all is still a step
    assert updates[-1].sentence == "Finished all 4 steps."
    assert steps_of(updates) == [1, 2, 3, 4]
    looks = [(look.arm, look.step) for one in updates if isinstance(one, Frame) for look in one.looks]
    assert len(looks) == len(set(looks))  # each once, though a slice begins with a look
    assert equal(weights(engine, "ben"), locally(make, steps=4))


def test_two_arms_and_no_more_time_than_is_needed(lender, make):
    engine = make()
    (_, *_, last) = tuned(
        engine, start="tiny-plain-2000", steps=5, control=False, gram=1.0, dino=0.0, ibot=0.0, koleo=0.0
    )
    assert last.sentence == "Finished all 5 steps."
    from gramviz.serving.zero_finetune import MARGIN, SLICE, asked_seconds, slice_seconds

    assert lender.calls[-1][1] == MARGIN + 1
    job = dataclasses.make_dataclass("Job", ["config", "control"])
    long = job(dataclasses.make_dataclass("Config", ["steps"])(500), True)
    assert slice_seconds(long, None) == SLICE
    quick = Saved(100, {"spent": torch.tensor(2.0)})
    assert slice_seconds(long, quick) == 8.0  # at the pace so far
    assert asked_seconds({}, None, "", SLICE) <= 60  # what ZeroGPU gives without more ado


def test_a_pause_gives_the_gpu_back_and_a_stop_then_asks_for_none(lender, make):
    engine = make()
    updates = tuned(engine, steps=300)
    begun = next(one for one in updates if type(one).__name__ == "Begun")
    seen = [next(one for one in updates if isinstance(one, Frame))]
    engine.pause("ann", begun.number)
    given_back(lender)  # the process ends by itself, while the reader rests
    assert len(lender.calls) == 1
    engine.resume("ann", begun.number)
    while len(lender.calls) < 2:
        seen.append(next(updates))
    engine.pause("ann", begun.number)
    given_back(lender)
    engine.stop("ann", begun.number)
    rest = list(updates)
    assert rest[-1].reason == "stopped"
    assert len(lender.calls) == 2  # nothing was left to compute
    steps = steps_of([*seen, *rest])
    assert steps == sorted(set(steps))
    assert engine.checkpoints("ann")[-1].step == 2000 + steps[-1]


@pytest.mark.parametrize(
    "trouble",
    [{"lend": 0}, {"abort_after": 12}],
    ids=["no quota", "aborted"],
)
def test_where_no_gpu_is_lent_a_cpu_goes_on_and_it_is_said(lender, make, reference, trouble):
    for name, value in trouble.items():
        setattr(lender, name, value)
    engine = make()
    updates = list(tuned(engine))
    assert updates[-1].reason == "done"
    assert updates[-1].sentence.endswith("from the start on it was computed on a CPU.")
    assert steps_of(updates) == list(range(1, 25))
    assert equal(weights(engine), reference)
    assert len(lender.calls) == 1


def test_a_gpu_that_is_taken_back_later_costs_no_step_that_was_saved(lender, make, reference, monkeypatch):
    engine = make()
    slices(monkeypatch, 0)
    lender.patience = lambda seconds: seconds if len(lender.calls) == 1 else 0.0
    updates = list(tuned(engine))
    assert updates[-1].sentence.endswith("from step 1 on it was computed on a CPU.")
    assert steps_of(updates) == list(range(1, 25))
    assert equal(weights(engine), reference)


def test_who_leaves_gives_the_gpu_back(lender, make):
    engine = make()
    updates = tuned(engine, steps=500)
    next(one for one in updates if isinstance(one, Frame))
    assert lender.at_work == 1
    engine.leave("ann")
    updates.close()
    given_back(lender)


def test_everything_else_is_computed_here_and_no_gpu_is_touched(lender, make):
    lent, local = make(), make("local")
    ids = ("tiny-plain-2000", "tiny-gram-2000")
    one, other = (
        {view.checkpoint.id: (view.factor, view.measures) for view in engine.compare(picture(), ids, 8)}
        for engine in (lent, local)
    )
    assert one == other
    assert lender.calls == []
    assert not torch.cuda.is_initialized()
    assert lent.status()["streams_running"] == 0
    assert lent.healthy(10)


def test_a_space_says_where_it_runs(make, monkeypatch):
    assert chosen("auto", {}) == chosen("local", {"SPACES_ZERO_GPU": "true"}) == "local"
    assert chosen("auto", {"SPACES_ZERO_GPU": "true"}) == chosen("zero", {}) == "zero"
    monkeypatch.setitem(sys.modules, "spaces", None)
    for name in OURS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    with pytest.raises(ConfigError, match="this is no ZeroGPU Space"):
        make()
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    with pytest.raises(ConfigError, match="spaces is not installed"):
        make()
