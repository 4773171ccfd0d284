"""Shares of singular values against numpy's SVD, references of random matrices, and rank one by hand."""

import math

import numpy as np
import pytest
import torch

from gramviz.gram.spectrum import singular_energies
from gramviz.metrics.residuals import common_share, residual_measures, top_share


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (7, 7), (1, 5), (3, 20, 6)])
def test_energies_are_squared_singular_values(shape):
    a = np.random.default_rng(0).normal(size=shape) + 0.3
    values = np.linalg.svd(a, compute_uv=False) ** 2
    np.testing.assert_allclose(singular_energies(torch.tensor(a)).numpy(), values, rtol=1e-9, atol=1e-12)
    top = values[..., 0] / values.sum(-1)
    np.testing.assert_allclose(top_share(torch.tensor(a)).numpy(), top, rtol=1e-9)
    mean = a.mean(-2, keepdims=True)
    explained = 1 - ((a - mean) ** 2).sum((-2, -1)) / (a**2).sum((-2, -1))
    np.testing.assert_allclose(common_share(torch.tensor(a)).numpy(), explained, rtol=1e-9)
    assert (common_share(torch.tensor(a)) <= top_share(torch.tensor(a)) + 1e-12).all()


def test_one_update_for_all_patches_is_rank_one_and_common():
    a = torch.tensor([1.0, -2, 3])
    assert float(top_share(torch.ones(5, 1) * a)) == pytest.approx(1)
    assert float(common_share(torch.ones(5, 1) * a)) == pytest.approx(1)
    # rank one too, but patches are pushed to and fro: nothing is common
    signs = torch.tensor([1.0, -1, 1, -1])[:, None]
    assert float(top_share(signs * a)) == pytest.approx(1)
    assert float(common_share(signs * a)) == pytest.approx(0, abs=1e-15)
    assert float(top_share(torch.zeros(4, 3))) == float(common_share(torch.zeros(4, 3))) == 0
    assert top_share(torch.eye(4)).item() == pytest.approx(0.25)


def test_what_random_rows_give():
    # the references that `heldout_measures` states
    patches, width = 36, 128
    d = torch.from_numpy(np.random.default_rng(1).normal(size=(200, patches, width)))
    assert float(common_share(d).mean()) == pytest.approx(1 / patches, rel=0.03)
    bound = (math.sqrt(patches) + math.sqrt(width)) ** 2 / (patches * width)
    assert float(top_share(d).mean()) == pytest.approx(bound, rel=0.06)


def test_residuals_of_masked_patches():
    rng = np.random.default_rng(2)
    logits, targets = rng.normal(size=(30, 8)), rng.dirichlet(np.ones(8), size=30)
    p = np.exp(logits / 0.1)
    residual = p / p.sum(1, keepdims=True) - targets
    shares = np.linalg.svd(residual, compute_uv=False) ** 2
    shares = shares / shares.sum()
    found = residual_measures(torch.tensor(logits), torch.tensor(targets), 0.1)
    assert found["top1"] == pytest.approx(shares[0])
    kept = shares[shares > 1e-14]
    assert found["effective_rank"] == pytest.approx(np.exp(-(kept * np.log(kept)).sum()), rel=1e-6)
    assert found["common"] == pytest.approx(30 * (residual.mean(0) ** 2).sum() / (residual**2).sum())
    assert found["effective_rank"] <= 7 + 1e-9  # rows sum to zero


def test_no_residual_has_no_rank():
    p = torch.full((3, 4), 0.25)
    assert residual_measures(torch.zeros(3, 4), p, 0.1) == {"top1": 0, "effective_rank": 0, "common": 0}
