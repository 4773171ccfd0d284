"""Visitors' pictures on their way in: decoded a few at a time, and no more in memory at once than may be.

A file of a few megabytes can hold a picture of hundreds, and every visitor who waits in the queue holds one.
"""

from __future__ import annotations

import threading
import time
import weakref
from pathlib import Path

from gramviz.errors import BusyError
from gramviz.vit.images import MAX_SIDE, Picture, read_picture

LARGEST = 3 * MAX_SIDE**2  # bytes
AT_ONCE = 2  # pictures that are decoded side by side


class Pictures:
    """Reads pictures, at most `limit` bytes of those that are still in use; whoever comes then waits. Thread-safe."""

    def __init__(self, limit: int, patience: float) -> None:
        """patience: seconds that a picture waits for room before its visitor is told to come back."""
        self._limit = max(limit, LARGEST)
        self._patience = patience
        self._used = 0
        self._room = threading.Condition()
        self._decoders = threading.Semaphore(AT_ONCE)

    @property
    def used(self) -> int:
        """Bytes of pictures in use, and of those being read."""
        return self._used

    def read(self, source: bytes | Path) -> Picture:
        """As `read_picture`. Raises BusyError besides, where there was no room for too long."""
        self._take(LARGEST, time.monotonic() + self._patience)
        try:
            with self._decoders:
                picture = read_picture(source)
        except BaseException:
            self._give(LARGEST)
            raise
        self._give(LARGEST - picture.pixels.nbytes)
        weakref.finalize(picture, self._give, picture.pixels.nbytes).atexit = False
        return picture

    def _take(self, size: int, until: float) -> None:
        with self._room:
            if not self._room.wait_for(lambda: self._used + size <= self._limit, until - time.monotonic()):
                raise BusyError(
                    "Very many pictures are being looked at just now; please try again in a moment."
                )
            self._used += size

    def _give(self, size: int) -> None:
        with self._room:
            self._used -= size
            self._room.notify_all()
