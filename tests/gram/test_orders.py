"""Hilbert's curve by its two properties and by hand; groups by planted blocks and by a textbook's algorithm."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.gram import orders
from gramviz.gram.orders import cluster_patches, hilbert_order


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(1, 33), st.integers(1, 33))
def test_the_curve_visits_each_patch_once(rows, columns):
    order = hilbert_order(rows, columns)
    assert sorted(order.tolist()) == list(range(rows * columns))


@pytest.mark.parametrize("side", [1, 2, 4, 8, 16, 64])
def test_on_a_power_of_two_each_step_goes_to_a_neighbour(side):
    order = hilbert_order(side, side).numpy()
    steps = np.abs(np.diff(order // side)) + np.abs(np.diff(order % side))
    assert (steps == 1).all()
    assert order[0] == 0


def test_the_smallest_curves_by_hand():
    assert hilbert_order(2, 2).tolist() == [0, 2, 3, 1]
    assert hilbert_order(4, 4).tolist() == [0, 1, 5, 4, 8, 12, 13, 9, 10, 14, 15, 11, 7, 6, 2, 3]
    assert hilbert_order(1, 3).tolist() == [0, 1, 2]
    assert hilbert_order(3, 3).tolist() == [0, 1, 4, 3, 6, 7, 8, 5, 2]  # the curve of 4 x 4 without its rim


def test_near_in_the_order_is_near_on_the_grid():
    """Over 32 steps it stays closer than raster order does, on a grid that is no square either."""
    rows, columns = 24, 32
    found = []
    for order in (hilbert_order(rows, columns).numpy(), np.arange(rows * columns)):
        spots = np.stack([order // columns, order % columns], 1)
        found.append(np.hypot(*(spots[32:] - spots[:-32]).T).mean())
        spread = [np.ptp(spots[i : i + 32], axis=0).max() for i in range(0, len(spots), 32)]
        found.append(np.mean(spread))
    assert found[1] < found[3] / 2


def test_an_empty_grid_has_no_order():
    with pytest.raises(InputError, match="needs a grid"):
        hilbert_order(0, 4)


def planted(sizes, width=16, noise=0.05, seed=0):
    """Patches in shuffled blocks, each around a direction of its own: features, block of each."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(width, width)))[0][: len(sizes)]
    block = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = centres[block] + noise * rng.normal(size=(len(block), width))
    return torch.from_numpy(rows * rng.uniform(0.5, 2, (len(block), 1))), block


@pytest.mark.parametrize(("sizes", "width"), [((50, 40, 30, 20, 10, 6), 16), ((9, 7, 5), 64)])
def test_planted_blocks_are_found_and_numbered_by_falling_size(sizes, width):
    features, block = planted(sizes, width)
    assert cluster_patches(features, len(sizes)).tolist() == block.tolist()
    assert torch.equal(cluster_patches(features.float(), len(sizes), seed=3), torch.from_numpy(block))


def test_the_embedding_is_that_of_the_whole_affinity():
    features, _ = planted((12, 9, 8), 7, noise=0.4)
    x = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    for rows in (x, x[:6]):  # more patches than width, and fewer
        got = orders._embedding(torch.from_numpy(rows), 3).numpy()
        affinity = (1 + rows @ rows.T) / 2
        scale = 1 / np.sqrt(affinity.sum(1))
        vectors = np.linalg.eigh(scale[:, None] * affinity * scale)[1][:, -3:]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(got @ got.T, vectors @ vectors.T, atol=1e-9)


def test_the_same_seed_gives_the_same_groups():
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(200, 12)))
    assert torch.equal(cluster_patches(features, 6, 5), cluster_patches(features.clone(), 6, 5))


def test_equal_groups_are_numbered_in_the_order_of_the_grid():
    rows = torch.eye(3, dtype=torch.float64)[[2, 0, 0, 2, 1, 1]]
    assert cluster_patches(rows, 3).tolist() == [0, 1, 1, 0, 2, 2]


@pytest.mark.parametrize(
    ("features", "groups"),
    [
        (torch.ones(20, 4), 1),
        (torch.zeros(20, 4), 1),
        (torch.eye(4)[[0, 1, 0, 1, 0]], 2),
        (torch.eye(3), 3),
        (torch.tensor([[1.0, 0], [-1, 0]]), 2),
        (torch.ones(1, 3), 1),
        (torch.cat([torch.zeros(5, 4), torch.ones(5, 4)]), 2),
        (torch.randn(30, 1, generator=torch.Generator().manual_seed(0)), 2),
    ],
)
def test_there_are_no_more_groups_than_ways_in_which_patches_differ(features, groups):
    found = cluster_patches(features, 6)
    assert found.shape == (len(features),)
    assert sorted(set(found.tolist())) == list(range(groups))


def test_where_k_means_loses_its_groups_there_are_fewer(monkeypatch):
    def lost(points, count, **options):
        if count > 2:
            raise orders.ClusterError
        return real(points, count, **options)

    real = orders.kmeans2
    monkeypatch.setattr(orders, "kmeans2", lost)
    features, _ = planted((9, 7, 5, 4))
    assert set(cluster_patches(features, 4).tolist()) == {0, 1}


@pytest.mark.parametrize("wrong", [torch.ones(3), torch.ones(0, 3), torch.full((4, 3), torch.nan)])
def test_what_cannot_be_grouped_is_refused(wrong):
    with pytest.raises(InputError, match="Groups need finite features"):
        cluster_patches(wrong, 3)
    with pytest.raises(InputError, match="not 0"):
        cluster_patches(torch.ones(4, 3), 0)
