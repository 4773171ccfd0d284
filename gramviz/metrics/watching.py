"""Looking at what passes through the modules of a network while it works, without a change to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def watched_outputs(modules: Sequence[nn.Module]) -> Iterator[list[list[Tensor]]]:
    """Within the block, what each module puts out is appended to its list, call by call."""
    seen: list[list[Tensor]] = [[] for _ in modules]
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, calls=calls: calls.append(output))
        for module, calls in zip(modules, seen, strict=True)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def watched_inputs(modules: Sequence[nn.Module]) -> Iterator[list[list[Tensor]]]:
    """As `watched_outputs`, for each module's first input."""
    seen: list[list[Tensor]] = [[] for _ in modules]
    handles = [
        module.register_forward_pre_hook(lambda _module, inputs, calls=calls: calls.append(inputs[0]))
        for module, calls in zip(modules, seen, strict=True)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
