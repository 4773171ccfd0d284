"""Several processes that train one network on one batch: what they tell each other, differentiably.

Every process holds the same weights and an equal share of the batch's images. The loss of the batch is the mean of
the processes' losses, and `total` is differentiated as the sum that it is, so that averaged gradients are those of
one process with the whole batch, up to rounding. Processes are started by torchrun; all methods of `Peers` are for
all processes to call, in the same order. Knows nothing of losses, of networks or of files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gramviz.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Peers:
    """This process among `count`. Alone, every method gives back what it got, and says nothing to anyone."""

    rank: int = 0
    count: int = 1

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes, of values of one shape; 16-bit ones are added, and come back, as float32."""
        if self.count == 1:
            return values
        summed: Tensor = _Total.apply(_wide(values))
        return summed

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes, of values of one shape."""
        return values if self.count == 1 else self.total(values) / self.count

    def gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """The rows of all processes in order of rank, and where this one's are: [N, ...] -> [sum of N, ...].

        Each process may have another N. Written as a sum of zero-padded arrays, whose gradient is right as it is.
        """
        if self.count == 1:
            return rows, slice(None)
        sizes = torch.zeros(self.count, dtype=torch.int64, device=rows.device)
        sizes[self.rank] = len(rows)
        counts = self.total(sizes).tolist()
        before, after = sum(counts[: self.rank]), sum(counts[self.rank + 1 :])
        padded = [rows.new_zeros(before, *rows.shape[1:]), rows, rows.new_zeros(after, *rows.shape[1:])]
        return self.total(torch.cat(padded)), slice(before, before + len(rows))

    def share(self, values: Tensor, images: int) -> Tensor:
        """This process's share, by image, of [V * images, ...] ordered view by view: [V * images / count, ...]."""
        if self.count == 1:
            return values
        each = images // self.count
        views = values.view(len(values) // images, images, *values.shape[1:])
        return views[:, self.rank * each : (self.rank + 1) * each].flatten(0, 1)

    def batch_norm(self, values: Tensor, layer: nn.BatchNorm1d) -> Tensor:
        """`layer`, which must use its batch's statistics, over the rows of all processes: [N, d], N everywhere."""
        if self.count == 1:
            normed: Tensor = layer(values)
            return normed
        x, rows = _wide(values), len(values) * self.count
        centred = x - self.total(x.sum(0)) / rows
        variance = self.total(centred.square().sum(0)) / rows
        return (centred * torch.rsqrt(variance + layer.eps) * layer.weight + layer.bias).to(values.dtype)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.mean(torch.cat([g.flatten() for g in gradients]))
        for gradient, piece in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(piece.view_as(gradient))

    def from_first(self, value: T) -> T:
        """What the first process gave; the others wait for it."""
        if self.count == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told, src=0)
        return told[0]


ALONE = Peers()


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


class _Total(torch.autograd.Function):
    """Sum over the processes. Every process's loss depends on it, so their gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 (nothing is kept)
        return _all_reduced(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:  # noqa: ARG004
        return _all_reduced(upstream[0])


def _all_reduced(values: Tensor) -> Tensor:
    summed = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(summed)
    return summed


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Peers, torch.device]]:
    """The processes that torchrun started, and this one's device; outside of torchrun (ALONE, device).

    They speak through NCCL on CUDA, one device a process, and through gloo on the CPU. Raises ConfigError for
    another device.
    """
    if not dist.is_torchelastic_launched():
        yield ALONE, device
        return
    if device.type not in ("cuda", "cpu"):
        raise ConfigError(f"several processes train on cuda or cpu, not on {device.type}")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Peers(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()
