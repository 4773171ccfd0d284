"""Fine-tunes on GPUs that ZeroGPU lends: a process forked from the page's for each slice of one.

The page's process never touches a GPU, and does not train either: there torch only seems to have a GPU, and its
optimizers ask that for more than it can answer. A visitor's quota is found by the context of their request.
"""

from __future__ import annotations

import contextvars
import logging
import math
import shutil
import tempfile
import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import spaces
import torch

from gramviz.serving.runs import Runs, fresh
from gramviz.serving.slices import END, REST, STOP, anew, as_arrays, as_tensors, packed_job, sliced
from gramviz.serving.streams import StreamRun
from gramviz.serving.watching import Sight
from gramviz.training.finetune import Ended, Event, FinetuneJob, Saved

# Seconds of work in one slice: ZeroGPU ends a call after 60 unless it is asked for more, which counts on the quota.
SLICE = 30.0
# Seconds that a slice may take besides: the process begins, the last step ends, and the state travels.
MARGIN = 15
# Seconds that a step of an arm is taken for before any was made: a short fine-tune asks for less than a slice.
PACE = 0.1

log = logging.getLogger(__name__)


def asked_seconds(packed: dict[str, Any], saved: Any, wishes: str, seconds: float) -> int:
    """The time that `lent_slice`, which has the same arguments, asks for."""
    del packed, saved, wishes
    return math.ceil(seconds) + MARGIN


@spaces.GPU(duration=asked_seconds)
def lent_slice(packed: dict[str, Any], saved: Any, wishes: str, seconds: float) -> Generator[Any, None, None]:
    """`slices.sliced` on the lent GPU."""
    torch.set_num_threads(1)  # a forked process must not wait for threads that only its parent has
    yield from sliced(packed, saved, wishes, seconds)


def slice_seconds(job: FinetuneJob, saved: Saved | None) -> float:
    """Seconds of work to ask for: what the rest takes at the pace so far, at most a slice. What asks for too little
    goes on in another one.
    """
    if saved is None:
        rest = job.config.steps * PACE * (2 if job.control else 1)
    else:
        rest = (job.config.steps - saved.step) * float(saved.tensors["spent"]) / saved.step
    return min(SLICE, max(1.0, rest))


def inside(context: contextvars.Context, items: Generator[Any, None, None]) -> Generator[Any, None, None]:
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


class ZeroRun(StreamRun):
    """A fine-tune in slices; see `Run`."""

    def __init__(self, runs: Runs, job: FinetuneJob, line: str, threads: int) -> None:
        """threads: to compute with where no GPU is lent."""
        self._slices = Slices(job, threads)
        super().__init__(runs.open(self._slices.events, line))

    def pause(self) -> None:
        """See `Run`. The GPU is given back after the present step."""
        self._slices.pause()
        super().pause()

    def resume(self) -> None:
        """See `Run`."""
        self._slices.resume()
        super().resume()

    def stop(self) -> None:
        """See `Run`."""
        self._slices.stop()
        self._stream.resume()

    def close(self) -> None:
        """See `Run`."""
        self._slices.close()
        super().close()


class Slices:
    """The slices of one fine-tune, one after another."""

    def __init__(self, job: FinetuneJob, threads: int) -> None:
        self._job, self._threads = job, threads
        # Of the visitor's request, and kept to the end: Gradio's page sends what a quota is found by with events that
        # wait in its queue, as the one that begins a fine-tune does, and not with a click on "resume".
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self._wished: set[str] = set()
        self._folder: Path | None = None

    def pause(self) -> None:
        """Give the GPU back until `resume`."""
        self._going.clear()
        self._wish(REST)

    def resume(self) -> None:
        """Take the next slice."""
        with self._lock:
            self._wished.discard(REST)
            if self._folder is not None:
                (self._folder / REST).unlink(missing_ok=True)
        self._going.set()

    def stop(self) -> None:
        """End with what there is."""
        self._wish(STOP)
        self.resume()

    def close(self) -> None:
        """End, and tell nothing."""
        self._wish(END)
        self._going.set()

    def events(self) -> Iterator[Event | Sight]:
        """What the job's reader is told, each once, however many slices it takes."""
        with self._lock:
            folder = self._folder = Path(tempfile.mkdtemp(prefix="gramviz-slices-"))
            for wish in self._wished:
                (folder / wish).touch()
        try:
            yield from self._told(str(folder))
        finally:
            with self._lock:
                self._folder = None
            shutil.rmtree(folder, ignore_errors=True)

    def _told(self, folder: str) -> Iterator[Event | Sight]:
        packed = packed_job(self._job)
        saved: Saved | None = None
        told: dict[tuple[type, str], int] = {}
        note = ""  # why no GPU is asked for any more
        while END not in self._wished:
            # no GPU is asked for to do nothing
            lent = not note and STOP not in self._wished
            before, ended = saved, None
            try:
                # read to its end: to close it late would break off whoever has been lent its process by then
                for event in self._slice(packed, saved, folder, lent=lent):
                    if isinstance(event, Saved):
                        saved = event
                    elif isinstance(event, Ended):
                        ended = event
                    elif fresh(event, told):
                        yield event
            except Exception as error:
                if not lent:
                    raise
                # what refuses a GPU, or ends its process, is Gradio's to name
                log.warning("a lent GPU was not to be had: %s: %s", type(error).__name__, error)
            if ended is not None:
                yield replace(ended, sentence=f"{ended.sentence} {note}".strip())
                return
            if lent and saved is before:
                since = f"step {saved.step}" if saved else "the start"
                note = f"ZeroGPU lent no GPU, or took it back; from {since} on it was computed on a CPU."
            self._going.wait()

    def _slice(
        self, packed: dict[str, Any], saved: Saved | None, folder: str, *, lent: bool
    ) -> Iterator[Any]:
        """The events of one slice, on a lent GPU or on a CPU."""
        if lent:
            items = lent_slice(packed, as_arrays(saved), folder, slice_seconds(self._job, saved))
            return map(as_tensors, inside(self._context, items))
        return map(as_tensors, anew(packed, as_arrays(saved), folder, self._threads))

    def _wish(self, wish: str) -> None:
        with self._lock:
            self._wished.add(wish)
            if self._folder is not None:
                (self._folder / wish).touch()
