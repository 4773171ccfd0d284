"""The engine: features of any checkpoint for any picture, computed once, and all that the page shows of them.

Knows nothing of the page or of who asks: a visitor's picture comes in as an argument and nothing of it stays but
cache entries under the hash of its pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gramviz.checkpoints.manifest import CheckpointInfo, CheckpointStore
from gramviz.errors import InputError
from gramviz.gram.projection import pca_basis, pca_rgb
from gramviz.gram.similarity import cosine_map, low_rank_factor, quantize_float16, query_vector
from gramviz.gram.spectrum import (
    cls_alignment,
    effective_rank,
    eigenvalues,
    energy_share,
    mean_similarity,
    rayleigh_along_ones,
)
from gramviz.serving.cache import ByteCache
from gramviz.serving.settings import Settings, choose_device
from gramviz.serving.worker import DeviceWorker
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.features import PatchFeatures, extract
from gramviz.vit.images import Picture

MIB = 2**20
PATCHES = (4, 64)  # fewest and most patches on the long side
MOST_CHECKPOINTS = 24
FACTOR_TOLERANCE = 1e-3

Key = tuple[Hashable, ...]


@dataclass(frozen=True)
class View:
    """What the page needs of one checkpoint for one picture.

    grid: (rows, columns), P patches in all. factor: little-endian float16, (P + 1, rank) row by row, the last row
    the CLS token; the product of two rows is their cosine up to `error`. colours: uint8 (P, 3), the first three
    principal components as RGB. measures: cls_alignment, mean_similarity, effective_rank, top1_energy of G.
    seconds: what the features took; cached: whether they were there already.
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


class Engine:
    """The only object that the page talks to. Thread-safe; holds no visitor's state."""

    def __init__(self, store: CheckpointStore, settings: Settings) -> None:
        self.device = choose_device(settings.device)
        self._store = store
        self._results: ByteCache[Any] = ByteCache(settings.feature_cache * MIB)
        self._networks: ByteCache[DenseBackbone] = ByteCache(settings.model_cache * MIB)
        self._worker = DeviceWorker(settings.pending)

    @staticmethod
    def from_settings(settings: Settings) -> Engine:
        """An engine over the checkpoints of `settings.models`. Loads no weights."""
        return Engine(CheckpointStore.open(settings.models), settings)

    def close(self) -> None:
        """Finish the running computation and drop the rest."""
        self._worker.close()

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """Every checkpoint there is, in the manifest's order."""
        return self._store.all()

    def default_ids(self) -> tuple[str, ...]:
        """The checkpoints that a new visitor sees."""
        return tuple(info.id for info in self._store.all() if info.shown)

    def compare(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1
    ) -> Iterator[View]:
        """A View of each checkpoint, each as soon as it is ready; closing the iterator drops what has not begun.

        patches: number of patches on the picture's long side, 4 to 64. Raises InputError or CheckpointError for
        a value out of range, BusyError where too much is waiting.
        """
        patches = _checked_patches(patches)
        infos = self._checked_ids(ids)
        ready: list[tuple[CheckpointInfo, PatchFeatures]] = []
        asked: dict[Future[tuple[PatchFeatures, float]], tuple[CheckpointInfo, Key]] = {}
        try:
            for info in infos:
                key = _feature_key(picture, info, patches, layer)
                found: PatchFeatures | None = self._results.get(key)
                if found is not None:
                    ready.append((info, found))
                else:
                    job = self._feature_job(key, picture, info, patches, layer)
                    asked[self._worker.submit(key, job)] = (info, key)
            for info, features in ready:
                yield self._view(picture, info, patches, layer, features, 0.0, cached=True)
            while asked:
                done, _ = wait(asked, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda f: infos.index(asked[f][0])):
                    info, _ = asked.pop(future)
                    features, seconds = future.result()
                    yield self._view(picture, info, patches, layer, features, seconds, cached=False)
        finally:
            for future, (_, key) in asked.items():
                self._worker.release(key, future)

    def common_colours(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1
    ) -> dict[str, bytes]:
        """PCA colours of each checkpoint in one basis fitted to all of them together: id -> uint8 (P, 3)."""
        infos = self._checked_ids(ids)
        features = [_flat(self.features(picture, info.id, patches, layer=layer)) for info in infos]
        if len({rows.shape[1] for rows in features}) > 1:
            raise InputError("One colour basis needs networks of one width; these checkpoints differ.")
        basis = pca_basis(features)
        return {
            info.id: _colour_bytes(pca_rgb(rows, basis)) for info, rows in zip(infos, features, strict=True)
        }

    def features(
        self, picture: Picture, checkpoint_id: str, patches: int, *, layer: int = -1
    ) -> PatchFeatures:
        """Features of one picture by one checkpoint, from the cache or computed now."""
        patches = _checked_patches(patches)
        info = self._store.get(checkpoint_id)
        key = _feature_key(picture, info, patches, layer)
        found: PatchFeatures | None = self._results.get(key)
        if found is not None:
            return found
        result, _ = self._worker.submit(key, self._feature_job(key, picture, info, patches, layer)).result()
        computed: PatchFeatures = result
        return computed

    def similarity(
        self, picture: Picture, checkpoint_id: str, patches: int, row: int, column: int
    ) -> dict[str, Any]:
        """The exact cosine map of one patch: {checkpoint, grid, row, column, map (rows of columns)}."""
        features = self.features(picture, checkpoint_id, patches)
        rows, columns, _ = features.patches.shape
        if not (_is_index(row, rows) and _is_index(column, columns)):
            raise InputError(
                f"There is no patch at row {row}, column {column}; the grid has {rows} rows and {columns} columns."
            )
        flat = _flat(features)
        cosines = cosine_map(flat, query_vector(flat, [int(row) * columns + int(column)]))
        return {
            "checkpoint": checkpoint_id,
            "grid": [rows, columns],
            "row": int(row),
            "column": int(column),
            "map": cosines.view(rows, columns).tolist(),
        }

    def spectrum(self, picture: Picture, checkpoint_id: str, patches: int) -> dict[str, Any]:
        """Eigenvalues of G (descending) and what is read from them: {checkpoint, grid, eigenvalues, measures}."""
        features = self.features(picture, checkpoint_id, patches)
        flat = _flat(features)
        return {
            "checkpoint": checkpoint_id,
            "grid": list(features.patches.shape[:2]),
            "eigenvalues": eigenvalues(flat).tolist(),
            "measures": {
                **_measures(flat, features.cls),
                "rayleigh_along_ones": float(rayleigh_along_ones(flat)),
            },
        }

    def _feature_job(
        self, key: Key, picture: Picture, info: CheckpointInfo, patches: int, layer: int
    ) -> Callable[[], tuple[PatchFeatures, float]]:
        def job() -> tuple[PatchFeatures, float]:
            # what was in flight when this was asked for may have landed since
            found: PatchFeatures | None = self._results.get(key)
            if found is not None:
                return found, 0.0
            started = time.perf_counter()
            features = extract(self._network(info), picture, patches, layer=layer, device=self.device)
            tensors = (features.patches, features.cls, features.registers)
            self._results.put(key, features, sum(t.numel() * t.element_size() for t in tensors))
            return features, time.perf_counter() - started

        return job

    def _network(self, info: CheckpointInfo) -> DenseBackbone:
        """The loaded network; only the worker's thread comes here."""
        network = self._networks.get(info.sha256)
        if network is None:
            network = self._store.load(info.id, self.device)
            size = sum(p.numel() * p.element_size() for p in network.parameters())
            self._networks.put(info.sha256, network, size)
        return network

    def _view(
        self,
        picture: Picture,
        info: CheckpointInfo,
        patches: int,
        layer: int,
        features: PatchFeatures,
        seconds: float,
        *,
        cached: bool,
    ) -> View:
        flat = _flat(features)
        key = ("view", *_feature_key(picture, info, patches, layer))
        parts = self._results.get(key)
        if parts is None:
            parts = _view_parts(flat, features.cls)
            self._results.put(key, parts, len(parts[0]) + len(parts[3]) + 1024)
        factor, rank, error, colours, measures = parts
        rows, columns, _ = features.patches.shape
        return View(info, (rows, columns), factor, rank, error, colours, dict(measures), seconds, cached)

    def _checked_ids(self, ids: Sequence[str]) -> list[CheckpointInfo]:
        unique = list(dict.fromkeys(ids))
        if not 1 <= len(unique) <= MOST_CHECKPOINTS:
            raise InputError(
                f"{len(unique)} checkpoints were asked for; choose between 1 and {MOST_CHECKPOINTS}."
            )
        return [self._store.get(checkpoint_id) for checkpoint_id in unique]


def _view_parts(flat: Tensor, cls: Tensor) -> tuple[bytes, int, float, bytes, dict[str, float]]:
    factor = low_rank_factor(torch.cat([flat, cls[None]]), FACTOR_TOLERANCE)
    stored = quantize_float16(factor.rows)
    half = stored.values.numpy().astype("<f2", copy=False)
    colours = _colour_bytes(pca_rgb(flat, pca_basis([flat])))
    error = factor.error + stored.error
    return half.tobytes(), half.shape[1], error, colours, _measures(flat, cls)


def _measures(flat: Tensor, cls: Tensor) -> dict[str, float]:
    spectrum = eigenvalues(flat)
    return {
        "cls_alignment": float(cls_alignment(flat, cls)),
        "mean_similarity": float(mean_similarity(flat)),
        "effective_rank": float(effective_rank(spectrum)),
        "top1_energy": float(energy_share(spectrum, 1)),
    }


def _colour_bytes(colours: Tensor) -> bytes:
    return np.ascontiguousarray((colours * 255).round().to(torch.uint8).numpy()).tobytes()


def _flat(features: PatchFeatures) -> Tensor:
    """(rows, columns, d) -> [P, d]"""
    return features.patches.flatten(0, 1)


def _feature_key(picture: Picture, info: CheckpointInfo, patches: int, layer: int) -> Key:
    return (picture.digest, info.sha256, patches, layer)


def _checked_patches(patches: int) -> int:
    low, high = PATCHES
    if isinstance(patches, bool) or not isinstance(patches, int | float) or not low <= patches <= high:
        raise InputError(
            f"{str(patches)[:40]} patches on the long side is out of range; choose {low} to {high}."
        )
    return int(patches)


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, int | float) and 0 <= value < count and value == int(value)
