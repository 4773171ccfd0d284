"""Quality measures against loops written out by hand."""

import numpy as np
import pytest
import torch

from gramviz.errors import InputError
from gramviz.metrics.quality import knn_accuracy, patch_labels, roc_auc, same_segment_auc


def naive_auc(scores, positive):
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[positive] for b in scores[~positive]]
    return np.mean(wins)


@pytest.mark.parametrize("seed", range(4))
def test_auc_is_the_share_of_pairs_in_order(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, 60).astype(np.float32)  # with many ties
    positive = rng.random(60) < 0.4
    assert roc_auc(torch.tensor(scores), torch.tensor(positive)) == pytest.approx(naive_auc(scores, positive))


def test_auc_without_one_of_the_classes_is_not_a_number():
    assert np.isnan(roc_auc(torch.tensor([1.0, 2.0]), torch.tensor([True, True])))


def test_same_segment_auc_equals_a_double_loop():
    rng = np.random.default_rng(3)
    grid, width = (4, 5), 7
    h = rng.normal(size=(*grid, width))
    labels = rng.integers(0, 3, 20)
    x = h.reshape(20, width) / np.linalg.norm(h.reshape(20, width), axis=1, keepdims=True)
    for reach in (None, (2.0, 4.0)):
        scores, same = [], []
        for i in range(20):
            for j in range(i + 1, 20):
                far = np.hypot(i // 5 - j // 5, i % 5 - j % 5)
                if reach is None or reach[0] <= far <= reach[1]:
                    scores.append(x[i] @ x[j])
                    same.append(labels[i] == labels[j])
        expected = naive_auc(np.array(scores), np.array(same))
        found = same_segment_auc(torch.tensor(h).float(), torch.tensor(labels), reach=reach)
        assert found == pytest.approx(expected, abs=2e-3)


def test_patch_labels_take_the_majority():
    segments = np.array([[5, 5, 1, 1], [5, 2, 1, 9], [2, 2, 7, 7], [3, 3, 8, 8]])
    assert patch_labels(segments, (2, 2)).tolist() == [5, 1, 2, 7]  # ties go to the smaller label
    assert patch_labels(np.kron(np.arange(6).reshape(2, 3), np.ones((5, 7), int)), (2, 3)).tolist() == list(
        range(6)
    )
    with pytest.raises(InputError, match="finer than its grid"):
        patch_labels(segments, (5, 2))


def test_knn_equals_a_loop():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(40, 6)), rng.normal(size=(15, 6))
    train_labels, test_labels = rng.integers(0, 4, 40), rng.integers(0, 4, 15)
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)  # noqa: E731
    right = 0
    for row, label in zip(unit(test), test_labels, strict=True):
        cosines = unit(train) @ row
        nearest = np.argsort(-cosines)[:5]
        votes = np.zeros(4)
        for n in nearest:
            votes[train_labels[n]] += np.exp(cosines[n] / 0.07)
        right += votes.argmax() == label
    found = knn_accuracy(
        torch.tensor(train), torch.tensor(train_labels), torch.tensor(test), torch.tensor(test_labels), k=5
    )
    assert found == pytest.approx(right / 15)
    with pytest.raises(InputError, match="k is 0"):
        knn_accuracy(torch.ones(3, 2), torch.zeros(3).long(), torch.ones(1, 2), torch.zeros(1).long(), k=0)
