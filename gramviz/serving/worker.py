"""One thread that owns the device, and one computation for identical requests in flight.

Knows nothing of features: it runs what it is given, under a key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gramviz.errors import BusyError


class DeviceWorker:
    """Runs jobs one after another in the order they came; those of equal keys share one run and one result."""

    def __init__(self, pending: int) -> None:
        self._pending = pending
        self._lock = threading.Lock()
        self._flights: dict[Hashable, tuple[Future[Any], int]] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gramviz-device")

    def submit(self, key: Hashable, job: Callable[[], Any]) -> Future[Any]:
        """A future of the job, shared with everyone who asks for the same key before it is done.

        Whoever no longer wants it calls `release`. Raises BusyError where too many jobs wait already.
        """
        with self._lock:
            if key in self._flights:
                future, wanted = self._flights[key]
                self._flights[key] = (future, wanted + 1)
                return future
            if len(self._flights) >= self._pending:
                raise BusyError(
                    f"{len(self._flights)} computations are waiting already. Please try again in a moment."
                )
            future = self._pool.submit(job)
            self._flights[key] = (future, 1)
        future.add_done_callback(lambda done: self._landed(key, done))
        return future

    def release(self, key: Hashable, future: Future[Any]) -> None:
        """Say that a result is no longer wanted; a job that nobody wants and that has not begun is dropped."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None or flight[0] is not future:
                return
            wanted = flight[1] - 1
            self._flights[key] = (future, wanted)
            if wanted > 0 or future.running():
                return
            # a newcomer must start afresh: this future is about to be cancelled
            del self._flights[key]
        future.cancel()

    def close(self) -> None:
        """Finish the running job, drop the others, and end the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _landed(self, key: Hashable, done: Future[Any]) -> None:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight[0] is done:
                del self._flights[key]
