"""What runs on the machines of a cluster: a replica that computes tasks, and a bench for one fine-tune.

Plain classes that know nothing of Ray: `serving/cluster.py` deploys them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.cache import ByteCache
from gramviz.serving.compute import MIB, LocalCompute
from gramviz.serving.monitoring import Monitor
from gramviz.serving.settings import Settings, choose_device, shipped_models
from gramviz.serving.tasks import Task
from gramviz.serving.watching import Sight, watched
from gramviz.training.finetune import Event, FinetuneJob, Saved, finetune
from gramviz.vit.features import PatchFeatures, nbytes

PULSE = 20.0  # seconds in which a replica must answer that it is at work


class Sized(ByteCache[Any]):
    """A cache that tells how many bytes it counts for a value, so that another can count the same."""

    def size(self, key: Hashable) -> int | None:
        """Bytes of what is kept under a key; None where nothing is."""
        with self._lock:
            return self._items[key][1] if key in self._items else None


class Replica:
    """One device of the cluster: the scheduler and the workshop of a single machine, asked from elsewhere.

    Tasks that arrive together and belong to one group are prepared in one forward, as they are on a single machine.
    """

    def __init__(self, store: CheckpointStore, settings: Settings) -> None:
        """store: of whoever asks; its files must be below the same folder here, or among the shipped ones.

        settings: with `threads` as many as CPUs were given to the replica.
        """
        if not store.folder.is_dir():
            store = CheckpointStore(shipped_models(), store.all())
        self._results = Sized(settings.feature_cache * MIB)
        self._local = LocalCompute(store, settings, self._results, Monitor())

    async def compute(
        self,
        task: Task,
        line: str,
        deadline: float | None,
        given: Sequence[tuple[Hashable, PatchFeatures]] = (),
    ) -> tuple[Any, int | None]:
        """The result, and the bytes that a cache should count for it; None where it is not to be kept.

        given: features that the task needs, with their keys.
        """
        for key, features in given:
            self._results.put(key, features, nbytes(features))
        future = self._local.submit(task, line, deadline)
        try:
            # shielded: the future may be another caller's too
            return await asyncio.shield(asyncio.wrap_future(future)), self._results.size(task.key)
        except asyncio.CancelledError:
            self._local.release(task, future)
            raise

    async def pulse(self) -> bool:
        """True, from wherever there is a replica."""
        return True

    async def check_health(self) -> None:
        """Raise where a new process should take over: the device was lost, or its thread does not answer."""
        if self._local.notice:
            raise RuntimeError(self._local.notice)
        if not await asyncio.to_thread(self._local.healthy, PULSE):
            raise RuntimeError("The device's thread does not answer.")

    def __del__(self) -> None:
        local = getattr(self, "_local", None)
        if local is not None:
            local.close()


class Bench:
    """A place for one fine-tune, in a process of its own."""

    def __init__(self, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._device = choose_device(device)
        self._stopped = False

    def run(self, job: FinetuneJob, resume: Saved | None) -> Iterator[Event | Sight]:
        """The events of a job, looks worked out; saved states among them, so that it can go on elsewhere."""
        for event in finetune(job, self._device, resume, lambda: self._stopped):
            if isinstance(event, Saved):
                yield event
            else:
                yield from watched(event)

    def stop(self) -> None:
        """End after the present step; called while `run` is at it."""
        self._stopped = True


def replica_settings(settings: Settings, threads: int) -> Settings:
    """The settings of a replica: it computes in its own process, and nobody counts its visitors."""
    return replace(settings, engine="local", threads=threads, finetunes=0)
