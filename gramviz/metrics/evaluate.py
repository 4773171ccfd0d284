"""Measures of one network over sets of pictures: what stands in a model card.

Takes networks, pictures and labels as they come; knows no folder, file or manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.spectrum import measures
from gramviz.metrics.quality import knn_accuracy, patch_labels, same_segment_auc
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.features import extract
from gramviz.vit.images import Picture

NEAR = (2.0, 4.0)
Annotated = tuple[Picture, Sequence[np.ndarray]]


def dense_measures(
    backbone: DenseBackbone,
    pictures: Iterable[Annotated],
    *,
    patches: int = 20,
    device: torch.device,
) -> dict[str, list[float]]:
    """Measures of each picture, so that spread and paired differences can be had from them.

    auc, near_auc: `same_segment_auc` over all pairs, and over those 2 to 4 patches apart, meant over the people who
    segmented the picture; and the `measures` of its Gram matrix. The long side gets `patches` patches. Raises
    InputError where there is no picture.
    """
    rows: dict[str, list[float]] = {}
    for picture, people in pictures:
        features = extract(backbone, picture, patches, device=device)
        flat = features.patches.flatten(0, 1)
        labels = [
            patch_labels(segments, (features.patches.shape[0], features.patches.shape[1]))
            for segments in people
        ]
        found = {
            "auc": _mean_known(same_segment_auc(features.patches, one) for one in labels),
            "near_auc": _mean_known(same_segment_auc(features.patches, one, reach=NEAR) for one in labels),
            **measures(flat, features.cls),
        }
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    if not rows:
        raise InputError("There is no picture to measure on.")
    return rows


def knn_measure(
    backbone: DenseBackbone,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    device: torch.device,
    k: int = 20,
) -> float:
    """k-NN accuracy of CLS features in 0..1; train and test are (images [N, 3, S, S] uint8, labels [N] int64)."""
    (train_images, train_labels), (test_images, test_labels) = train, test
    backbone.to(device).eval()
    return knn_accuracy(
        _cls_features(backbone, train_images, device),
        train_labels,
        _cls_features(backbone, test_images, device),
        test_labels,
        k=k,
    )


def _mean_known(values: Iterable[float]) -> float:
    """Mean of those that are numbers: who saw one segment only, or none twice, has no AUC; NaN where nobody has."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


@torch.inference_mode()
def _cls_features(backbone: DenseBackbone, images: Tensor, device: torch.device, batch: int = 256) -> Tensor:
    parts = [backbone(part.to(device).float() / 255)[0].cls.float().cpu() for part in images.split(batch)]
    return torch.cat(parts)
