"""One thread that owns the device: it runs short jobs in a fair order, and steps of long streams in between.

Knows nothing of features: it runs what it is given, under a key. Whoever asks is known by a line, a name of theirs;
the line "" is the house's own. No one is asked again and again whether there is something to do: threads sleep until
they are woken.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from gramviz.errors import BusyError
from gramviz.serving.lines import LEAST, Flight, Lines, Turns
from gramviz.serving.streams import Stream, Streams

T = TypeVar("T")

# One visitor may hold a quarter of the places, and no fewer than these where there are as many.
FEWEST = 8

logger = logging.getLogger(__name__)


class Scheduler:
    """Jobs and streams on one device.

    Jobs of equal keys share one run and one result. Lines take turns by the time they have used. Waiting jobs of one
    group run together, after one call of `prepare` with the items of all of them.
    """

    def __init__(
        self,
        pending: int = 256,
        streams: int = 2,
        *,
        share: float = 0.25,
        batch: int = 8,
        prepare: Callable[[list[Any]], None] | None = None,
        queue: int | None = None,
        observe: Callable[[str, float], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """pending: places for jobs, waiting or running. streams: how many run at once; queue: how many may wait, as
        many as jobs unless given. observe: is told ("wait" | "run" | "step", seconds) of jobs and streams.

        share: of the device's time, 0..1, what streams get at most while jobs want it too.
        batch: jobs of one group that are taken together. clock: seconds.
        """
        self._pending = pending
        self._of_a_line = max(pending // 4, min(pending, FEWEST))
        self._weights = {"jobs": 1 - share, "streams": share}
        self._prepare = prepare
        self._clock = clock
        self._observe = observe
        self._since: float | None = None  # when what runs now began
        # guards everything here; only the device's thread waits for work
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._flights: dict[Hashable, Flight] = {}
        self._numbers = itertools.count()
        self._lines = Lines(batch)
        self._taken: deque[Flight] = deque()  # out of the lines, to be run next
        self._streams = Streams(streams, pending if queue is None else queue, self._lock, self._wake)
        self._sides: Turns[str] = Turns()
        self._running: Flight | Stream[Any] | None = None
        self._thread: threading.Thread | None = None
        self._started = 0
        self._closed = False
        atexit.register(self.close)

    def submit(
        self,
        key: Hashable,
        job: Callable[[], Any],
        *,
        line: str = "",
        group: Hashable | None = None,
        item: Any = None,
        deadline: float | None = None,
    ) -> Future[Any]:
        """A future of the job, shared with everyone who asks for the same key before it is done.

        Whoever no longer wants it calls `release`. deadline: seconds that it may wait to be begun; looked at whenever
        the device comes free, and the most patient of those who share a job decides.
        Raises BusyError where too many jobs wait already, of all or of this line.
        """
        with self._work:
            flight = self._flights.get(key)
            now = self._clock()
            if flight is None:
                self._admit(line)
                flight = Flight(next(self._numbers), key, job, group, item, now, deadline)
                self._flights[key] = flight
            elif flight.deadline is not None:
                flight.deadline = (
                    None if deadline is None else max(flight.deadline, now - flight.since + deadline)
                )
            flight.wanted += 1
            self._lines.join(flight, line)
            self._wake()
            return flight.future

    def release(self, key: Hashable, future: Future[Any]) -> None:
        """Say that a result is no longer wanted; a job that nobody wants and that has not begun is dropped."""
        with self._work:
            flight = self._flights.get(key)
            if flight is None or flight.future is not future:
                return
            flight.wanted -= 1
            if flight.wanted > 0 or flight is self._running:
                return
            self._drop(flight)
        future.cancel()

    def position(self, future: Future[Any]) -> int:
        """How many jobs are expected to run before it: 0 for the one that runs or is next, -1 when it is done."""
        with self._work:
            if isinstance(self._running, Flight) and self._running.future is future:
                return 0
            order = itertools.chain(self._taken, self._lines.order())
            return next((place for place, flight in enumerate(order) if flight.future is future), -1)

    def stream(self, factory: Callable[[], Iterator[T]], *, line: str = "") -> Stream[T]:
        """A stream of what the factory's iterator makes; both are called on the device's thread only.

        Raises BusyError where too many streams wait already, of all or of this line.
        """
        with self._work:
            self._check_open()
            return self._streams.open(factory, line)

    def status(self) -> dict[str, float]:
        """Numbers for a look at the load: jobs that wait, their lines, streams, and deaths of the thread survived."""
        with self._work:
            return {
                "jobs": len(self._lines.waiting()) + len(self._taken),
                "lines": self._lines.count,
                "streams_running": len(self._streams.running),
                "streams_waiting": len(self._streams.waiting),
                "restarts": max(0, self._started - 1),
            }

    def busy_for(self) -> float:
        """Seconds that what runs now has been running; 0 where nothing does."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def close(self) -> None:
        """Finish the running job, drop the others, close the streams, and end the thread."""
        with self._work:
            self._closed = True
            dropped = [flight for flight in self._flights.values() if flight is not self._running]
            for flight in dropped:
                self._drop(flight)
            for stream in (*self._streams.waiting, *self._streams.running):
                self._streams.dismiss(stream)
            thread = self._thread
            self._work.notify()
        for flight in dropped:
            flight.future.cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        atexit.unregister(self.close)

    # ---- with the lock held

    def _check_open(self) -> None:
        if self._closed:
            raise BusyError("The service is shutting down; please try again later.")

    def _admit(self, line: str) -> None:
        self._check_open()
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
        """Forget a job that has not begun; a newcomer with its key starts afresh."""
        del self._flights[flight.key]
        self._lines.leave(flight)
        if flight in self._taken:
            self._taken.remove(flight)

    def _wake(self) -> None:
        """See that the thread lives and looks for work."""
        if self._closed and not self._streams.running:
            self._work.notify()
            return
        if self._thread is None or not self._thread.is_alive():
            self._started += 1
            self._thread = threading.Thread(target=self._serve, name="gramviz-device", daemon=True)
            self._thread.start()
        self._work.notify()

    def _choose(self) -> Callable[[], None] | None:
        """What the device does next, None where there is nothing to do."""
        now = self._clock()
        late = [flight for flight in self._lines.waiting() if flight.late(now)]
        if late:
            for flight in late:
                self._drop(flight)
            return partial(self._expire, late, now)
        for stream in self._streams.leaving():
            return partial(self._streams.shut, stream)
        wants = {"jobs": self._taken or self._lines.count, "streams": self._streams.ready()}
        sides = [side for side, wanted in wants.items() if wanted]
        if not sides:
            return None
        if self._sides.choose(sides) == "streams":
            self._running = self._streams.choose()
            return partial(self._step, self._running)
        if self._taken:
            return self._run_next()
        self._taken.extend(self._lines.take())
        if self._prepare is None or self._taken[0].group is None:
            return self._run_next()
        return partial(self._prepare_all, list(self._taken))

    def _run_next(self) -> Callable[[], None]:
        flight = self._running = self._taken.popleft()
        return partial(self._run, flight)

    # ---- the device's thread, without the lock

    def _serve(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException:
            logger.exception("The device's thread died; it is started again")
            self._bury()

    def _turn(self) -> bool:
        """Wait for something to do and do it; False at the end of all."""
        with self._work:
            while (chosen := self._choose()) is None:
                if self._closed:
                    return False
                self._work.wait()
        self._since = self._clock()
        try:
            chosen()
        finally:
            self._since = None
        return True

    def _expire(self, late: list[Flight], now: float) -> None:
        for flight in late:
            if flight.future.set_running_or_notify_cancel():
                waited = f"The computation waited {now - flight.since:.0f} s for its turn; please try again."
                flight.future.set_exception(BusyError(waited))

    def _prepare_all(self, flights: list[Flight]) -> None:
        assert self._prepare is not None
        begun = self._clock()
        _, error = outcome(partial(self._prepare, [flight.item for flight in flights]))
        if error is not None:
            logger.error("Preparing %d jobs failed", len(flights), exc_info=error)
        seconds = self._clock() - begun
        with self._work:
            self._charge("jobs", seconds)
            for flight in flights:
                self._lines.charge(flight, seconds / len(flights))

    def _run(self, flight: Flight) -> None:
        begun = self._clock()
        wanted = flight.future.set_running_or_notify_cancel()
        result, error = outcome(flight.job) if wanted else (None, None)
        seconds = self._clock() - begun
        self._observe("wait", begun - flight.since)
        self._observe("run", seconds)
        with self._work:
            self._charge("jobs", seconds)
            self._lines.charge(flight, seconds)
            # before anyone hears of the result: whoever asks from now on starts afresh
            del self._flights[flight.key]
            self._running = None
        if error is not None:
            flight.future.set_exception(error)
        elif wanted:
            flight.future.set_result(result)

    def _step(self, stream: Stream[Any]) -> None:
        begun = self._clock()
        self._streams.step(stream)
        seconds = self._clock() - begun
        self._observe("step", seconds)
        with self._work:
            self._charge("streams", seconds)
            self._streams.charge(stream, seconds)
            self._running = None

    def _charge(self, side: str, seconds: float) -> None:
        self._sides.charge(side, max(seconds, LEAST) / max(self._weights[side], LEAST))

    def _bury(self) -> None:
        """The thread is about to end unasked: what it was at fails, the rest is kept for the next one."""
        fault = BusyError("The service had a fault during this computation; please try again.")
        with self._work:
            self._thread = None
            broken, self._running = self._running, None
            if isinstance(broken, Stream):
                self._streams.finish(broken, fault)
            elif broken is not None:
                del self._flights[broken.key]
            # With nothing to blame the next thread could die of the same at once: it waits for someone to come.
            if broken is not None:
                self._wake()
        if isinstance(broken, Flight) and not broken.future.done():
            broken.future.set_exception(fault)


def outcome(job: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What a job returns or raises, whatever it is."""
    try:
        return job(), None
    except BaseException as error:
        return None, error
