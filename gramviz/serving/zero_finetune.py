"""Fine-tunes on GPUs that ZeroGPU lends: a process forked for each slice of one, which ends when its time is over.

What goes either way is numpy arrays and plain values: a tensor would travel by a file that ends with its process. The
page's process never touches a GPU. A visitor's quota is found by the context of their request, so it is kept.
"""

from __future__ import annotations

import contextvars
import dataclasses
import logging
import math
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import spaces
import torch
from torch import Tensor

from gramviz.errors import GramvizError
from gramviz.serving.compute import LocalRun
from gramviz.serving.runs import Runs, fresh
from gramviz.serving.settings import choose_device
from gramviz.serving.watching import Sight, watched
from gramviz.training.finetune import Ended, Event, FinetuneJob, Saved, finetune

# Seconds of work in one slice: ZeroGPU ends a call after 60 unless it is asked for more, which counts on the quota.
SLICE = 30.0
MARGIN = (
    15  # seconds that a slice may take besides: the process begins, networks are built, the last steps end
)
PACE = 0.1  # seconds that a step of an arm takes at most, by which short fine-tunes ask for less than a slice
SAVE = 10  # steps between two states of which the last one of a slice is kept
STOP, REST, END = "stop", "rest", "end"  # what is wished of a slice: its file of that name is there
PATIENCE = 0.25  # seconds between looks at a run that says nothing

log = logging.getLogger(__name__)


def asked_seconds(packed: dict[str, Any], saved: Any, wishes: str, seconds: float) -> int:
    """The time that `lent_slice`, which has the same arguments, asks for."""
    del packed, saved, wishes
    return math.ceil(seconds) + MARGIN


@spaces.GPU(duration=asked_seconds)
def lent_slice(packed: dict[str, Any], saved: Any, wishes: str, seconds: float) -> Generator[Any, None, None]:
    """Events of a job, as `as_arrays` gives them, for about `seconds`; where more is to do then, a Saved is the last.

    packed: the job's fields; saved: a Saved to go on from, or None. wishes: a folder in which STOP (end with what
    there is), REST (give the GPU back with a Saved) or END (just end) may appear as files.
    """
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # a forked process must not wait for threads that only its parent has
    began, wished = time.monotonic(), Path(wishes)
    job = FinetuneJob(**as_tensors(packed))
    job = replace(job, save_steps=min(job.save_steps, SAVE))
    events = finetune(job, choose_device(), as_tensors(saved), (wished / STOP).exists)
    for event in events:
        if (wished / END).exists():
            return
        if isinstance(event, Saved) and ((wished / REST).exists() or time.monotonic() - began > seconds):
            yield as_arrays(event)
            return
        for one in watched(event):
            yield as_arrays(one)


def as_arrays(value: Any) -> Any:
    """The same with numpy arrays for tensors, in dictionaries and in the fields of events too."""
    if isinstance(value, Tensor):
        return (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu().numpy()
    return _within(value, as_arrays)


def as_tensors(value: Any) -> Any:
    """What `as_arrays` made, back; the arrays of a Sight stay as they are."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value if isinstance(value, Sight) else _within(value, as_tensors)


def _within(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {name: change(each) for name, each in value.items()}
    if isinstance(value, Saved):
        return replace(value, tensors=change(value.tensors))
    if isinstance(value, Ended):
        return replace(value, weights=change(value.weights))
    return value


def slice_seconds(job: FinetuneJob, step: int) -> float:
    """Seconds of work to ask for after `step` steps: what the rest takes at the slowest, at most a slice."""
    arms = 2 if job.control else 1
    return min(SLICE, max(1.0, (job.config.steps - step) * arms * PACE))


def inside(context: contextvars.Context, items: Generator[Any, None, None]) -> Iterator[Any]:
    """The items of a generator whose code sees the variables of a context."""
    try:
        while True:
            try:
                item = context.run(next, items)
            except StopIteration:
                return
            yield item
    finally:
        context.run(items.close)


class ZeroRun:
    """A fine-tune in slices; see `Run`."""

    def __init__(
        self, runs: Runs, job: FinetuneJob, line: str, on_cpu: Callable[[FinetuneJob, Saved | None], LocalRun]
    ) -> None:
        """on_cpu: makes a run of the rest where there is no GPU for it."""
        self._slices = Slices(job, on_cpu)
        self._stream = runs.open(self._slices.events, line)
        self.next = self._stream.next

    @property
    def ended(self) -> bool:
        """See `Run`."""
        return self._stream.ended

    @property
    def position(self) -> int:
        """See `Run`."""
        return self._stream.position

    def pause(self) -> None:
        """See `Run`. The GPU is given back within SAVE steps."""
        self._slices.pause()
        self._stream.pause()

    def resume(self) -> None:
        """See `Run`."""
        self._slices.resume()
        self._stream.resume()

    def stop(self) -> None:
        """See `Run`."""
        self._slices.stop()
        self._stream.resume()

    def close(self) -> None:
        """See `Run`."""
        self._slices.close()
        self._stream.close()


class Slices:
    """The slices of one fine-tune, one after another, each going on from where the one before it stood."""

    def __init__(self, job: FinetuneJob, on_cpu: Callable[[FinetuneJob, Saved | None], LocalRun]) -> None:
        self._job, self._on_cpu = job, on_cpu
        self._context = contextvars.copy_context()  # of the visitor's request
        self._lock = threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self._wished: set[str] = set()
        self._folder: Path | None = None
        self._rest: LocalRun | None = None

    def pause(self) -> None:
        """Give the GPU back until `resume`."""
        self._going.clear()
        self._wish(REST)
        if self._rest is not None:
            self._rest.pause()

    def resume(self) -> None:
        """Take the next slice."""
        with self._lock:
            self._wished.discard(REST)
            if self._folder is not None:
                (self._folder / REST).unlink(missing_ok=True)
        if self._rest is not None:
            self._rest.resume()
        self._going.set()

    def stop(self) -> None:
        """End with what there is."""
        self._wish(STOP)
        self.resume()
        if self._rest is not None:
            self._rest.stop()

    def close(self) -> None:
        """End, and tell nothing."""
        self._wish(END)
        self._going.set()
        if self._rest is not None:
            self._rest.close()

    def events(self) -> Iterator[Event | Sight]:
        """What the job's reader is told, each once, however many slices it takes."""
        with self._lock:
            folder = self._folder = Path(tempfile.mkdtemp(prefix="gramviz-slices-"))
            for wish in self._wished:
                (folder / wish).touch()
        try:
            yield from self._sliced(str(folder))
        finally:
            with self._lock:
                self._folder = None
            shutil.rmtree(folder, ignore_errors=True)

    def _sliced(self, folder: str) -> Iterator[Event | Sight]:
        packed = {one.name: as_arrays(getattr(self._job, one.name)) for one in dataclasses.fields(self._job)}
        saved: Saved | None = None
        told: dict[tuple[type, str], int] = {}
        while END not in self._wished:
            if STOP in self._wished:
                yield from self._finished_here(saved, told, "")  # no GPU is asked for to do nothing
                return
            before, seconds = saved, slice_seconds(self._job, saved.step if saved else 0)
            arguments = (packed, as_arrays(saved), folder, seconds)
            try:
                for event in map(as_tensors, inside(self._context, lent_slice(*arguments))):
                    if isinstance(event, Saved):
                        saved = event
                    elif fresh(event, told):
                        yield event
                        if isinstance(event, Ended):
                            return
            except GramvizError:
                raise
            except Exception:  # what refuses a GPU, or ends its process, is Gradio's to name
                log.warning("a lent GPU was not to be had", exc_info=True)
            if saved is before and END not in self._wished:
                since = f"step {saved.step}" if saved else "the start"
                note = f"ZeroGPU lent no GPU, or took it back; from {since} on it was computed on a CPU."
                yield from self._finished_here(saved, told, note)
                return
            self._going.wait()

    def _finished_here(
        self, saved: Saved | None, told: dict[tuple[type, str], int], note: str
    ) -> Iterator[Event | Sight]:
        """The rest, on the CPU of the page's process."""
        with self._lock:
            run = self._rest = self._on_cpu(self._job, saved)
        if STOP in self._wished:
            run.stop()
        if END in self._wished:
            run.close()
        while not run.ended:
            event = run.next(PATIENCE)
            if isinstance(event, Ended):
                yield replace(event, sentence=f"{event.sentence} {note}".strip())
            elif event is not None and fresh(event, told):
                yield event

    def _wish(self, wish: str) -> None:
        with self._lock:
            self._wished.add(wish)
            if self._folder is not None:
                (self._folder / wish).touch()
