"""Spectrum functions against numpy float64 on the whole Gram matrix, by hand, and by properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.gram.spectrum import (
    cls_alignment,
    effective_rank,
    eigenvalues,
    energy_share,
    energy_shares,
    mean_similarity,
    rayleigh_along_ones,
    stable_rank,
)

PROPERTY = settings(deadline=None, max_examples=30, derandomize=True)
seeds = st.integers(0, 10_000)
sizes = st.integers(1, 12)


def random_features(seed, *shape, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) + shift).float()


def numpy_gram(features):
    rows = features.double().numpy()
    lengths = np.sqrt((rows**2).sum(1, keepdims=True))
    x = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return x @ x.T


@pytest.mark.parametrize(("patches", "width"), [(1, 1), (1, 6), (6, 1), (40, 9), (9, 40), (300, 64)])
def test_eigenvalues_are_those_of_the_whole_matrix(patches, width):
    features = random_features(1, patches, width, shift=0.5)
    values = eigenvalues(features)
    whole = np.linalg.eigvalsh(numpy_gram(features))[::-1]
    assert values.shape == (min(patches, width),)
    np.testing.assert_allclose(values.numpy(), whole[: len(values)], atol=2e-6 * whole[0])
    assert np.abs(whole[len(values) :]).sum() < 1e-10


def test_float64_stays_float64():
    features = random_features(2, 30, 8).double()
    whole = np.linalg.eigvalsh(numpy_gram(features))[::-1][:8]
    np.testing.assert_allclose(eigenvalues(features).numpy(), whole, rtol=1e-12)


def test_leading_dimensions_are_batches():
    features, cls = random_features(3, 2, 3, 7, 4), random_features(4, 2, 3, 4)
    values = eigenvalues(features)
    assert values.shape == (2, 3, 4)
    torch.testing.assert_close(values[1, 0], eigenvalues(features[1, 0]))
    for measure in (rayleigh_along_ones, mean_similarity):
        assert measure(features).shape == (2, 3)
        torch.testing.assert_close(measure(features)[1, 0], measure(features[1, 0]))
    torch.testing.assert_close(cls_alignment(features, cls)[1, 0], cls_alignment(features[1, 0], cls[1, 0]))
    assert energy_share(values, 2).shape == effective_rank(values).shape == (2, 3)


def test_by_hand():
    pair = torch.tensor([[1.0, 0.0], [3.0, 4.0]])  # G = [[1, .6], [.6, 1]]
    torch.testing.assert_close(eigenvalues(pair), torch.tensor([1.6, 0.4]))
    assert float(rayleigh_along_ones(pair)) == pytest.approx(1.6)
    assert float(mean_similarity(pair)) == pytest.approx(0.6)
    assert float(energy_share(eigenvalues(pair), 1)) == pytest.approx(0.8)
    assert float(effective_rank(eigenvalues(pair))) == pytest.approx(0.8**-0.8 * 0.2**-0.2)
    assert float(cls_alignment(pair, torch.tensor([2.0, 0.0]))) == pytest.approx(0.8)


@pytest.mark.parametrize(("patches", "width"), [(2, 5), (30, 8), (8, 30)])
def test_stable_rank_is_a_ratio_of_norms_of_the_whole_matrix(patches, width):
    features = random_features(7, patches, width, shift=0.3)
    gram = numpy_gram(features)
    expected = np.linalg.norm(gram, "fro") ** 2 / np.linalg.norm(gram, 2) ** 2
    assert float(stable_rank(eigenvalues(features))) == pytest.approx(expected, rel=1e-5)
    assert float(stable_rank(torch.tensor([3.0, 3.0, 3.0]))) == 3
    assert float(stable_rank(torch.tensor([3.0, 0.0]))) == 1
    assert stable_rank(torch.zeros(2, 3)).tolist() == [0, 0]


def test_shares_of_energy():
    assert energy_shares(torch.tensor([[3.0, 1.0], [0.0, 0.0]])).tolist() == [[0.75, 0.25], [0, 0]]


def test_collapsed_and_spread_extremes():
    same, spread = torch.ones(5, 3), torch.eye(4) * 7
    torch.testing.assert_close(eigenvalues(same), torch.tensor([5.0, 0.0, 0.0]), atol=1e-5, rtol=0)
    assert float(effective_rank(eigenvalues(same))) == pytest.approx(1, abs=1e-4)
    assert float(rayleigh_along_ones(same)) == pytest.approx(5)
    assert float(mean_similarity(same)) == pytest.approx(1)
    torch.testing.assert_close(eigenvalues(spread), torch.ones(4))
    assert float(effective_rank(eigenvalues(spread))) == pytest.approx(4)
    assert float(energy_share(eigenvalues(spread), 3)) == pytest.approx(0.75)
    assert float(mean_similarity(spread)) == 0


def test_no_energy_is_zero_everywhere():
    values = eigenvalues(torch.zeros(4, 3))
    assert torch.equal(values, torch.zeros(3))
    assert float(effective_rank(values)) == 0
    assert float(energy_share(values, 1)) == 0
    assert float(rayleigh_along_ones(torch.zeros(4, 3))) == 0


@pytest.mark.parametrize(("patches", "width"), [(2, 5), (30, 8), (8, 30)])
def test_measures_match_numpy(patches, width):
    features = random_features(5, patches, width, shift=0.3)
    gram, ones = numpy_gram(features), np.ones(patches)
    assert float(rayleigh_along_ones(features)) == pytest.approx(ones @ gram @ ones / patches, rel=1e-5)
    off = gram[~np.eye(patches, dtype=bool)]
    assert float(mean_similarity(features)) == pytest.approx(off.mean(), abs=1e-6)
    shares = np.clip(np.linalg.eigvalsh(gram), 1e-300, None) / patches
    entropy = -(shares * np.log(shares)).sum()
    assert float(effective_rank(eigenvalues(features))) == pytest.approx(math.exp(entropy), rel=1e-4)
    top = np.sort(shares)[::-1][:2].sum()
    assert float(energy_share(eigenvalues(features), 2)) == pytest.approx(top, rel=1e-5)
    cls = random_features(6, width)
    direction = cls.double().numpy() / np.linalg.norm(cls.double().numpy())
    rows = features.double().numpy()
    cosines = [row @ direction / np.linalg.norm(row) for row in rows]
    assert float(cls_alignment(features, cls)) == pytest.approx(np.mean(cosines), abs=1e-6)


@PROPERTY
@given(seeds, sizes, sizes, st.integers(0, 3))
def test_spectrum_is_descending_not_negative_and_sums_to_the_rows(seed, patches, width, zeros):
    features = random_features(seed, patches, width)
    features[:zeros] = 0
    values = eigenvalues(features)
    left = max(patches - zeros, 0)
    assert (values >= 0).all()
    assert (values.diff() <= 0).all()
    assert float(values.sum()) == pytest.approx(left, abs=1e-5 * patches)
    if left:
        assert 1 - 1e-5 <= float(effective_rank(values)) <= len(values) * (1 + 1e-5)
        assert 0 < float(energy_share(values, 1)) <= 1
        assert 1 <= float(stable_rank(values)) <= float(effective_rank(values)) * (1 + 1e-5)
        assert float(energy_share(values, len(values))) == pytest.approx(1, abs=1e-5)
        assert -1e-6 <= float(rayleigh_along_ones(features)) <= float(values[0]) * (1 + 1e-5) + 1e-5


@PROPERTY
@given(seeds, st.integers(2, 12), sizes)
def test_turning_and_reordering_change_nothing(seed, patches, width):
    features = random_features(seed, patches, width)
    rotation = torch.linalg.qr(random_features(seed + 1, width, width).double()).Q.float()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(patches))
    moved = (features @ rotation)[order]
    for measure in (eigenvalues, rayleigh_along_ones, mean_similarity):
        torch.testing.assert_close(measure(moved), measure(features), atol=1e-5 * patches, rtol=0)


@pytest.mark.parametrize(
    "features", [torch.ones(3), torch.ones(0, 3), torch.ones(3, 0), torch.tensor([[1.0, math.nan]])]
)
def test_impossible_spectra_are_refused(features):
    with pytest.raises(InputError):
        eigenvalues(features)


def test_impossible_measures_are_refused():
    with pytest.raises(InputError, match="k = 0"):
        energy_share(torch.ones(3), 0)
    with pytest.raises(InputError, match="at least 2"):
        mean_similarity(torch.ones(1, 3))
