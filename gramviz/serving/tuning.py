"""What goes between the page and a running fine-tune: the request, and what is told of it as it runs.

Letters: P patches of the visitor's picture, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.serving.plans import Plan
from gramviz.vit.images import Picture

TEACHER, START = (
    "teacher",
    "start",
)  # names of the Gram teacher's map and of the start's beside those of the arms


@dataclass(frozen=True, eq=False)
class TuneRequest:
    """A fine-tune of one visitor. picture: what is watched; patches: on its long side; pinned: index of the patch
    whose map is watched, row by row, None for the middle one. own: images to train on where the plan says "own".
    """

    picture: Picture
    plan: Plan
    patches: int
    pinned: int | None = None
    own: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Waiting:
    """Not begun: so many are before it, 1 for the next one."""

    position: int


@dataclass(frozen=True)
class Begun:
    """It has a place. number: by which the visitor's other calls name it. arms: "tuned", and "control" if any.
    images: how many it trains on.
    """

    number: int
    grid: tuple[int, int]
    steps: int
    arms: tuple[str, ...]
    images: int


@dataclass(frozen=True)
class Row:
    """One finished step of one arm: losses before weighting by name, and the weighted total."""

    arm: str
    step: int
    losses: dict[str, float]
    total: float
    gradient_norm: float


@dataclass(frozen=True, eq=False)
class Looked:
    """The watched picture as one arm (or the Gram teacher, at step 0) sees it after `step` steps.

    map: uint8 [P], the cosines c of the pinned patch to all, as round((c + 1) / 2 * 255): off by at most 1/255.
    spectrum: the largest eigenvalues of G over P, descending, so that all of them sum to 1 (at most 48 are kept).
    measures: as in `View`, with gram_distance = ||G - G_teacher||_F^2 / P^2 of this picture.
    """

    arm: str
    step: int
    pinned: int
    map: bytes
    spectrum: tuple[float, ...]
    measures: dict[str, float]


@dataclass(frozen=True)
class Frame:
    """What is new. step: finished by all arms. elapsed: seconds of work so far; left: seconds that the rest will take
    at the present pace, None before that is known. rows: the steps since the last frame; looks: the newest of each
    arm that has a new one.
    """

    step: int
    steps: int
    elapsed: float
    left: float | None
    paused: bool
    rows: tuple[Row, ...]
    looks: tuple[Looked, ...]


@dataclass(frozen=True)
class Finished:
    """The end. reason: "done", "stopped" (by the visitor), "deadline", "diverged" or "failed"; sentence: the same for
    a reader. own: the checkpoints that were added to the visitor's list, the anchored arm's first; empty where there
    is nothing to keep.
    """

    reason: str
    sentence: str
    own: tuple[CheckpointInfo, ...]


Update = Waiting | Begun | Frame | Finished
