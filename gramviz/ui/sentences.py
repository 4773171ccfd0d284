"""Effects put into sentences: over which steps, how much, how clear, and of how many seeds.

Knows nothing of what is expected of a measure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gramviz.ui import curves
from gramviz.ui.curves import Row, history, measure
from gramviz.ui.effects import Effect, change, gap

Told = tuple[tuple[str, str], ...]  # (arm, sentence) pairs


@dataclass(frozen=True)
class Clause:
    """A part of a sentence. when: as in "at step 600"; seeds: how many it is of."""

    when: str
    text: str
    seeds: int


def told_of_each(rows: Sequence[Row], arms: Sequence[str], clauses: Callable[[str], list[Clause]]) -> Told:
    """One sentence for each of the arms that has something to say."""
    found = ((arm, clauses(arm)) for arm in arms if arm in curves.arms(rows))
    return tuple((arm, sentence(each)) for arm, each in found if each)


def sentence(clauses: Sequence[Clause]) -> str:
    """The clauses in a row, each span of steps named where it begins, and the number of seeds behind."""
    parts, when = [], ""
    for clause in clauses:
        parts.append(clause.text if clause.when == when else f"{clause.when}, {clause.text}")
        when = clause.when
    text = "; ".join(parts)
    low, high = min(c.seeds for c in clauses), max(c.seeds for c in clauses)
    count = (
        "One seed"
        if high == 1
        else f"n\u00a0=\u00a0{high}"
        if low == high
        else f"n\u00a0=\u00a0{low} to {high}"
    )
    return f"{text[:1].upper()}{text[1:]}. {count}."


def at(step: int) -> str:
    """As in "at step 4 000"."""
    return f"at step {curves.grouped(step)}"


def moved(name: str, label: str, effect: Effect) -> Clause:
    """What happened to a measure between two steps."""
    first, last = (curves.grouped(step) for step in effect.steps)
    words = effect.words("rises by {}", "falls by {}", "changes by {}", measure(name).digits)
    return Clause(f"from step {first} to {last}", f"{label} {words}", len(effect.values))


def changes(rows: Sequence[Row], arm: str, names: Mapping[str, str]) -> list[Clause]:
    """From the fork to the last step; names: measure -> what it is called in the sentence."""
    found = ((name, label, change(rows, arm, name)) for name, label in names.items())
    return [moved(name, label, effect) for name, label, effect in found if effect]


def gaps(rows: Sequence[Row], arm: str, names: Mapping[str, str]) -> list[Clause]:
    """Against the run without Gram, at the last step of both."""
    found = ((name, label, gap(rows, arm, name)) for name, label in names.items())
    forms = ("is higher by {}", "is lower by {}", "differs by {}")
    return [
        Clause(at(e.steps[1]), f"{label} {e.words(*forms, measure(name).digits)}", len(e.values))
        for name, label, e in found
        if e
    ]


def level(rows: Sequence[Row], arm: str, name: str, form: str) -> list[Clause]:
    """The last value of a measure and its range over seeds, put into `form`."""
    found = curves.line(history(rows, arm, name))
    if found is None:
        return []
    value = f"{found.mean[-1]:.3f}"
    if found.seeds > 1:
        value += f" ({found.low[-1]:.3f} to {found.high[-1]:.3f})"
    return [Clause(at(found.steps[-1]), form.format(value), found.seeds)]


def span(values: Sequence[float]) -> str:
    """As in "0.54 to 0.63", or one number where both would read the same."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"
