"""Quality measures against loops written out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.metrics.quality import (
    chance_iou,
    grid_pairs,
    knn_accuracy,
    knn_labels,
    mean_colours,
    mean_iou,
    patch_labels,
    roc_auc,
)


def naive_auc(scores, positive):
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[positive] for b in scores[~positive]]
    return np.mean(wins)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 8))
def test_auc_is_the_share_of_pairs_in_order(seed, count, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, count).astype(np.float32)  # with many ties
    positive = rng.random((3, count)) < 0.4
    found = roc_auc(torch.tensor(scores), torch.tensor(positive))
    assert found.dtype == torch.float64
    for value, one in zip(found.tolist(), positive, strict=True):
        if one.all() or not one.any():
            assert np.isnan(value)
        else:
            assert value == pytest.approx(naive_auc(scores, one))


def test_auc_by_hand():
    scores = torch.tensor([0.1, 0.4, 0.35, 0.8])
    positive = torch.tensor([False, False, True, True])
    assert roc_auc(scores, positive) == 0.75
    assert roc_auc(-scores, positive) == 0.25
    assert roc_auc(torch.zeros(4), positive) == 0.5


def test_auc_without_one_of_the_classes_is_not_a_number():
    assert roc_auc(torch.tensor([1.0, 2.0]), torch.tensor([True, True])).isnan()
    assert roc_auc(torch.zeros(0), torch.zeros(2, 0, dtype=torch.bool)).isnan().all()


def test_pairs_of_a_grid():
    rows, columns = 3, 4
    pairs = grid_pairs(rows, columns)
    wanted = [(i, j) for i in range(12) for j in range(i + 1, 12)]
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == wanted
    far = [np.hypot(i // 4 - j // 4, i % 4 - j % 4) for i, j in wanted]
    np.testing.assert_allclose(pairs.distance.numpy(), far)
    labels = np.random.default_rng(0).integers(0, 3, (2, 12))
    same = [[row[i] == row[j] for i, j in wanted] for row in labels]
    assert pairs.same(torch.tensor(labels)).tolist() == same
    scores = torch.arange(144.0).reshape(12, 12)
    assert pairs.of(scores).tolist() == [12.0 * i + j for i, j in wanted]


def test_patch_labels_take_the_majority():
    segments = np.array([[5, 5, 1, 1], [5, 2, 1, 9], [2, 2, 7, 7], [3, 3, 8, 8]])
    assert patch_labels(segments, (2, 2)).tolist() == [5, 1, 2, 7]  # ties go to the smaller label
    assert patch_labels(np.kron(np.arange(6).reshape(2, 3), np.ones((5, 7), int)), (2, 3)).tolist() == list(
        range(6)
    )
    with pytest.raises(InputError, match="finer than its grid"):
        patch_labels(segments, (5, 2))


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.integers(0, 9), st.integers(0, 9))
def test_patch_labels_equal_a_loop(seed, rows, columns, more_rows, more_columns):
    segments = np.random.default_rng(seed).integers(0, 300, (rows + more_rows, columns + more_columns))
    segments %= 3
    votes = [[] for _ in range(rows * columns)]
    for y in range(segments.shape[0]):
        for x in range(segments.shape[1]):
            votes[y * rows // segments.shape[0] * columns + x * columns // segments.shape[1]].append(
                segments[y, x]
            )
    assert patch_labels(segments, (rows, columns)).tolist() == [np.bincount(one).argmax() for one in votes]


def test_knn_equals_a_loop():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(40, 6)), rng.normal(size=(15, 6))
    train_labels, test_labels = rng.integers(0, 4, 40), rng.integers(0, 4, 15)
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)  # noqa: E731
    told = []
    for row in unit(test):
        cosines = unit(train) @ row
        votes = np.zeros(4)
        for n in np.argsort(-cosines)[:5]:
            votes[train_labels[n]] += np.exp(cosines[n] / 0.07)
        told.append(votes.argmax())
    tensors = [torch.tensor(part) for part in (train, train_labels, test, test_labels)]
    assert knn_labels(*tensors[:3], k=5).tolist() == told
    assert knn_accuracy(*tensors, k=5) == pytest.approx((np.array(told) == test_labels).mean())
    with pytest.raises(InputError, match="k is 0"):
        knn_labels(torch.ones(3, 2), torch.zeros(3).long(), torch.ones(1, 2), k=0)
    with pytest.raises(InputError, match="k is 4"):
        knn_labels(torch.ones(3, 2), torch.zeros(3).long(), torch.ones(1, 2), k=4)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 6))
def test_mean_iou_equals_sets(seed, count, classes):
    rng = np.random.default_rng(seed)
    found, labels = rng.integers(0, classes, (2, count))
    shares = []
    for kind in range(classes):
        told, true = set(np.nonzero(found == kind)[0]), set(np.nonzero(labels == kind)[0])
        if told | true:
            shares.append(len(told & true) / len(told | true))
    assert mean_iou(torch.tensor(found), torch.tensor(labels), classes) == pytest.approx(np.mean(shares))


def test_guessing_gives_the_chance_iou():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 200_000, p=[0.5, 0.3, 0.2, 0])
    guessed = mean_iou(torch.tensor(rng.permutation(labels)), torch.tensor(labels), 4)
    assert chance_iou(torch.tensor(labels)) == pytest.approx(guessed, abs=3e-3)
    assert chance_iou(torch.arange(7)) == pytest.approx(1 / 13)


def test_mean_colours_are_those_of_the_patches():
    image = np.random.default_rng(0).random((1, 3, 8, 12))
    found = mean_colours(torch.tensor(image), 4)
    assert found.shape == (1, 6, 3)
    for index in range(6):
        y, x = divmod(index, 3)
        patch = image[0, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
        np.testing.assert_allclose(found[0, index].numpy(), patch.mean((1, 2)), rtol=1e-12)
