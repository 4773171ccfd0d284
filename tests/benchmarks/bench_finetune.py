"""A step of a visitor's fine-tune against the bare network passes of the same batch, and against a plain Gram loss.

    python -m tests.benchmarks.bench_finetune [--device cuda] [--preset repair] [--steps 30] [--batch 4]

The preset's job on the sample pack, as the Fine-tune tab starts it. In turn, in one process:
  step   `training.finetune.finetune`: crops, networks, losses, optimizer, guards; without and with its looks
  plain  the same with the P x P Gram matrices by autograd
  bare   the networks alone: the frozen Gram teacher forward, the student forward and backward, on crops made before,
         with the squared norm for a loss
On CUDA the matrix products of a step are also given as a share of the card's dense bfloat16 peak.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Iterator
from unittest import mock

from gramviz.serving.settings import choose_device, share_processors, shipped_models

share_processors()

import torch

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.data.samples import load
from gramviz.serving.jobs import make_job, start_of
from gramviz.serving.plans import presets
from gramviz.serving.tuning import TuneRequest
from gramviz.training import objective
from gramviz.training.finetune import FinetuneJob, Look, Stepped, autocast_of, finetune
from gramviz.vit.backbones import backbone_of
from tests.benchmarks.bench_train import flops_of_a_step, naive_gram, of_peak

PATCHES = 28


def job_of(preset: str, steps: int, batch: int | None) -> FinetuneJob:
    """The job that the button of a preset starts, with another number of steps or batch."""
    store = CheckpointStore.open(shipped_models())
    plan = next(one.plan for one in presets(store.all()) if one.name == preset)
    plan = dataclasses.replace(plan, steps=steps, batch=batch or plan.batch)
    info, cpu = store.get(plan.start), torch.device("cpu")
    weights = store.load(plan.start, cpu).network.state_dict()
    teacher = store.load(plan.teacher, cpu).network.state_dict() if plan.teacher else None
    request = TuneRequest(load("astronaut"), plan, PATCHES, 0)
    return make_job(request, start_of(plan, info, weights, teacher, store), 3600.0)


def times_of(job: FinetuneJob, device: torch.device) -> tuple[list[float], list[float]]:
    """Seconds of each step, and of each look."""
    steps, looks = [], []
    began = time.perf_counter()
    for event in finetune(job, device, None, lambda: False):
        if device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if isinstance(event, Stepped):
            steps.append(now - began)
        elif isinstance(event, Look):
            looks.append(now - began)
        began = time.perf_counter()
    return steps[3:], looks[2:]


def bare_steps(job: FinetuneJob, device: torch.device) -> Iterator[None]:
    """The networks alone; each item is one forward and backward."""
    config = job.config
    student = backbone_of(config.network, job.start).to(device).train()
    teacher = backbone_of(config.network, job.teacher or job.start).to(device).train()
    for module in (*student.modules(), *teacher.modules()):
        if hasattr(module, "fused_attn"):
            module.fused_attn = device.type != "cpu"  # as training has it
    student.requires_grad_(True)
    size, times = config.views.global_size, config.gram.resolution
    crops = torch.rand(2 * config.batch_size, 3, size, size, device=device)
    seen = torch.rand(2 * config.batch_size, 3, size * times, size * times, device=device)
    autocast = autocast_of(device)
    while True:
        student.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            with torch.no_grad():
                teacher(seen)
            (tokens,) = student(crops)
        tokens.patches.float().square().mean().backward()
        yield


def bare_times(job: FinetuneJob, device: torch.device, count: int) -> list[float]:
    """Seconds of each bare pass."""
    steps, found = bare_steps(job, device), []
    for _ in range(count + 3):
        began = time.perf_counter()
        next(steps)
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return found[3:]


def main() -> None:
    """Time all three in turn, twice, and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default="repair")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=None)
    options = parser.parse_args()
    device = choose_device(options.device)
    job = job_of(options.preset, options.steps, options.batch)
    steps, looks, plain, bare = [], [], [], []
    for _ in range(2):
        ours = times_of(job, device)
        steps += ours[0]
        looks += ours[1]
        with mock.patch.object(objective, "gram_loss", naive_gram):
            plain += times_of(job, device)[0]
        bare += bare_times(job, device, options.steps)
    step, naive, passes = (1e3 * statistics.median(times) for times in (steps, plain, bare))
    whole = 1e3 * (sum(steps) + sum(looks)) / len(steps)
    patches = (job.config.views.global_size // backbone_of(job.config.network, job.start).patch_size) ** 2
    print(
        f"{options.preset}, batch {job.config.batch_size} of two crops of {patches} patches, {device.type}, "
        f"{torch.get_num_threads()} threads of {os.cpu_count()}"
    )
    print(f"  bare passes   {passes:7.1f} ms")
    print(f"  step          {step:7.1f} ms, {step / passes:.2f}x the bare passes")
    print(f"  with looks    {whole:7.1f} ms, {whole / passes:.2f}x the bare passes")
    print(f"  plain Gram    {naive:7.1f} ms, {naive / step:.2f}x the step")
    flops = flops_of_a_step(lambda: bare_steps(job, device))
    print(f"  {flops / 1e9:.2f} GFLOP a step in matrix products, {of_peak(flops / (step / 1e3), device)}")


if __name__ == "__main__":
    main()
