"""Measures of one network over sets of pictures: what stands in a model card and on the curves.

Takes networks, pictures and labels as they come; knows no folder, file or manifest, and no training.

Letters: P patches of a picture, d feature width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.similarity import gram_matrix
from gramviz.metrics.geometry import geometry, mean_by_distance, outlier_share
from gramviz.metrics.quality import (
    Pairs,
    chance_iou,
    grid_pairs,
    knn_accuracy,
    knn_labels,
    mean_colours,
    mean_iou,
    patch_labels,
    roc_auc,
)
from gramviz.metrics.watching import watched_inputs
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.images import Picture, grid_for, to_tensor

NEAR = (2.0, 4.0)
BATCH = 16
KNN_BATCH = 64  # of small images; larger batches leave a CPU's caches and are slower
SEGMENT_NEIGHBOURS = 5
SEGMENT_BATCH = 1024

Annotated = tuple[Picture, Sequence[np.ndarray]]
Labelled = tuple[Tensor, Tensor]  # images [N, 3, S, S] uint8 and labels [N] int64
Value = float | list[float | None]


@dataclass(frozen=True, eq=False)
class PatchPicture:
    """A picture as a network takes it: image (3, H, W) in 0..1, its grid of P patches and the N pairs of them.

    same: bool [maps, N], whether both patches of a pair have one label in each of the label maps.
    """

    image: Tensor
    grid: tuple[int, int]
    pairs: Pairs
    same: Tensor


@dataclass(frozen=True, eq=False)
class Encoded:
    """patches [P, d] and cls [d] after the final norm; lengths [P] of the patch tokens before it."""

    patches: Tensor
    cls: Tensor
    lengths: Tensor


@dataclass(frozen=True, eq=False)
class Exam:
    """All that networks of one patch size are measured on. What is None is not measured.

    pictures: photographs with the segments of one or several people. scenes: synthetic pictures, one map each,
    of segments; textures: the class of each of their patches, [scenes, P] int64. The first `bank` scenes are
    what the others are labelled from. classes, kinds: training and test images with labels for CLS.
    """

    pictures: Sequence[PatchPicture]
    scenes: Sequence[PatchPicture] = ()
    textures: Tensor | None = None
    bank: int = 0
    classes: tuple[Labelled, Labelled] | None = None
    kinds: tuple[Labelled, Labelled] | None = None


def patch_pictures(annotated: Iterable[Annotated], patches: int, patch_size: int) -> list[PatchPicture]:
    """Pictures with (H, W) integer label maps on grids with `patches` patches on the long side."""
    pairs: dict[tuple[int, int], Pairs] = {}
    made = []
    for picture, maps in annotated:
        grid = grid_for(picture.size, patches)
        if grid not in pairs:
            pairs[grid] = grid_pairs(*grid)
        labels = torch.stack([patch_labels(one, grid) for one in maps])
        image = to_tensor(picture, grid, patch_size)
        made.append(PatchPicture(image, grid, pairs[grid], pairs[grid].same(labels)))
    return made


def encode(backbone: DenseBackbone, pictures: Sequence[PatchPicture], device: torch.device) -> list[Encoded]:
    """The features of each picture from the last block, float32 on the CPU; pictures of one grid go together."""
    backbone.to(device).eval()
    found: dict[int, Encoded] = {}
    for grid in {picture.grid for picture in pictures}:
        members = [index for index, picture in enumerate(pictures) if picture.grid == grid]
        for start in range(0, len(members), BATCH):
            part = members[start : start + BATCH]
            images = torch.stack([pictures[index].image for index in part]).to(device)
            with torch.inference_mode(), watched_inputs([backbone.network.norm]) as seen:
                (tokens,) = backbone(images)
            lengths = seen[0][0][:, backbone.prefix_tokens :].float().norm(dim=-1).cpu()
            patches, cls = tokens.patches.float().cpu(), tokens.cls.float().cpu()
            found |= {index: Encoded(patches[i], cls[i], lengths[i]) for i, index in enumerate(part)}
    return [found[index] for index in range(len(pictures))]


def segment_measures(scores: Iterable[Tensor], pictures: Sequence[PatchPicture]) -> dict[str, Tensor]:
    """How well scores [P, P] of patches tell "same segment" in each picture: auc, near_auc, float64 [pictures].

    ROC AUC over the pairs of patches of one picture, and over those 2 to 4 patches apart, for which nearness says
    little; the mean over the picture's maps, NaN where no map has both kinds of pairs.
    """
    rows = []
    for score, picture in zip(scores, pictures, strict=True):
        distance, values = picture.pairs.distance, picture.pairs.of(score)
        near = (distance >= NEAR[0]) & (distance <= NEAR[1])
        found = (roc_auc(values, picture.same), roc_auc(values[near], picture.same[:, near]))
        rows.append(torch.stack([one.nanmean() for one in found]))
    auc, near_auc = torch.stack(rows).unbind(1)
    return {"auc": auc, "near_auc": near_auc}


def geometry_measures(features: Sequence[Encoded], pictures: Sequence[PatchPicture]) -> dict[str, Tensor]:
    """`geometry` of each picture, lengths and locality: name -> float64 [pictures] or [pictures, n].

    patch_norm: mean length of the patch features. outlier_share: share of them that `outlier_share` finds too
    long. token_norm, token_outlier_share: the same of the patch tokens before the final norm, which brings all to
    about one length. locality: mean cosine of pairs at distance 1, 2, .. 16, NaN where there is none.
    """
    rows = []
    for encoded, picture in zip(features, pictures, strict=True):
        lengths = encoded.patches.norm(dim=-1)
        rows.append(
            {
                **geometry(encoded.patches, encoded.cls),
                "patch_norm": lengths.mean(),
                "outlier_share": outlier_share(lengths),
                "token_norm": encoded.lengths.mean(),
                "token_outlier_share": outlier_share(encoded.lengths),
                "locality": mean_by_distance(
                    picture.pairs.of(gram_matrix(encoded.patches)), picture.pairs.distance
                ),
            }
        )
    return {name: torch.stack([row[name] for row in rows]).double() for name in rows[0]}


def baseline_scores(name: str, picture: PatchPicture) -> Tensor:
    """What needs no network, [P, P]: "proximity", less the distance of two patches, or "colour", less that of
    their mean colours in RGB."""
    rows, columns = picture.grid
    if name == "proximity":
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    elif name == "colour":
        places = mean_colours(picture.image[None], picture.image.shape[-1] // columns)[0].double()
    else:
        raise InputError(f"There is no baseline {name!r}; there are 'proximity' and 'colour'.")
    return -torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")


def segmentation_iou(features: Sequence[Encoded], classes: Tensor, bank: int) -> float:
    """Mean IoU of k-NN patch segmentation: classes [pictures, P] int64 -> 0..1.

    Each patch of the pictures behind the first `bank` gets the class that its 5 nearest patches among the bank's
    vote for, by cosine. Raises InputError where either part would be empty.
    """
    if not 0 < bank < len(features):
        raise InputError(
            f"A bank of {bank} of {len(features)} pictures leaves nothing to label, or to label from."
        )
    known = torch.cat([encoded.patches for encoded in features[:bank]])
    asked = torch.cat([encoded.patches for encoded in features[bank:]])
    labels, answers = classes[:bank].flatten(), classes[bank:].flatten()
    found = [knn_labels(known, labels, part, k=SEGMENT_NEIGHBOURS) for part in asked.split(SEGMENT_BATCH)]
    return mean_iou(torch.cat(found), answers, int(classes.max()) + 1)


def knn_measure(
    backbone: DenseBackbone,
    train: Labelled,
    test: Labelled,
    *,
    device: torch.device,
    autocast: torch.dtype | None = None,
    k: int = 20,
) -> float:
    """k-NN accuracy of CLS features in 0..1; `autocast` is the type of the network's products, None float32."""
    backbone.to(device).eval()
    (train_cls, test_cls) = (_cls_features(backbone, images, device, autocast) for images, _ in (train, test))
    return knn_accuracy(train_cls, train[1], test_cls, test[1], k=k)


@torch.inference_mode()
def _cls_features(
    backbone: DenseBackbone, images: Tensor, device: torch.device, autocast: torch.dtype | None
) -> Tensor:
    parts = []
    for part in images.split(KNN_BATCH):
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            parts.append(backbone(part.to(device).float() / 255)[0].cls.float().cpu())
    return torch.cat(parts)


def examine(
    backbone: DenseBackbone, exam: Exam, *, device: torch.device, autocast: torch.dtype | None = None
) -> dict[str, Value]:
    """Everything that can be measured of a backbone alone, as a row of plain numbers.

    Means over pictures come with their standard error as `<name>_error`. Geometry, auc and near_auc are of the
    photographs; scenes_auc, scenes_near_auc and scenes_miou of the scenes; knn and scenes_kind are k-NN accuracies
    of CLS, computed in `autocast`, all else in float32. Raises InputError where there is no picture.
    """
    if not exam.pictures:
        raise InputError("There is no picture to measure on.")
    features = encode(backbone, exam.pictures, device)
    scores = (gram_matrix(one.patches) for one in features)
    row = summary({**segment_measures(scores, exam.pictures), **geometry_measures(features, exam.pictures)})
    if exam.scenes:
        features = encode(backbone, exam.scenes, device)
        found = segment_measures((gram_matrix(one.patches) for one in features), exam.scenes)
        row |= summary({f"scenes_{name}": values for name, values in found.items()})
        if exam.textures is not None:
            row["scenes_miou"] = rounded(segmentation_iou(features, exam.textures, exam.bank))
    for name, sets in (("knn", exam.classes), ("scenes_kind", exam.kinds)):
        if sets is not None:
            share = knn_measure(backbone, *sets, device=device, autocast=autocast)
            row[name] = rounded(share)
            row[f"{name}_error"] = rounded((share * (1 - share) / len(sets[1][1])) ** 0.5)
    return row


def examine_baseline(name: str, exam: Exam) -> dict[str, Value]:
    """auc, near_auc, scenes_auc and scenes_near_auc of `baseline_scores`, as a row of plain numbers."""
    row = summary(segment_measures((baseline_scores(name, one) for one in exam.pictures), exam.pictures))
    if exam.scenes:
        found = segment_measures((baseline_scores(name, one) for one in exam.scenes), exam.scenes)
        row |= summary({f"scenes_{key}": values for key, values in found.items()})
    return row


def examine_chance(exam: Exam) -> dict[str, Value]:
    """What guessing by the classes' own shares would get of scenes_miou, knn and scenes_kind."""
    row: dict[str, Value] = {}
    if exam.textures is not None:
        row["scenes_miou"] = rounded(chance_iou(exam.textures[exam.bank :].flatten()))
    for name, sets in (("knn", exam.classes), ("scenes_kind", exam.kinds)):
        if sets is not None:
            train, test = (torch.bincount(one[1], minlength=int(sets[0][1].max()) + 1) for one in sets)
            row[name] = rounded(float((train / train.sum() * test / test.sum()).sum()))
    return row


def summary(measured: dict[str, Tensor]) -> dict[str, Value]:
    """Means over pictures of [pictures] or [pictures, n], as numbers or lists, with standard errors of the former.

    What is NaN in a picture has no part in the mean; what is so in all is left out, or None in a list. An error
    needs two pictures.
    """
    row: dict[str, Value] = {}
    for name, values in measured.items():
        mean = values.double().nanmean(0)
        if values.ndim > 1:
            row[name] = [None if one.isnan() else rounded(float(one)) for one in mean]
        elif not mean.isnan():
            row[name] = rounded(float(mean))
            known = values[~values.isnan()].double()
            if len(known) > 1:
                row[f"{name}_error"] = rounded(float(known.std() / len(known) ** 0.5))
    return row


def rounded(value: float) -> float:
    """To six significant digits, which is more than any measure here is known to."""
    return float(f"{value:.6g}")
