"""What is asked of the engine, and what it answers: requests with their keys, and views of features.

Knows no cache, queue or network: features go in, what the page needs comes out.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import InputError
from gramviz.gram.projection import pca_basis, pca_rgb
from gramviz.gram.similarity import low_rank_factor, quantize_float16
from gramviz.gram.spectrum import measures
from gramviz.metrics.spectra import Spectra, spectra_of
from gramviz.serving.controls import shown
from gramviz.vit.features import PatchFeatures
from gramviz.vit.images import Picture

PATCHES = (4, 64)  # fewest and most patches on the long side
FACTOR_TOLERANCE = 1e-3

Key = tuple[Hashable, ...]


@dataclass(frozen=True)
class View:
    """What the page needs of one checkpoint for one picture.

    grid: (rows, columns), P patches in all. factor: little-endian float16, (P + 1, rank) row by row, the last row
    the CLS token; the product of two rows is their cosine up to `error`. colours: uint8 (P, 3), the first three
    principal components as RGB. measures: cls_alignment, mean_similarity, effective_rank, top1_energy of G.
    seconds: what it took to compute; cached: whether it was there already.
    """

    checkpoint: CheckpointInfo
    grid: tuple[int, int]
    factor: bytes
    rank: int
    error: float
    colours: bytes
    measures: dict[str, float]
    seconds: float
    cached: bool


@dataclass(frozen=True, eq=False)
class SpectralView:
    """The spectra of one checkpoint for one picture, or in one sentence why there are none; times as in `View`."""

    checkpoint: CheckpointInfo
    spectra: Spectra | None
    problem: str | None
    seconds: float
    cached: bool


Seen = TypeVar("Seen", View, SpectralView)


@dataclass(frozen=True, eq=False)
class Ask:
    """One picture for one checkpoint, with everything that what is computed of it depends on.

    weights: of a visitor's own checkpoint, which is in no store; None for one that is.
    """

    picture: Picture
    info: CheckpointInfo
    patches: int
    layer: int
    weights: Mapping[str, Tensor] | None = None

    def key(self, what: str) -> Key:
        """Under what the result is known: content of picture and weights, not their names."""
        return (what, self.picture.digest, self.info.sha256, self.patches, self.layer)


def view_of(info: CheckpointInfo, features: PatchFeatures, started: float) -> View:
    """The view of one checkpoint's features; `started` is when their computation began, by `time.perf_counter`."""
    flat = flat_patches(features)
    factor = low_rank_factor(torch.cat([flat, features.cls[None]]), FACTOR_TOLERANCE)
    stored = quantize_float16(factor.rows)
    rows, columns, _ = features.patches.shape
    return View(
        checkpoint=info,
        grid=(rows, columns),
        factor=stored.values.numpy().astype("<f2", copy=False).tobytes(),
        rank=factor.rows.shape[1],
        error=factor.error + stored.error,
        colours=colour_bytes(pca_rgb(flat, pca_basis([flat]))),
        measures=measures(flat, features.cls),
        seconds=time.perf_counter() - started,
        cached=False,
    )


def spectral_view_of(info: CheckpointInfo, features: PatchFeatures, started: float) -> SpectralView:
    """The spectra of one checkpoint's features, or why there are none; `started` as for `view_of`."""
    try:
        found, problem = spectra_of(features), None
    except InputError as error:
        found, problem = None, str(error)
    return SpectralView(info, found, problem, time.perf_counter() - started, cached=False)


def colour_bytes(colours: Tensor) -> bytes:
    """Colours in 0..1 as uint8, row by row."""
    return np.ascontiguousarray((colours * 255).round().to(torch.uint8).numpy()).tobytes()


def flat_patches(features: PatchFeatures) -> Tensor:
    """(rows, columns, d) -> [P, d]"""
    return features.patches.flatten(0, 1)


def in_order(views: Iterable[Seen], ids: Sequence[str]) -> list[Seen]:
    """Views in the order of the checkpoints' ids; the engine gives each as soon as it is ready."""
    found = {view.checkpoint.id: view for view in views}
    return [found[key] for key in ids]


def checked_patches(patches: int) -> int:
    """The number of patches on the long side; InputError where it is none or out of range."""
    low, high = PATCHES
    if isinstance(patches, bool) or not isinstance(patches, int | float) or not low <= patches <= high:
        raise InputError(
            f"{shown(patches)} patches on the long side is out of range; choose {low} to {high}."
        )
    return int(patches)


def is_index(value: Any, count: int) -> bool:
    """Whether a value from outside is a whole number in 0..count - 1."""
    return isinstance(value, int | float) and 0 <= value < count and value == int(value)
