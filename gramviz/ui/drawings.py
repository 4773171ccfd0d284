"""Figures that depend on a run's measurements alone, drawn once for all visitors.

Knows nothing of what is drawn. It holds nothing of a visitor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from gramviz.serving.cache import ByteCache
from gramviz.ui.curves import Row

D = TypeVar("D")
KEPT_DRAWINGS = 16


class Drawings(Generic[D]):
    """What was drawn last, up to `most` of it. Thread-safe; rows that were read anew are drawn anew."""

    def __init__(self, most: int = KEPT_DRAWINGS) -> None:
        self._kept: ByteCache[tuple[Sequence[Row], D]] = ByteCache(most)  # each counted as one

    def of(self, key: Hashable, rows: Sequence[Row], make: Callable[[], D]) -> D:
        """What `make` draws of `rows`, unless it was drawn under this key of the very same rows before."""
        found = self._kept.get(key)
        if found is not None and found[0] is rows:
            return found[1]
        made = make()
        self._kept.put(key, (rows, made), 1)
        return made
