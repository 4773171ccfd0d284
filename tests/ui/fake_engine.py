"""An engine at the seam of the page: synthetic features, no networks, the same calls and the same View.

Features are random waves over a patch's colours and place. Later steps of the plain branch lean towards one common
direction, so that their maps lose locality much as the real ones do.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import CheckpointError, InputError
from gramviz.gram.finding import Finding
from gramviz.metrics.spectra import spectra_of
from gramviz.serving import lab
from gramviz.serving.views import SpectralView, View
from gramviz.vit.backbones import NetworkConfig
from gramviz.vit.features import PatchFeatures
from gramviz.vit.images import Picture, grid_for, to_tensor
from tests.ui.rows import made_rows

WIDTH = 48
REGISTERS = 2
NETWORK = NetworkConfig("vit_tiny_patch16_224", {}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TRUNK_STEPS, BRANCH_STEPS = (1000, 2000), (4000, 6000, 8000)

Array = NDArray[np.float64]


def checkpoint(branch: str, step: int, run: str = "small") -> CheckpointInfo:
    identifier = f"{run}-{branch}-{step}"
    shown = step in (1000, 2000, 4000, 8000)
    return CheckpointInfo(
        id=identifier,
        run=run,
        branch=branch,
        step=step,
        file=f"{identifier}.safetensors",
        sha256=identifier,
        bytes=1,
        images_seen=step * 64,
        parent=None if branch == "trunk" else f"{run}-trunk-{TRUNK_STEPS[-1]}",
        licence="CC0",
        title=f"{run}, {branch}, step {step}",
        network=NETWORK,
        shown=shown,
    )


CHECKPOINTS = (
    *(checkpoint("trunk", step) for step in TRUNK_STEPS),
    *(checkpoint(branch, step) for branch in ("plain", "gram") for step in BRANCH_STEPS),
)


class FakeEngine:
    """Serves synthetic views. While `pace` is set, each view waits for one release of it: slow on demand."""

    def __init__(self, checkpoints: Sequence[CheckpointInfo] = CHECKPOINTS, width: int = WIDTH) -> None:
        self._checkpoints = {info.id: info for info in checkpoints}
        self._width = width
        self.pace: threading.Semaphore | None = None
        self.computed: list[tuple[str, str, int]] = []  # (digest, checkpoint id, patches), as asked for
        self.analysed: list[tuple[str, str, int, int]] = []  # the same of spectra, with the layer
        self.damaged: set[str] = set()  # checkpoints whose features cannot be worked with
        self.bases: list[list[str]] = []  # ids that were given one basis
        self.rows = {"small": made_rows("small", scale=10)}  # run -> what was measured along it
        self.closed = 0  # comparisons that were stopped before their end
        self.theories: list[tuple[str, dict[str, float | str]]] = []  # (card, values), as asked for

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        return tuple(self._checkpoints.values())

    def default_ids(self) -> tuple[str, ...]:
        return tuple(info.id for info in self._checkpoints.values() if info.shown)

    def trajectory(self, run: str) -> tuple[dict[str, Any], ...]:
        return self.rows.get(run, ())

    def compare(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1
    ) -> Iterator[View]:
        infos = [self._info(key) for key in ids]
        try:
            for info in infos:
                if (pace := self.pace) is not None:
                    pace.acquire(timeout=30)
                self.computed.append((picture.digest, info.id, patches))
                yield self._view(picture, info, patches, layer)
        except GeneratorExit:
            self.closed += 1
            raise

    def spectra(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1
    ) -> Iterator[SpectralView]:
        for key in ids:
            if (pace := self.pace) is not None:
                pace.acquire(timeout=30)
            info = self._info(key)
            self.analysed.append((picture.digest, key, patches, layer))
            if key in self.damaged:
                yield SpectralView(info, None, "The features hold values that are no numbers.", 0.01, False)
            else:
                found = spectra_of(patch_features(picture, info, patches, self._width, layer))
                yield SpectralView(info, found, None, 0.01, False)

    def common_colours(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1
    ) -> dict[str, bytes]:
        self.bases.append(list(ids))
        return {
            key: _colours(features(picture, self._info(key), patches, self._width, layer)[:-1], 1)
            for key in ids
        }

    def similarity(
        self, picture: Picture, checkpoint_id: str, patches: int, row: int, column: int
    ) -> dict[str, Any]:
        rows, columns = grid_for(picture.size, patches)
        if not (0 <= row < rows and 0 <= column < columns):
            raise InputError(f"There is no patch at row {row}, column {column}.")
        x = features(picture, self._info(checkpoint_id), patches, self._width)[:-1]
        cosines = (x @ x[row * columns + column]).reshape(rows, columns)
        return {"checkpoint": checkpoint_id, "grid": [rows, columns], "map": cosines.tolist()}

    def spectrum(self, picture: Picture, checkpoint_id: str, patches: int) -> dict[str, Any]:
        x = features(picture, self._info(checkpoint_id), patches, self._width)[:-1]
        return {"checkpoint": checkpoint_id, "eigenvalues": np.linalg.eigvalsh(x.T @ x)[::-1].tolist()}

    def theory(
        self, picture: Picture | None, checkpoint_id: str, card: str, values: Mapping[str, float | str]
    ) -> Finding:
        self.theories.append((card, dict(values)))
        info = self._info(checkpoint_id)
        return lab.check(card, lab.blackboard() if picture is None else material(picture, info), values)

    def _info(self, key: str) -> CheckpointInfo:
        if key not in self._checkpoints:
            raise CheckpointError(f"There is no checkpoint {key!r}.")
        return self._checkpoints[key]

    def _view(self, picture: Picture, info: CheckpointInfo, patches: int, layer: int) -> View:
        x = features(picture, info, patches, self._width, layer)
        stored = x.astype("<f2")
        error = float(np.abs(x @ x.T - stored.astype(np.float64) @ stored.astype(np.float64).T).max())
        spectrum = np.linalg.eigvalsh(x[:-1].T @ x[:-1])[::-1]
        share = np.clip(spectrum / spectrum.sum(), 1e-12, None)
        count = len(x) - 1
        measures = {
            "cls_alignment": float((x[:-1] @ x[-1]).mean()),
            "mean_similarity": float((np.square(x[:-1].sum(0)).sum() - count) / (count * (count - 1))),
            "effective_rank": float(np.exp(-(share * np.log(share)).sum())),
            "top1_energy": float(share[0]),
        }
        grid = grid_for(picture.size, patches)
        return View(
            info, grid, stored.tobytes(), self._width, error, _colours(x[:-1], 0), measures, 0.01, False
        )


def features(
    picture: Picture, info: CheckpointInfo, patches: int, width: int = WIDTH, layer: int = -1
) -> Array:
    """Rows of norm 1, the patches and then CLS: (P + 1, width) float64. Earlier layers lean less."""
    rows, columns = grid_for(picture.size, patches)
    pixels = to_tensor(picture, (rows, columns), 4).double().numpy()  # (3, 4 rows, 4 columns)
    blocks = pixels.reshape(3, rows, 4, columns, 4)
    mean, spread = blocks.mean((2, 4)).reshape(3, -1), blocks.std((2, 4)).reshape(3, -1)
    y, x = np.indices((rows, columns)).reshape(2, -1) / patches
    inputs = np.concatenate([5 * mean, 6 * spread, 3 * np.stack([y, x])]).T  # (P, 8)
    seed = f"{info.run}{'high' if info.branch == 'gram_hires' else ''}"
    generator = np.random.default_rng(int.from_bytes(seed.encode(), "little"))
    waves = generator.normal(size=(8, width)), generator.uniform(0, 2 * np.pi, width)
    local = np.cos(inputs @ waves[0] + waves[1])
    common = generator.normal(size=width)
    lean = (0.2 + info.step / (6000 if info.branch == "plain" else 90_000)) * 0.8 ** (-1 - layer)
    cls = common + 0.3 * local.mean(0)
    h = np.concatenate([local + lean * common, cls[None]])
    return h / np.linalg.norm(h, axis=1, keepdims=True)


def patch_features(
    picture: Picture, info: CheckpointInfo, patches: int, width: int = WIDTH, layer: int = -1
) -> PatchFeatures:
    """The same in float64 with two registers, and token lengths of which a few are outliers."""
    rows, columns = grid_for(picture.size, patches)
    x = features(picture, info, patches, width, layer)
    generator = np.random.default_rng(info.step)
    lengths = 10 + generator.normal(size=rows * columns)
    lengths[generator.choice(len(lengths), 3, replace=False)] += 30
    registers = generator.normal(size=(REGISTERS, width)) + width**0.5 * x[-1]
    return PatchFeatures(
        patches=torch.from_numpy(x[:-1].reshape(rows, columns, width)),
        cls=torch.from_numpy(x[-1]),
        registers=torch.from_numpy(registers),
        source_size=picture.source_size,
        patch_size=16,
        layer=12 + layer,
        norm=True,
        cls_is_mean=False,
        token_lengths=torch.from_numpy(lengths.reshape(rows, columns)),
        register_lengths=torch.from_numpy(np.linalg.norm(registers, axis=1)),
    )


def material(picture: Picture, info: CheckpointInfo) -> lab.Material:
    """What the theory lab works with: the features in lengths of their own, beside those of the trunk's last step."""
    own, other = (
        features(picture, each, lab.THEORY_PATCHES) for each in (info, checkpoint("trunk", TRUNK_STEPS[-1]))
    )
    lengths = 2 + np.sin(np.arange(len(own)))[:, None]
    return lab.Material(
        patches=torch.from_numpy(own[:-1] * lengths[:-1]),
        cls=torch.from_numpy(own[-1]),
        lengths=torch.from_numpy(lengths[:-1, 0]),
        grid=grid_for(picture.size, lab.THEORY_PATCHES),
        other=torch.from_numpy(other[:-1] * lengths[:-1]),
        other_name="small-trunk-2000",
    )


def _colours(x: Array, shift: int) -> bytes:
    """Three principal components as bytes; `shift` turns the channels, so that two bases can be told apart."""
    centred = x - x.mean(0)
    scores = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -3:]
    low, high = scores.min(0), scores.max(0)
    return bytes(
        np.roll(np.rint((scores - low) / (high - low) * 255), shift, axis=1).astype(np.uint8).tobytes()
    )
