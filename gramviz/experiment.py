"""Measures along training runs: what a run folder holds at a step, turned into a row of numbers.

Brings together what `training` saved and what `metrics` measures. Knows nothing of the command line, of the files in
run folders or of pages.

A row: run, seed, arm, step, images_seen, the protocol (`protocol`), then each measure by name (`examine`,
`heldout_measures`), means over pictures with `<name>_error`. What could not be measured is absent.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gramviz.checkpoints.manifest import CheckpointInfo, CheckpointStore
from gramviz.data.scenes import scene
from gramviz.data.sources import TensorSource, held_out_data, split
from gramviz.errors import ConfigError
from gramviz.gram.losses import sinkhorn_knopp, softmax_center
from gramviz.metrics.evaluate import (
    Annotated,
    Exam,
    Labelled,
    Value,
    examine,
    examine_baseline,
    examine_chance,
    patch_pictures,
)
from gramviz.metrics.heldout import Pupil, heldout_measures
from gramviz.metrics.quality import patch_labels
from gramviz.metrics.rows import protocol, row_key
from gramviz.training.config import TrainConfig
from gramviz.training.folders import RunFolder
from gramviz.training.loop import compute_losses
from gramviz.training.state import TrainState
from gramviz.training.views import make_views
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.images import picture_from_array

TRUNK = "trunk"
BASELINES = ("proximity", "colour")
BASELINE_PATCH = 8  # pixels a patch at which its mean colour is taken
FIRST_SCENE = 900_000  # far from the seeds of scenes that were trained on
SCENES, BANK, SCENE_SIZE = 64, 32, 160
KIND_TRAIN, KIND_TEST, KIND_SIZE = 600, 200, 64
HELDOUT, HELDOUT_BATCH, HELDOUT_SEED = 256, 32, 12345


def build_exam(
    annotated: Sequence[Annotated], classes: tuple[Labelled, Labelled] | None, patches: int, patch_size: int
) -> Exam:
    """Photographs, training and test images with classes, and the fixed synthetic scenes, for one patch size."""
    scenes = [scene(FIRST_SCENE + index, SCENE_SIZE) for index in range(SCENES)]
    shown = patch_pictures(
        ((picture_from_array(one.pixels), [one.labels]) for one in scenes), patches, patch_size
    )
    textures = [patch_labels(one.texture_map, made.grid) for one, made in zip(scenes, shown, strict=True)]
    small = [scene(FIRST_SCENE + SCENES + index, KIND_SIZE) for index in range(KIND_TRAIN + KIND_TEST)]
    images = torch.stack([torch.from_numpy(one.pixels) for one in small]).permute(0, 3, 1, 2)
    kinds = torch.tensor([one.kind for one in small])
    return Exam(
        pictures=patch_pictures(annotated, patches, patch_size),
        scenes=shown,
        textures=torch.stack(textures),
        bank=BANK,
        classes=classes,
        kinds=((images[:KIND_TRAIN], kinds[:KIND_TRAIN]), (images[KIND_TRAIN:], kinds[KIND_TRAIN:])),
    )


def _labelled(source: TensorSource, held_out: int) -> tuple[Labelled, Labelled]:
    names = sorted(set(source.names))
    labels = torch.tensor([names.index(name) for name in source.names])
    train, test = split(len(source), held_out)
    return (source.images[train], labels[train]), (source.images[test], labels[test])


def heldout_batches(images: Tensor) -> tuple[Tensor, ...]:
    """The fixed batches that losses are measured on: 256 random ones of [N, 3, S, S] uint8, 32 a batch.

    As many whole batches as there are if N is less. Raises ConfigError where there is not one.
    """
    if len(images) < HELDOUT_BATCH:
        raise ConfigError(
            f"{len(images)} images are held out; losses are measured on batches of {HELDOUT_BATCH}"
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(HELDOUT_SEED))
    count = min(HELDOUT, len(images)) // HELDOUT_BATCH * HELDOUT_BATCH
    return images[order[:count]].split(HELDOUT_BATCH)


def pupil_of(state: TrainState, config: TrainConfig, anchor: DenseBackbone | None) -> Pupil:
    """A training state at work on held-out images, in float32.

    Crops, distortions and masks are the configuration's own, drawn from a fixed seed for each batch, the losses
    those of training before weighting. The Gram loss is that against `anchor`, which sees the undistorted crops at
    the student's size, whatever the run was trained with; without an anchor there is none.
    """
    gram = dataclasses.replace(config.gram, resolution=1)
    config, state = dataclasses.replace(config, gram=gram), dataclasses.replace(state, gram_teacher=anchor)
    device, loss = state.dino_center.device, config.loss

    def losses(images: Tensor, number: int) -> dict[str, Tensor]:
        generator = torch.Generator(device).manual_seed(HELDOUT_SEED + number)
        pixels = images.to(device).float() / 255
        views = make_views(pixels, config, state, generator, with_clean=anchor is not None)
        return compute_losses(state, config, views)[0]

    def targets(logits: Tensor) -> Tensor:
        if loss.targets == "sinkhorn":
            return sinkhorn_knopp(logits, loss.teacher_temperature)
        return softmax_center(logits, state.ibot_center, loss.teacher_temperature)

    student, teacher = state.student, state.teacher
    return Pupil(
        student.backbone, student.ibot_head, teacher.ibot_head, losses, targets, loss.student_temperature
    )


class Measuring:
    """Measures networks one after another on the same material, which is prepared once.

    annotated: photographs with label maps. classes: images with class names, of which `held_out` random ones
    (`split`) are the test of k-NN and the ones that losses are measured on; without it there is neither. patches:
    on the long side. autocast: type of the network's products for k-NN features, None float32.
    """

    def __init__(
        self,
        annotated: Sequence[Annotated],
        classes: TensorSource | None,
        *,
        held_out: int,
        patches: int,
        device: torch.device,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._annotated, self._patches = annotated, patches
        self._device, self._autocast = device, autocast
        self._classes = None if classes is None else _labelled(classes, held_out)
        self._data = None if classes is None else held_out_data(classes, held_out)
        known = None if classes is None else held_out
        self._protocol = protocol(len(annotated), patches, known, autocast)
        self._exams: dict[int, Exam] = {}

    def runs(
        self,
        run: str,
        folders: Sequence[RunFolder],
        *,
        fork: int,
        steps: Collection[int] | None = None,
        done: Sequence[Mapping[str, Any]] = (),
    ) -> Iterator[dict[str, Any]]:
        """A row for each checkpoint of the folders (or those at `steps`) that is not `done`.

        Steps up to `fork` are the trunk's, whichever arm's folder they are found in, and are measured once a seed.
        Later ones at which a run had not begun yet are of the arm that it forked from, and left to that arm's folder.
        The Gram loss is measured against the checkpoint at `fork` of the same seed. Raises ConfigError for a step
        that no folder has, an arm named twice for one seed, runs that differ in more than seed and Gram section or
        held out other images than are tested, or too few held-out images for a batch.
        """
        for entry in folders:
            _check_config(entry, folders[0])
            _check_data(entry, self._data)
        names = [(entry.arm, entry.config.seed) for entry in folders]
        twice = [f"{arm!r} of seed {seed}" for arm, seed in names if names.count((arm, seed)) > 1]
        if twice:
            raise ConfigError(f"the arm {twice[0]} is given by two folders; each seed has one folder an arm")
        unknown = sorted(set(steps or ()) - {step for entry in folders for step in entry.steps})
        if unknown:
            raise ConfigError(f"no run folder has a checkpoint at step {unknown[0]}")
        batches = None if self._classes is None else heldout_batches(self._classes[1][0])
        seen = {row_key(row) for row in done}
        for entry in folders:
            for step in entry.steps:
                if fork < step <= entry.begin:
                    continue
                arm = TRUNK if step <= fork else entry.arm
                row = self._head(run, entry.config.seed, arm, step, step * entry.config.batch_size)
                if (steps is not None and step not in steps) or row_key(row) in seen:
                    continue
                seen.add(row_key(row))
                row |= self._examined(entry.backbone(step, self._device))
                # a trunk's states may lie in any arm's folder of its seed
                homes = [other for other in folders if other is entry or arm == TRUNK]
                state = None if batches is None else _state(homes, entry.config.seed, step, self._device)
                if state is not None and batches is not None:
                    anchor = _anchor(folders, entry.config.seed, fork, self._device)
                    row |= heldout_measures(pupil_of(state, entry.config, anchor), batches)
                yield row

    def models(
        self, store: CheckpointStore, ids: Sequence[str], done: Sequence[Mapping[str, Any]] = ()
    ) -> Iterator[dict[str, Any]]:
        """A row for each checkpoint of a models folder that is not `done`, with its id as `checkpoint`.

        The seed is left out where the folder does not tell it. There are no heads here, and so no losses.
        """
        known = {row.get("checkpoint") for row in done}
        for info in (store.get(one) for one in ids):
            if info.id in known:
                continue
            head = self._head(info.run, _seed(store, info), info.branch, info.step, info.images_seen)
            yield {"checkpoint": info.id, **head, **self._examined(store.load(info.id, self._device))}

    def baselines(self) -> Iterator[dict[str, Any]]:
        """Rows of what needs no network, on the same material: nearness, mean colour and chance."""
        exam = self._exam(BASELINE_PATCH)
        head = {"pictures": len(self._annotated)}
        for name in BASELINES:
            yield {"arm": f"baseline:{name}", **head, **examine_baseline(name, exam)}
        yield {"arm": "baseline:chance", **head, **examine_chance(exam)}

    def _head(self, run: str, seed: int | None, arm: str, step: int, images_seen: int) -> dict[str, Any]:
        known = {} if seed is None else {"seed": seed}
        return {
            "run": run,
            **known,
            "arm": arm,
            "step": step,
            "images_seen": images_seen,
            **self._protocol,
        }

    def _examined(self, backbone: DenseBackbone) -> dict[str, Value]:
        exam = self._exam(backbone.patch_size)
        return examine(backbone, exam, device=self._device, autocast=self._autocast)

    def _exam(self, patch_size: int) -> Exam:
        if patch_size not in self._exams:
            self._exams[patch_size] = build_exam(self._annotated, self._classes, self._patches, patch_size)
        return self._exams[patch_size]


def _check_config(entry: RunFolder, first: RunFolder) -> None:
    config = dataclasses.replace(entry.config, gram=first.config.gram, seed=first.config.seed)
    if config != first.config:
        raise ConfigError(
            f"the run folder {entry.folder.name!r} differs from {first.folder.name!r} in more than its seed and its "
            "Gram section; measure them apart"
        )


def _check_data(entry: RunFolder, given: Mapping[str, Any] | None) -> None:
    """No image may be tested that was trained on."""
    if entry.data is None or given is None:
        return
    of_run, of_test = (
        f"{data.get('held_out')} of {data.get('images')} images" for data in (entry.data, given)
    )
    if of_run != of_test:
        raise ConfigError(
            f"the run in {entry.folder.name!r} held out {of_run}, --classes and --held-out give {of_test}; "
            "name the images that it was trained on"
        )
    names = [data.get("held_out_sha256") for data in (entry.data, given)]
    if None not in names and names[0] != names[1]:
        raise ConfigError(
            f"the run in {entry.folder.name!r} held out {of_run}, but others than --classes does; "
            "name the images that it was trained on"
        )


def _seed(store: CheckpointStore, info: CheckpointInfo) -> int | None:
    """The seed in the configuration beside a checkpoint; a trunk's arms share theirs."""
    for path in sorted((store.folder / info.run).glob("*_config.json")):
        return int(json.loads(path.read_text(encoding="utf-8"))["seed"])
    return None


def _state(folders: Sequence[RunFolder], seed: int, step: int, device: torch.device) -> TrainState | None:
    states = (entry.state(step, device) for entry in folders if entry.config.seed == seed)
    return next((state for state in states if state is not None), None)


def _anchor(folders: Sequence[RunFolder], seed: int, fork: int, device: torch.device) -> DenseBackbone | None:
    for entry in folders:
        if entry.config.seed == seed and fork in entry.steps:
            return entry.backbone(fork, device)
    return None
