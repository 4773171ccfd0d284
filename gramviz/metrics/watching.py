"""Looking at what passes through the modules of a network while it works, without a change to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Calls = list[Tensor]


def watched_outputs(modules: Sequence[nn.Module]) -> AbstractContextManager[list[Calls]]:
    """Within the block, what each module puts out is appended to its list, call by call."""
    return _watched(
        modules,
        lambda module, calls: module.register_forward_hook(
            lambda _module, _inputs, output: calls.append(output)
        ),
    )


def watched_inputs(modules: Sequence[nn.Module]) -> AbstractContextManager[list[Calls]]:
    """As `watched_outputs`, for each module's first input."""
    return _watched(
        modules,
        lambda module, calls: module.register_forward_pre_hook(
            lambda _module, inputs: calls.append(inputs[0])
        ),
    )


@contextmanager
def _watched(
    modules: Sequence[nn.Module], attach: Callable[[nn.Module, Calls], RemovableHandle]
) -> Iterator[list[Calls]]:
    """Attach a hook with a list of its own to each module, and take them all off at the end."""
    seen: list[Calls] = [[] for _ in modules]
    handles = [attach(module, calls) for module, calls in zip(modules, seen, strict=True)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
