"""Maps of one picture as they leave the page: cosines to one query by some checkpoints, and their settings in words.

Everything is read from what the page draws from (`View`), so that a file holds what the screen showed. Knows no
engine and no file format.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gramviz.errors import InputError
from gramviz.serving.views import View
from gramviz.vit.images import Picture

OWN = "A picture of one\u2019s own."  # where it is from, said in a caption

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Query:
    """What is asked: patches row by row from 0, of which P, the number of patches, stands for CLS.

    The query is the mean of the features of `positive` less the mean of those of `negative`.
    """

    positive: tuple[int, ...]
    negative: tuple[int, ...] = ()

    @property
    def named(self) -> tuple[int, ...]:
        """All patches that it is made of."""
        return (*self.positive, *self.negative)

    def checked(self, grid: tuple[int, int]) -> Query:
        """Itself. Raises InputError where it names nothing, or a patch that is not on the grid."""
        count = grid[0] * grid[1]
        if not self.named:
            raise InputError("No patch is asked about; point at one.")
        for index in self.named:
            if not 0 <= index <= count:
                raise InputError(f"There is no patch {index}; there are {count}, counted from 0.")
        return self

    def describe(self, grid: tuple[int, int]) -> str:
        """In words, such as "the patch in row 3, column 4"."""
        count, columns = grid[0] * grid[1], grid[1]

        def place(index: int) -> str:
            return f"row {index // columns}, column {index % columns}"

        if self.positive == (count,) and not self.negative:
            return "the CLS token"
        if len(self.positive) == 1 and not self.negative:
            return f"the patch in {place(self.positive[0])}"
        plus = "; ".join(place(index) for index in self.positive)
        minus = "; ".join(place(index) for index in self.negative)
        less = f" less the mean of the patches in {minus}" if minus else ""
        return (f"the mean of the patches in {plus}" if plus else "nothing") + less


@dataclass(frozen=True, eq=False)
class MapSet:
    """One picture, one query, and what some checkpoints made of it, in their order.

    caption: where the picture is from, "" for a visitor's own. layer: counted from the last, -1.
    """

    picture: Picture
    caption: str
    views: tuple[View, ...]
    query: Query
    layer: int = -1

    def __post_init__(self) -> None:
        """Raises InputError where there is no view, or the query is not on their grid."""
        if not self.views:
            raise InputError("There is no map to export; choose at least one checkpoint.")
        self.query.checked(self.grid)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.views[0].grid

    def cosines(self, view: View) -> Array:
        """Cosine of every patch to the query, (rows, columns) float64 in -1..1; 0 where the query has no length."""
        rows = factor_of(view)
        asked = _mean(rows, self.query.positive) - _mean(rows, self.query.negative)
        length = float(np.linalg.norm(asked))
        found = rows[:-1] @ asked / length if length > 0 else np.zeros(len(rows) - 1)
        return np.asarray(np.clip(found, -1, 1).reshape(view.grid))

    def bound(self, view: View) -> float:
        """How far a cosine of this view may be off the exact one, by the stored bound of its factor."""
        rows = factor_of(view)
        length = float(np.linalg.norm(_mean(rows, self.query.positive) - _mean(rows, self.query.negative)))
        weight = bool(self.query.positive) + bool(self.query.negative)
        return weight * view.error * (1 + weight / length) / length if length > 0 else 0.0

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs of the checkpoints, each once."""
        return tuple(dict.fromkeys(view.checkpoint.run for view in self.views))

    def settings(self) -> str:
        """All that the maps depend on, in sentences: query, picture, patches, layer, checkpoints, precision."""
        rows, columns = self.grid
        ids = ", ".join(view.checkpoint.id for view in self.views)
        bound = max(self.bound(view) for view in self.views)
        return (
            f"Query: {self.query.describe(self.grid)}. {rows} \u00d7 {columns} patches, {layer_words(self.layer)}. "
            f"Checkpoints: {ids}. Cosines within \u00b1{bound_text(bound)}. {self.caption or OWN}"
        )


def layer_words(layer: int) -> str:
    """Which layer: negative ones are counted from the last, -1, others from the first, 0."""
    if layer == -1:
        return "last layer"
    return f"layer {layer} counted from the {'first' if layer >= 0 else 'last'}"


def bound_text(bound: float) -> str:
    """A bound rounded up to one digit, so that what is written still holds; "0" for none."""
    if bound <= 0:
        return "0"
    digits = -math.floor(math.log10(bound))
    return f"{math.ceil(bound * 10**digits - 1e-9) / 10**digits:.{max(0, digits)}f}"


def factor_of(view: View) -> Array:
    """The rows that the page computes cosines from, (P + 1, rank) float64: the patches, then CLS."""
    return np.frombuffer(view.factor, dtype="<f2").astype(np.float64).reshape(-1, view.rank)


def colours_of(view: View, colours: bytes | None = None) -> NDArray[np.uint8]:
    """Principal components as RGB, (rows, columns, 3): the view's own, or `colours` in their stead."""
    return np.frombuffer(colours or view.colours, dtype=np.uint8).reshape(*view.grid, 3)


def _mean(rows: Array, indices: Sequence[int]) -> Array:
    found: Array = rows[list(indices)].mean(0) if indices else np.zeros(rows.shape[1])
    return found
