"""What a card of the theory lab shows as a picture file: charts, verdict and numbers. Knows no result of the post."""

import re
from collections.abc import Mapping
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gramviz.gram.finding import Chart, Finding
from gramviz.ui.figures.lab import looks
from gramviz.ui.findings import verdict_word
from gramviz.ui.pictures.files import DASHES, INK, JOURNAL, MARKERS, SOFT, check_kind, titled, written

PANEL = 2.3  # inches: the height of a line of charts
LINE, LETTERS = 0.14, 138  # inches: a line of text, and how many letters fit into one
MOST_ACROSS = 3
MARKED = 24  # points up to which each is marked
SMALL, LARGE = 6.5, 8.5  # points
BLACKBOARD = "the blackboard\u2019s four patches."


def settings_words(values: Mapping[str, float | str], of: str) -> str:
    """The settings of a card in a sentence. of: what it is checked on, "" for the blackboard."""
    listed = ", ".join(f"{name} {value}" for name, value in values.items())
    return f"Settings: {listed or 'none'}. Checked on: {of or BLACKBOARD}"


def finding_picture(title: str, settings: str, finding: Finding, kind: str = "png") -> bytes:
    """Title and verdict above, the charts, and beneath every number with the settings, as a file's bytes.

    kind: "png" (2,160 pixels wide), "svg" or "pdf"; 183 mm wide. Raises InputError for another kind.
    """
    check_kind(kind)
    return written(finding_figure(title, settings, finding), kind)


def finding_figure(title: str, settings: str, finding: Finding) -> Figure:
    """As `finding_picture`, before it is written: the axes are the charts, in their order."""
    said = wrap(f"{verdict_word(finding)}: {finding.because}", LETTERS)
    numbers = "; ".join(f"{n.name} {_number(n.value)}" for n in finding.numbers)
    caption = [*wrap(numbers, LETTERS), *wrap(settings, LETTERS)]
    across = min(MOST_ACROSS, max(1, len(finding.charts)))
    lines = -(-len(finding.charts) // across)
    head, foot = 0.3 + LINE * len(said), 0.15 + LINE * len(caption)
    height = head + PANEL * lines + foot
    room = (0.005, foot / height, 0.99, PANEL * lines / height)
    layout = ConstrainedLayoutEngine(rect=room)
    figure = Figure(figsize=(JOURNAL, height), dpi=300, facecolor="white", layout=layout)
    for index, chart in enumerate(finding.charts, 1):
        _draw(figure.add_subplot(lines, across, index), chart)
    rows = [(title, LARGE, INK, "bold"), *((line, SMALL + 0.5, INK, "normal") for line in said)]
    for index, (text, size, colour, weight) in enumerate(rows):
        figure.text(
            0.011, 1 - (0.2 + LINE * index) / height, text, fontsize=size, color=colour, weight=weight
        )
    for index, line in enumerate(caption):
        base = (LINE * (len(caption) - index) - 0.04) / height
        figure.text(0.011, base, line, fontsize=SMALL, color=SOFT)
    return figure


def _draw(axes: Axes, chart: Chart) -> None:
    titled(axes, "\n".join(wrap(chart.title, 40)), chart.x_axis, chart.y_axis, SMALL)
    axes.set(xscale="log" if chart.log_x else "linear", yscale="log" if chart.log_y else "linear")
    width = 0.8 / max(1, len(chart.lines))
    for index, (line, look) in enumerate(zip(chart.lines, looks(chart.lines), strict=True)):
        faint = line.role == "reference"
        if chart.kind == "bar":
            shift = (index - (len(chart.lines) - 1) / 2) * width
            places = [x + shift for x in line.x]
            axes.bar(places, line.y, width, color=look.colour, alpha=0.5 if faint else 1, label=line.name)
            continue
        mark = MARKERS.get(look.marker, "o") if len(line.x) <= MARKED and not faint else ""
        axes.plot(
            line.x,
            line.y,
            color=look.colour,
            linestyle=DASHES.get(look.dash, "--"),
            linewidth=1 if faint else 1.6,
            marker=mark,
            markersize=3.5,
            label=line.name,
        )
    if chart.mark is not None and (chart.mark > 0 or not chart.log_x):
        axes.axvline(chart.mark, color=INK, linewidth=0.9, linestyle=":")
    if len(chart.lines) > 1:
        axes.legend(fontsize=SMALL, frameon=False)


def _number(value: float) -> str:
    """In four digits, whole ones whole."""
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return re.sub(r"e([+-])0+(\d)", r"e\1\2", text)
