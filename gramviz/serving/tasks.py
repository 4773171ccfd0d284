"""A computation as data: what goes to whoever computes, in this process or in another.

Knows nothing of how it is computed (`serving/workshop.py`) or where (`serving/compute.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gramviz.checkpoints.curves import metrics_stamp
from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.controls import shown
from gramviz.serving.lab import Values
from gramviz.serving.views import Ask, Key


@dataclass(frozen=True, eq=False)
class Task:
    """kind: which computation; args: its arguments, picklable; key: equal for equal computations, and under what the
    result is cached. ask: whose features it needs, None where it needs none or those of several.
    """

    kind: str
    key: Key
    args: tuple[Any, ...]
    ask: Ask | None = None


def view_task(ask: Ask) -> Task:
    """A View of one checkpoint."""
    return Task("view", ask.key("view"), (ask,), ask)


def spectral_task(ask: Ask) -> Task:
    """A SpectralView of one checkpoint."""
    return Task("spectral", ask.key("spectra"), (ask,), ask)


def features_task(ask: Ask) -> Task:
    """The PatchFeatures themselves."""
    return Task("features", ask.key("features"), (ask,), ask)


def colours_task(asks: Sequence[Ask]) -> Task:
    """Colours of several checkpoints in one basis, in their order."""
    return Task("colours", ("colours", *(ask.key("features") for ask in asks)), (tuple(asks),))


def similarity_task(ask: Ask, row: Any, column: Any) -> Task:
    """The exact cosine map of one patch."""
    return Task("similarity", ask.key(f"similarity {shown(row)} {shown(column)}"), (ask, row, column), ask)


def spectrum_task(ask: Ask) -> Task:
    """Eigenvalues and measures as plain data."""
    return Task("spectrum", ask.key("spectrum"), (ask,), ask)


def theory_task(ask: Ask, store: CheckpointStore, card: str, values: Values) -> Task:
    """What a card of the theory lab finds on features; `values` are checked."""
    # some charts are of what was measured along the run, which may go on
    of = (ask.info.id, metrics_stamp(store.folder, ask.info.run))
    key = (*ask.key("theory"), *of, card, *sorted(values.items()))
    return Task("theory", key, (ask, (*ask.key("material"), *of), card, values), ask)


def blackboard_task(card: str, values: Values) -> Task:
    """What a card of the theory lab finds on the blackboard; `values` are checked."""
    return Task("blackboard", ("blackboard", card, *sorted(values.items())), (card, values))
