"""Tasks that are computed elsewhere: who is next, how many are out at once, and who waits for the same answer.

Knows nothing of where they go: `send` is a coroutine function that comes back with the answer. A thread of its own
runs the event loop in which the answers are awaited; everything here may be called from any thread.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from typing import Any

from gramviz.errors import BusyError
from gramviz.serving.lines import Flight, Lines

# One visitor may hold a quarter of the places, and no fewer than these where there are as many.
FEWEST = 8
# Seconds that `close` waits for answers that are on their way.
PARTING = 30.0

Send = Callable[[Any, float | None], Coroutine[Any, Any, Any]]

log = logging.getLogger(__name__)


class Outbox:
    """Tasks of equal keys share one call and one result; lines take turns by the time they have used."""

    def __init__(
        self,
        send: Send,
        pending: int,
        room: int,
        *,
        observe: Callable[[str, float], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """send: is given a task and the seconds that it may still wait. pending: places for tasks, waiting or out.

        room: how many are out at once. observe: is told ("wait" | "run", seconds). clock: seconds.
        """
        self._send, self._pending, self._room = send, pending, room
        self._of_a_line = max(pending // 4, min(pending, FEWEST))
        self._observe, self._clock = observe, clock
        self._lock = threading.RLock()
        self._flights: dict[Hashable, Flight] = {}
        self._numbers = itertools.count()
        self._lines = Lines(1)
        self._out: dict[Flight, Future[None]] = {}
        self._closed = False
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="gramviz-outbox", daemon=True)
        self._thread.start()

    def submit(self, key: Hashable, item: Any, *, line: str, deadline: float) -> Future[Any]:
        """A future of the task's result; see `Compute.submit`. Raises BusyError."""
        with self._lock:
            flight, now = self._flights.get(key), self._clock()
            if flight is None:
                self._admit(line)
                flight = Flight(next(self._numbers), key, bool, None, item, now, deadline)
                self._flights[key] = flight
                self.loop.call_soon_threadsafe(self.loop.call_later, deadline, self._expire)
            elif flight.deadline is not None:
                flight.deadline = max(flight.deadline, now - flight.since + deadline)
            flight.wanted += 1
            self._lines.join(flight, line)
            self._pump()
            return flight.future

    def release(self, key: Hashable, future: Future[Any]) -> None:
        """Say that a result is no longer wanted; a task that nobody wants is dropped, or called off where it is."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None or flight.future is not future:
                return
            flight.wanted -= 1
            if flight.wanted > 0:
                return
            del self._flights[key]
            self._lines.leave(flight)
            call = self._out.get(flight)
        if call is None:
            future.cancel()
        else:
            call.cancel()

    def position(self, future: Future[Any]) -> int:
        """How many are to be sent before it: 0 for one that is out or next, -1 when it is done."""
        with self._lock:
            if any(flight.future is future for flight in self._out):
                return 0
            order = self._lines.order()
            return next((place for place, flight in enumerate(order) if flight.future is future), -1)

    def widen(self, room: int) -> None:
        """So many may be out at once from now on."""
        with self._lock:
            self._room = room
            self._pump()

    def status(self) -> dict[str, float]:
        """Numbers for a look at the load."""
        with self._lock:
            waiting = len(self._lines.waiting())
            return {"jobs": waiting, "lines": self._lines.count, "jobs_out": len(self._out)}

    def close(self) -> None:
        """Wait for what is out, though not for ever, drop the rest, and end the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            dropped = self._lines.waiting()
            for flight in dropped:
                self._drop(flight)
            calls = list(self._out.values())
        for flight in dropped:
            flight.future.cancel()
        ending = asyncio.run_coroutine_threadsafe(self._farewell(calls), self.loop)
        ending.result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    # ---- with the lock held

    def _admit(self, line: str) -> None:
        if self._closed:
            raise BusyError("The service is shutting down; please try again later.")
        if len(self._flights) >= self._pending:
            raise BusyError(
                f"{len(self._flights)} computations are waiting already. Please try again in a moment."
            )
        mine = sum(line in flight.lines for flight in self._flights.values())
        if line and mine >= self._of_a_line:
            raise BusyError(
                f"{mine} of your computations are waiting already, as many as one visitor may have. "
                "Please try again in a moment."
            )

    def _drop(self, flight: Flight) -> None:
        """Forget a task; a newcomer with its key starts afresh."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        self._lines.leave(flight)

    def _pump(self) -> None:
        while self._lines.count and len(self._out) < self._room and not self._closed:
            (flight,) = self._lines.take()
            if flight.future.set_running_or_notify_cancel():
                self._out[flight] = asyncio.run_coroutine_threadsafe(self._call(flight), self.loop)

    # ---- in the loop's thread, without the lock

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _call(self, flight: Flight) -> None:
        begun = self._clock()
        self._observe("wait", begun - flight.since)
        result: Any = None
        error: Exception | None = None
        try:
            left = None if flight.deadline is None else flight.deadline - (begun - flight.since)
            result = await self._send(flight.item, left)
        except asyncio.CancelledError:
            error = BusyError("The computation was called off; please try again.")
        except Exception as found:
            error = found
        seconds = self._clock() - begun
        self._observe("run", seconds)
        with self._lock:
            # before anyone hears of the result: whoever asks from now on starts afresh
            self._drop(flight)
            self._out.pop(flight, None)
            self._lines.charge(flight, seconds)
            self._pump()
        if error is None:
            flight.future.set_result(result)
        else:
            flight.future.set_exception(error)

    def _expire(self) -> None:
        with self._lock:
            now = self._clock()
            late = [flight for flight in self._lines.waiting() if flight.late(now)]
            for flight in late:
                self._drop(flight)
        for flight in late:
            if flight.future.set_running_or_notify_cancel():
                waited = f"The computation waited {now - flight.since:.0f} s for its turn; please try again."
                flight.future.set_exception(BusyError(waited))

    async def _farewell(self, calls: list[Future[None]]) -> None:
        # a call's own future says only that it was cancelled, not that its coroutine has ended
        mine = asyncio.current_task()
        waiting = [asyncio.wrap_future(call) for call in calls if not call.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=PARTING)
        rest = [task for task in asyncio.all_tasks() if task is not mine]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
