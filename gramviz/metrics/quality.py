"""Dense and global quality of features without any training on top.

Dense: does cosine similarity of two patches predict that people put them in the same segment? Global: do the
nearest CLS features share the label? Knows nothing of networks or files: features and labels in, numbers out.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.similarity import gram_matrix, normalize_rows


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
    counts = np.zeros((rows * columns, len(kinds)), np.int64)
    np.add.at(counts, (patch, index.ravel()), 1)
    return torch.from_numpy(kinds[counts.argmax(1)].astype(np.int64))


def roc_auc(scores: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve: [N] scores, [N] bool -> 0..1, ties counted half; NaN where a class is empty.

    Mann-Whitney: the share of (positive, negative) pairs in which the positive one scores higher.
    """
    ordered, inverse = torch.unique(scores.double(), return_inverse=True)
    positives = torch.zeros(len(ordered), dtype=torch.float64).index_add_(0, inverse, positive.double())
    totals = torch.zeros(len(ordered), dtype=torch.float64).index_add_(
        0, inverse, torch.ones_like(positive, dtype=torch.float64)
    )
    negatives = totals - positives
    below = negatives.cumsum(0) - negatives
    pairs = positives.sum() * negatives.sum()
    if pairs == 0:
        return float("nan")
    return float((positives * (below + negatives / 2)).sum() / pairs)


def same_segment_auc(patches: Tensor, labels: Tensor, *, reach: tuple[float, float] | None = None) -> float:
    """ROC AUC of the cosine of two patches as a predictor of "same segment", over all pairs of one image.

    patches [rows, columns, d], labels [rows * columns]. `reach` keeps the pairs whose grid distance lies in
    [low, high] patches (the "near" pairs, for which proximity alone says little). NaN where all pairs agree.
    """
    rows, columns, width = patches.shape
    upper = torch.triu_indices(rows * columns, rows * columns, offset=1)
    if reach is not None:
        spot = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
        far = (spot[upper[0]] - spot[upper[1]]).norm(dim=1)
        upper = upper[:, (far >= reach[0]) & (far <= reach[1])]
    gram = gram_matrix(patches.reshape(-1, width))
    return roc_auc(gram[upper[0], upper[1]], labels[upper[0]] == labels[upper[1]])


def knn_accuracy(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Weighted k-NN accuracy on CLS features, as in DINO: train [N, d], test [M, d], labels int64 -> 0..1.

    Each of the k nearest by cosine votes with exp(cosine / temperature).
    """
    if not 1 <= k <= len(train):
        raise InputError(f"k is {k}; it must lie between 1 and the {len(train)} training features")
    cosines, nearest = (normalize_rows(test) @ normalize_rows(train).T).topk(k, dim=1)
    votes = (
        F.one_hot(train_labels[nearest], int(train_labels.max()) + 1)
        * (cosines / temperature).exp()[..., None]
    )
    return float((votes.sum(1).argmax(1) == test_labels).double().mean())
