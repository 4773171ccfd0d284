"""What came of checking a result of the post on given features: numbers, a picture's data and a verdict.

Plain data, JSON-able through `dataclasses.asdict`. Knows neither which results there are nor how any is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUS = "\u2212"


@dataclass(frozen=True)
class Number:
    """A named number. meaning: what it is, in a few words, with its formula or unit. A whole one is an int."""

    name: str
    value: float | int
    meaning: str


@dataclass(frozen=True)
class Line:
    """One line (or set of bars) of a chart; x and y are of one length, without values that are not finite.

    role: "main", "other" or "reference" (drawn faintly).
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    role: str = "main"


@dataclass(frozen=True)
class Chart:
    """A picture's data. kind: "line" or "bar". x_axis, y_axis: names with units. about: a sentence to stand under it.

    mark: where on the x axis the control now stands, if anywhere.
    """

    title: str
    x_axis: str
    y_axis: str
    lines: tuple[Line, ...]
    about: str
    kind: str = "line"
    log_x: bool = False
    log_y: bool = False
    mark: float | None = None


@dataclass(frozen=True)
class Matrix:
    """A small matrix to be written out, as in H = [[1, 0], [0, 1]]; rows of equal length, at most 4 by 4."""

    name: str
    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Finding:
    """What one result comes to.

    holds: whether it does on these features under these settings; None where it cannot be decided, because something
    is missing. because: one or two sentences made from the numbers: why it holds or fails, under which condition, or
    what is missing. matrices: written out for the blackboard's example only.
    """

    holds: bool | None
    because: str
    numbers: tuple[Number, ...] = ()
    charts: tuple[Chart, ...] = ()
    matrices: tuple[Matrix, ...] = ()
