"""Fine-tunes on a Ray cluster: each on a bench of its own, and taken up elsewhere where it is lost.

Reading less is pausing: a bench makes two events more and waits.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from gramviz.errors import BusyError
from gramviz.serving.cluster import Cluster
from gramviz.serving.runs import Runs, fresh
from gramviz.serving.streams import StreamRun
from gramviz.serving.watching import Sight
from gramviz.training.finetune import Ended, Event, FinetuneJob, Saved

AHEAD = 2  # events that a bench makes before they are read
# So often one may be lost before it comes to a newer saved state; then it is given up.
LOSSES = 3

log = logging.getLogger(__name__)


class RayRun(StreamRun):
    """A fine-tune on the cluster; see `Run`."""

    def __init__(
        self, runs: Runs, cluster: Cluster, job: FinetuneJob, line: str, moved: Callable[[], None]
    ) -> None:
        """moved: is called whenever a machine was lost and another takes the fine-tune up."""
        self._remote = Remote(cluster, job, moved)
        super().__init__(runs.open(self._remote.events, line))

    def stop(self) -> None:
        """See `Run`."""
        self._remote.stop()
        self._stream.resume()

    def close(self) -> None:
        """See `Run`."""
        self._stream.close()
        self._remote.close()


class Remote:
    """The benches of one fine-tune: one after another, where they are lost."""

    def __init__(self, cluster: Cluster, job: FinetuneJob, moved: Callable[[], None]) -> None:
        self._cluster, self._job, self._moved = cluster, job, moved
        self._lock = threading.Lock()
        self._stopped = self._closed = False
        self.bench: Any = None  # the actor at work

    def stop(self) -> None:
        """Let the bench end after its present step."""
        with self._lock:
            self._stopped = True
            if self.bench is not None:
                self.bench.stop.remote()

    def close(self) -> None:
        """End the bench; whoever waits for its next event waits no longer."""
        with self._lock:
            self._closed = True
            self._dismiss()

    def events(self) -> Iterator[Event | Sight]:
        """What the job's reader is told, each once, whichever machines it took. Raises BusyError where it is lost."""
        job = ray.put(self._job)
        saved: Saved | None = None
        told: dict[tuple[type, str], int] = {}
        moved, losses = "", 0
        while True:
            try:
                for event in self._from(job, saved):
                    if isinstance(event, Saved):
                        saved, losses = event, 0
                    elif isinstance(event, Ended) and moved:
                        yield replace(event, sentence=f"{event.sentence} {moved}")
                    elif fresh(event, told):
                        yield event
                return
            except RayTaskError as error:
                raise (error.cause or error) from None
            except RayError as error:
                if self._closed:
                    return
                log.warning("the machine of a fine-tune was lost: %s", type(error).__name__)
            losses += 1
            if losses == LOSSES:
                raise BusyError(
                    f"The machine of this fine-tune was lost {LOSSES} times, and it cannot go on; "
                    "please start it again."
                )
            self._moved()
            since = f"step {saved.step}" if saved else "the start"
            moved = f"A machine was lost on the way, and another went on from {since}."

    def _from(self, job: Any, saved: Saved | None) -> Iterator[Any]:
        """The events of one bench, which is given back at the end, whatever ends it."""
        with self._lock:
            if self._closed:
                return
            bench = self.bench = self._cluster.bench()
            if self._stopped:
                bench.stop.remote()
        options = {"num_returns": "streaming", "_generator_backpressure_num_objects": AHEAD}
        try:
            for reference in bench.run.options(**options).remote(job, saved):
                yield ray.get(reference)
        finally:
            with self._lock:
                self._dismiss()

    def _dismiss(self) -> None:
        if self.bench is not None:
            ray.kill(self.bench)
            self.bench = None
