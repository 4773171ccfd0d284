"""Who is next: jobs waiting in one line per visitor, and turns shared out by the time each has used.

Plain bookkeeping without a thread or a lock: whoever calls holds the lock of the scheduler.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# Seconds: the least a turn is charged, so that turns go round even where a clock sees no time pass.
LEAST = 1e-6
# Weight of the newest job in the running mean of what one costs.
NEWEST = 0.1


class Turns(Generic[K]):
    """Start-time fair queueing: the turn goes to whoever has used least; idle time cannot be saved up."""

    def __init__(self) -> None:
        self._used: dict[K, float] = {}
        self._ready: frozenset[K] = frozenset()
        self._now = 0.0  # what the last chosen had used as its turn began; never falls

    def standing(self, key: K) -> float:
        """Seconds that `key` counts as having used; a newcomer begins at the present."""
        used = self._used.get(key, self._now)
        return used if key in self._ready else max(used, self._now)

    def choose(self, ready: Sequence[K]) -> K:
        """Whose turn it is among all who want one now; of equals the first."""
        standings = {key: self.standing(key) for key in ready}
        chosen = min(ready, key=standings.__getitem__)
        self._now = standings[chosen]
        self._ready = frozenset(ready)
        # whoever left and is not ahead of the present is as good as a newcomer: forgotten
        ahead = {key: used for key, used in self._used.items() if used > self._now}
        self._used = ahead | standings
        return chosen

    def charge(self, key: K, seconds: float) -> None:
        """Book what a turn cost."""
        self._used[key] = self._used.get(key, self._now) + seconds


@dataclass(eq=False)
class Flight:
    """A job that waits or runs, and everyone who wants its result.

    number: grows with arrival. since: when it came; deadline: seconds it may wait, None for ever.
    lines: whose it is, first the one who asked first. waiting: False once it was taken out of the lines to be run.
    """

    number: int
    key: Hashable
    job: Callable[[], Any]
    group: Hashable | None
    item: Any
    since: float
    deadline: float | None
    future: Future[Any] = field(default_factory=Future)
    lines: list[str] = field(default_factory=list)
    wanted: int = 0
    waiting: bool = True

    def late(self, now: float) -> bool:
        """Whether it has waited longer than it may."""
        return self.deadline is not None and now - self.since > self.deadline


class Lines:
    """The waiting jobs, each in the line of everyone who wants it."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._queues: dict[str, dict[Flight, None]] = {}  # line -> its jobs, in the order they joined it
        self._turns: Turns[str] = Turns()
        self._typical = LEAST

    @property
    def count(self) -> int:
        """Number of lines where someone waits."""
        return len(self._queues)

    def waiting(self) -> list[Flight]:
        """Every waiting job once, in no particular order."""
        return list({flight: None for queue in self._queues.values() for flight in queue})

    def join(self, flight: Flight, line: str) -> None:
        """Put a job into a line, where it is not yet."""
        if line in flight.lines:
            return
        flight.lines.append(line)
        if flight.waiting:
            self._queues.setdefault(line, {})[flight] = None

    def leave(self, flight: Flight) -> None:
        """Take a job out of all its lines."""
        flight.waiting = False
        for line in flight.lines:
            queue = self._queues.get(line, {})
            queue.pop(flight, None)
            if not queue:
                self._queues.pop(line, None)

    def take(self) -> list[Flight]:
        """The job whose turn it is, with up to `batch` - 1 others of its group, out of their lines; needs one."""
        self._turns.choose(sorted(self._queues, key=self._head))
        order = self.order()
        taken = [next(order)]
        if taken[0].group is not None:
            for flight in order:
                if len(taken) == self._batch or flight.group != taken[0].group:
                    break
                taken.append(flight)
        for flight in taken:
            self.leave(flight)
        return taken

    def order(self) -> Iterator[Flight]:
        """All waiting jobs in the order in which they will run, were all as long as jobs typically are."""
        fair = list(self._fair())
        groups: dict[Hashable, deque[Flight]] = {}
        for flight in fair:
            if flight.group is not None:
                groups.setdefault(flight.group, deque()).append(flight)
        gone: set[Flight] = set()
        for flight in fair:
            if flight in gone:
                continue
            mates = groups.get(flight.group)
            # the first of its group that is left brings the next ones with it
            together = [mates.popleft() for _ in range(min(self._batch, len(mates)))] if mates else [flight]
            gone.update(together)
            yield from together

    def charge(self, flight: Flight, seconds: float) -> None:
        """Book what a job cost, in equal parts to everyone whose it is."""
        self._typical += NEWEST * (seconds - self._typical)
        for line in flight.lines:
            self._turns.charge(line, max(seconds, LEAST) / len(flight.lines))

    def _head(self, line: str) -> int:
        return next(iter(self._queues[line])).number

    def _fair(self) -> Iterator[Flight]:
        """The jobs in fair order, groups aside."""
        queues = {line: deque(queue) for line, queue in self._queues.items()}
        heap = [(self._turns.standing(line), queue[0].number, line) for line, queue in queues.items()]
        heapq.heapify(heap)
        seen: set[Flight] = set()
        while heap:
            used, _, line = heapq.heappop(heap)
            queue = queues[line]
            while queue and queue[0] in seen:
                queue.popleft()
            if not queue:
                continue
            flight = queue.popleft()
            seen.add(flight)
            yield flight
            if queue:
                heapq.heappush(heap, (used + max(self._typical, LEAST), queue[0].number, line))
