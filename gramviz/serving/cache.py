"""A least-recently-used cache bounded in bytes, safe to use from several threads.

Knows nothing of what it holds: whoever stores a value says how many bytes it takes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteCache(Generic[V]):
    """At most `limit` bytes of values; storing one drops those used longest ago. A larger value is not kept."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._items: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes held now."""
        return self._used

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Hashable) -> V | None:
        """The value, now the most recently used one, or None."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def put(self, key: Hashable, value: V, size: int) -> None:
        """Store a value of `size` bytes."""
        with self._lock:
            if key in self._items:
                self._used -= self._items.pop(key)[1]
            if size > self.limit:
                return
            self._items[key] = (value, size)
            self._used += size
            while self._used > self.limit:
                _, (_, dropped) = self._items.popitem(last=False)
                self._used -= dropped

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._items.clear()
            self._used = 0
