"""Low-rank factors and stored rows: what they lose, measured entry by entry, lies within what they tell."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.gram.similarity import dequantize, low_rank_factor, quantize_float16, quantize_int8

PROPERTY = settings(deadline=None, max_examples=30, derandomize=True)
seeds = st.integers(0, 10_000)
sizes = st.integers(1, 24)
# float64 rounding of the oracle's own sums
ROUNDING = 1e-12


def decaying_features(seed, patches, width, decay):
    """Features with a common direction, whose energy falls off as a power of the component."""
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(width, width)))[0]
    spectrum = np.arange(1, width + 1.0) ** -decay
    return torch.from_numpy((generator.normal(size=(patches, width)) * spectrum + 0.3) @ rotation).float()


def numpy_gram(features):
    rows = features.double().numpy()
    lengths = np.sqrt((rows**2).sum(1, keepdims=True))
    x = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return x @ x.T


def numpy_products(rows):
    rows = rows.double().numpy()
    return rows @ rows.T


@pytest.mark.parametrize(("patches", "width"), [(1, 4), (5, 1), (60, 24), (24, 60), (200, 48)])
@pytest.mark.parametrize("tolerance", [0.0, 1e-3, 0.1, 2.0])
def test_error_bounds_every_entry_and_is_tight(patches, width, tolerance):
    features = decaying_features(1, patches, width, 1.0)
    factor = low_rank_factor(features, tolerance)
    worst = np.abs(numpy_gram(features) - numpy_products(factor.rows)).max()
    assert factor.rows.dtype == torch.float32
    assert worst <= factor.error + ROUNDING
    assert factor.error <= tolerance + 3e-7
    assert factor.error <= worst + 3e-7


def test_rank_is_the_smallest_and_the_factor_is_the_best_of_that_rank():
    features = decaying_features(2, 40, 16, 1.0)
    factor = low_rank_factor(features, 0.05)
    k = factor.rows.shape[1]
    assert (
        low_rank_factor(features, max_rank=k - 1).error > 0.05 >= low_rank_factor(features, max_rank=k).error
    )
    gram = numpy_gram(features)
    left, singular, right = np.linalg.svd(gram)
    best = (left[:, :k] * singular[:k]) @ right[:k]
    np.testing.assert_allclose(numpy_products(factor.rows), best, atol=1e-6)


def test_first_columns_are_the_factor_of_lower_rank():
    features = decaying_features(3, 30, 12, 0.5)
    full, small = low_rank_factor(features, 0.0), low_rank_factor(features, 0.0, max_rank=4)
    torch.testing.assert_close(full.rows[:, :4], small.rows)
    assert (full.rows.square().sum(0).diff() <= 1e-6).all()


def test_by_hand():
    factor = low_rank_factor(torch.tensor([[3.0, 0.0], [5.0, 0.0], [0.0, 2.0]]), max_rank=1)
    torch.testing.assert_close(factor.rows.abs(), torch.tensor([[1.0], [1.0], [0.0]]))
    assert factor.error == pytest.approx(1.0, abs=1e-6)


def test_zero_features_have_an_exact_factor():
    factor = low_rank_factor(torch.zeros(4, 3))
    assert torch.equal(factor.rows, torch.zeros(4, 1))
    assert factor.error == 0


@PROPERTY
@given(seeds, sizes, sizes, st.floats(0, 2), st.integers(1, 24))
def test_error_holds_at_any_size_decay_and_rank(seed, patches, width, decay, max_rank):
    features = decaying_features(seed, patches, width, decay)
    features[0] = 0
    factor = low_rank_factor(features, 1e-3, max_rank)
    assert factor.rows.shape[1] <= max_rank
    assert np.abs(numpy_gram(features) - numpy_products(factor.rows)).max() <= factor.error + ROUNDING


@PROPERTY
@given(seeds, sizes, sizes, st.floats(0, 2), st.sampled_from([quantize_float16, quantize_int8]))
def test_stored_rows_stay_within_their_error(seed, patches, width, decay, quantize):
    rows = low_rank_factor(decaying_features(seed, patches, width, decay)).rows
    stored = quantize(rows)
    restored = dequantize(stored)
    assert restored.dtype == torch.float32
    assert np.abs(numpy_products(rows) - numpy_products(restored)).max() <= stored.error + ROUNDING


def test_stored_rows_are_as_small_and_as_good_as_told():
    rows = low_rank_factor(decaying_features(5, 300, 96, 1.0)).rows
    half, bytes_ = quantize_float16(rows), quantize_int8(rows)
    assert half.values.dtype == torch.float16
    assert half.scale is None
    assert half.error < 1e-3
    assert bytes_.values.dtype == torch.int8
    assert bytes_.scale is not None
    assert bytes_.scale.shape == (rows.shape[1],)
    assert bytes_.error < 0.03


def test_int8_by_hand():
    stored = quantize_int8(torch.tensor([[1.27, 0.0], [-0.634, 0.0]]))
    assert stored.values.tolist() == [[127, 0], [-63, 0]]
    torch.testing.assert_close(dequantize(stored), torch.tensor([[1.27, 0.0], [-0.63, 0.0]]))


@pytest.mark.parametrize(
    ("features", "options"),
    [
        (torch.ones(3, 2), {"tolerance": -1e-3}),
        (torch.ones(3, 2), {"max_rank": 0}),
        (torch.ones(3), {}),
        (torch.ones(0, 2), {}),
        (torch.tensor([[1.0, math.nan]]), {}),
        (torch.tensor([[1.0, math.inf]]), {}),
    ],
)
def test_impossible_factors_are_refused(features, options):
    with pytest.raises(InputError):
        low_rank_factor(features, **options)


@pytest.mark.parametrize("quantize", [quantize_float16, quantize_int8])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rows_that_are_not_finite_are_not_stored(quantize, value):
    with pytest.raises(InputError):
        quantize(torch.tensor([[1.0, value]]))


def test_rows_beyond_float16_are_not_stored_as_infinity():
    with pytest.raises(InputError, match="65504"):
        quantize_float16(torch.tensor([[7e4]]))
