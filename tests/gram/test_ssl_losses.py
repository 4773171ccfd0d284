"""DINO, iBOT, KoLeo and their targets against plain numpy loops in float64, by hand, and at the edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.gram.losses import (
    dino_loss,
    ibot_loss,
    koleo_loss,
    sinkhorn_knopp,
    softmax_center,
    update_center,
)

PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)
seeds = st.integers(0, 10_000)


def random_tensor(seed, *shape, scale=1.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) * scale).float()


def random_targets(seed, *shape):
    return torch.softmax(random_tensor(seed, *shape, scale=2.0), dim=-1)


def numpy_softmax(values):
    values = [float(value) for value in values]
    powers = [math.exp(value - max(values)) for value in values]
    return np.array([power / sum(powers) for power in powers])


def numpy_cross_entropy(target, logits, temperature):
    p = numpy_softmax([float(logit) / temperature for logit in logits])
    return -sum(float(t) * math.log(q) for t, q in zip(target, p, strict=True))


def numpy_sinkhorn(logits, temperature, iterations):
    """The usual exponential form, with loops: prototypes get 1 / K of everything, then samples 1 / N."""
    q = np.exp(np.asarray(logits, dtype=np.float64) / temperature)
    rows, prototypes = q.shape
    q /= q.sum()
    for _ in range(iterations):
        for k in range(prototypes):
            q[:, k] /= q[:, k].sum() * prototypes
        for i in range(rows):
            q[i] /= q[i].sum() * rows
    return q * rows


def test_softmax_center_matches_loops():
    logits, center = random_tensor(1, 5, 4), random_tensor(2, 4)
    expected = [numpy_softmax((row - center.numpy()) / 0.07) for row in logits.numpy()]
    np.testing.assert_allclose(softmax_center(logits, center, 0.07).numpy(), expected, rtol=1e-4, atol=1e-7)


def test_update_center_is_new_and_the_old_one_stays():
    center, logits = torch.tensor([1.0, 3.0]), torch.tensor([[0.0, 2.0], [4.0, 4.0]])
    torch.testing.assert_close(update_center(center, logits, 0.75), torch.tensor([1.25, 3.0]))
    assert center.tolist() == [1.0, 3.0]


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize(("rows", "prototypes"), [(1, 1), (6, 4), (4, 6)])
def test_sinkhorn_matches_the_exponential_form(iterations, rows, prototypes):
    logits = random_tensor(3, rows, prototypes)
    targets = sinkhorn_knopp(logits, 0.2, iterations)
    np.testing.assert_allclose(targets.numpy(), numpy_sinkhorn(logits, 0.2, iterations), rtol=2e-5, atol=1e-7)


def test_sinkhorn_by_hand():
    targets = sinkhorn_knopp(torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]]), 1.0, 1)
    # columns [1/2, 1/2] and [3/4, 1/4], then each row to 1
    torch.testing.assert_close(targets, torch.tensor([[0.4, 0.6], [2 / 3, 1 / 3]]))


@PROPERTY
@given(seeds, st.integers(1, 12), st.integers(1, 12), st.floats(0.01, 10))
def test_sinkhorn_targets_are_distributions(seed, rows, prototypes, scale):
    targets = sinkhorn_knopp(random_tensor(seed, rows, prototypes, scale=scale), 0.05)
    assert targets.isfinite().all()
    assert (targets >= 0).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(rows), atol=1e-5, rtol=0)


def test_sinkhorn_balances_prototypes_in_the_limit():
    targets = sinkhorn_knopp(random_tensor(4, 12, 3), 0.5, 100)
    torch.testing.assert_close(targets.sum(0), torch.full((3,), 4.0), atol=1e-3, rtol=0)


def test_sinkhorn_survives_logits_beyond_the_exponential():
    targets = sinkhorn_knopp(torch.tensor([[900.0, 0.0], [0.0, -900.0], [0.0, 900.0]]), 0.05)
    assert targets.isfinite().all()
    torch.testing.assert_close(targets.sum(1), torch.ones(3))


@pytest.mark.parametrize(("student_views", "teacher_views"), [(2, 2), (5, 2), (2, 1), (1, 2)])
@pytest.mark.parametrize("skip_same", [True, False])
def test_dino_is_the_mean_over_pairs_of_views(student_views, teacher_views, skip_same):
    logits, targets = random_tensor(5, student_views, 3, 4), random_targets(6, teacher_views, 3, 4)
    terms = [
        numpy_cross_entropy(targets[t, b], logits[s, b], 0.1)
        for s in range(student_views)
        for t in range(teacher_views)
        for b in range(3)
        if not (skip_same and s == t)
    ]
    loss = dino_loss(logits, targets, 0.1, skip_same=skip_same)
    assert float(loss) == pytest.approx(np.mean(terms), rel=1e-5)


def test_dino_gradient_is_prediction_less_target():
    """One pair: d CE / d logits = (softmax(logits / tau) - target) / tau, a B-th of it each."""
    logits, targets = random_tensor(7, 1, 3, 4).requires_grad_(), random_targets(8, 1, 3, 4)
    dino_loss(logits, targets, 0.5, skip_same=False).backward()
    expected = (torch.softmax(logits.detach() / 0.5, -1) - targets) / 0.5 / 3
    torch.testing.assert_close(logits.grad, expected)


def test_dino_at_even_logits_is_the_log_of_the_prototypes():
    loss = dino_loss(torch.zeros(4, 2, 256), random_targets(9, 2, 2, 256), 0.1, skip_same=True)
    assert float(loss) == pytest.approx(math.log(256), rel=1e-6)


def test_impossible_views_are_refused():
    with pytest.raises(InputError, match="no pair"):
        dino_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), 0.1, skip_same=True)
    with pytest.raises(InputError, match="equal"):
        dino_loss(torch.zeros(2, 2, 3), torch.zeros(2, 2, 4), 0.1, skip_same=False)


def test_ibot_is_the_weighted_sum_over_masked_patches():
    logits, targets, weights = random_tensor(10, 6, 5), random_targets(11, 6, 5), random_tensor(12, 6).abs()
    expected = sum(float(weights[i]) * numpy_cross_entropy(targets[i], logits[i], 0.1) for i in range(6))
    assert float(ibot_loss(logits, targets, 0.1, weights)) == pytest.approx(expected, rel=1e-5)


def test_ibot_weights_make_the_mean_of_the_views_means():
    logits, targets, views = random_tensor(13, 5, 4), random_targets(14, 5, 4), [0, 0, 0, 1, 1]
    weights = torch.tensor([1 / (views.count(view) * 2) for view in views])
    each = [numpy_cross_entropy(targets[i], logits[i], 0.1) for i in range(5)]
    expected = (np.mean(each[:3]) + np.mean(each[3:])) / 2
    assert float(ibot_loss(logits, targets, 0.1, weights)) == pytest.approx(expected, rel=1e-5)


def test_no_masked_patch_is_no_loss():
    logits = torch.zeros(0, 4, requires_grad=True)
    loss = ibot_loss(logits, torch.zeros(0, 4), 0.1, torch.zeros(0))
    loss.backward()
    assert float(loss.detach()) == 0


def numpy_koleo(features):
    rows = features.detach().double().numpy()
    rows = rows / np.sqrt((rows**2).sum(1, keepdims=True))
    total = 0.0
    for i, row in enumerate(rows):
        distances = [math.dist(row, other) for j, other in enumerate(rows) if j != i]
        total -= math.log(min(distances) + 1e-8)
    return total / len(rows)


@pytest.mark.parametrize(("images", "width"), [(2, 1), (2, 5), (12, 3), (5, 20)])
def test_koleo_matches_loops(images, width):
    features = random_tensor(15, images, width)
    if width == 1:
        features = torch.tensor([[2.0], [-5.0]])
    assert float(koleo_loss(features)) == pytest.approx(numpy_koleo(features), rel=1e-4, abs=1e-5)


def test_koleo_by_hand():
    square = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-2.0, 0.0], [0.0, -1.0]])
    assert float(koleo_loss(square)) == pytest.approx(-math.log(math.sqrt(2)), abs=1e-6)


def test_koleo_gradient_matches_finite_differences():
    features = random_tensor(16, 4, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(koleo_loss, (features,))


def test_koleo_of_equal_and_zero_features_is_finite():
    features = torch.ones(3, 4)
    features[2] = 0
    features.requires_grad_()
    loss = koleo_loss(features)
    loss.backward()
    assert loss.isfinite()
    assert features.grad.isfinite().all()
    assert float(koleo_loss(torch.ones(3, 4))) == pytest.approx(-math.log(1e-8))


def test_koleo_needs_a_neighbour():
    with pytest.raises(InputError, match="at least 2"):
        koleo_loss(torch.ones(1, 4))


@PROPERTY
@given(seeds, st.integers(2, 10), st.integers(2, 6))
def test_koleo_does_not_see_length_order_or_turns(seed, images, width):
    features = random_tensor(seed, images, width)
    generator = np.random.default_rng(seed)
    rotation = torch.from_numpy(np.linalg.qr(generator.normal(size=(width, width)))[0]).float()
    order = torch.from_numpy(generator.permutation(images))
    loss = float(koleo_loss(features))
    assert float(koleo_loss((3 * features @ rotation)[order])) == pytest.approx(loss, rel=1e-3, abs=1e-3)


def test_everything_is_float32_inside_autocast():
    logits, targets = random_tensor(17, 4, 8).bfloat16(), random_targets(18, 4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = [
            softmax_center(logits, targets[0], 0.1),
            update_center(targets[0], logits, 0.9),
            sinkhorn_knopp(logits, 0.1),
            dino_loss(logits[None], targets[None], 0.1, skip_same=False),
            ibot_loss(logits, targets, 0.1, torch.ones(4)),
            koleo_loss(logits),
        ]
    assert [result.dtype for result in results] == [torch.float32] * len(results)
    exact = [numpy_cross_entropy(targets[i], logits[i].float(), 0.1) for i in range(4)]
    assert float(results[3]) == pytest.approx(np.mean(exact), rel=1e-5)
    assert float(results[4]) == pytest.approx(np.sum(exact), rel=1e-5)
    assert float(results[5]) == pytest.approx(numpy_koleo(logits), rel=1e-4)
