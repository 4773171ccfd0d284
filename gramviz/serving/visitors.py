"""What is kept of a visitor while they are here: their own checkpoints and their running fine-tunes.

Everything is bounded, by visitor and in all, and is found under the visitor's name only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gramviz.checkpoints.own import OWN_BRANCHES, OwnCheckpoint
from gramviz.errors import BusyError, CheckpointError, InputError

MOST_OWN = len(OWN_BRANCHES)
FORGOTTEN_AFTER = 7200.0  # seconds without a sign of life; a page that is closed says so itself


@dataclass
class Room:
    """One visitor's. begun, numbers: runs and checkpoints there were; places: that running ones will need. over: the
    run that ended last, whose maps may still be looked at, under its number.
    """

    own: dict[str, OwnCheckpoint] = field(default_factory=dict)
    runs: dict[int, Any] = field(default_factory=dict)
    over: dict[int, Any] = field(default_factory=dict)
    begun: int = 0
    numbers: int = 0
    places: int = 0
    seen: float = 0.0


class Visitors:
    """The rooms of all visitors, at most `limit` bytes of checkpoints together. Thread-safe."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._rooms: dict[str, Room] = {}
        self._reserved = 0
        self._lock = threading.RLock()

    @property
    def used(self) -> int:
        """Bytes of all visitors' own checkpoints."""
        with self._lock:
            return sum(own.nbytes for room in self._rooms.values() for own in room.own.values())

    @property
    def count(self) -> int:
        """How many visitors have a room."""
        return len(self._rooms)

    def own(self, visitor: str) -> tuple[OwnCheckpoint, ...]:
        """A visitor's checkpoints, oldest first."""
        with self._lock:
            room = self._room(visitor)
            return tuple(room.own.values()) if room else ()

    def get(self, visitor: str, checkpoint_id: str) -> OwnCheckpoint | None:
        """One of a visitor's checkpoints, None where they have none of that id."""
        with self._lock:
            room = self._room(visitor)
            return room.own.get(checkpoint_id) if room and isinstance(checkpoint_id, str) else None

    @contextmanager
    def places(
        self, visitor: str, count: int, nbytes: int
    ) -> Iterator[Callable[[list[OwnCheckpoint]], None]]:
        """Room for `count` checkpoints of `nbytes` in all, while a fine-tune runs; call what is given to keep them.

        Raises InputError where the visitor has no place left or no name, BusyError where the service has no room.
        """
        if not visitor:
            raise InputError("Checkpoints of one\u2019s own need an open page; please open it again.")
        with self._lock:
            self._tidy(visitor)
            room = self._rooms.get(visitor, Room())
            if len(room.own) + room.places + count > MOST_OWN:
                raise InputError(
                    f"You can have {MOST_OWN} checkpoints of your own and need {count} more; "
                    "forget one, or wait for a fine-tune to end."
                )
            if self.used + self._reserved + nbytes > self._limit:
                raise BusyError(
                    "There is no room for more visitors' checkpoints at present; please try again later."
                )
            room.seen = self._clock()
            room.places += count
            self._rooms[visitor] = room
            self._reserved += nbytes
        kept = [False]

        def keep(made: list[OwnCheckpoint]) -> None:
            with self._lock:
                self._release(room, count, nbytes, kept)
                if self._rooms.get(visitor) is room:
                    room.own |= {own.info.id: own for own in made}

        try:
            yield keep
        finally:
            with self._lock:
                self._release(room, count, nbytes, kept)

    def free_branch(self, visitor: str, taken: int = 0) -> str:
        """The first branch that none of a visitor's checkpoints has, after `taken` others."""
        with self._lock:
            used = {own.info.branch for own in self.own(visitor)}
            return [branch for branch in OWN_BRANCHES if branch not in used][taken]

    def number(self, visitor: str) -> int:
        """The next number in a visitor's count of checkpoints, from 1; it is given once."""
        with self._lock:
            room = self._rooms.setdefault(visitor, Room(seen=self._clock()))
            room.numbers += 1
            return room.numbers

    def begin(self, visitor: str, run: Any) -> int:
        """Know a running fine-tune; the number that it is found by."""
        with self._lock:
            room = self._rooms.setdefault(visitor, Room(seen=self._clock()))
            room.begun += 1
            room.runs[room.begun] = run
            return room.begun

    def run(self, visitor: str, number: Any, *, over: bool = False) -> Any:
        """A visitor's running fine-tune, or with `over` also the one that ended last; InputError where there is none
        of that number.
        """
        with self._lock:
            room = self._room(visitor)
            runs = {} if room is None else {**(room.over if over else {}), **room.runs}
            found = runs.get(number) if isinstance(number, int) else None
            if found is None:
                raise InputError("This fine-tune has ended; start another one.")
            return found

    def end(self, visitor: str, number: int) -> None:
        """A fine-tune runs no more."""
        with self._lock:
            room = self._rooms.get(visitor)
            if room is not None and number in room.runs:
                room.over = {number: room.runs.pop(number)}

    def forget(self, visitor: str, checkpoint_id: str) -> None:
        """Drop one checkpoint; CheckpointError where the visitor has none of that id."""
        with self._lock:
            room = self._room(visitor)
            if room is None or room.own.pop(checkpoint_id, None) is None:
                raise CheckpointError(f"You have no checkpoint {str(checkpoint_id)[:80]!r} of your own.")

    def leave(self, visitor: str) -> list[Any]:
        """Drop all that is a visitor's; the fine-tunes that ran, to be closed."""
        with self._lock:
            room = self._rooms.pop(visitor, None)
            return list(room.runs.values()) if room else []

    def _room(self, visitor: str) -> Room | None:
        room = self._rooms.get(visitor)
        if room is not None:
            room.seen = self._clock()
        return room

    def _tidy(self, visitor: str) -> None:
        """Forget those who have gone without a word, and nobody whose fine-tune runs."""
        oldest = self._clock() - FORGOTTEN_AFTER
        gone = [
            name
            for name, room in self._rooms.items()
            if name != visitor and not room.runs and not room.places and room.seen < oldest
        ]
        for name in gone:
            del self._rooms[name]

    def _release(self, room: Room, count: int, nbytes: int, done: list[bool]) -> None:
        if not done[0]:
            done[0] = True
            room.places -= count
            self._reserved -= nbytes
