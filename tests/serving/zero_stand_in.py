"""The package `spaces` as a ZeroGPU Space has it, with its rules kept strictly: for machines without one.

A decorated generator runs in a forked process. It is found by its name; arguments and items go through pickle, and no
tensor among them; the process that calls has touched no GPU; the visitor is known by a context variable; and what
takes longer than it asked for is ended.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import io
import multiprocessing
import os
import pickle
import queue
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

FORK = multiprocessing.get_context("fork")
VISITOR: contextvars.ContextVar[str] = contextvars.ContextVar("visitor")
END = b"end"


class RefusedError(Exception):
    """What Gradio's error is there: no quota, or the process is gone."""


@dataclass
class Lender:
    """Who lends. lend: how often; abort_after: items after which the process dies, once; patience: seconds that it
    may take, by those that it asked for.

    calls: (visitor, seconds asked for) of each; at_work: processes that run; broken_off: calls that were not read to
    their end, which on a Space may break off whoever has been lent the same process by then.
    """

    lend: int = 99
    abort_after: int | None = None
    patience: Callable[[float], float] = float
    calls: list[tuple[str, float]] = field(default_factory=list)
    at_work: int = 0
    broken_off: int = 0

    def module(self) -> types.ModuleType:
        """A module to stand for `spaces`."""
        made = types.ModuleType("spaces")
        made.GPU = self.gpu  # type: ignore[attr-defined]
        return made

    def gpu(self, *, duration: Callable[..., float]) -> Callable[[Any], Any]:
        """The decorator."""

        def decorate(task: Any) -> Any:
            assert inspect.isgeneratorfunction(task)
            assert task.__qualname__ == task.__name__, (
                "only functions of a module can be found by another process"
            )

            @functools.wraps(task)
            def call(*args: Any) -> Iterator[Any]:
                assert getattr(sys.modules[task.__module__], task.__name__) is call
                assert not torch.cuda.is_initialized(), "the page's process may not touch a GPU"
                seconds = duration(*args)
                self.calls.append((VISITOR.get(), seconds))
                if len(self.calls) > self.lend:
                    raise RefusedError("You have exceeded your GPU quota")
                yield from self._forked(task, strictly(args), self.patience(seconds))

            return call

        return decorate

    def _forked(self, task: Any, args: bytes, seconds: float) -> Iterator[Any]:
        """Items as a thread takes them from the process, which therefore runs ahead of whoever reads."""
        here, there = FORK.Pipe()
        ending = FORK.Event()
        process = FORK.Process(target=work, args=(task, args, there, ending), daemon=True)
        process.start()
        there.close()
        self.at_work += 1
        items: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def take() -> None:
            until, count = time.monotonic() + seconds, 0
            last: Any = RefusedError("GPU task aborted")
            try:
                while here.poll(max(0.0, until - time.monotonic())):
                    content = here.recv_bytes()
                    if content == END:
                        last = None
                        break
                    if count == self.abort_after:
                        self.abort_after = None
                        break
                    count += 1
                    items.put(pickle.loads(content))
            except EOFError:
                pass
            finally:
                process.kill()
                process.join()
                here.close()
                self.at_work -= 1  # the GPU is given back, whether anyone has read the items or not
                items.put(Over(last))

        taker = threading.Thread(target=take)
        taker.start()
        item: Any = None
        try:
            while not isinstance(item := items.get(), Over):
                if isinstance(item, BaseException):
                    raise item
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self.broken_off += not isinstance(item, Over | BaseException)
            ending.set()
            taker.join()


@dataclass(frozen=True)
class Over:
    """The end of the items, and what it was by."""

    error: BaseException | None


def work(task: Any, args: bytes, to: Any, ending: Any) -> None:
    """In the forked process: items until the end, or until nobody wants them."""
    assert threading.active_count() == 1
    try:
        for item in task(*pickle.loads(args)):
            if ending.is_set():
                break
            to.send_bytes(strictly(item))
        to.send_bytes(END)
    except BaseException as error:
        to.send_bytes(pickle.dumps(error))
    os._exit(0)


class Strict(pickle.Pickler):
    """Refuses tensors, wherever they are."""

    def reducer_override(self, obj: Any) -> Any:
        """See `pickle.Pickler`."""
        if isinstance(obj, torch.Tensor):
            raise TypeError("a tensor would travel by a file that ends with its process")
        return NotImplemented


def strictly(value: Any) -> bytes:
    """As bytes."""
    target = io.BytesIO()
    Strict(target).dump(value)
    return target.getvalue()
