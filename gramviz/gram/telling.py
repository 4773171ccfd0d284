"""From numbers and tensors to the parts of a finding: sentences' numbers, lines without gaps, small matrices.

Knows neither which results there are nor how any is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from gramviz.gram.finding import MINUS, Chart, Line, Matrix, Number

WRITTEN = 4  # rows and columns that fit on a blackboard


def told(value: float) -> str:
    """A number in a sentence, in three digits: "0.123", "45", "1,230" or "4.5e-7", with a true minus sign."""
    size = abs(value)
    if size == 0 or 1e-3 <= size < 999.5:
        text = f"{size:.3g}"
    elif 999.5 <= size < 1e6:
        text = f"{size:,.0f}"
    else:
        mantissa, _, exponent = f"{size:.2e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    return f"{MINUS if value < 0 else ''}{text}"


def share(value: float) -> str:
    """A share in a sentence: 0.123 -> "12.3 %"; one that would read as 100 % without being 1, "over 99.9 %"."""
    return "over 99.9 %" if 0.9995 <= value < 1 else f"{told(100 * value)} %"


def numbers(*rows: tuple[str, float | int | None, str]) -> tuple[Number, ...]:
    """Numbers (name, value, meaning), without those that do not exist: None or not finite."""
    return tuple(
        Number(name, value, meaning)
        for name, value, meaning in rows
        if value is not None and math.isfinite(value)
    )


def line(
    name: str, x: Sequence[float], y: Sequence[float], role: str = "main", *, positive: bool = False
) -> Line:
    """A line without the points that are not finite or, for an axis of logarithms, not positive."""
    kept = [
        (float(a), float(b))
        for a, b in zip(x, y, strict=True)
        if math.isfinite(a) and math.isfinite(b) and (b > 0 or not positive)
    ]
    return Line(name, tuple(a for a, _ in kept), tuple(b for _, b in kept), role)


def drawn(*charts: Chart) -> tuple[Chart, ...]:
    """The charts without lines that have no point, and without charts that have no line."""
    full = [replace(chart, lines=tuple(line for line in chart.lines if line.x)) for chart in charts]
    return tuple(chart for chart in full if chart.lines)


def written(*matrices: tuple[str, Tensor]) -> tuple[Matrix, ...]:
    """The matrices (name, [n, m]) to be written out, where all of them are small enough for that; else none."""
    if any(size > WRITTEN for _, matrix in matrices for size in matrix.shape):
        return ()
    return tuple(Matrix(name, tuple(tuple(row) for row in matrix.tolist())) for name, matrix in matrices)
