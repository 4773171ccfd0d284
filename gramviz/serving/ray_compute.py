"""Who computes for the engine where `--engine ray` was chosen: replicas on a Ray cluster, and benches for fine-tunes.

Tasks are idempotent, so one whose machine is lost is computed again elsewhere. Imported only where Ray is wanted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Hashable
from concurrent.futures import Future
from functools import partial
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import ReplicaUnavailableError

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.errors import BusyError
from gramviz.serving.cache import ByteCache
from gramviz.serving.cluster import Cluster
from gramviz.serving.luggage import Luggage
from gramviz.serving.monitoring import Monitor
from gramviz.serving.outbox import Outbox
from gramviz.serving.ray_finetune import RayRun
from gramviz.serving.runs import Runs
from gramviz.serving.settings import Settings
from gramviz.serving.tasks import Task, features_task
from gramviz.training.finetune import FinetuneJob
from gramviz.vit.features import PatchFeatures

# A task during which so many replicas were lost may be what they were lost by.
TRIES = 4
PAUSE = 0.2  # seconds before the second try; twice as long before each further one
CENSUS = 1.0  # seconds between looks at how many replicas there are

Given = tuple[tuple[Hashable, PatchFeatures], ...]  # features that a task needs, with their keys

log = logging.getLogger(__name__)


class RayCompute:
    """Replicas of a workshop on the machines of a Ray cluster."""

    def __init__(
        self, store: CheckpointStore, settings: Settings, results: ByteCache[Any], monitor: Monitor
    ) -> None:
        self._results, self._monitor, self._deadline = results, monitor, settings.deadline
        self._cluster = Cluster(store, settings)
        self._plan = plan = self._cluster.plan
        self._compute = self._cluster.handle.options(method_name="compute")
        self._luggage = Luggage()
        self._counted = time.monotonic()  # when the replicas were last counted
        self._replicas = plan.least
        self._retrying = 0
        self._outbox = Outbox(
            self._answer, settings.pending, plan.least * plan.ongoing, observe=monitor.observe
        )
        self._runs = Runs(settings.finetunes, settings.finetune_queue)

    @property
    def notice(self) -> str:
        """See `Compute`."""
        if not self._retrying:
            return ""
        return "A machine of the cluster was lost; what it was computing is computed again on another."

    @property
    def terms(self) -> str:
        """See `Compute`."""
        return ""

    def submit(self, task: Task, line: str, deadline: float | None = None) -> Future[Any]:
        """See `Compute`."""
        patience = self._deadline if deadline is None else deadline
        return self._outbox.submit(task.key, (task, line), line=line, deadline=patience)

    def release(self, task: Task, future: Future[Any]) -> None:
        """See `Compute`."""
        self._outbox.release(task.key, future)

    def position(self, future: Future[Any]) -> int:
        """See `Compute`."""
        return self._outbox.position(future)

    def finetune(self, job: FinetuneJob, line: str) -> RayRun:
        """See `Compute`."""
        return RayRun(self._runs, self._cluster, job, line, partial(self._monitor.count, "finetune_moved"))

    def status(self) -> dict[str, float]:
        """See `Compute`."""
        return {**self._outbox.status(), **self._runs.status(), "replicas": self._replicas}

    def healthy(self, timeout: float) -> bool:
        """See `Compute`. Replicas that are all at work do not answer at once, but they are there."""
        try:
            pulse = self._cluster.handle.options(method_name="pulse").remote()
            try:
                return bool(pulse.result(timeout_s=timeout))
            except TimeoutError:
                pulse.cancel()
                return self._cluster.replicas() > 0
        except Exception:
            log.exception("no replica answers")
            return False

    def close(self) -> None:
        """See `Compute`."""
        self._runs.close()
        self._outbox.close()
        self._cluster.close()

    # ---- in the outbox's loop

    async def _answer(self, item: tuple[Task, str], left: float | None) -> Any:
        """The result of a task, which is kept in this process's cache as well."""
        task, line = item
        found = self._results.get(task.key)
        if found is not None:
            return found
        given: Given = ()
        if task.kind == "colours":
            # wherever the features of each are: their makers are asked for them, and one replica for the rest
            needed = [features_task(ask) for ask in task.args[0]]
            made = await asyncio.gather(*(self._answer((one, line), left) for one in needed))
            given = tuple(zip((one.key for one in needed), made, strict=True))
        value, size = await self._tried(self._luggage.packed(task), line, left, given)
        if size is not None:
            self._results.put(task.key, value, size)
        return value

    async def _tried(self, task: Task, line: str, left: float | None, given: Given) -> tuple[Any, int | None]:
        """What a replica answers, or another where that one is lost."""
        lost = 0
        try:
            while True:
                try:
                    return await self._asked(task, line, left, given)
                except RayTaskError as error:
                    raise (error.cause or error) from None
                except (RayError, ReplicaUnavailableError) as error:
                    log.warning("a replica was lost during a task: %s", type(error).__name__)
                    self._monitor.count("replica_lost")
                    lost += 1
                    self._retrying += lost == 1
                if lost == TRIES:
                    raise BusyError(
                        f"{lost} machines were lost while they computed this; please try again later."
                    )
                await asyncio.sleep(PAUSE * 2 ** (lost - 1))
        finally:
            self._retrying -= lost > 0

    async def _asked(self, task: Task, line: str, left: float | None, given: Given) -> Any:
        if time.monotonic() - self._counted > CENSUS:
            self._counted = time.monotonic()
            self._census = asyncio.create_task(asyncio.to_thread(self._count))
        response = self._compute.options(session_id=session(task)).remote(task, line, left, given)
        answer = asyncio.ensure_future(awaited(response))
        patience = None if left is None else max(left, CENSUS)
        try:
            while True:
                # time that runs out while a replica computes does not end it
                done, _ = await asyncio.wait([answer], timeout=patience)
                if done:
                    return answer.result()
                if await asyncio.to_thread(self._cluster.replicas) == 0:
                    raise BusyError("No machine of the cluster can compute at the moment; please try again.")
        finally:
            if not answer.done():
                response.cancel()
                answer.cancel()

    def _count(self) -> None:
        """More replicas take more at once; fewer, less."""
        try:
            self._replicas = self._cluster.replicas()
        except Exception:
            log.exception("the replicas could not be counted")
            return
        self._outbox.widen(max(self._replicas, 1) * self._plan.ongoing)


async def awaited(response: Any) -> Any:
    """A response of Serve as a coroutine."""
    return await response


def session(task: Task) -> str:
    """By what a task is sent: all that is computed of the same features goes to where they are."""
    key = task.key if task.ask is None else task.ask.key("features")
    return hashlib.sha256(repr(key).encode()).hexdigest()
