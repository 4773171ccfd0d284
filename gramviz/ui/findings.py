"""A finding put into HTML: verdict, numbers, written-out matrices, and what is said beneath its charts.

Formats numbers and computes none. Knows no result of the post.
"""

import math
import re
from collections.abc import Sequence
from html import escape

from gramviz.gram.finding import Chart, Finding, Matrix, Number
from gramviz.gram.telling import MINUS
from gramviz.ui.cards import ONES
from gramviz.ui.curves import THIN, grouped

TIMES, SPACE = "\u00d7", "\u00a0"
PLAIN = (1e-3, 1e6)  # from the first on, and below the second, a number is written without a power of ten
DIGITS = 4  # significant ones
VERDICTS = {
    True: ("holds", "gv-holds", "M3 8.5l3.5 3.5L13 4.5"),
    False: ("fails", "gv-fails", "M4 4l8 8M12 4l-8 8"),
    None: ("cannot be decided", "gv-undecided", "M5 6a3 3 0 1 1 4 2.8c-.8.4-1 .9-1 1.7M8 12.6v.9"),
}
_POWER = re.compile(r"(?<![\w.])(-?\d+(?:\.\d+)?)[eE]([+-]?)0*(\d+)\b")
_PRINTED = tuple(
    (re.compile(pattern), printed)
    for pattern, printed in (
        (r"(?<![\w.])1(?=\^T| [a-z]\^T)|(?<=[A-Z] )1(?= / P)", ONES),
        (r"\|\|", "\u2016"),
        (r"((?<![A-Za-z0-9])d?[A-Za-z]|[\u2016|)])_([A-Za-z0-9]{1,5})\b", r"\1<sub>\2</sub>"),
        (r"\^(\w+)", r"<sup>\1</sup>"),
        (r"(?<![^\s(=|])-(?=\w)|(?<= )-(?= )", MINUS),
        (r"(?<=\d),(?=\d{3}\b)", THIN),
        (r"\bDelta (?=[A-Z])", "\u0394"),
        (r"\bepsilon\b", "\u03b5"),
        (r"\beta\b", "\u03b7"),
        (r"(?<= )\.(?= )", "\u00b7"),
        (r"&lt;=", "\u2264"),
        (r"&#x27;", "\u2019"),
    )
)


def verdict_word(finding: Finding) -> str:
    """As in "holds"."""
    return VERDICTS[finding.holds][0]


def verdict(finding: Finding) -> str:
    """The verdict with its sign, and why."""
    word, name, path = VERDICTS[finding.holds]
    sign = f'<svg viewBox="0 0 16 16" aria-hidden="true"><path d="{path}"/></svg>'
    return (
        f'<p class="gv-verdict"><span class="gv-word {name}">{sign}{word}</span>'
        f'<span class="gv-because">{prose(finding.because)}</span></p>'
    )


def details(finding: Finding, columns: int) -> str:
    """What is said beneath the charts, in as many columns as they stand in; then matrices and numbers."""
    count = len(finding.charts)
    across = -(-count // -(-count // columns)) if count else 1
    return _captions(finding.charts, across) + _matrices(finding.matrices) + _numbers(finding.numbers)


def _captions(charts: Sequence[Chart], columns: int) -> str:
    """A sentence a chart; where there are several, each begins with its chart's title."""
    if not charts:
        return ""
    titles = [f"<b>{prose(chart.title)}{'' if chart.title.endswith('?') else '.'}</b> " for chart in charts]
    lead = titles if len(charts) > 1 else [""]
    texts = "".join(f"<p>{title}{prose(chart.about)}</p>" for title, chart in zip(lead, charts, strict=True))
    return f'<div class="gv-captions" style="--columns: {columns}">{texts}</div>'


def _numbers(numbers: Sequence[Number]) -> str:
    if not numbers:
        return ""
    rows = "".join(
        f"<div><dt>{prose(n.name)}</dt><dd>{written(n.value)}</dd>"
        f'<dd class="gv-meaning">{prose(n.meaning)}</dd></div>'
        for n in numbers
    )
    return f'<dl class="gv-numbers">{rows}</dl>'


def _matrices(matrices: Sequence[Matrix]) -> str:
    if not matrices:
        return ""
    return f'<div class="gv-matrices">{"".join(_matrix(matrix) for matrix in matrices)}</div>'


def _matrix(matrix: Matrix) -> str:
    """A matrix in brackets with its name."""
    rows = "".join(
        "<tr>" + "".join(f"<td>{entry(value)}</td>" for value in row) + "</tr>" for row in matrix.rows
    )
    return f"<figure><figcaption>{prose(matrix.name)} =</figcaption><table>{rows}</table></figure>"


def entry(value: float) -> str:
    """At most three decimals, so that a matrix stays legible."""
    text = f"{abs(value):.3f}".rstrip("0").rstrip(".")
    return f"{MINUS if value < 0 and text != '0' else ''}{text}"


def written(value: float | int) -> str:
    """A number as HTML: whole ones in groups of three, others in four digits or
    as many as the whole part has, far ones with a power of ten.

    >>> written(-0.5)
    '−0.5'
    """
    if isinstance(value, int):
        return grouped(value).replace("-", MINUS)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else f"{MINUS if value < 0 else ''}\u221e"
    sign = MINUS if value < 0 else ""
    size = abs(value)
    if size == 0:
        return "0"
    if PLAIN[0] <= float(f"{size:.{DIGITS - 1}e}") < PLAIN[1]:
        places = max(0, DIGITS - 1 - math.floor(math.log10(size)))
        whole, _, part = f"{size:.{places}f}".partition(".")
        part = part.rstrip("0")
        return sign + grouped(int(whole)) + (f".{part}" if part else "")
    mantissa, _, exponent = f"{size:.1e}".partition("e")
    return sign + _power(mantissa.removesuffix(".0"), int(exponent))


def prose(text: str) -> str:
    """A sentence as HTML, with its maths as in print: powers of ten, indices, minus signs, groups of digits.

    >>> prose("|x_i|^2 is within 1e-12 of -2")
    '|x<sub>i</sub>|<sup>2</sup> is within 10<sup>−12</sup> of −2'
    """
    text = _POWER.sub(lambda found: _power(found[1], int(found[2] + found[3])), escape(text))
    for pattern, printed in _PRINTED:
        text = pattern.sub(printed, text)
    return text


def _power(mantissa: str, exponent: int) -> str:
    """As in 3.1 times 10 to the minus 14."""
    first = "" if mantissa == "1" else f"{mantissa}{SPACE}{TIMES}{SPACE}"
    return f"{first}10<sup>{str(exponent).replace('-', MINUS)}</sup>"
