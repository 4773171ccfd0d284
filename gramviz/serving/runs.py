"""Fine-tunes that compute elsewhere than on this process's device: each is read by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from gramviz.errors import BusyError
from gramviz.serving.streams import Stream, Streams
from gramviz.serving.watching import Sight
from gramviz.training.finetune import Stepped


class Runs:
    """The fine-tunes that run, each with a thread that reads it, and those that wait for a place."""

    def __init__(self, room: int, queue: int) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._desk = Streams(room, queue, self._lock, self._wake)
        self._readers: dict[Stream[Any], threading.Thread] = {}
        self._closed = False

    def open(self, factory: Callable[[], Iterator[Any]], line: str) -> Stream[Any]:
        """A stream that is read as soon as there is a place. Raises BusyError."""
        with self._lock:
            if self._closed:
                raise BusyError("The service is shutting down; please try again later.")
            return self._desk.open(factory, line)

    def status(self) -> dict[str, float]:
        """Numbers for a look at the load."""
        with self._lock:
            return {"streams_running": len(self._desk.running), "streams_waiting": len(self._desk.waiting)}

    def close(self) -> None:
        """End all; returns when every thread has ended."""
        with self._lock:
            self._closed = True
            for stream in (*self._desk.waiting, *self._desk.running):
                stream.close()
            readers = list(self._readers.values())
        for reader in readers:
            reader.join()

    def _wake(self) -> None:
        for stream in self._desk.running:
            if stream not in self._readers:
                name = "gramviz-finetune"
                reader = threading.Thread(target=self._read, args=(stream,), name=name, daemon=True)
                self._readers[stream] = reader
                reader.start()
        self._changed.notify_all()

    def _read(self, stream: Stream[Any]) -> None:
        """One stream, event by event, to its end."""
        desk = self._desk
        while True:
            with self._lock:
                self._changed.wait_for(
                    lambda: stream in desk.ready() or stream in desk.leaving() or stream not in desk.running
                )
                if stream not in desk.running:
                    del self._readers[stream]
                    self._wake()  # its place went to another
                    return
                leaving = stream in desk.leaving()
            (desk.shut if leaving else desk.step)(stream)


def fresh(event: Any, told: dict[tuple[type, str], int]) -> bool:
    """Whether the reader has not been told of it before; another machine makes again what came after the last saved
    state. `told`: the newest step by kind and arm.
    """
    if not isinstance(event, Stepped | Sight):
        return True
    step = event.report.step if isinstance(event, Stepped) else event.step
    key = (type(event), event.arm)
    if step <= told.get(key, -1):
        return False
    told[key] = step
    return True
