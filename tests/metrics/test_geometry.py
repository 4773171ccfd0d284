"""Geometry against numpy float64 on the whole Gram matrix, and cases worked by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.metrics.geometry import geometry, mean_by_distance, outlier_share, outliers
from gramviz.metrics.quality import grid_pairs


def features(seed, *shape, shift=0.4):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) + shift).float()


@pytest.mark.parametrize(("patches", "width"), [(50, 12), (12, 50), (2, 3)])
def test_geometry_is_that_of_the_whole_gram_matrix(patches, width):
    h, cls = features(0, patches, width), features(1, width)
    found = geometry(h, cls)
    rows, c = h.double().numpy(), cls.double().numpy()
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    gram = x @ x.T
    values = np.linalg.eigvalsh(gram)[::-1].clip(0)
    shares = values / values.sum()
    assert float(found["cls_alignment"]) == pytest.approx((x @ c / np.linalg.norm(c)).mean(), abs=1e-6)
    assert float(found["mean_similarity"]) == pytest.approx(
        gram[~np.eye(patches, dtype=bool)].mean(), abs=1e-6
    )
    assert float(found["rayleigh"]) == pytest.approx(gram.sum() / patches, rel=1e-5)
    for k in (1, 3, 10):
        assert float(found[f"top{k}_energy"]) == pytest.approx(shares[:k].sum(), abs=1e-5)
    positive = shares[shares > 1e-12]
    assert float(found["effective_rank"]) == pytest.approx(
        np.exp(-(positive * np.log(positive)).sum()), rel=1e-4
    )
    expected = np.linalg.norm(gram, "fro") ** 2 / np.linalg.norm(gram, 2) ** 2
    assert float(found["stable_rank"]) == pytest.approx(expected, rel=1e-5)
    assert found["spectrum"].shape == (32,)
    padded = np.pad(shares[: min(32, patches, width)], (0, max(0, 32 - min(patches, width))))
    np.testing.assert_allclose(found["spectrum"].numpy(), padded, atol=1e-6)


def test_pictures_may_come_together():
    h, cls = features(2, 3, 9, 5), features(3, 3, 5)
    together = geometry(h, cls)
    for name, value in geometry(h[1], cls[1]).items():
        torch.testing.assert_close(together[name][1], value)


def test_locality_equals_a_double_loop():
    rows, columns = 4, 6
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(24, 24))
    scores += scores.T
    sums, counts = np.zeros(8), np.zeros(8)
    for i in range(24):
        for j in range(i + 1, 24):
            ring = int(np.floor(np.hypot(i // 6 - j // 6, i % 6 - j % 6) + 0.5))
            if ring <= 8:
                sums[ring - 1] += scores[i, j]
                counts[ring - 1] += 1
    pairs = grid_pairs(rows, columns)
    found = mean_by_distance(pairs.of(torch.tensor(scores)), pairs.distance, 8)
    assert found.isnan().tolist() == (counts == 0).tolist() == [False] * 6 + [True] * 2
    np.testing.assert_allclose(found[:6].numpy(), sums[:6] / counts[:6], rtol=1e-12)
    two = mean_by_distance(torch.stack([pairs.of(torch.tensor(scores))] * 2), pairs.distance, 8)
    np.testing.assert_array_equal(two[1].numpy(), found.numpy())


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30))
def test_outliers_are_those_of_the_modified_z_score(lengths):
    x = np.array(lengths)
    deviation = x - np.median(x)
    mad = np.median(np.abs(deviation))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (0.6745 * deviation / mad > 3.5) & (deviation > 1e-5 * np.median(x))
    assert outliers(torch.tensor(x)).tolist() == expected.tolist()
    assert float(outlier_share(torch.tensor(x))) == pytest.approx(expected.mean())


def test_outliers_by_hand():
    usual = [9.0, 10.0, 11.0, 10.0, 9.5, 10.5]
    assert float(outlier_share(torch.tensor([*usual, 40.0]))) == pytest.approx(1 / 7)
    assert float(outlier_share(torch.tensor([*usual, 0.1]))) == 0  # too short is not meant
    assert float(outlier_share(torch.full((5,), 3.0))) == 0
    assert float(outlier_share(torch.tensor([3.0, 3.0, 3.0, 3.0000002]))) == 0  # rounding
    assert float(outlier_share(torch.tensor([3.0, 3.0, 3.0, 9.0]))) == 0.25  # though the MAD is zero
    assert outlier_share(torch.tensor([[1.0, 1, 1, 5], [1, 1, 1, 1]])).tolist() == [0.25, 0]
