"""PCA colours against numpy's singular vectors and by what a viewer relies on."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.gram.projection import pca_basis, pca_rgb

PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)


def skewed_features(seed, patches, width):
    """Three strong components of different energy with one long tail each, in small noise."""
    generator = np.random.default_rng(seed)
    tails = generator.exponential(size=(patches, min(3, width))) * [5.0, 3.0, 1.8][: min(3, width)]
    rotation = np.linalg.qr(generator.normal(size=(width, width)))[0][: min(3, width)]
    return torch.from_numpy(tails @ rotation + 0.01 * generator.normal(size=(patches, width)) + 2).float()


@pytest.mark.parametrize(("patches", "width"), [(50, 8), (8, 50), (200, 3)])
def test_axes_are_numpys_singular_vectors(patches, width):
    features = skewed_features(1, patches, width)
    basis = pca_basis([features])
    rows = features.double().numpy()
    centred = rows - rows.mean(0)
    right = np.linalg.svd(centred, full_matrices=False)[2][:3]
    projected = centred @ right.T
    turn = np.sign((projected**3).sum(0))
    np.testing.assert_allclose(basis.mean.numpy(), rows.mean(0), atol=1e-6)
    np.testing.assert_allclose(basis.axes.numpy(), (right * turn[:, None]).T, atol=1e-5)
    np.testing.assert_allclose(basis.low.numpy(), np.quantile(projected * turn, 0.01, axis=0), atol=1e-5)
    np.testing.assert_allclose(basis.high.numpy(), np.quantile(projected * turn, 0.99, axis=0), atol=1e-5)
    colours = np.clip((projected * turn - basis.low.numpy()) / (basis.high - basis.low).numpy(), 0, 1)
    np.testing.assert_allclose(pca_rgb(features, basis).numpy(), colours, atol=1e-5)


def test_one_basis_of_several_is_that_of_their_stack():
    parts = [skewed_features(seed, patches, 6) for seed, patches in ((2, 30), (3, 50))]
    together, stacked = pca_basis(parts), pca_basis([torch.cat(parts)])
    for name in ("mean", "axes", "low", "high"):
        assert torch.equal(getattr(together, name), getattr(stacked, name))


@PROPERTY
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 12))
def test_colours_are_colours(seed, patches, width):
    features = torch.from_numpy(np.random.default_rng(seed).normal(size=(patches, width))).float()
    basis = pca_basis([features])
    colours = pca_rgb(features, basis)
    assert colours.shape == (patches, 3)
    assert colours.dtype == torch.float32
    assert colours.isfinite().all()
    assert colours.min() >= 0
    assert colours.max() <= 1
    kept = basis.axes.norm(dim=0) > 0
    assert int(kept.sum()) == min(3, width, max(patches - 1, 0))
    torch.testing.assert_close(basis.axes.mT @ basis.axes, torch.diag(kept.float()), atol=1e-5, rtol=0)


@PROPERTY
@given(st.integers(0, 10_000))
def test_turning_the_features_changes_no_colour_and_reordering_reorders(seed):
    features = skewed_features(seed, 80, 6)
    rotation = torch.linalg.qr(torch.from_numpy(np.random.default_rng(seed).normal(size=(6, 6)))).Q.float()
    colours = pca_rgb(features, pca_basis([features]))
    turned = features @ rotation
    torch.testing.assert_close(pca_rgb(turned, pca_basis([turned])), colours, atol=1e-4, rtol=0)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(80))
    torch.testing.assert_close(
        pca_rgb(features[order], pca_basis([features[order]])), colours[order], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("features", [torch.zeros(5, 4), torch.full((5, 4), 3.7), torch.ones(1, 4)])
def test_features_without_variance_are_even_grey(features):
    assert torch.equal(pca_rgb(features, pca_basis([features])), torch.full((len(features), 3), 0.5))


def test_component_that_is_only_rounding_is_grey():
    line = torch.linspace(1, 2, 30)[:, None] * torch.tensor([[0.3, -0.7, 1.1, 0.2]])
    colours = pca_rgb(line, pca_basis([line]))
    assert colours[:, 0].max() == 1
    assert torch.equal(colours[:, 1:], torch.full((30, 2), 0.5))


@pytest.mark.parametrize(
    "features",
    [
        [],
        [torch.ones(3, 2), torch.ones(3, 4)],
        [torch.ones(3)],
        [torch.ones(0, 2)],
        [torch.tensor([[1.0, math.nan]])],
        [torch.tensor([[math.inf, 1.0], [1.0, 1.0]])],
    ],
)
def test_impossible_bases_are_refused(features):
    with pytest.raises(InputError):
        pca_basis(features)
