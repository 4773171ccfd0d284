"""How far a measure changed along an arm, seed by seed, and how strong that is against the spread over the seeds.

Knows nothing of what is expected of a measure, of plots or of the page.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from gramviz.ui import curves
from gramviz.ui.curves import Row, common_steps, history, measure

MINUS = "\u2212"


@dataclass(frozen=True)
class Effect:
    """A change, once for each seed. least: the smallest mean that counts as more than weak."""

    values: tuple[float, ...]
    least: float

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds (n - 1); 0 for one seed, which says nothing of it."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def strength(self) -> str:
        """ "one seed", "no effect" (the range covers 0), "weak" (below `least` or twice the spread) or "clear"."""
        if len(self.values) == 1:
            return "one seed"
        if min(self.values) <= 0 <= max(self.values):
            return "no effect"
        return "weak" if abs(self.mean) < max(self.least, 2 * self.spread) else "clear"

    def words(self, up: str, down: str, digits: int) -> str:
        """As in "falls by 0.113 \u00b1 0.010 (clear)", where `up` and `down` are forms such as "falls by {}"."""
        size = f"{abs(self.mean):.{digits}f}"
        if len(self.values) > 1:
            size += f"\u00a0\u00b1\u00a0{self.spread:.{digits}f}"
        if self.strength == "no effect":
            return (
                f"stays within the seeds\u2019 spread, {'+' if self.mean >= 0 else MINUS}{size} (no effect)"
            )
        told = (up if self.mean > 0 else down).format(size)
        return told if len(self.values) == 1 else f"{told} ({self.strength})"


def change(rows: Sequence[Row], arm: str, name: str) -> Effect | None:
    """From the fork to the arm's last step; None where the seeds have not both."""
    values, start = history(rows, arm, name), curves.fork(rows)
    steps = common_steps(values)
    if start not in steps or steps[-1] == start:
        return None
    return _effect(name, [(each[start], each[steps[-1]]) for each in values.values()])


def farthest(rows: Sequence[Row], arm: str, name: str) -> tuple[int, Effect] | None:
    """The step at which an arm is farthest from the fork, in the mean over seeds, and the change up to it.

    None where that is the last step, or where the seeds have not both fork and later steps.
    """
    values, start = history(rows, arm, name), curves.fork(rows)
    found = curves.line(values)
    if found is None or start not in found.steps or found.steps[-1] == start:
        return None
    before = found.mean[found.steps.index(start)]
    later = [
        (abs(mean - before), step) for step, mean in zip(found.steps, found.mean, strict=True) if step > start
    ]
    step = max(later)[1]
    if step == found.steps[-1]:
        return None
    return step, _effect(name, [(each[start], each[step]) for each in values.values()])


def peak(rows: Sequence[Row], name: str) -> int | None:
    """The step at which a measure of the run without Gram is highest in the mean over seeds."""
    found = curves.line(history(rows, "plain", name))
    return found.steps[found.mean.index(max(found.mean))] if found else None


def from_peak(rows: Sequence[Row], arm: str, name: str) -> Effect | None:
    """From the peak of the run without Gram to the arm's last step, seed by seed."""
    plain, values, top = history(rows, "plain", name), history(rows, arm, name), peak(rows, name)
    shared = [seed for seed in values if seed in plain]
    if top is None or not shared:
        return None
    values = {seed: values[seed] for seed in shared}
    steps = common_steps(values)
    if not steps:
        return None
    return _effect(name, [(plain[seed][top], values[seed][steps[-1]]) for seed in shared])


def gap(rows: Sequence[Row], arm: str, name: str) -> Effect | None:
    """How far an arm is above the run without Gram at the last step of both, seed by seed."""
    plain, values = history(rows, "plain", name), history(rows, arm, name)
    shared = [seed for seed in values if seed in plain]
    steps = common_steps({s: plain[s] for s in shared}, {s: values[s] for s in shared})
    if not steps or steps[-1] <= (curves.fork(rows) or 0):
        return None
    return _effect(name, [(plain[s][steps[-1]], values[s][steps[-1]]) for s in shared])


def _effect(name: str, pairs: Sequence[tuple[float, float]]) -> Effect:
    known = measure(name)
    scale = abs(statistics.fmean(before for before, _ in pairs)) if known.relative else 1.0
    return Effect(tuple(after - before for before, after in pairs), known.least * scale)
