"""From a visitor's plan to the job of a fine-tune: weights, images and configuration, all in one picklable object.

Letters: N images of S x S pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gramviz.checkpoints.manifest import CheckpointInfo, CheckpointStore
from gramviz.data.samples import SAMPLES
from gramviz.data.samples import load as load_sample
from gramviz.data.scenes import scene
from gramviz.errors import InputError
from gramviz.serving.dials import MOST_IMAGES
from gramviz.serving.plans import Plan
from gramviz.serving.tuning import TuneRequest
from gramviz.training.config import (
    GramConfig,
    HeadConfig,
    LossConfig,
    OptimizerConfig,
    TrainConfig,
    ViewConfig,
    from_mapping,
)
from gramviz.training.finetune import FinetuneJob, Trained
from gramviz.vit.backbones import depth_of
from gramviz.vit.images import Picture, grid_for, to_tensor

SIDE = 16  # patches along a side of a training image
# And of a crop of the Gram loss alone, which needs no small crops. Of 12 the preset took 1.4 times as long, and
# repaired no better: held-out AUC .877 to .881 over three seeds, here .877 to .882.
CROP = 10
WARMUP = 5  # steps: AdamW's first ones know no scale yet
SCENES = 32  # of the sample pack
FIRST_SCENE = 5000  # seeds far from those that anything is measured on


@dataclass(frozen=True, eq=False)
class Start:
    """What a plan needs of checkpoints. teacher: None where the start is its own Gram teacher. heads: tensors and
    metadata as `CheckpointStore.load_heads` has them, None where no head is used. recipe: of the start's run.
    """

    info: CheckpointInfo
    weights: Mapping[str, Tensor]
    teacher: Mapping[str, Tensor] | None
    heads: tuple[Mapping[str, Tensor], Mapping[str, Any]] | None
    recipe: Mapping[str, Any] | None


def make_job(request: TuneRequest, start: Start, seconds: float) -> FinetuneJob:
    """The job of a checked plan. seconds: of work at most. Raises InputError where the parts do not fit."""
    plan, network = request.plan, start.info.network
    patch = int(network.options.get("patch_size", 16))
    check_patch(patch, start.info)
    images = training_images(request, SIDE * patch)
    depth = depth_of(network)
    if plan.trained == "blocks" and plan.blocks > depth:
        raise InputError(f"The network has {depth} blocks; {plan.blocks} last ones cannot be trained.")
    return FinetuneJob(
        config=configuration(plan, start, patch),
        start=dict(start.weights),
        teacher=None if start.teacher is None else dict(start.teacher),
        heads=None if start.heads is None else dict(start.heads[0]),
        images=images,
        watched=to_tensor(request.picture, grid_for(request.picture.size, request.patches), patch),
        trained=Trained(plan.trained, plan.blocks if plan.trained == "blocks" else 0),
        control=plan.control,
        seconds=seconds,
    )


def configuration(plan: Plan, start: Start, patch: int) -> TrainConfig:
    """The training configuration: temperatures and crops of the run that the heads are from, weights of the plan."""
    if start.heads is None:
        head, loss = HeadConfig(), LossConfig()
        views = ViewConfig(global_size=CROP * patch, local_size=CROP * patch // 2, locals=0)
    else:
        metadata = start.heads[1]
        head = from_mapping(HeadConfig, metadata["head"], "head")
        loss = from_mapping(LossConfig, metadata["loss"], "loss")
        views = from_mapping(ViewConfig, start.recipe["views"], "views") if start.recipe else ViewConfig()
    return TrainConfig(
        network=start.info.network,
        steps=plan.steps,
        batch_size=plan.batch,
        seed=plan.seed,
        views=views,
        head=head,
        loss=replace(loss, dino=plan.dino, ibot=plan.ibot, koleo=plan.koleo),
        gram=GramConfig(weight=plan.gram, teacher_step=0, start=0, resolution=plan.resolution),
        optimizer=OptimizerConfig(lr=plan.rate, final_lr=plan.rate, warmup=WARMUP),
    )


def training_images(request: TuneRequest, side: int) -> Tensor:
    """uint8 [N, 3, S, S] of what the plan names. Raises InputError where own images are missing or too many."""
    if request.plan.images == "pack":
        return sample_pack(side)
    if request.plan.images == "picture":
        return torch.stack(squares(request.picture, side))
    if not 1 <= len(request.own) <= MOST_IMAGES:
        raise InputError(
            f"{len(request.own)} images of your own came along; between 1 and {MOST_IMAGES} are needed."
        )
    return torch.stack([square for picture in request.own for square in squares(picture, side)])


def sample_pack(side: int) -> Tensor:
    """The sample photographs, each in its squares, and SCENES synthetic scenes: uint8 [N, 3, S, S]."""
    photographs = [
        square for sample in SAMPLES if sample.file for square in squares(load_sample(sample.id), side)
    ]
    scenes = [
        torch.from_numpy(scene(FIRST_SCENE + seed, side).pixels).permute(2, 0, 1) for seed in range(SCENES)
    ]
    return torch.stack([*photographs, *scenes])


def squares(picture: Picture, side: int) -> list[Tensor]:
    """The picture's middle square, and those at both ends where it is oblong: uint8 [3, S, S] each."""
    image = Image.fromarray(picture.pixels)
    short = min(image.size)
    spare = max(image.size) - short
    offsets = [0, spare // 2, spare] if spare > short // 8 else [spare // 2]
    wide = image.width > image.height
    boxes = [(o, 0, o + short, short) if wide else (0, o, short, o + short) for o in offsets]
    return [
        torch.from_numpy(np.array(image.resize((side, side), Image.Resampling.BICUBIC, box))).permute(2, 0, 1)
        for box in boxes
    ]


def start_of(
    plan: Plan, info: CheckpointInfo, weights: Mapping[str, Tensor], teacher: Mapping[str, Tensor] | None,
    store: CheckpointStore,
) -> Start:  # fmt: skip
    """Gather what the plan needs beside the two networks. Raises InputError where the start has no heads."""
    heads = None
    if not plan.gram_alone:
        if info.heads is None:
            raise InputError(
                f"{info.id} has no projection heads, so DINO, iBOT and KoLeo cannot be trained on; set their weights "
                "to 0 or start from a checkpoint that has."
            )
        heads = store.load_heads(info.id)
    return Start(info, weights, teacher, heads, store.training_config(info.id) if heads else None)


def check_patch(patch: int, info: CheckpointInfo) -> None:
    """InputError for a network whose training images would be too large for a visitor's fine-tune."""
    if not 2 <= patch <= 32:
        raise InputError(f"{info.id} has patches of {patch} pixels; fine-tunes take 2 to 32.")
