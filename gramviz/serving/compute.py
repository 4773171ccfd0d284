"""Who computes for the engine: the interface, and the one that does it in this process.

Another one, over several machines, is in `serving/ray_compute.py`. Knows nothing of visitors but the line that each
waits in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

import torch

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.cache import ByteCache
from gramviz.serving.monitoring import Monitor
from gramviz.serving.scheduler import Scheduler
from gramviz.serving.settings import Settings, choose_device, processors
from gramviz.serving.streams import StreamRun
from gramviz.serving.tasks import Task
from gramviz.serving.watching import Sight, watched
from gramviz.serving.workshop import Workshop, is_device_loss
from gramviz.training.finetune import Event, FinetuneJob, Saved, finetune
from gramviz.vit.backbones import DenseBackbone

MIB = 2**20
HEARTBEAT = ("heartbeat",)


class Run(Protocol):
    """A fine-tune that waits or runs, as its reader holds it; every method may be called from any thread."""

    def next(self, timeout: float) -> Event | Sight | None:
        """The next event; None where none came in `timeout` seconds, or at the end. Raises what ended it."""

    @property
    def ended(self) -> bool:
        """Whether no event is left and none will come."""

    @property
    def position(self) -> int:
        """0 for one that runs or has ended, n for the n-th of those that wait."""

    def pause(self) -> None:
        """Rest after the present step until `resume`."""

    def resume(self) -> None:
        """Go on."""

    def stop(self) -> None:
        """End after the present step with what there is: the last event still tells it."""

    def close(self) -> None:
        """End at the next step and free everything; no more events."""


class Compute(Protocol):
    """What the engine needs of whoever computes."""

    @property
    def notice(self) -> str:
        """What a visitor should know of it now in one sentence, such as that the device was lost; "" for nothing."""

    @property
    def terms(self) -> str:
        """What a visitor should know before they start a fine-tune, in sentences; "" for nothing."""

    def submit(self, task: Task, line: str, deadline: float | None) -> Future[Any]:
        """A future of the task's result, shared with everyone who asks for an equal one before it is done.

        line: the visitor's, "" for the house's own; deadline: seconds that it may wait. Raises BusyError.
        """

    def release(self, task: Task, future: Future[Any]) -> None:
        """Say that a result is no longer wanted."""

    def position(self, future: Future[Any]) -> int:
        """How many are expected to run before it; -1 when it is done."""

    def finetune(self, job: FinetuneJob, line: str) -> Run:
        """A fine-tune that runs as soon as there is a place. Raises BusyError where too many wait."""

    def status(self) -> dict[str, float]:
        """Numbers for a look at the load."""

    def healthy(self, timeout: float) -> bool:
        """Whether a computation of no cost comes back within `timeout` seconds."""

    def close(self) -> None:
        """Finish what is being computed and drop the rest."""


class LocalCompute:
    """One device of this machine, and one thread that owns it."""

    def __init__(
        self, store: CheckpointStore, settings: Settings, results: ByteCache[Any], monitor: Monitor
    ) -> None:
        networks: ByteCache[DenseBackbone] = ByteCache(settings.model_cache * MIB)
        device = choose_device(settings.device)
        # Beside a busy thread of the page, two threads on two processors wait for each other: a view took 97 ms with
        # two and 62 with one, a fine-tune beside a browser 19 s and 14; alone 42 and 59 ms.
        torch.set_num_threads(settings.threads or max(1, min(torch.get_num_threads(), processors() - 1)))
        self.workshop = Workshop(store, device, results, networks)
        self._deadline = settings.deadline
        self._scheduler = Scheduler(
            settings.pending,
            settings.finetunes,
            batch=settings.batch,
            prepare=self.workshop.prepare,
            observe=monitor.observe,
            queue=settings.finetune_queue,
        )
        monitor.watch("model_cache_bytes", lambda: networks.used)

    @property
    def notice(self) -> str:
        """See `Compute`."""
        return self.workshop.lost

    @property
    def terms(self) -> str:
        """See `Compute`."""
        return ""

    def submit(self, task: Task, line: str, deadline: float | None = None) -> Future[Any]:
        """See `Compute`."""
        return self._scheduler.submit(
            task.key,
            partial(self.workshop.run, task),
            line=line,
            group=self.workshop.group(task),
            item=task,
            deadline=self._deadline if deadline is None else deadline,
        )

    def release(self, task: Task, future: Future[Any]) -> None:
        """See `Compute`."""
        self._scheduler.release(task.key, future)

    def position(self, future: Future[Any]) -> int:
        """See `Compute`."""
        return self._scheduler.position(future)

    def finetune(self, job: FinetuneJob, line: str) -> LocalRun:
        """See `Compute`."""
        return LocalRun(self._scheduler, self.workshop, job, line)

    def status(self) -> dict[str, float]:
        """See `Compute`."""
        return self._scheduler.status()

    def healthy(self, timeout: float) -> bool:
        """See `Compute`. A long forward before it does not make it ill: the thread only has to be at work."""
        began = time.monotonic()
        future = self._scheduler.submit(HEARTBEAT, bool)
        try:
            future.result(timeout)
        except TimeoutError:
            return self._scheduler.busy_for() < max(self._deadline, time.monotonic() - began)
        except Exception:
            return False
        return True

    def close(self) -> None:
        """See `Compute`."""
        self._scheduler.close()


class LocalRun(StreamRun):
    """A fine-tune on the scheduler's thread, step by step between inference."""

    def __init__(self, scheduler: Scheduler, workshop: Workshop, job: FinetuneJob, line: str) -> None:
        self._stopped = False
        super().__init__(
            scheduler.stream(partial(surviving, workshop, job, lambda: self._stopped), line=line)
        )

    def stop(self) -> None:
        """See `Run`."""
        self._stopped = True
        self._stream.resume()


def surviving(workshop: Workshop, job: FinetuneJob, stopped: Callable[[], bool]) -> Iterator[Event | Sight]:
    """The events of a job on the workshop's device; where that is lost, from the last saved state on the CPU."""
    saved: Saved | None = None
    while True:
        try:
            for event in finetune(job, workshop.device, saved, stopped):
                if isinstance(event, Saved):
                    saved = event
                yield from watched(event)
            return
        except Exception as error:
            if not (is_device_loss(error) and (workshop.survives(error) or workshop.lost)):
                raise
