"""The loop against an independent recomputation, and what must be equal between runs, bit for bit."""

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gramviz.errors import CheckpointError
from gramviz.training import loop
from gramviz.training.config import GramConfig, OptimizerConfig
from gramviz.training.loop import (
    batch_indices,
    compute_losses,
    learning_rate,
    make_views,
    train,
)
from gramviz.training.objective import gram_targets
from gramviz.training.state import load_tensors, new_state, to_tensors

CPU = torch.device("cpu")


def tensors_after(config, source, steps=None, state=None):
    state = new_state(config, CPU) if state is None else state
    for report in train(state, config, source):
        if report.step == steps:
            break
    return state, to_tensors(state)


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_epochs_are_permutations_and_batches_follow_one_another():
    seen = torch.cat([batch_indices(10, 4, 7, step) for step in range(5)]).tolist()
    assert sorted(seen[:10]) == sorted(seen[10:20]) == list(range(10))
    assert seen[:10] != seen[10:20]
    assert batch_indices(3, 8, 0, 0).tolist() != batch_indices(3, 8, 1, 0).tolist()
    assert sorted(batch_indices(3, 8, 0, 0).tolist()[:6]) == [0, 0, 1, 1, 2, 2]


def test_the_learning_rate_warms_up_and_falls_as_a_cosine():
    config = OptimizerConfig(lr=1e-2, final_lr=1e-3, warmup=10)
    assert learning_rate(config, 0, 110) == pytest.approx(1e-3)
    assert learning_rate(config, 9, 110) == pytest.approx(1e-2)
    assert learning_rate(config, 60, 110) == pytest.approx((1e-2 + 1e-3) / 2)
    assert learning_rate(config, 110, 110) == pytest.approx(1e-3)


def test_each_step_draws_its_own_views(config, source, monkeypatch):
    seeds, drawn = [], []
    real = loop.make_views

    def watched(images, config, state, generator, *, with_clean):
        seeds.append(generator.initial_seed())
        views = real(images, config, state, generator, with_clean=with_clean)
        drawn.append(views.masks)
        return views

    monkeypatch.setattr(loop, "make_views", watched)
    tensors_after(config, source)
    assert len(set(seeds)) == 6
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(drawn))


def test_a_run_repeats_itself_bit_for_bit_and_another_seed_does_not(config, source):
    _, first = tensors_after(config, source)
    torch.manual_seed(999)  # global randomness has no say
    _, second = tensors_after(config, source)
    assert_equal(first, second)
    _, other = tensors_after(dataclasses.replace(config, seed=4), source)
    assert not torch.equal(first["student.mask_token"], other["student.mask_token"])


def test_a_stopped_and_restored_run_equals_an_unbroken_one(config, source):
    config = dataclasses.replace(config, gram=GramConfig(weight=5.0, teacher_step=1, start=2))
    _, unbroken = tensors_after(config, source)
    for stop in (1, 3):
        _, saved = tensors_after(config, source, steps=stop)
        resumed = new_state(config, CPU)
        load_tensors(resumed, saved, stop)
        assert_equal(tensors_after(config, source, state=resumed)[1], unbroken)


def test_arms_are_equal_until_gram_anchoring_starts_and_differ_after(config, source):
    anchored = dataclasses.replace(config, gram=GramConfig(weight=5.0, teacher_step=1, start=2))
    assert_equal(tensors_after(config, source, steps=2)[1], tensors_after(anchored, source, steps=2)[1])
    plain, gram = tensors_after(config, source, steps=3)[1], tensors_after(anchored, source, steps=3)[1]
    assert not torch.equal(plain["student.mask_token"], gram["student.mask_token"])


def test_the_gram_teacher_is_the_ema_teacher_of_its_step_and_stays_frozen(config, source):
    early, _ = tensors_after(config, source, steps=1)
    wanted = copy.deepcopy(early.teacher.backbone.state_dict())
    late, _ = tensors_after(config, source)
    assert late.gram_teacher is not None
    for name, value in late.gram_teacher.state_dict().items():
        assert torch.equal(value, wanted[name])
    assert not any(p.requires_grad for p in late.gram_teacher.parameters())
    assert not torch.equal(late.teacher.backbone.network.cls_token, wanted["network.cls_token"])


def test_the_ema_teacher_moves_by_one_minus_the_momentum(config, source):
    state = new_state(config, CPU)
    before = {name: p.clone() for name, p in state.teacher.named_parameters()}
    next(train(state, config, source))
    students = dict(state.student.named_parameters())
    for name, now in state.teacher.named_parameters():
        assert torch.allclose(now, 0.99 * before[name] + 0.01 * students[name], atol=1e-7)


def test_the_losses_equal_a_recomputation_in_float64(config, source):
    config = dataclasses.replace(config, gram=GramConfig(weight=1.0, teacher_step=0, start=0))
    state = new_state(config, CPU)
    with torch.no_grad():  # apart from its student, so that no target is trivial
        for p in state.teacher.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    state.gram_teacher = copy.deepcopy(state.teacher.backbone)
    images = source.images[:4].float() / 255
    views = make_views(images, config, state, torch.Generator().manual_seed(5), with_clean=True)
    losses, _ = compute_losses(state, config, views)

    def log_softmax(a):
        return a - np.log(np.exp(a).sum(1, keepdims=True))

    def sinkhorn(a):
        q = np.exp(a / config.loss.teacher_temperature).T
        q /= q.sum()
        for _ in range(3):
            q /= q.sum(1, keepdims=True) * len(q)
            q /= q.sum(0, keepdims=True) * q.shape[1]
        return (q * q.shape[1]).T

    def numbers(t):
        return t.detach().double().numpy()

    with torch.no_grad():
        (target,) = state.teacher.backbone(views.globals)
        (tokens,) = state.student.backbone(
            views.globals, mask=views.masks, mask_token=state.student.mask_token
        )
        (local,) = state.student.backbone(views.locals)
        t_cls = sinkhorn(numbers(state.teacher.dino_head(target.cls))).reshape(2, 4, -1)
        logits = numbers(state.student.dino_head(torch.cat([tokens.cls, local.cls])))
        s_cls = log_softmax(logits / config.loss.student_temperature).reshape(4, 4, -1)
        pairs = [-(t_cls[t] * s_cls[s]).sum(1).mean() for t in range(2) for s in range(4) if s != t]
        assert float(losses["dino"]) == pytest.approx(np.mean(pairs), rel=1e-4)

        t_patch = sinkhorn(numbers(state.teacher.ibot_head(target.patches[views.masks])))
        s_patch = log_softmax(
            numbers(state.student.ibot_head(tokens.patches[views.masks])) / config.loss.student_temperature
        )
        entropies, owner = -(t_patch * s_patch).sum(1), np.nonzero(views.masks.numpy())[0]
        per_view = [entropies[owner == view].mean() for view in np.unique(owner)]
        assert float(losses["ibot"]) == pytest.approx(np.mean(per_view), rel=1e-4)

        cls = numbers(tokens.cls)
        cls = cls / np.linalg.norm(cls, axis=1, keepdims=True)
        terms = []
        for view in (cls[:4], cls[4:]):
            far = np.linalg.norm(view[:, None] - view[None], axis=2) + 1e9 * np.eye(4)
            terms.append(-np.log(far.min(1) + 1e-8).mean())
        assert float(losses["koleo"]) == pytest.approx(np.mean(terms), rel=1e-3)

        (anchor,) = state.gram_teacher(views.clean)
        total = 0.0
        for x, y in zip(numbers(tokens.patches), numbers(anchor.patches), strict=True):
            x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))
            total += ((x @ x.T - y @ y.T) ** 2).mean()
        assert float(losses["gram"]) == pytest.approx(total / 8, rel=1e-4)


def test_the_gram_teacher_sees_the_same_region_undistorted(config, source):
    state = new_state(config, CPU)
    images = source.images[:4].float() / 255
    calm = dataclasses.replace(config, views=dataclasses.replace(config.views, distortion=0.0))
    views = make_views(images, calm, state, torch.Generator().manual_seed(2), with_clean=True)
    assert views.clean is not None
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    # without colour jitter a view still may be grey, blurred or solarised, but not moved: its luma correlates
    a, b = ((v * luma).sum(1).flatten(1) for v in (views.globals[:4], views.clean[:4]))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    assert float(F.cosine_similarity(a, b).min()) > 0.6


def test_the_high_resolution_teacher_is_brought_to_the_students_grid_before_normalisation(config, source):
    hires = dataclasses.replace(config, gram=GramConfig(weight=1.0, teacher_step=0, start=0, resolution=2))
    state = new_state(hires, CPU)
    images = source.images[:4].float() / 255
    views = make_views(images, hires, state, torch.Generator().manual_seed(2), with_clean=True)
    assert views.clean is not None
    assert views.clean.shape == (8, 3, 32, 32)
    found = gram_targets(state.teacher.backbone, views.clean, 2)
    (tokens,) = state.teacher.backbone(views.clean)
    grid = tokens.patches.detach().view(8, 8, 8, 16).permute(0, 3, 1, 2).double().numpy()
    # bicubic by hand (a = -0.75, as torch has it): at factor 2 the four taps lie 1.5, .5, .5, 1.5 away
    near = (-0.75 + 2) * 0.5**3 - (-0.75 + 3) * 0.5**2 + 1
    far = -0.75 * 1.5**3 + 5 * 0.75 * 1.5**2 - 8 * 0.75 * 1.5 + 4 * 0.75
    taps = np.array([far, near, near, far])
    assert taps.sum() == pytest.approx(1)

    def shrink(a, axis):
        index = np.clip(2 * np.arange(4)[:, None] + np.arange(-1, 3)[None], 0, 7)
        return (np.take(a, index, axis) * taps.reshape((1, 4) + (1,) * (a.ndim - axis - 1))).sum(axis + 1)

    expected = shrink(shrink(grid, 2), 3).reshape(8, 16, 16).transpose(0, 2, 1)
    assert np.allclose(found.double().numpy(), expected, atol=1e-5)


def test_a_loss_that_is_not_finite_ends_the_run_with_the_last_good_weights(config, source):
    state = new_state(config, CPU)
    reports = train(state, config, source)
    next(reports)
    with torch.no_grad():
        state.student.mask_token.fill_(math.nan)
    before = to_tensors(state)
    rest = list(reports)
    assert len(rest) == 1
    assert not math.isfinite(rest[0].total)
    assert rest[0].step == 1
    after = to_tensors(state)
    assert all(torch.equal(before[k], after[k]) for k in before if "mask_token" not in k)


def test_a_state_of_another_shape_is_refused(config, source):
    _, tensors = tensors_after(config, source, steps=1)
    tensors["student.mask_token"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_tensors(new_state(config, CPU), tensors, 1)


def test_softmax_centring_moves_the_centres(config, source):
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, targets="softmax"))
    state, _ = tensors_after(config, source, steps=1)
    assert float(state.dino_center.abs().max()) > 0
    assert float(state.ibot_center.abs().max()) > 0


def test_bfloat16_autocast_keeps_weights_and_losses_in_float32_and_stays_near(config, source):
    exact = next(train(new_state(config, CPU), config, source))
    state = new_state(config, CPU)
    rough = next(train(state, config, source, autocast=torch.bfloat16))
    assert all(p.dtype == torch.float32 for p in state.student.parameters())
    assert rough.losses == pytest.approx(exact.losses, rel=0.05)
    assert rough.losses != exact.losses


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_takes_the_same_step_up_to_its_own_randomness(config, source):
    device = torch.device("cuda")
    anchored = dataclasses.replace(config, gram=GramConfig(weight=5.0, teacher_step=1, start=2))
    state = new_state(anchored, device)
    reports = list(train(state, anchored, source.to(device), autocast=torch.bfloat16))
    assert [r.step for r in reports] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(r.total) for r in reports)
    restored = new_state(anchored, device)
    load_tensors(restored, to_tensors(state), 6)
    assert_equal(to_tensors(restored), to_tensors(state))
