"""Similarity by distance against a loop over all pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.gram import locality
from gramviz.gram.locality import similarity_by_distance


def by_pairs(features):
    """Mean cosine by rounded distance, pair by pair."""
    rows, columns, _ = features.shape
    flat = features.reshape(rows * columns, -1)
    lengths = np.linalg.norm(flat, axis=1)
    cosines = {}
    for i in range(rows * columns):
        for j in range(i + 1, rows * columns):
            ring = int(np.floor(np.hypot(i // columns - j // columns, i % columns - j % columns) + 0.5))
            zero = lengths[i] == 0 or lengths[j] == 0
            cosines.setdefault(ring, []).append(
                0.0 if zero else flat[i] @ flat[j] / (lengths[i] * lengths[j])
            )
    return {ring: np.mean(found) for ring, found in sorted(cosines.items())}


def features(rows, columns, width, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns, width)) + 0.3


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.integers(0, 99))
def test_it_equals_a_loop_over_all_pairs(rows, columns, width, seed):
    h = features(rows, columns, width, seed)
    h[0, 0] *= seed % 2  # now and then a patch without a direction
    distance, mean = similarity_by_distance(torch.from_numpy(h))
    expected = by_pairs(h)
    assert distance.tolist() == list(expected)
    np.testing.assert_allclose(mean.numpy(), list(expected.values()), atol=1e-12)


def test_channels_may_be_worked_in_blocks(monkeypatch):
    h = torch.from_numpy(features(5, 6, 13)).float()
    whole = similarity_by_distance(h)
    monkeypatch.setattr(locality, "CHANNELS", 4)
    parts = similarity_by_distance(h)
    assert torch.equal(whole[0], parts[0])
    torch.testing.assert_close(whole[1], parts[1], atol=1e-13, rtol=0)


def test_one_direction_is_alike_at_every_distance():
    distance, mean = similarity_by_distance(torch.ones(9, 14, 3))
    assert distance.tolist() == list(range(1, 16))  # hypot(8, 13) = 15.3
    np.testing.assert_allclose(mean.numpy(), 1, atol=1e-12)


def test_a_wave_along_a_row_comes_back():
    angle = torch.arange(12, dtype=torch.float64) * torch.pi / 3  # a period of 6 patches
    row = torch.stack([angle.cos(), angle.sin()], -1)[None]
    distance, mean = similarity_by_distance(row)
    np.testing.assert_allclose(mean.numpy(), np.cos(distance.numpy() * np.pi / 3), atol=1e-12)


def test_a_single_patch_has_no_pair():
    distance, mean = similarity_by_distance(torch.ones(1, 1, 4))
    assert distance.shape == mean.shape == (0,)


@pytest.mark.parametrize("wrong", [torch.ones(3, 4), torch.ones(0, 3, 4), torch.full((2, 2, 2), torch.inf)])
def test_what_is_no_finite_grid_is_refused(wrong):
    with pytest.raises(InputError, match="needs finite features"):
        similarity_by_distance(wrong)
