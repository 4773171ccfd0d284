"""An engine at the seam of the page: synthetic features, no networks, the same calls and the same View.

Features are random waves over a patch's colours and place. Later steps of the plain branch lean towards one common
direction, so that their maps lose locality much as the real ones do.
"""

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gramviz.checkpoints.added import Source
from gramviz.checkpoints.hub import Offer
from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import CheckpointError, InputError
from gramviz.gram.finding import Finding
from gramviz.metrics.spectra import spectra_of
from gramviz.serving import lab
from gramviz.serving.plans import Plan, Preset
from gramviz.serving.settings import Settings
from gramviz.serving.tuning import Begun, Finished, Frame, Looked, Row, TuneRequest, Update, Waiting
from gramviz.serving.views import SpectralView, View
from gramviz.vit.backbones import NetworkConfig
from gramviz.vit.features import PatchFeatures
from gramviz.vit.images import Picture, grid_for, read_picture, to_tensor
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
        heads="heads.safetensors" if branch == "plain" else None,
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
        self.steps: threading.Semaphore | None = (
            None  # where set, each step of a fine-tune waits for a release
        )
        self.own: dict[str, dict[str, CheckpointInfo]] = {}  # visitor -> own checkpoints
        self.tunings: list[tuple[str, TuneRequest]] = []  # (visitor, request), as asked for
        self.wishes: dict[str, list[str]] = {}  # visitor -> what was asked of the running fine-tune
        self.refusal = ""  # what a fine-tune is refused with
        self.left: list[str] = []  # visitors who have gone
        self.settings = Settings(device="cpu", fetch="any")
        self.terms = ""  # what is said before a fine-tune

    def read(self, source: bytes | Path) -> Picture:
        return read_picture(source)

    def checkpoints(self, visitor: str = "") -> tuple[CheckpointInfo, ...]:
        return (*self._checkpoints.values(), *self.own.get(visitor, {}).values())

    def presets(self) -> tuple[Preset, ...]:
        start, teacher = "small-plain-8000", "small-trunk-2000"
        if not {start, teacher} <= self._checkpoints.keys():
            return ()
        return (Preset("repair", "Repair", "Pulled back.", Plan(start=start, teacher=teacher)),)

    def finetune(self, request: TuneRequest, visitor: str) -> Iterator[Update]:
        """Steps at the pace of `steps`, where it is set: a release for each frame."""
        plan = request.plan
        if self.refusal:
            raise InputError(self.refusal)
        grid = grid_for(request.picture.size, request.patches)
        number = len(self.tunings) + 1
        self.tunings.append((visitor, request))
        self.wishes[visitor] = []
        yield Waiting(2)
        arms = ("tuned", "control") if plan.control else ("tuned",)
        yield Begun(number, grid, plan.steps, arms, 3)
        yield Frame(0, plan.steps, 0.0, None, False, (), tuple(self._looks(request, grid, 0, request.pinned)))
        for step in range(1, plan.steps + 1):
            if (pace := self.steps) is not None:
                pace.acquire(timeout=30)
            wishes = self.wishes.get(visitor, ["stop"])
            if "stop" in wishes:
                break
            # a weight of more than 10 harms the DINO loss
            dino = {"tuned": 5.0 + (plan.gram > 10), "control": 5.0}
            losses = {arm: {"gram": 1 / step} | ({"dino": dino[arm]} if plan.dino else {}) for arm in arms}
            rows = tuple(Row(arm, step, losses[arm], 1 / step, 0.1) for arm in arms)
            looks = tuple(self._looks(request, grid, step, request.pinned))[2:]
            paused = bool(wishes) and wishes[-1] == "pause"
            yield Frame(step, plan.steps, 0.1 * step, 1.0, paused, rows, looks)
        start = self._info(plan.start)
        own = dataclasses.replace(
            start,
            id="yours/1",
            branch="own1",
            step=start.step + plan.steps,
            parent=start.id,
            sha256="own",
            title="Yours",
        )
        self.own[visitor] = {own.id: own}
        yield Finished("done", "Finished all steps.", (own,))

    def offer(self, name: str) -> Offer:
        if self.refusal:
            raise InputError(self.refusal)
        return Offer(name, f"timm/{name}", "0" * 40, "mit", 10 * 2**20)

    def fetch_model(self, visitor: str, name: str) -> Iterator[tuple[int, int] | CheckpointInfo]:
        """Three looks at the download, each at the pace of `steps`."""
        for part in (1, 2, 3):
            yield part * 2**20, 10 * 2**20
            if (pace := self.steps) is not None:
                pace.acquire(timeout=30)
        yield self._brought(visitor, name)

    def add_model(self, visitor: str, source: Source, *, licence: str, title: str) -> CheckpointInfo:
        source.tensors()
        return self._brought(visitor, source.name)

    def _brought(self, visitor: str, name: str) -> CheckpointInfo:
        mine = self.own.setdefault(visitor, {})
        info = dataclasses.replace(
            checkpoint("plain", 0, name), id=f"yours/{len(mine) + 1}", branch="model", shown=False, heads=None
        )
        mine[info.id] = info
        return info

    def pause(self, visitor: str, number: int) -> None:
        self._wish(visitor, "pause")

    def resume(self, visitor: str, number: int) -> None:
        self._wish(visitor, "resume")

    def stop(self, visitor: str, number: int) -> None:
        self._wish(visitor, "stop")

    def pin(self, visitor: str, number: int, index: int) -> tuple[Looked, ...]:
        self._wish(visitor, f"pin {index}")
        request = next(request for name, request in self.tunings[::-1] if name == visitor)
        return tuple(self._looks(request, grid_for(request.picture.size, request.patches), 1, index))

    def download(self, visitor: str, checkpoint_id: str) -> tuple[str, bytes]:
        if checkpoint_id not in self.own.get(visitor, {}):
            raise CheckpointError(f"You have no checkpoint {checkpoint_id!r} of your own.")
        return "yours.zip", b"zip"

    def forget(self, visitor: str, checkpoint_id: str) -> None:
        del self.own[visitor][checkpoint_id]

    def leave(self, visitor: str) -> None:
        self.own.pop(visitor, None)
        self.left.append(visitor)

    def _wish(self, visitor: str, wish: str) -> None:
        if visitor not in self.wishes:
            raise InputError("This fine-tune has ended; start another one.")
        self.wishes[visitor].append(wish)

    def _looks(
        self, request: TuneRequest, grid: tuple[int, int], step: int, pinned: int | None
    ) -> Iterator[Looked]:
        count, index = grid[0] * grid[1], pinned or 0
        measures = dict.fromkeys(("cls_alignment", "mean_similarity", "effective_rank", "top1_energy"), 0.5)
        fallen = max(0, round(200 - step * request.plan.gram))
        shades = {"teacher": 40, "start": 200, "tuned": fallen}
        if request.plan.control:
            shades["control"] = 200
        for name, shade in shades.items():
            cosines = np.full(count, shade, np.uint8)
            cosines[index] = 255
            told = {**measures, "gram_distance": shade / 255}
            yield Looked(
                name,
                step if name in ("tuned", "control") else 0,
                index,
                cosines.tobytes(),
                (0.5, 0.25, 0.1),
                told,
            )

    def default_ids(self) -> tuple[str, ...]:
        return tuple(info.id for info in self._checkpoints.values() if info.shown)

    def trajectory(self, run: str) -> tuple[dict[str, Any], ...]:
        return self.rows.get(run, ())

    def compare_with_places(
        self,
        picture: Picture,
        ids: Sequence[str],
        patches: int,
        *,
        layer: int = -1,
        visitor: str = "",
        patience: float = 1.0,
    ) -> Iterator[View | Waiting]:
        views = self.compare(picture, ids, patches, layer=layer, visitor=visitor)
        yield Waiting(0)
        yield from views

    def compare(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1, visitor: str = ""
    ) -> Iterator[View]:
        infos = [self._info(key, visitor) for key in ids]
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
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1, visitor: str = ""
    ) -> Iterator[SpectralView]:
        for key in ids:
            if (pace := self.pace) is not None:
                pace.acquire(timeout=30)
            info = self._info(key, visitor)
            self.analysed.append((picture.digest, key, patches, layer))
            if key in self.damaged:
                yield SpectralView(info, None, "The features hold values that are no numbers.", 0.01, False)
            else:
                found = spectra_of(patch_features(picture, info, patches, self._width, layer))
                yield SpectralView(info, found, None, 0.01, False)

    def common_colours(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1, visitor: str = ""
    ) -> dict[str, bytes]:
        self.bases.append(list(ids))
        return {
            key: _colours(features(picture, self._info(key, visitor), patches, self._width, layer)[:-1], 1)
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
        self,
        picture: Picture | None,
        checkpoint_id: str,
        card: str,
        values: Mapping[str, float | str],
        *,
        visitor: str = "",
    ) -> Finding:
        self.theories.append((card, dict(values)))
        info = self._info(checkpoint_id, visitor)
        return lab.check(card, lab.blackboard() if picture is None else material(picture, info), values)

    def _info(self, key: str, visitor: str = "") -> CheckpointInfo:
        known = {**self._checkpoints, **self.own.get(visitor, {})}
        if key not in known:
            raise CheckpointError(f"There is no checkpoint {key!r}.")
        return known[key]

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
