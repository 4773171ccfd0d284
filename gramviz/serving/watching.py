"""What a fine-tune's looks at the watched picture become before they travel: directions, spectrum and measures.

Letters: P patches, d feature width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gramviz.gram.spectrum import eigenvalues, measures
from gramviz.serving.threads import threads_for
from gramviz.serving.tuning import TEACHER, Looked
from gramviz.training.finetune import Anchor, Event, Look, Saved

KEPT = 48  # eigenvalues that are shown


@dataclass(frozen=True, eq=False)
class Sight:
    """One look. units: float16 [P, d], the patches' directions; the rest as in `Looked`."""

    arm: str
    step: int
    grid: tuple[int, int]
    units: NDArray[np.float16]
    spectrum: tuple[float, ...]
    measures: dict[str, float]


def watched(event: Event) -> Iterator[Event | Sight]:
    """An event as it goes to the reader: looks are worked out here, where the tensors are; states stay here."""
    if isinstance(event, Look):
        yield sight(event.arm, event.step, event.patches, event.cls, event.gram_distance)
    elif isinstance(event, Anchor):
        yield sight(TEACHER, 0, event.patches, event.cls, 0.0)
    elif not isinstance(event, Saved):
        yield event


def sight(arm: str, step: int, patches: torch.Tensor, cls: torch.Tensor, distance: float) -> Sight:
    """What is told of patches [rows, columns, d] and cls [d]."""
    flat = patches.flatten(0, 1).float()
    with threads_for(flat.numel()):
        values, found = eigenvalues(flat), measures(flat, cls.float())
    return Sight(
        arm=arm,
        step=step,
        grid=(patches.shape[0], patches.shape[1]),
        units=F.normalize(flat, dim=-1).half().numpy(),
        spectrum=tuple((values[:KEPT] / len(flat)).tolist()),
        measures={**found, "gram_distance": distance},
    )


def looked(seen: Sight, pinned: int) -> Looked:
    """One look with the map of a pinned patch, 0..P - 1. In numpy: a visitor's click waits for no device."""
    units = seen.units.astype(np.float32)
    cosines = np.clip(units @ units[pinned], -1, 1)
    quantised = np.rint((cosines + 1) * 127.5).astype(np.uint8)
    return Looked(seen.arm, seen.step, pinned, quantised.tobytes(), seen.spectrum, seen.measures)
