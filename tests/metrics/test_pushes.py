"""Pushes of heads, networks and weights against finite differences and hand-made copies, in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from gramviz.metrics.pushes import (
    block_pushes,
    commonness,
    head_jacobians,
    head_push,
    weight_step,
)
from gramviz.vit.backbones import NetworkConfig, create_backbone

TINY = NetworkConfig(
    "vit_small_patch16_dinov3",
    {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": 16, "init_values": 1.0},
)
TEMPERATURE = 0.3


def draw(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.fixture
def head():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 11), nn.GELU(), nn.Linear(11, 7)).double()


@pytest.fixture
def network():
    torch.manual_seed(1)
    return create_backbone(TINY).double().eval()


def cross_entropy(head, h, targets):
    z = head(torch.from_numpy(h)).detach().numpy() / TEMPERATURE
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    return -(targets.numpy() * log_p).sum()


def differences(function, x, step=1e-6):
    found = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        e = np.zeros_like(x)
        e[index] = step
        found[index] = (function(x + e) - function(x - e)) / (2 * step)
    return found


def test_a_head_s_push_against_finite_differences_and_the_chain_rule(head):
    h, targets = draw(2, 6, 5), draw(3, 6, 7).softmax(1)
    push = head_push(head, h, targets, TEMPERATURE)
    expected = differences(lambda x: cross_entropy(head, x, targets), h.numpy())
    np.testing.assert_allclose(push.exact.numpy(), expected, atol=1e-8)
    np.testing.assert_allclose(push.chained.numpy(), push.exact.numpy(), atol=1e-14)
    p = np.exp(head(h).detach().numpy() / TEMPERATURE)
    residuals = p / p.sum(1, keepdims=True) - targets.numpy()
    np.testing.assert_allclose(push.residuals.numpy(), residuals, atol=1e-14)
    np.testing.assert_allclose(push.residuals.sum(1).numpy(), 0, atol=1e-14)
    jacobians = np.stack([differences_of_head(head, row) for row in h.numpy()])  # [M, K, d]
    np.testing.assert_allclose(push.linear.numpy(), residuals @ jacobians.mean(0) / TEMPERATURE, atol=1e-7)
    np.testing.assert_allclose(head_jacobians(head, h).detach().numpy(), jacobians, atol=1e-8)


def test_the_jacobian_of_some_patches_stands_for_the_mean(head):
    h, targets = draw(12, 9, 5), draw(13, 9, 7).softmax(1)
    push, full = (head_push(head, h, targets, TEMPERATURE, most) for most in (3, 9))
    assert push.rows.tolist() == [0, 4, 8]
    assert full.rows.tolist() == list(range(9))
    torch.testing.assert_close(push.chained, push.exact[[0, 4, 8]])
    w = head_jacobians(head, h[[0, 4, 8]]).mean(0)
    torch.testing.assert_close(push.linear, push.residuals @ w / TEMPERATURE)
    torch.testing.assert_close(push.exact, full.exact)


def differences_of_head(head, row, step=1e-6):
    columns = []
    for k in range(len(row)):
        e = np.zeros_like(row)
        e[k] = step
        ahead, back = (head(torch.from_numpy(row + s * e)[None])[0].detach().numpy() for s in (1, -1))
        columns.append((ahead - back) / (2 * step))
    return np.stack(columns, axis=1)


def test_a_linear_head_is_one_matrix():
    w, h, targets = draw(4, 7, 5), draw(5, 6, 5), draw(6, 6, 7).softmax(1)
    push = head_push(lambda x: x @ w.mT, h, targets, 1.0)
    for way in (push.exact, push.chained, push.linear):
        torch.testing.assert_close(way, push.residuals @ w)


def test_a_head_in_float32_gives_residuals_whose_rows_add_up_to_zero(head):
    push = head_push(head.float(), draw(7, 6, 5).float(), draw(8, 6, 7).softmax(1), TEMPERATURE)
    assert push.residuals.dtype == push.exact.dtype == torch.float64
    np.testing.assert_allclose(push.residuals.sum(1).numpy(), 0, atol=1e-14)
    torch.testing.assert_close(push.chained, push.exact, atol=1e-5, rtol=1e-4)


def test_a_step_on_weights_against_a_copy_whose_weights_are_moved_by_hand(network):
    images, push = torch.rand(1, 3, 16, 16, dtype=torch.float64), draw(9, 16, 16)

    def features(weights):
        return functional_call(network, dict(weights), (images,))[0].patches[0]

    step = weight_step(features, dict(network.named_parameters()), push)
    other = copy.deepcopy(network).requires_grad_(True)
    h = other(images)[0].patches[0]
    torch.testing.assert_close(step.before, h.detach())
    (h * push).sum().backward()  # whose gradient in H is the push
    for name, parameter in other.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(step.gradient[name], gradient)
    for rate in (1e-3, 0.1):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                parameter -= rate * step.gradient[name]
            torch.testing.assert_close(step.change(rate), moved(images)[0].patches[0] - step.before)
    ahead, back = (step.change(rate).numpy() for rate in (1e-6, -1e-6))
    np.testing.assert_allclose(step.slope.numpy(), (ahead - back) / 2e-6, atol=1e-5 * step.slope.abs().max())
    # the loss falls: dL/drate = <push, slope> = -|dL/dtheta|^2
    squared = sum(float(g.square().sum()) for g in step.gradient.values())
    assert float((push * step.slope).sum()) == pytest.approx(-squared)


def test_block_pushes_against_finite_differences(network):
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    weights = draw(10, 3, 16)
    blocks = list(network.network.blocks)

    def loss():
        return (network(images.clone().requires_grad_(True))[0].cls * weights).square().sum()

    found = block_pushes(blocks, loss, (2, 0), network.prefix_tokens)
    assert len(found) == 2
    assert found[0].tokens.shape == found[0].gradient.shape == (2, 16, 16)
    added = {}

    def add(_module, inputs):
        return (inputs[0] + added["value"], *inputs[1:])

    for block, push in zip(blocks, found, strict=True):
        handle = block.register_forward_pre_hook(add)
        for patch, k in ((0, 3), (7, 15), (15, 0)):
            sides = []
            for sign in (1, -1):
                added["value"] = torch.zeros(3, network.prefix_tokens + 16, 16, dtype=torch.float64)
                added["value"][2, network.prefix_tokens + patch, k] = sign * 1e-5
                sides.append(float(loss().detach()))
            slope = (sides[0] - sides[1]) / 2e-5
            assert float(push.gradient[0, patch, k]) == pytest.approx(slope, rel=1e-5, abs=1e-8)
        handle.remove()
    assert not any(block._forward_pre_hooks for block in blocks)


def test_commonness_by_hand_and_against_numpy():
    alike = commonness(torch.ones(1, 5, 1).double() * torch.tensor([1.0, -2]))
    assert (alike.top, alike.common, alike.cosine) == pytest.approx((1, 1, 1))
    to_and_fro = commonness(torch.tensor([[[1.0, 0], [-1, 0], [1, 0], [-1, 0]]]))
    assert (to_and_fro.top, to_and_fro.common, to_and_fro.cosine) == pytest.approx((1, 0, 0))
    d = draw(11, 2, 9, 4).numpy() + 0.5
    found, expected = commonness(torch.from_numpy(d)), []
    for view in d:
        s = np.linalg.svd(view, compute_uv=False) ** 2
        mean = view.mean(0)
        cosines = view @ mean / np.linalg.norm(view, axis=1) / np.linalg.norm(mean)
        expected.append((s[0] / s.sum(), 9 * mean @ mean / (view**2).sum(), cosines.mean()))
    assert (found.top, found.common, found.cosine) == pytest.approx(tuple(np.mean(expected, axis=0)))
    assert commonness(torch.zeros(1, 3, 2)).cosine == 0
    assert not math.isnan(commonness(torch.zeros(1, 3, 2)).common)
