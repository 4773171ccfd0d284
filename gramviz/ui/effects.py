"""How far a measure changed along an arm, seed by seed, and how strong that is against the spread over the seeds.

Knows nothing of what is expected of a measure, of plots or of the page.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gramviz.gram.finding import MINUS
from gramviz.ui import curves
from gramviz.ui.curves import History, Row, common_steps, history, measure

ENOUGH = 3  # seeds for a verdict


@dataclass(frozen=True)
class Effect:
    """A change, once for each seed.

    least: the smallest mean that counts as more than small. steps: the change is from the one to the other; twice the
    same step where two arms are compared at it.
    """

    values: tuple[float, ...]
    least: float
    steps: tuple[int, int]

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
        """Where the seeds' signs differ: "no effect" (mean below `least`) or "seeds disagree". Else "small" (mean
        below `least`), "weak" (below twice the spread) or "clear". "" below 3 seeds, too few for a verdict.
        """
        if len(self.values) < ENOUGH:
            return ""
        small = abs(self.mean) < self.least
        if min(self.values) <= 0 <= max(self.values):
            return "no effect" if small else "seeds disagree"
        return "small" if small else "weak" if abs(self.mean) < 2 * self.spread else "clear"

    def words(self, up: str, down: str, either: str, digits: int) -> str:
        """As in "falls by 0.113 \u00b1 0.010 (clear)"; `up` and `down` are forms such as "falls by {}", and `either`
        one such as "changes by {}" for a signed number, where the direction means nothing.
        """
        size = f"{abs(self.mean):.{digits}f}"
        if len(self.values) > 1:
            size += f"\u00a0\u00b1\u00a0{self.spread:.{digits}f}"
        if self.strength in ("no effect", "seeds disagree"):
            told = either.format(("+" if self.mean >= 0 else MINUS) + size)
        else:
            told = (up if self.mean > 0 else down).format(size)
        return f"{told} ({self.strength})" if self.strength else told


def change(rows: Sequence[Row], arm: str, name: str) -> Effect | None:
    """From the fork to the arm's last step; None where no seed has both."""
    values, start = curves.since_fork(rows, arm, name), curves.fork(rows)
    steps = common_steps(values)
    if start is None or not steps or steps[-1] == start:
        return None
    return _effect(name, (start, steps[-1]), values, values)


def farthest(rows: Sequence[Row], arm: str, name: str) -> Effect | None:
    """From the fork to the step at which an arm is farthest from it, in the mean over seeds.

    None where that is the last step, or where no seed has both fork and later steps.
    """
    values, start = curves.since_fork(rows, arm, name), curves.fork(rows)
    found = curves.line(values)
    if start is None or found is None or found.steps[-1] == start:
        return None
    means = dict(zip(found.steps, found.mean, strict=True))
    step = max((at for at in means if at > start), key=lambda at: (abs(means[at] - means[start]), at))
    return None if step == found.steps[-1] else _effect(name, (start, step), values, values)


def peak(rows: Sequence[Row], name: str) -> int | None:
    """The step at which a measure of the run without Gram is highest in the mean over seeds."""
    found = curves.line(_sound(rows, "plain", name))
    return found.steps[found.mean.index(max(found.mean))] if found else None


def from_peak(rows: Sequence[Row], arm: str, name: str) -> Effect | None:
    """From the peak of the run without Gram to the arm's last step, seed by seed."""
    top = peak(rows, name)
    plain, values = _shared(_sound(rows, "plain", name), _sound(rows, arm, name))
    steps = common_steps(values)
    if top is None or not steps:
        return None
    return _effect(name, (top, steps[-1]), plain, values)


def gap(rows: Sequence[Row], arm: str, name: str) -> Effect | None:
    """How far an arm is above the run without Gram at the last step that both have, seed by seed."""
    plain, values = _shared(_sound(rows, "plain", name), _sound(rows, arm, name))
    steps = common_steps(plain, values)
    if not steps or steps[-1] <= (curves.fork(rows) or 0):
        return None
    return _effect(name, (steps[-1], steps[-1]), plain, values)


def _sound(rows: Sequence[Row], arm: str, name: str) -> History:
    """The history of an arm without the seeds whose fork is in doubt."""
    kept = curves.sound_seeds(rows, arm)
    return {seed: values for seed, values in history(rows, arm, name).items() if seed in kept}


def _shared(one: History, other: History) -> tuple[History, History]:
    seeds = [seed for seed in other if seed in one]
    return {seed: one[seed] for seed in seeds}, {seed: other[seed] for seed in seeds}


def _effect(
    name: str, steps: tuple[int, int], before: Mapping[int, Mapping[int, float]], after: History
) -> Effect:
    first, last = steps
    known = measure(name)
    scale = abs(statistics.fmean(before[seed][first] for seed in after)) if known.relative else 1.0
    return Effect(
        tuple(after[seed][last] - before[seed][first] for seed in after), known.least * scale, steps
    )
