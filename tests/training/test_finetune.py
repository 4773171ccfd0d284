"""Fine-tunes: what they are equal to, what they end with, and what they leave alone."""

import gc
import pickle
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from gramviz.errors import ConfigError
from gramviz.training.config import GramConfig
from gramviz.training.finetune import (
    CONTROL,
    TUNED,
    Anchor,
    Ended,
    FinetuneJob,
    HeldImages,
    Look,
    Saved,
    Stepped,
    Trained,
    finetune,
)
from gramviz.training.loop import train
from gramviz.training.state import new_state
from gramviz.vit.backbones import backbone_of

CPU = torch.device("cpu")
GRAM = GramConfig(weight=2.0, teacher_step=0, start=0)


def learner(config, seed):
    return new_state(replace(config, seed=seed), CPU).student


@pytest.fixture
def job(config, source):
    """Gram anchoring beside DINO, iBOT and KoLeo, to a teacher with other weights."""
    begin, teacher = learner(config, 11), learner(config, 12)
    heads = {k: v.clone() for k, v in begin.state_dict().items() if not k.startswith("backbone.")}
    return FinetuneJob(
        config=replace(config, gram=GRAM),
        start=dict(begin.backbone.network.state_dict()),
        teacher=dict(teacher.backbone.network.state_dict()),
        heads=heads,
        images=source.images,
        watched=torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0)),
    )


@pytest.fixture
def alone(job, config):
    """By the Gram loss alone."""
    loss = replace(config.loss, dino=0.0, ibot=0.0, koleo=0.0)
    return replace(job, config=replace(job.config, loss=loss, steps=20), heads=None)


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def unit(rows):
    rows = rows.double().numpy()
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_with_weight_0_it_is_plain_training_bit_for_bit(job):
    job = replace(job, config=replace(job.config, gram=replace(GRAM, weight=0.0)))
    ended = list(finetune(job, CPU))[-1]
    state = new_state(job.config, CPU)
    for one in (state.student, state.teacher):
        one.load_state_dict({**{f"backbone.network.{k}": v for k, v in job.start.items()}, **job.heads})
    for _ in train(state, job.config, HeldImages(job.images)):
        pass
    assert ended.reason == "done"
    assert equal(ended.weights[TUNED], dict(state.student.backbone.network.state_dict()))


def test_the_control_arm_is_the_run_without_anchor_bit_for_bit(job):
    both = list(finetune(replace(job, control=True), CPU))
    off = replace(job, config=replace(job.config, gram=replace(GRAM, weight=0.0)))
    on, without = (list(finetune(one, CPU))[-1].weights[TUNED] for one in (job, off))
    assert equal(both[-1].weights[TUNED], on)
    assert equal(both[-1].weights[CONTROL], without)
    assert not equal(on, without)
    steps = [(event.arm, event.report.step) for event in only(both, Stepped)]
    assert steps == [(arm, step) for step in range(1, 7) for arm in (TUNED, CONTROL)]


@pytest.mark.parametrize("kind", ["job", "alone"])
def test_going_on_from_a_saved_state_equals_an_uninterrupted_run(kind, request):
    job = replace(request.getfixturevalue(kind), save_steps=2)
    if kind == "job":
        job = replace(job, control=True)
    events = list(finetune(job, CPU))
    for saved in only(events, Saved)[:2]:
        resumed = list(finetune(pickle.loads(pickle.dumps(job)), CPU, pickle.loads(pickle.dumps(saved))))
        assert not only(resumed, Anchor)
        assert only(resumed, Stepped)[0].report.step == saved.step + 1
        for arm, weights in events[-1].weights.items():
            assert equal(resumed[-1].weights[arm], weights)


def test_a_state_is_saved_whenever_it_is_asked_for(job):
    wanted = iter([False, True, True, False, False])
    events = list(finetune(job, CPU, saving=lambda: next(wanted)))
    assert [saved.step for saved in only(events, Saved)] == [2, 3]
    resumed = list(finetune(job, CPU, only(events, Saved)[0]))
    assert equal(resumed[-1].weights[TUNED], events[-1].weights[TUNED])


def test_saved_states_are_copies(job):
    run = finetune(replace(job, save_steps=1), CPU)
    saved = next(event for event in run if isinstance(event, Saved))
    before = {name: value.clone() for name, value in saved.tensors.items()}
    list(run)
    assert equal(before, saved.tensors)


def test_the_gram_loss_alone_brings_the_gram_matrices_together(alone):
    events = list(finetune(alone, CPU))
    (anchor,) = only(events, Anchor)
    assert isinstance(events[0], Anchor)
    looks = only(events, Look)
    assert (looks[0].step, looks[-1].step) == (0, 20)
    assert looks[-1].gram_distance < looks[0].gram_distance
    assert set(only(events, Stepped)[0].report.losses) == {"gram"}
    # each number against numpy in float64 on features of the weights it belongs to
    y = unit(anchor.patches.flatten(0, 1))
    for look, weights in ((looks[0], alone.start), (looks[-1], events[-1].weights[TUNED])):
        (tokens,) = backbone_of(alone.config.network, weights)(alone.watched[None])
        x = unit(tokens.patches[0])
        assert np.allclose(unit(look.patches.flatten(0, 1)), x, atol=1e-6)
        assert look.patches.shape == (4, 6, 16)
        assert look.gram_distance == pytest.approx(np.square(x @ x.T - y @ y.T).mean(), rel=1e-5)


def test_a_teacher_at_twice_the_resolution_is_brought_to_the_grid(alone):
    high = replace(alone, config=replace(alone.config, gram=replace(GRAM, resolution=2)), teacher=None)
    events = list(finetune(high, CPU))
    assert events[0].patches.shape == (4, 6, 16)
    looks = only(events, Look)
    assert looks[-1].gram_distance > 0
    assert events[-1].reason == "done"


@pytest.mark.parametrize(
    ("trained", "moves"),
    [
        (Trained("norms"), lambda name: "norm" in name or "gamma" in name),
        (Trained("blocks", 1), lambda name: name.startswith(("blocks.1.", "norm."))),
        (Trained("all"), lambda name: True),
    ],
)
def test_only_what_trains_moves(job, alone, trained, moves):
    for one in (job, alone):
        weights = list(finetune(replace(one, trained=trained), CPU))[-1].weights[TUNED]
        moved = {name for name in weights if not torch.equal(weights[name], one.start[name])}
        assert moved
        assert all(moves(name) for name in moved)


def test_looks_come_as_often_as_asked_for_by_the_clock(alone):
    now = [0.0]

    def clock():
        now[0] += 0.01  # a step, with its two readings, takes 10 ms; so does a look
        return now[0]

    for seconds, expected in ((0.0, 21), (0.055, 5)):
        looks = only(finetune(replace(alone, look_seconds=seconds), CPU, clock=clock), Look)
        steps = [look.step for look in looks]
        assert steps[0] == 0
        assert steps[-1] == 20
        assert len(steps) >= expected - 1
        if seconds:
            assert np.diff(steps).max() <= 6


def test_a_deadline_ends_it_with_the_weights_so_far(alone):
    now = [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    ended = list(finetune(replace(alone, seconds=8.0), CPU, clock=clock))[-1]
    assert ended.reason == "deadline"
    assert 0 < ended.step < 20
    assert "8 seconds" in ended.sentence
    asked = iter(range(100))
    stopped = list(finetune(alone, CPU, stopped=lambda: next(asked) == ended.step))[-1]
    assert equal(ended.weights[TUNED], stopped.weights[TUNED])


def test_stopping_keeps_the_weights_of_the_step(alone):
    asked = [0]

    def stopped():
        asked[0] += 1
        return asked[0] > 3

    ended = list(finetune(alone, CPU, stopped=stopped))[-1]
    assert (ended.reason, ended.step) == ("stopped", 3)
    assert "step 3 of 20" in ended.sentence


def test_a_loss_that_is_not_finite_ends_it(alone, monkeypatch):
    from gramviz.training import objective

    real, calls = objective.gram_loss, [0]

    def poisoned(*args, **options):
        calls[0] += 1
        value = real(*args, **options)
        return value * float("nan") if calls[0] == 13 else value

    monkeypatch.setattr(objective, "gram_loss", poisoned)
    events = list(finetune(alone, CPU))
    ended = events[-1]
    assert (ended.reason, ended.step) == ("diverged", 10)
    assert "step 12" in ended.sentence
    assert "lower learning rate" in ended.sentence
    calls[0] = -100  # no poison: the same run, stopped after as many steps
    asked = iter(range(100))
    clean = list(finetune(alone, CPU, stopped=lambda: next(asked) == 10))[-1]
    assert (clean.reason, clean.step) == ("stopped", 10)
    assert equal(ended.weights[TUNED], clean.weights[TUNED])


def test_a_loss_that_runs_away_ends_it(alone, monkeypatch):
    from gramviz.training import objective

    real, calls = objective.gram_loss, [0]

    def growing(*args, **options):
        calls[0] += 1
        return real(*args, **options) + max(0, calls[0] - 10) * 5.0

    monkeypatch.setattr(objective, "gram_loss", growing)
    ended = list(finetune(alone, CPU))[-1]
    assert ended.reason == "diverged"
    assert ended.step == 10


def test_closing_frees_everything(alone, monkeypatch):
    from gramviz.training import finetune as module

    kept = []
    real = module.start_state

    def seen(*args):
        state = real(*args)
        kept.append(weakref.ref(state.student))
        return state

    monkeypatch.setattr(module, "start_state", seen)
    run = finetune(alone, CPU)
    for event in run:
        if isinstance(event, Stepped):
            break
    run.close()
    del run, event
    gc.collect()
    assert kept[0]() is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda job: {"config": replace(job.config, gram=replace(GRAM, start=1))}, "must be 0"),
        (lambda job: {"heads": None}, "need projection heads"),
        (lambda job: {"images": job.images.float()}, "must be uint8"),
        (lambda job: {"images": job.images[:0]}, "N at least 1"),
    ],
)
def test_a_job_that_does_not_fit_together_is_refused(job, change, words):
    with pytest.raises(ConfigError, match=words):
        replace(job, **change(job))


def test_a_control_arm_needs_something_to_differ_by(job, alone):
    with pytest.raises(ConfigError, match="control arm"):
        replace(alone, control=True)
    with pytest.raises(ConfigError, match="control arm"):
        replace(job, control=True, config=replace(job.config, gram=replace(GRAM, weight=0.0)))


def test_weights_of_another_network_are_refused(job):
    wrong = {name: value for name, value in job.start.items() if name != "cls_token"}
    with pytest.raises(ConfigError, match="do not fit"):
        list(finetune(replace(job, start=wrong), CPU))
    with pytest.raises(ConfigError, match="must be 'all'"):
        Trained("head")
    with pytest.raises(ConfigError, match="at least 1"):
        Trained("blocks", 0)


def test_the_job_survives_pickling(job):
    again = pickle.loads(pickle.dumps(job))
    assert again.config == job.config
    assert equal(list(finetune(again, CPU))[-1].weights[TUNED], list(finetune(job, CPU))[-1].weights[TUNED])
    assert isinstance(list(finetune(job, CPU))[-1], Ended)
