"""The engine: features of any checkpoint for any picture, computed once, and all that the page shows of them.

Knows nothing of the page or of who asks: a visitor's picture comes in as an argument and nothing of it stays but
cache entries under the hash of its pixels.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import partial
from typing import Any

from gramviz.checkpoints.curves import metrics_stamp, read_metrics
from gramviz.checkpoints.manifest import CheckpointInfo, CheckpointStore
from gramviz.data.samples import SAMPLES
from gramviz.data.samples import load as load_sample
from gramviz.errors import CheckpointError, InputError
from gramviz.gram.finding import Finding
from gramviz.gram.projection import pca_basis, pca_rgb
from gramviz.gram.similarity import cosine_map, query_vector
from gramviz.gram.spectrum import eigenvalues, measures, rayleigh_along_ones
from gramviz.serving import lab
from gramviz.serving.cache import ByteCache
from gramviz.serving.controls import shown
from gramviz.serving.lab import Values
from gramviz.serving.material import Material, material_of, neighbour
from gramviz.serving.rehearsal import training_of
from gramviz.serving.settings import Settings, choose_device
from gramviz.serving.views import (
    Ask,
    Key,
    SpectralView,
    View,
    checked_patches,
    colour_bytes,
    flat_patches,
    is_index,
    spectral_view_of,
    view_of,
)
from gramviz.serving.worker import DeviceWorker
from gramviz.training.heads import heads_from
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.features import PatchFeatures, extract
from gramviz.vit.images import Picture

MIB = 2**20
MOST_CHECKPOINTS = 64
OVERHEAD = 1024  # bytes of a cached result beside its arrays
POINT = 128  # bytes that a point of a finding's chart takes
PARSED = 8  # about how many times the size of its file a run's rows take in memory

log = logging.getLogger(__name__)


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

    def trajectory(self, run: str) -> tuple[dict[str, Any], ...]:
        """What was measured along a run, as its metrics.jsonl has it; empty where nothing was. The same object again
        while the file stays as it is.

        Raises CheckpointError for an unknown run or a damaged file.
        """
        known = dict.fromkeys(info.run for info in self._store.all())
        if run not in known:
            raise CheckpointError(f"There is no run {str(run)[:80]!r}. Known are: {', '.join(known)}.")
        stamp = metrics_stamp(self._store.folder, run)
        key = ("trajectory", run, stamp)
        found: tuple[dict[str, Any], ...] | None = self._results.get(key)
        if found is None:
            found = read_metrics(self._store.folder, run)
            self._results.put(key, found, PARSED * (stamp[1] if stamp else 0) + OVERHEAD)
        return found

    def compare(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1
    ) -> Iterator[View]:
        """A View of each checkpoint, each as soon as it is ready; closing the iterator drops what has not begun.

        patches: number of patches on the picture's long side, 4 to 64. Raises InputError or CheckpointError for
        a value out of range, BusyError where too much is waiting.
        """
        for info, view, cached in self._each("view", self._view, picture, ids, patches, layer):
            yield replace(view, checkpoint=info, **({"seconds": 0.0, "cached": True} if cached else {}))

    def spectra(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1
    ) -> Iterator[SpectralView]:
        """The spectrum of each checkpoint's G with all that is read from it, as `compare` gives its views.

        A checkpoint whose features cannot be worked with says so in `problem` and leaves the others alone. Raises as
        `compare` does.
        """
        for info, view, cached in self._each("spectra", self._spectral, picture, ids, patches, layer):
            yield replace(view, checkpoint=info, **({"seconds": 0.0, "cached": True} if cached else {}))

    def _each(
        self,
        what: str,
        work: Callable[[Ask], Any],
        picture: Picture,
        ids: Sequence[str],
        patches: int,
        layer: int,
    ) -> Iterator[tuple[CheckpointInfo, Any, bool]]:
        """(checkpoint, result, whether it was there already) of each, as soon as it is ready."""
        patches = checked_patches(patches)
        asked: list[tuple[Future[Any], CheckpointInfo, Key]] = []
        ready: list[tuple[CheckpointInfo, Any, bool]] = []
        try:
            for info in self._checked_ids(ids):
                ask = Ask(picture, info, patches, layer)
                key = ask.key(what)
                found = self._results.get(key)
                if found is not None:
                    ready.append((info, found, True))
                else:
                    asked.append((self._worker.submit(key, partial(work, ask)), info, key))
            yield from ready
            while asked:
                wait([future for future, _, _ in asked], return_when=FIRST_COMPLETED)
                for entry in [entry for entry in asked if entry[0].done()]:
                    asked.remove(entry)
                    yield entry[1], entry[0].result(), False
        finally:
            for future, _, key in asked:
                self._worker.release(key, future)

    def common_colours(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1
    ) -> dict[str, bytes]:
        """PCA colours of each checkpoint in one basis fitted to all of them together: id -> uint8 (P, 3).

        Raises InputError where the networks differ in width.
        """
        patches = checked_patches(patches)
        asks = [Ask(picture, info, patches, layer) for info in self._checked_ids(ids)]
        key = ("colours", *(ask.key("features") for ask in asks))
        found: list[bytes] | None = self._results.get(key)
        if found is None:
            found = self._worker.submit(key, lambda: self._colours(key, asks)).result()
        return {ask.info.id: colours for ask, colours in zip(asks, found, strict=True)}

    def features(
        self, picture: Picture, checkpoint_id: str, patches: int, *, layer: int = -1
    ) -> PatchFeatures:
        """Features of one picture by one checkpoint, from the cache or computed now."""
        ask = self._ask(picture, checkpoint_id, patches, layer)
        found: PatchFeatures | None = self._results.get(ask.key("features"))
        if found is None:
            found = self._worker.submit(ask.key("features"), lambda: self._features(ask)).result()
        return found

    def similarity(
        self, picture: Picture, checkpoint_id: str, patches: int, row: int, column: int
    ) -> dict[str, Any]:
        """The exact cosine map of one patch: {checkpoint, grid, row, column, map (rows of columns)}."""
        ask = self._ask(picture, checkpoint_id, patches, -1)

        def work() -> dict[str, Any]:
            features = self._features(ask)
            rows, columns, _ = features.patches.shape
            if not (is_index(row, rows) and is_index(column, columns)):
                raise InputError(
                    f"There is no patch at row {shown(row)}, column {shown(column)}; "
                    f"the grid has {rows} rows and {columns} columns."
                )
            flat = flat_patches(features)
            cosines = cosine_map(flat, query_vector(flat, [int(row) * columns + int(column)]))
            return {
                "checkpoint": checkpoint_id,
                "grid": [rows, columns],
                "row": int(row),
                "column": int(column),
                "map": cosines.view(rows, columns).tolist(),
            }

        key = ask.key(f"similarity {shown(row)} {shown(column)}")
        answer: dict[str, Any] = self._worker.submit(key, work).result()
        return answer

    def spectrum(self, picture: Picture, checkpoint_id: str, patches: int) -> dict[str, Any]:
        """Eigenvalues of G (descending) and what is read from them: {checkpoint, grid, eigenvalues, measures}."""
        ask = self._ask(picture, checkpoint_id, patches, -1)

        def work() -> dict[str, Any]:
            features = self._features(ask)
            flat = flat_patches(features)
            return {
                "checkpoint": checkpoint_id,
                "grid": list(features.patches.shape[:2]),
                "eigenvalues": eigenvalues(flat).tolist(),
                "measures": {
                    **measures(flat, features.cls),
                    "rayleigh_along_ones": float(rayleigh_along_ones(flat)),
                },
            }

        answer: dict[str, Any] = self._worker.submit(ask.key("spectrum"), work).result()
        return answer

    def theory(self, picture: Picture | None, checkpoint_id: str, card: str, values: Values) -> Finding:
        """What a card of the theory lab finds on a checkpoint's features of a picture, or on the blackboard (None).

        values: of the card's controls, its start where one is not given. Raises InputError for a card, control or
        value that does not exist, CheckpointError for an unknown checkpoint, BusyError where too much is waiting.
        """
        settled = lab.card(card).checked(values)
        asked = (card, *sorted(settled.items()))
        if picture is None:
            key: Key = ("blackboard", *asked)
            job = partial(lab.check, card, lab.blackboard(), settled)
        else:
            ask = self._ask(picture, checkpoint_id, lab.THEORY_PATCHES, -1)
            # some charts are of what was measured along the run, which may go on
            of = (ask.info.id, metrics_stamp(self._store.folder, ask.info.run))
            key = (*ask.key("theory"), *of, *asked)
            job = partial(self._theory, ask, (*ask.key("material"), *of), card, settled)
        found: Finding | None = self._results.get(key)
        if found is None:
            found = self._worker.submit(key, partial(self._kept, key, job)).result()
        return found

    def _ask(self, picture: Picture, checkpoint_id: str, patches: int, layer: int) -> Ask:
        return Ask(picture, self._store.get(checkpoint_id), checked_patches(patches), layer)

    # All tensor work runs in the worker's thread: each further thread that used torch would bring a pool of its own,
    # and the pools would fight over the same cores (measured: 1.7 times the bare forwards instead of 1.2). What
    # was in flight when a job was submitted is in the cache when it runs.

    def _features(self, ask: Ask) -> PatchFeatures:
        found: PatchFeatures | None = self._results.get(ask.key("features"))
        if found is not None:
            return found
        network = self._network(ask.info)
        features = extract(network, ask.picture, ask.patches, layer=ask.layer, device=self.device)
        tensors = (
            features.patches,
            features.cls,
            features.registers,
            features.token_lengths,
            features.register_lengths,
        )
        self._results.put(ask.key("features"), features, sum(t.numel() * t.element_size() for t in tensors))
        return features

    def _view(self, ask: Ask) -> View:
        started = time.perf_counter()
        view = view_of(ask.info, self._features(ask), started)
        self._results.put(ask.key("view"), view, len(view.factor) + len(view.colours) + OVERHEAD)
        return view

    def _spectral(self, ask: Ask) -> SpectralView:
        started = time.perf_counter()
        view = spectral_view_of(ask.info, self._features(ask), started)
        self._results.put(ask.key("spectra"), view, (view.spectra.nbytes if view.spectra else 0) + OVERHEAD)
        return view

    def _kept(self, key: Key, job: Callable[[], Finding]) -> Finding:
        found = job()
        points = sum(len(each.x) for chart in found.charts for each in chart.lines)
        self._results.put(key, found, POINT * points + 2 * OVERHEAD)
        return found

    def _theory(self, ask: Ask, key: Key, card: str, values: Values) -> Finding:
        material: Material | None = self._results.get(key)
        if material is None:
            material = self._material(ask)
            self._results.put(key, material, material.nbytes + OVERHEAD)
        return lab.check(card, material, values)

    def _material(self, ask: Ask) -> Material:
        features, info = self._features(ask), ask.info
        run = [other for other in self._store.all() if other.run == info.run]
        training = None
        if info.heads is not None:
            heads = heads_from(*self._store.load_heads(info.id), self.device)
            companions = [load_sample(sample.id) for sample in SAMPLES]
            grid = (features.patches.shape[0], features.patches.shape[1])
            training = training_of(self._network(info), heads, ask.picture, grid, companions)
        beside = neighbour(info, run)
        other = None if beside is None else self._features(replace(ask, info=beside))
        return material_of(
            features,
            other if other is None or other.patches.shape == features.patches.shape else None,
            beside.id if beside else "",
            training=training,
            with_heads=tuple(one.id for one in run if one.heads is not None),
            rows=self._rows(info.run),
        )

    def _rows(self, run: str) -> tuple[dict[str, Any], ...]:
        """As `trajectory`, but none of a damaged file, which would spoil one chart only."""
        try:
            return self.trajectory(run)
        except CheckpointError as error:
            log.warning("the theory lab goes without the measurements of %s: %s", run, error)
            return ()

    def _colours(self, key: Key, asks: Sequence[Ask]) -> list[bytes]:
        features = [flat_patches(self._features(ask)) for ask in asks]
        if len({rows.shape[1] for rows in features}) > 1:
            raise InputError("One colour basis needs networks of one width; these checkpoints differ.")
        basis = pca_basis(features)
        colours = [colour_bytes(pca_rgb(rows, basis)) for rows in features]
        self._results.put(key, colours, sum(map(len, colours)) + OVERHEAD)
        return colours

    def _network(self, info: CheckpointInfo) -> DenseBackbone:
        network = self._networks.get(info.sha256)
        if network is None:
            network = self._store.load(info.id, self.device)
            size = sum(p.numel() * p.element_size() for p in network.parameters())
            self._networks.put(info.sha256, network, size)
        return network

    def _checked_ids(self, ids: Sequence[str]) -> list[CheckpointInfo]:
        unique = list(dict.fromkeys(ids))
        if not 1 <= len(unique) <= MOST_CHECKPOINTS:
            raise InputError(
                f"{len(unique)} checkpoints were asked for; choose between 1 and {MOST_CHECKPOINTS}."
            )
        return [self._store.get(checkpoint_id) for checkpoint_id in unique]
