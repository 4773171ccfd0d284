"""Where tensors are made: networks, features and all that is computed of them, each kept under its key.

Everything here runs in one thread, the device's: each further thread that used torch would bring a pool of its own,
and the pools would fight over the same cores (measured: 1.7 times the bare forwards instead of 1.2). Knows nothing
of who asks or in which order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

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
from gramviz.serving.forwards import Forwards
from gramviz.serving.lab import Values
from gramviz.serving.material import Material, material_of, neighbour
from gramviz.serving.records import OVERHEAD, Rows, trajectory
from gramviz.serving.rehearsal import training_of
from gramviz.serving.tasks import Task
from gramviz.serving.threads import threads_for
from gramviz.serving.views import (
    Ask,
    Key,
    SpectralView,
    View,
    colour_bytes,
    flat_patches,
    is_index,
    spectral_view_of,
    view_of,
)
from gramviz.training.heads import heads_from
from gramviz.vit.backbones import DenseBackbone, backbone_of
from gramviz.vit.features import PatchFeatures, nbytes
from gramviz.vit.images import grid_for

POINT = 128  # bytes that a point of a finding's chart takes

log = logging.getLogger(__name__)


class Workshop:
    """Runs tasks on one device. results: where what was computed is kept, and may be looked up by others."""

    def __init__(
        self,
        store: CheckpointStore,
        device: torch.device,
        results: ByteCache[Any],
        networks: ByteCache[DenseBackbone],
    ) -> None:
        self.device = device
        self.lost = ""  # why the device is not the first one any more
        self._store = store
        self._results = results
        self._networks = networks
        self._forwards = Forwards(device)
        self._kinds: dict[str, Callable[..., Any]] = {
            "view": self._view,
            "spectral": self._spectral,
            "features": self._features,
            "colours": self._colours,
            "similarity": self._similarity,
            "spectrum": self._spectrum,
            "theory": self._theory,
            "blackboard": lambda card, values: lab.check(card, lab.blackboard(), values),
        }

    def run(self, task: Task) -> Any:
        """The result of a task; where the device is lost meanwhile, computed on the CPU instead.

        What was in flight when a task was asked for is in the cache when it runs.
        """
        found = self._results.get(task.key)
        if found is not None:
            return found
        try:
            found = self._kinds[task.kind](*task.args)
        except Exception as error:
            if not self.survives(error):
                raise
            found = self._kinds[task.kind](*task.args)
        if isinstance(found, Finding):
            points = sum(len(each.x) for chart in found.charts for each in chart.lines)
            self._results.put(task.key, found, POINT * points + 2 * OVERHEAD)
        return found

    def group(self, task: Task) -> Hashable | None:
        """Tasks of one group gain from being prepared together: on a CPU features of one network on one grid of
        patches, elsewhere of all networks of one architecture.
        """
        ask = task.ask
        if ask is None or not self._forwards.gathers(grid_for(ask.picture.size, ask.patches)):
            return None
        network = ask.info.sha256 if self.device.type == "cpu" else str(ask.info.network.to_dict())
        return (network, grid_for(ask.picture.size, ask.patches), ask.layer)

    def prepare(self, tasks: Iterable[Task]) -> None:
        """Make the missing features of tasks of one group: several pictures by one network in one forward, then what
        is left of one picture by several networks in one stacked forward, where that is faster.
        """
        asks = {task.ask.key("features"): task.ask for task in tasks if task.ask is not None}
        missing = [ask for key, ask in asks.items() if self._results.get(key) is None]
        by_network = grouped(missing, lambda ask: ask.info.sha256)
        for same in (asks for asks in by_network if len(asks) > 1):
            first, pictures = same[0], [ask.picture for ask in same]
            self._keep(
                same, self._forwards.features(self._network(first), pictures, first.patches, first.layer)
            )
        alone = [asks[0] for asks in by_network if len(asks) == 1]
        for same in (asks for asks in grouped(alone, lambda ask: ask.picture.digest) if len(asks) > 1):
            first, networks = same[0], [self._network(ask) for ask in same]
            self._keep(same, self._forwards.stacked(networks, first.picture, first.patches, first.layer))

    def _keep(self, asks: Sequence[Ask], made: Sequence[PatchFeatures]) -> None:
        for ask, features in zip(asks, made, strict=True):
            self._results.put(ask.key("features"), features, nbytes(features))

    def survives(self, error: BaseException) -> bool:
        """Whether an error was the loss of the device, after which the CPU stands in from now on."""
        if self.device.type == "cpu" or not is_device_loss(error):
            return False
        log.error("The device %s was lost; computing goes on on the CPU", self.device)
        self.lost = f"The device {self.device} was lost; everything is computed on the CPU now, more slowly."
        self.device = torch.device("cpu")
        self._networks.clear()
        self._forwards = Forwards(self.device)
        return True

    def _features(self, ask: Ask) -> PatchFeatures:
        found: PatchFeatures | None = self._results.get(ask.key("features"))
        if found is None:
            (found,) = self._forwards.features(self._network(ask), [ask.picture], ask.patches, ask.layer)
            self._results.put(ask.key("features"), found, nbytes(found))
        return found

    def _view(self, ask: Ask) -> View:
        started = time.perf_counter()
        features = self._features(ask)
        with threads_for(features.patches.numel()):
            view = view_of(ask.info, features, started)
        self._results.put(ask.key("view"), view, len(view.factor) + len(view.colours) + OVERHEAD)
        return view

    def _spectral(self, ask: Ask) -> SpectralView:
        started = time.perf_counter()
        features = self._features(ask)
        with threads_for(features.patches.numel()):
            view = spectral_view_of(ask.info, features, started)
        self._results.put(ask.key("spectra"), view, (view.spectra.nbytes if view.spectra else 0) + OVERHEAD)
        return view

    def _colours(self, asks: Sequence[Ask]) -> list[bytes]:
        features = [flat_patches(self._features(ask)) for ask in asks]
        if len({rows.shape[1] for rows in features}) > 1:
            raise InputError("One colour basis needs networks of one width; these checkpoints differ.")
        with threads_for(sum(rows.numel() for rows in features)):
            basis = pca_basis(features)
            colours = [colour_bytes(pca_rgb(rows, basis)) for rows in features]
        key = ("colours", *(ask.key("features") for ask in asks))
        self._results.put(key, colours, sum(map(len, colours)) + OVERHEAD)
        return colours

    def _similarity(self, ask: Ask, row: Any, column: Any) -> dict[str, Any]:
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
            "checkpoint": ask.info.id,
            "grid": [rows, columns],
            "row": int(row),
            "column": int(column),
            "map": cosines.view(rows, columns).tolist(),
        }

    def _spectrum(self, ask: Ask) -> dict[str, Any]:
        features = self._features(ask)
        flat = flat_patches(features)
        return {
            "checkpoint": ask.info.id,
            "grid": list(features.patches.shape[:2]),
            "eigenvalues": eigenvalues(flat).tolist(),
            "measures": {
                **measures(flat, features.cls),
                "rayleigh_along_ones": float(rayleigh_along_ones(flat)),
            },
        }

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
            training = training_of(self._network(ask), heads, ask.picture, grid, companions)
        beside = neighbour(info, run)
        other = None if beside is None else self._features(replace(ask, info=beside, weights=None))
        return material_of(
            features,
            other if other is None or other.patches.shape == features.patches.shape else None,
            beside.id if beside else "",
            training=training,
            with_heads=tuple(one.id for one in run if one.heads is not None),
            rows=self._rows(info),
        )

    def _rows(self, info: CheckpointInfo) -> Rows:
        """None of a damaged file, which would spoil one chart only."""
        try:
            return trajectory(self._store, self._results, info.run)
        except CheckpointError as error:
            log.warning("the theory lab goes without the measurements of %s: %s", info.run, error)
            return ()

    def _network(self, ask: Ask) -> DenseBackbone:
        network = self._networks.get(ask.info.sha256)
        if network is None:
            if ask.weights is None:
                network = self._store.load(ask.info.id, self.device)
            else:
                network = backbone_of(ask.info.network, ask.weights).to(self.device)
            size = sum(p.numel() * p.element_size() for p in network.parameters())
            self._networks.put(ask.info.sha256, network, size)
        return network


def grouped(asks: Iterable[Ask], key: Callable[[Ask], str]) -> list[list[Ask]]:
    """Lists of those with equal keys, in the order in which they first came."""
    found: dict[str, list[Ask]] = {}
    for ask in asks:
        found.setdefault(key(ask), []).append(ask)
    return list(found.values())


def is_device_loss(error: BaseException) -> bool:
    """Whether an exception says that an accelerator can no longer be used by this process.

    Running out of its memory is not a loss.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and "CUDA error" in str(error)
    )
