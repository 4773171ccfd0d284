"""Images a second of the training loop against the loop that one would write first, measured in turn in one run.

    python -m tests.benchmarks.bench_train [--device cuda] [--threads 1] [--steps 6] [--batch 32]

Both take the steps of the shipped recipe's gram arm (same network, heads, losses, optimizer, views an image) on the
same photographs held in memory.
  gramviz  `training.loop.train`: views of the whole batch by batched tensor code on the device, matmul attention
           where its backward pass is the faster one, one forward for all local crops, the Gram loss's own gradient,
           foreach EMA
  naive    torchvision's random transforms on one PIL image after another, torch's fused attention, a forward for each
           crop, the P x P Gram matrices by autograd, an EMA parameter by parameter
Sinkhorn-Knopp, DINO, iBOT and KoLeo are the same functions in both. On CUDA a step's floating-point operations, as
torch's FlopCounterMode counts the matrix products of our loop (forward and backward), are also given as a share of
the card's dense bfloat16 peak.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from gramviz.data.sources import SceneSource, TensorSource
from gramviz.gram.losses import dino_loss, ibot_loss, koleo_loss, sinkhorn_knopp
from gramviz.serving.settings import choose_device
from gramviz.training.augment import block_masks
from gramviz.training.config import TrainConfig
from gramviz.training.loop import faster_dtype, train
from gramviz.training.recipe import load_recipe
from gramviz.training.state import new_state, take_gram_teacher

# dense bfloat16 operations a second, from NVIDIA's data sheets (SXM where there are several)
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}


def our_steps(
    config: TrainConfig, images: TensorSource, device: torch.device, autocast: torch.dtype | None
) -> Iterator[None]:
    """One step of `training.loop.train` for each item."""
    state = new_state(config, device)
    take_gram_teacher(state)
    for _ in train(state, config, images.to(device), autocast=autocast):
        yield


def naive_steps(
    config: TrainConfig, images: TensorSource, device: torch.device, autocast: torch.dtype | None
) -> Iterator[None]:
    """The same steps, written the straightforward way."""
    state = new_state(config, device)
    take_gram_teacher(state)
    student, teacher, anchor = state.student, state.teacher, state.gram_teacher
    assert anchor is not None
    for module in (*student.modules(), *teacher.modules(), *anchor.modules()):
        if hasattr(module, "fused_attn"):
            module.fused_attn = True  # what timm does by default
    optimizer = torch.optim.AdamW(student.parameters(), lr=config.optimizer.lr, weight_decay=0.04)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images.images]
    side, masks_seed = config.views.global_size // student.backbone.patch_size, torch.Generator()
    loss, batch = config.loss, config.batch_size
    while True:
        chosen = [pictures[i] for i in torch.randperm(len(pictures))[:batch].tolist()]
        pairs = [[torchvision_view(config, picture, True) for picture in chosen] for _ in range(2)]
        views = [torch.stack([seen for seen, _ in pair]).to(device) for pair in pairs]
        clean = [torch.stack([raw for _, raw in pair]).to(device) for pair in pairs]
        small = [
            torch.stack([torchvision_view(config, picture, False)[0] for picture in chosen]).to(device)
            for _ in range(config.views.locals)
        ]
        masks = block_masks(2 * batch, side, side, loss.mask_share, loss.masked_views, masks_seed).to(device)
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            with torch.no_grad():
                target = [teacher.backbone(view)[0] for view in views]
                patches = torch.cat([tokens.patches for tokens in target])[masks]
                cls_targets = sinkhorn_knopp(
                    teacher.dino_head(torch.cat([tokens.cls for tokens in target])), loss.teacher_temperature
                )
                patch_targets = sinkhorn_knopp(teacher.ibot_head(patches), loss.teacher_temperature)
                gram_targets = [anchor(view)[0].patches for view in clean]
            tokens = [
                student.backbone(view, mask=mask, mask_token=student.mask_token)[0]
                for view, mask in zip(views, masks.split(batch), strict=True)
            ]
            cls = torch.cat([t.cls for t in tokens] + [student.backbone(view)[0].cls for view in small])
            logits = student.dino_head(cls).view(-1, batch, config.head.prototypes)
            patch_logits = student.ibot_head(torch.cat([t.patches for t in tokens])[masks])
            weights = (1 / masks.sum(1).clamp(min=1) / masks.any(1).sum())[:, None].expand_as(masks)[masks]
            total = (
                loss.dino
                * dino_loss(logits, cls_targets.view(2, batch, -1), loss.student_temperature, skip_same=True)
                + loss.ibot * ibot_loss(patch_logits, patch_targets, loss.student_temperature, weights)
                + loss.koleo * sum(koleo_loss(t.cls) for t in tokens) / 2
                + config.gram.weight
                * sum(naive_gram(t.patches, g) for t, g in zip(tokens, gram_targets, strict=True))
                / 2
            )
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), config.optimizer.clip)
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                slow.mul_(config.optimizer.ema).add_(fast, alpha=1 - config.optimizer.ema)
        total.item()  # one looks at the loss
        yield


def torchvision_view(config: TrainConfig, picture: Image.Image, whole: bool) -> tuple[Tensor, Tensor]:
    """A distorted crop of one image and the same crop undistorted, [3, s, s] in 0..1 each."""
    sizes = config.views
    size, scale = (sizes.global_size, sizes.global_scale) if whole else (sizes.local_size, sizes.local_scale)
    taken = v2.RandomHorizontalFlip()(v2.RandomResizedCrop(size, scale)(picture))
    distorted = v2.Compose(
        [
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.2))], 0.5),
            v2.RandomSolarize(128, 0.1 if whole else 0.0),
        ]
    )(taken)
    tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    return tensor(distorted), tensor(taken)


def naive_gram(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the two P x P matrices."""
    x, y = F.normalize(student.float(), dim=-1), F.normalize(teacher.float(), dim=-1)
    return (x @ x.mT - y @ y.mT).square().mean()


def flops_of_a_step(make: Callable[[], Iterator[None]]) -> int:
    """Operations in the matrix products of one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        next(make())
    return counter.get_total_flops()


def of_peak(done: float, device: torch.device) -> str:
    """`done` operations a second in words; on CUDA also as a share of the card's dense bfloat16 peak."""
    said = f"{done / 1e9:.1f} GFLOP/s"
    if device.type != "cuda":
        return said
    card = torch.cuda.get_device_name(device)
    peak = next((value for name, value in PEAKS.items() if name in card), None)
    share = "unknown peak" if peak is None else f"{done / peak:.2%} of {peak / 1e12:.0f} TFLOP/s bfloat16"
    return f"{said}; {card}: {share}"


def main() -> None:
    """Time both in turn, step by step, and print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = choose_device(options.device)
    autocast = faster_dtype(device)
    recipe = load_recipe("caltech-d128")
    config = recipe.config_for("gram", 0)
    gram = dataclasses.replace(config.gram, teacher_step=0, start=0)
    config = dataclasses.replace(config, batch_size=options.batch, gram=gram)
    count = 2 * options.batch
    scenes = SceneSource(count, recipe.image_size).batch(torch.arange(count))
    images = TensorSource(scenes, ("scene",) * count)

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    loops = {
        "gramviz": our_steps(config, images, device, autocast),
        "naive": naive_steps(config, images, device, autocast),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(options.steps + 2):
        for name, steps in loops.items():
            synchronise()
            started = time.perf_counter()
            next(steps)
            synchronise()
            seconds[name].append(time.perf_counter() - started)
    found = {name: options.batch / statistics.median(times[2:]) for name, times in seconds.items()}
    print(
        f"gram arm of {recipe.name}, batch {options.batch}, {device.type}, {torch.get_num_threads()} threads of "
        f"{os.cpu_count()}, autocast {autocast}"
    )
    for name, speed in found.items():
        print(f"  {name:8} {speed:8.1f} images/s")
    print(f"  gramviz is {found['gramviz'] / found['naive']:.2f}x the naive loop")
    flops = flops_of_a_step(lambda: our_steps(config, images, device, autocast))
    done = of_peak(flops / options.batch * found["gramviz"], device)
    print(f"  {flops / 1e9:.1f} GFLOP a step in matrix products, {done}")


if __name__ == "__main__":
    main()
