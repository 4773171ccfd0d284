"""Cosines and queries against numpy loops in float64, by hand, and by properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.gram.similarity import cosine_map, gram_matrix, normalize_rows, query_vector, region_query

PROPERTY = settings(deadline=None, max_examples=30, derandomize=True)
sizes = st.integers(1, 9)
seeds = st.integers(0, 10_000)


def random_features(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def numpy_cosines(a, b):
    """Cosines of all rows of a to all rows of b, one pair at a time; zero rows give 0."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    out = np.zeros((len(a), len(b)))
    for i, row in enumerate(a):
        for j, other in enumerate(b):
            lengths = math.sqrt(sum(row**2)) * math.sqrt(sum(other**2))
            out[i, j] = sum(row * other) / lengths if lengths else 0.0
    return out


def test_rows_by_hand():
    x = normalize_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]]))
    torch.testing.assert_close(x, torch.tensor([[0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]]))


def test_gram_matrix_by_hand():
    half = math.sqrt(0.5)
    expected = torch.tensor([[1.0, half, -1.0], [half, 1.0, -half], [-1.0, -half, 1.0]])
    torch.testing.assert_close(gram_matrix(torch.tensor([[2.0, 0.0], [1.0, 1.0], [-5.0, 0.0]])), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 3), (3, 7)])
def test_gram_matrix_is_the_table_of_cosines(shape):
    features = random_features(1, *shape)
    np.testing.assert_allclose(gram_matrix(features).numpy(), numpy_cosines(features, features), atol=3e-7)


def test_leading_dimensions_are_batches():
    features, query = random_features(2, 2, 3, 5, 4), random_features(3, 2, 3, 4)
    grams, maps = gram_matrix(features), cosine_map(features, query)
    assert grams.shape == (2, 3, 5, 5)
    assert maps.shape == (2, 3, 5)
    torch.testing.assert_close(grams[1, 2], gram_matrix(features[1, 2]))
    torch.testing.assert_close(maps[1, 2], cosine_map(features[1, 2], query[1, 2]))


def test_zero_rows_have_cosine_zero_and_gradient_zero():
    features = random_features(4, 4, 3)
    features[1] = 0
    features.requires_grad_()
    gram = gram_matrix(features)
    assert torch.equal(gram[1], torch.zeros(4))
    assert torch.equal(cosine_map(features, torch.zeros(3)), torch.zeros(4))
    gram.square().sum().backward()
    assert torch.equal(features.grad[1], torch.zeros(3))
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e-11, 1e-3, 1e15])
def test_length_does_not_matter(scale):
    features = random_features(5, 6, 4)
    torch.testing.assert_close(gram_matrix(features * scale), gram_matrix(features), atol=1e-6, rtol=0)


def test_not_a_number_is_not_hidden():
    features = random_features(6, 3, 2)
    features[1, 0] = math.nan
    x = normalize_rows(features)
    assert x[1].isnan().all()
    assert x[[0, 2]].isfinite().all()


@PROPERTY
@given(seeds, sizes, sizes)
def test_gram_matrix_is_bounded_symmetric_and_positive(seed, patches, width):
    gram = gram_matrix(random_features(seed, patches, width))
    assert gram.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(gram, gram.mT, atol=1e-6, rtol=0)
    assert np.linalg.eigvalsh(gram.double().numpy()).min() >= -1e-6 * patches


@PROPERTY
@given(seeds, sizes, sizes)
def test_rotating_all_features_changes_no_cosine(seed, patches, width):
    features = random_features(seed, patches, width)
    rotation = torch.linalg.qr(random_features(seed + 1, width, width).double()).Q.float()
    torch.testing.assert_close(gram_matrix(features @ rotation), gram_matrix(features), atol=3e-6, rtol=0)


@PROPERTY
@given(seeds, sizes, sizes)
def test_reordering_patches_reorders_the_map(seed, patches, width):
    features, query = random_features(seed, patches, width), random_features(seed + 1, width)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(patches))
    torch.testing.assert_close(cosine_map(features[order], query), cosine_map(features, query)[order])


@PROPERTY
@given(seeds, sizes, st.floats(1e-6, 1e6))
def test_cosines_never_leave_their_bounds(seed, width, scale):
    query = random_features(seed, width)
    maps = cosine_map(torch.stack([query * scale, -query * scale]), query)
    assert maps.abs().max() <= 1
    torch.testing.assert_close(maps, torch.tensor([1.0, -1.0]))


def test_map_of_a_patch_is_its_row_of_the_gram_matrix():
    features = random_features(7, 8, 5)
    query = query_vector(features, [3])
    torch.testing.assert_close(cosine_map(features, query), gram_matrix(features)[3])


def test_query_is_the_mean_of_positives_less_that_of_negatives():
    features = torch.tensor([[2.0, 0.0], [0.0, 7.0], [0.0, -3.0]])
    torch.testing.assert_close(query_vector(features, [0, 1]), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(query_vector(features, [0], [1, 2]), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(query_vector(features, [0], [1]), torch.tensor([1.0, -1.0]))


def test_region_is_the_mean_of_the_rows_under_the_mask():
    features = random_features(8, 6, 3)
    mask = torch.tensor([True, False, False, True, True, False])
    torch.testing.assert_close(region_query(features, mask), query_vector(features, [0, 3, 4]))


@pytest.mark.parametrize(
    ("positive", "negative", "told"),
    [([], [0], "at least one positive"), ([6], [], "Patch 6"), ([0], [-1], "Patch -1")],
)
def test_impossible_queries_are_refused(positive, negative, told):
    with pytest.raises(InputError, match=told):
        query_vector(random_features(9, 6, 3), positive, negative)


@pytest.mark.parametrize(
    "mask", [torch.ones(5, dtype=torch.bool), torch.ones(6), torch.zeros(6, dtype=torch.bool)]
)
def test_impossible_regions_are_refused(mask):
    with pytest.raises(InputError):
        region_query(random_features(10, 6, 3), mask)
