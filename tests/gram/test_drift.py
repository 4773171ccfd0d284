"""The equations of the post against numpy float64, autograd and hand-made cases."""

import numpy as np
import pytest
import torch

from gramviz.errors import InputError
from gramviz.gram.drift import (
    agreement,
    common_drift,
    exact_change,
    first_order_change,
    numerical_rank,
    patch_step,
    rayleigh_change,
    strongest_part,
)


def draw(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_the_patch_step_is_a_gradient_step_of_the_cross_entropy():
    h, w = draw(0, 7, 4).requires_grad_(True), draw(1, 9, 4)
    targets = draw(2, 7, 9).softmax(1)
    loss = -(targets * (h @ w.T).log_softmax(1)).sum()
    (gradient,) = torch.autograd.grad(loss, h)
    residuals = (h @ w.T).softmax(1) - targets
    torch.testing.assert_close(patch_step(residuals.detach(), w, 0.3), -0.3 * gradient)


def test_exact_change_is_the_difference_and_the_first_order_its_linear_part():
    h, step = draw(3, 6, 5), draw(4, 6, 5)
    full = (h + step).numpy()
    np.testing.assert_allclose(exact_change(h, step).numpy(), full @ full.T - (h @ h.T).numpy(), atol=1e-12)
    tiny = 1e-6
    slope = exact_change(h, tiny * step) / tiny
    torch.testing.assert_close(slope, first_order_change(h, step), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 5])
def test_lemma_1_and_it_is_tight_for_a_general_step(rank):
    h, step = draw(5, 12, 9), strongest_part(draw(6, 12, 9), rank)
    assert numerical_rank(step) == rank
    assert numerical_rank(first_order_change(h, step)) == min(2 * rank, 12)
    assert numerical_rank(exact_change(h, step)) <= 2 * rank


def test_the_bound_is_not_reached_where_the_step_is_a_multiple_of_h():
    h = strongest_part(draw(7, 8, 5), 2)
    assert numerical_rank(first_order_change(h, 0.5 * h)) == 2


@pytest.mark.parametrize("sign", [1, -1, 0])
def test_lemma_2_holds_only_with_its_condition(sign):
    h = draw(8, 20, 6) + 1
    a = 0.01 * sign * h.mean(0)
    change = rayleigh_change(h, a)
    gram, one = (h @ h.T).numpy(), np.ones(20)
    after = (h + common_drift(a, 20)).numpy()
    assert change.before == pytest.approx(one @ gram @ one / 20)
    assert change.after == pytest.approx(one @ (after @ after.T) @ one / 20)
    assert change.after == pytest.approx(change.before + change.first_order + change.second_order)
    assert np.sign(change.condition) == sign
    assert change.grows == (sign > 0)


def test_a_long_step_grows_it_even_against_the_mean():
    h = draw(9, 20, 6) + 1
    change = rayleigh_change(h, -3 * h.mean(0))
    assert change.condition < 0
    assert change.grows


def test_the_best_part_is_eckart_and_youngs():
    step = draw(10, 7, 5)
    values = np.linalg.svd(step.numpy(), compute_uv=False)
    left = (step - strongest_part(step, 2)).norm()
    assert float(left) == pytest.approx(np.sqrt((values[2:] ** 2).sum()))
    with pytest.raises(InputError, match="cannot be negative"):
        strongest_part(step, -1)


def test_agreement_by_hand():
    one, other = torch.tensor([[3.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    found = agreement(one, other)
    assert found.cosine == pytest.approx(0.6)
    assert found.relative_error == pytest.approx(0.8)
    assert agreement(torch.zeros(1, 2), other).cosine == 0
    assert agreement(other, torch.zeros(1, 2)).relative_error == float("inf")


def test_steps_of_two_shapes_are_refused():
    with pytest.raises(InputError, match="one shape"):
        first_order_change(torch.ones(3, 2), torch.ones(2, 2))
    with pytest.raises(InputError, match="one shape"):
        agreement(torch.ones(3, 2), torch.ones(2, 2))


def test_rank_of_nothing_is_nothing():
    assert numerical_rank(torch.zeros(3, 4)) == 0
    assert numerical_rank(torch.zeros(0, 4)) == 0
