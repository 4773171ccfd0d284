"""The training loop: one generator of StepReport, for pretraining and fine-tuning alike.

L = w_D L_DINO + w_I L_iBOT + w_K L_KoLeo + w_Gram L_Gram (DINOv3, arXiv 2508.10104, section 4). Knows nothing of
files, progress bars or pages: whoever consumes the generator saves, draws or stops. All randomness of step t comes
from a generator seeded with (seed, t), so a resumed run, and an arm that differs by its Gram weight alone, sees the
same images, crops, distortions and masks. Where several processes train together, each draws the views of the
whole batch and keeps its share, so that their number changes nothing but rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gramviz.errors import ConfigError
from gramviz.training.config import OptimizerConfig, TrainConfig
from gramviz.training.objective import compute_losses
from gramviz.training.parallel import ALONE, Peers
from gramviz.training.state import TrainState, take_gram_teacher
from gramviz.training.views import make_views


class ImageSource(Protocol):
    """Where training images come from: a fixed number of square images, fetched by index."""

    def __len__(self) -> int:
        """How many images there are."""

    def batch(self, indices: Tensor) -> Tensor:
        """[B] int64 -> [B, 3, S, S] uint8 on the device that training uses."""


@dataclass(frozen=True)
class StepReport:
    """What one step did: losses before weighting, the gradient's norm before clipping, seconds of wall time."""

    step: int
    images_seen: int
    losses: dict[str, float]
    total: float
    gradient_norm: float
    learning_rate: float
    seconds: float


def train(
    state: TrainState,
    config: TrainConfig,
    source: ImageSource,
    *,
    autocast: torch.dtype | None = None,
    peers: Peers = ALONE,
) -> Iterator[StepReport]:
    """Advance `state` to `config.steps`, yielding after each finished step; closing the generator stops it there.

    Runs on the device that holds the state, which is `torn` where a step was broken off. `autocast` is the dtype of
    the networks' matrix products (losses and weights stay float32); None means float32. Ends early with a report
    whose total is not finite: the weights are then those of the step before. `peers` share each batch between them,
    have equal states throughout and all yield the report of the whole batch. Raises ConfigError where they cannot
    share it equally.
    """
    if config.batch_size % peers.count:
        raise ConfigError(
            f"batch_size is {config.batch_size}; it must be a multiple of the {peers.count} processes"
        )
    device = state.dino_center.device
    if state.step == config.gram.teacher_step and state.gram_teacher is None:
        take_gram_teacher(state)
    while state.step < config.steps:
        started = time.perf_counter()
        generator = torch.Generator(device).manual_seed(_step_seed(config.seed, state.step))
        images = source.batch(batch_indices(len(source), config.batch_size, config.seed, state.step))
        gram_on = config.gram.weight > 0 and state.step >= config.gram.start
        views = make_views(images.to(device).float() / 255, config, state, generator, with_clean=gram_on)
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            losses, centers = compute_losses(state, config, views.share(peers), peers)
        total = sum(_weights(config)[name] * value for name, value in losses.items())
        assert isinstance(total, Tensor)
        state.optimizer.zero_grad(set_to_none=True)
        total.backward()
        peers.average_gradients(state.student.parameters())
        norm = torch.nn.utils.clip_grad_norm_(state.student.parameters(), config.optimizer.clip)
        *values, whole = peers.mean(torch.stack([*losses.values(), total]).detach()).tolist()
        finite = math.isfinite(whole) and bool(torch.isfinite(norm))
        rate = learning_rate(config.optimizer, state.step, config.steps)
        if finite:
            state.torn = True
            _update(state, config, rate)
            state.dino_center, state.ibot_center = centers
            state.step += 1
            if state.step == config.gram.teacher_step:
                take_gram_teacher(state)
            state.torn = False
        yield StepReport(
            step=state.step,
            images_seen=state.step * config.batch_size,
            losses=dict(zip(losses, values, strict=True)),
            total=whole,
            gradient_norm=float(norm),
            learning_rate=rate,
            seconds=time.perf_counter() - started,
        )
        if not finite:
            return


def faster_dtype(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device gains from it in autocast, else None (float32).

    CUDA says so itself; a CPU is timed on one matrix product, since some have units for bfloat16 and others
    emulate it at a loss; Apple's GPU stays in float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    if device.type != "cpu":
        return None
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(1024, 512, dtype=dtype)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            torch.mm(a, a.T)
            times.append(time.perf_counter() - started)
        seconds[dtype] = min(times)
    return torch.bfloat16 if seconds[torch.bfloat16] < 0.8 * seconds[torch.float32] else None


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> Tensor:
    """Indices of batch `step`: [batch_size] int64. Each epoch is one permutation seeded with (seed, epoch)."""
    first = step * batch_size
    picked: list[np.ndarray] = []
    while first < (step + 1) * batch_size:
        epoch, offset = divmod(first, count)
        order = np.random.default_rng((seed, epoch)).permutation(count)
        picked.append(order[offset : offset + (step + 1) * batch_size - first])
        first += len(picked[-1])
    return torch.from_numpy(np.concatenate(picked))


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Linear warm-up to `lr` over `warmup` steps, then half a cosine down to `final_lr` at the last step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    return _cosine(config.lr, config.final_lr, (step - config.warmup) / max(1, steps - config.warmup))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)


def _weights(config: TrainConfig) -> dict[str, float]:
    loss = config.loss
    return {"dino": loss.dino, "ibot": loss.ibot, "koleo": loss.koleo, "gram": config.gram.weight}


@torch.no_grad()
def _update(state: TrainState, config: TrainConfig, rate: float) -> None:
    """One optimizer step, then the EMA teacher's, where there is one."""
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    if state.teacher is state.student:
        return
    momentum = _cosine(config.optimizer.ema, config.optimizer.final_ema, state.step / config.steps)
    torch._foreach_lerp_(list(state.teacher.parameters()), list(state.student.parameters()), 1 - momentum)
