"""Dense and global quality of features without any training on top.

Dense: does a score of two patches predict that they lie in one segment? Global: do the nearest CLS features share
the label? Knows nothing of networks or files: features, scores and labels in, numbers out.

Letters: P patches of one picture, N pairs of them, or training features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.similarity import normalize_rows


def patch_labels(segments: np.ndarray, grid: tuple[int, int]) -> Tensor:
    """The majority label of each patch of a label map: (H, W) integers -> [rows * columns] int64.

    Patch borders are rounded to whole pixels; ties go to the smaller label.
    """
    rows, columns = grid
    height, width = segments.shape
    if height < rows or width < columns:
        raise InputError(
            f"a label map of {height} x {width} pixels is finer than its grid {rows} x {columns}"
        )
    y = np.arange(height) * rows // height
    x = np.arange(width) * columns // width
    patch = (y[:, None] * columns + x[None, :]).ravel()
    kinds, index = np.unique(segments, return_inverse=True)
    flat = patch * len(kinds) + index.ravel()
    counts = np.bincount(flat, minlength=rows * columns * len(kinds)).reshape(rows * columns, len(kinds))
    return torch.from_numpy(kinds[counts.argmax(1)].astype(np.int64))


@dataclass(frozen=True, eq=False)
class Pairs:
    """The unordered pairs of different patches of a grid: indices [N] int64 each, distance [N] in patches."""

    first: Tensor
    second: Tensor
    distance: Tensor

    def of(self, scores: Tensor) -> Tensor:
        """The scores of the pairs, out of a symmetric matrix: [..., P, P] -> [..., N]."""
        return scores[..., self.first, self.second]

    def same(self, labels: Tensor) -> Tensor:
        """Whether both patches have one label: [..., P] -> bool [..., N]."""
        return labels[..., self.first] == labels[..., self.second]


def grid_pairs(rows: int, columns: int) -> Pairs:
    """The pairs of a grid of rows x columns patches in row-major order, with the distance of their centres."""
    first, second = torch.triu_indices(rows * columns, rows * columns, offset=1)
    spot = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    return Pairs(first, second, (spot[first] - spot[second]).norm(dim=1))


def roc_auc(scores: Tensor, positive: Tensor) -> Tensor:
    """Areas under ROC curves of one list of scores [N] for each labelling [..., N] bool: float64 [...] in 0..1.

    Mann-Whitney: the share of (positive, negative) pairs in which the positive one scores higher, ties counted
    half; by ranks, sorted once for all labellings. NaN where a class is empty.
    """
    ordered, order = scores.sort()
    counts = torch.unique_consecutive(ordered, return_counts=True)[1]
    middle = counts.cumsum(0) - (counts - 1) / 2  # the mean rank, from 1, of equal scores
    ranks = middle.double().repeat_interleave(counts)
    positives = positive.sum(-1).double()
    above = positive[..., order].double() @ ranks - positives * (positives + 1) / 2
    return above / (positives * (len(scores) - positives))


def knn_labels(
    train: Tensor, train_labels: Tensor, test: Tensor, *, k: int, temperature: float = 0.07
) -> Tensor:
    """What the k nearest of train [N, d] by cosine vote for test [M, d]: labels int64 [N] -> [M].

    Each votes for its label with exp(cosine / temperature), as in DINO. Raises InputError for a k not in 1..N.
    """
    if not 1 <= k <= len(train):
        raise InputError(f"k is {k}; it must lie between 1 and the {len(train)} training features")
    cosines, nearest = (normalize_rows(test) @ normalize_rows(train).T).topk(k, dim=1)
    votes = cosines.new_zeros(len(test), int(train_labels.max()) + 1)
    return votes.scatter_add_(1, train_labels[nearest], (cosines / temperature).exp()).argmax(1)


def knn_accuracy(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, *, k: int = 20
) -> float:
    """Share of the test features whose label `knn_labels` tells: [N, d], [N], [M, d], [M] -> 0..1."""
    found = knn_labels(train, train_labels, test, k=k)
    return float((found == test_labels).double().mean())


def mean_iou(found: Tensor, labels: Tensor, classes: int) -> float:
    """Mean over classes of |found and true| / |found or true|: labels [M] int64 in 0..classes - 1, twice -> 0..1.

    Over all M patches at once; a class that is neither found nor true has no part in the mean.
    """
    confusion = torch.bincount(labels * classes + found, minlength=classes**2).reshape(classes, classes)
    hits = confusion.diagonal().double()
    either = confusion.sum(0) + confusion.sum(1) - hits
    return float((hits / either)[either > 0].mean())


def chance_iou(labels: Tensor) -> float:
    """The `mean_iou` to expect of guessing labels [M] at random by their own shares p: the mean of p / (2 - p)."""
    share = torch.bincount(labels).double() / len(labels)
    return float((share / (2 - share))[share > 0].mean())


def mean_colours(images: Tensor, patch_size: int) -> Tensor:
    """The mean colour of each patch: images [B, 3, H, W] -> [B, P, 3]; a baseline for any dense measure."""
    return F.avg_pool2d(images, patch_size).flatten(2).mT
