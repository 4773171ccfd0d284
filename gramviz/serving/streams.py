"""Long work handed out piece by piece: streams that a device makes step by step, at the pace of their readers.

`Streams` is bookkeeping of the scheduler: all its methods want the scheduler's lock held, except `step` and `shut`,
which run a stream's own code on the device's thread and must be called without it.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gramviz.errors import BusyError
from gramviz.serving.lines import LEAST, Turns

if TYPE_CHECKING:
    from _thread import RLock

T = TypeVar("T")

# A stream is not stepped further while its reader has as many items to fetch.
BACKLOG = 64
# As many streams one visitor may have, waiting or running; the nameless line "" is the house's own and has no limit.
OF_A_LINE = 4

logger = logging.getLogger(__name__)


class Stream(Generic[T]):
    """The reader's end of a stream; every method may be called from any thread.

    A paused stream keeps its place among those that run, as it keeps its memory: close what is no longer read.
    """

    def __init__(self, factory: Callable[[], Iterator[T]], line: str, desk: Streams) -> None:
        self.line = line
        self.stamp = 0
        self._desk = desk
        self._factory: Callable[[], Iterator[T]] | None = factory
        self._iterator: Iterator[T] | None = None
        self._items: deque[T] = deque()
        self._error: BaseException | None = None
        self._paused = self._over = False
        self._closing = False  # nobody reads it any more; the iterator may not have been closed yet
        self._arrived = threading.Condition(desk.lock)

    def __iter__(self) -> Iterator[T]:
        """The items in order, as they are made; ends as the factory's iterator does, or raises what it raised."""
        while True:
            with self._arrived:
                if not self._wait(None):
                    return
                item = self._fetch()
            yield item
            del item  # nothing is kept here while the next one is made

    def next(self, timeout: float) -> T | None:
        """The next item; None where none came in `timeout` seconds, or at the end: `ended` tells which."""
        with self._arrived:
            return self._fetch() if self._wait(timeout) else None

    @property
    def ended(self) -> bool:
        """Whether no item is left and none will come."""
        with self._arrived:
            return (self._over or self._closing) and not self._items

    @property
    def position(self) -> int:
        """0 for a stream that runs (or has ended), n for the n-th of those that wait."""
        with self._arrived:
            return self._desk.place(self)

    @property
    def paused(self) -> bool:
        """Whether the stream rests until `resume`."""
        return self._paused

    def pause(self) -> None:
        """Let the device do other things after the step that it is in."""
        with self._arrived:
            self._paused = True

    def resume(self) -> None:
        """Go on where `pause` stopped it."""
        with self._arrived:
            self._paused = False
            self._desk.promote()
            self._desk.wake()

    def close(self) -> None:
        """End the stream: no more items, and the iterator is closed on the device's thread before its next step."""
        with self._arrived:
            self._desk.dismiss(self)

    def _wait(self, timeout: float | None) -> bool:
        """Whether there is an item, after waiting for one; raises the stream's exception at its end."""
        if not (self._items or self._over or self._closing):
            self._desk.wake()  # a device's thread that died is started again
        self._arrived.wait_for(lambda: bool(self._items) or self._over or self._closing, timeout)
        if self._items:
            return True
        if self._error is not None:
            raise self._error
        return False

    def _fetch(self) -> T:
        if len(self._items) == BACKLOG:
            self._desk.wake()
        return self._items.popleft()


class StreamRun:
    """As much of `compute.Run` as the stream itself does: of every fine-tune that is read from one."""

    def __init__(self, stream: Stream[Any]) -> None:
        self._stream = stream
        self.next = stream.next

    @property
    def ended(self) -> bool:
        """See `Run`."""
        return self._stream.ended

    @property
    def position(self) -> int:
        """See `Run`."""
        return self._stream.position

    def pause(self) -> None:
        """See `Run`."""
        self._stream.pause()

    def resume(self) -> None:
        """See `Run`."""
        self._stream.resume()

    def close(self) -> None:
        """See `Run`."""
        self._stream.close()


class Streams:
    """The streams that run, at most `room` at once, and those that wait for a place."""

    def __init__(self, room: int, pending: int, lock: RLock, wake: Callable[[], None]) -> None:
        self.lock = lock
        self.wake = wake
        self._room, self._pending = room, pending
        self.running: list[Stream[Any]] = []
        self.waiting: list[Stream[Any]] = []
        self._turns: Turns[Stream[Any]] = Turns()
        self._round = 0  # the stamp of the last stream that got a place

    def open(self, factory: Callable[[], Iterator[T]], line: str) -> Stream[T]:
        """A stream that runs as soon as there is a place. Raises BusyError where too many wait already."""
        mine = sum(stream.line == line for stream in (*self.running, *self.waiting))
        if line and mine >= OF_A_LINE:
            raise BusyError(
                f"You have {mine} long computations already; please wait for one to end, or stop one."
            )
        if len(self.waiting) >= self._pending:
            raise BusyError(
                f"{len(self.waiting)} long computations are waiting already. Please try again later."
            )
        stream = Stream(factory, line, self)
        stamps = [one.stamp + 1 for one in (*self.running, *self.waiting) if one.line == line]
        stream.stamp = max([self._round, *stamps])
        self.waiting.append(stream)
        self.promote()
        self.wake()
        return stream

    def promote(self) -> None:
        """Give free places to those who wait."""
        for stream in self._queue():
            if len(self.running) >= self._room:
                break
            if not stream._paused:
                self.waiting.remove(stream)
                self.running.append(stream)
                self._round = max(self._round, stream.stamp)

    def place(self, stream: Stream[Any]) -> int:
        """0 for one that runs or has ended, n for the n-th of those that wait."""
        return self._queue().index(stream) + 1 if stream in self.waiting else 0

    def dismiss(self, stream: Stream[Any]) -> None:
        """Take no more from a stream; one that has begun is left for `shut`."""
        if stream._over:
            stream._items.clear()
            return
        stream._closing = True
        stream._items.clear()
        stream._arrived.notify_all()
        if stream in self.waiting:
            self.finish(stream)
        self.wake()

    def leaving(self) -> list[Stream[Any]]:
        """Those among the running that `shut` must end."""
        return [stream for stream in self.running if stream._closing]

    def ready(self) -> list[Stream[Any]]:
        """Those that may be stepped now."""
        return [s for s in self.running if not s._paused and not s._closing and len(s._items) < BACKLOG]

    def choose(self) -> Stream[Any]:
        """Whose step is next; needs a ready one."""
        return self._turns.choose(self.ready())

    def charge(self, stream: Stream[Any], seconds: float) -> None:
        """Book what a step cost."""
        self._turns.charge(stream, max(seconds, LEAST))

    def finish(self, stream: Stream[Any], error: BaseException | None = None) -> None:
        """The end of a stream, with the exception that ended it; its place goes to another."""
        stream._over, stream._error = True, None if stream._closing else error
        stream._iterator = stream._factory = None
        for streams in (self.running, self.waiting):
            if stream in streams:
                streams.remove(stream)
        self.promote()
        stream._arrived.notify_all()

    def step(self, stream: Stream[Any]) -> None:
        """Make one item; on the device's thread, without the lock."""
        try:
            if stream._iterator is None:
                assert stream._factory is not None
                stream._iterator = iter(stream._factory())
                stream._factory = None
            item = next(stream._iterator)
        except StopIteration:
            self.shut(stream)
        except BaseException as error:
            # the reader may keep the exception, but not what the frames below had in memory
            traceback.clear_frames(error.__traceback__)
            self.shut(stream, error)
        else:
            with self.lock:
                if not stream._closing:
                    stream._items.append(item)
                    stream._arrived.notify()

    def shut(self, stream: Stream[Any], error: BaseException | None = None) -> None:
        """Close the iterator and end the stream; on the device's thread, without the lock."""
        close = getattr(stream._iterator, "close", None)
        if close is not None:
            try:
                close()
            except BaseException:
                logger.exception("A stream could not be closed properly")
        del close  # it holds the iterator
        with self.lock:
            self.finish(stream, error)

    def _queue(self) -> list[Stream[Any]]:
        """The waiting in the order of their places: everyone's first stream before anyone's second."""
        return sorted(self.waiting, key=lambda stream: stream.stamp)
