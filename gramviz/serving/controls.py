"""What can be moved on a card of the theory lab, and which values it may have. Knows no card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gramviz.errors import InputError

EDGE = 1e-9  # by which a power of ten may miss the end of its range


@dataclass(frozen=True)
class Slider:
    """A number to move from `low` to `high` in steps of `step`. With `log`, these are exponents of ten.

    What a card is checked with is the number itself, `value_at(position)`, not its exponent. Where the step is 1, it
    is a whole number.
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    start: float
    log: bool = False

    def value_at(self, position: float) -> float:
        """The number at a position of the slider, which is its exponent of ten if `log`."""
        return 10.0**position if self.log else position

    def checked(self, value: Any) -> float:
        """The value, if it is a number within the range; InputError names it and the range else."""
        low, high = self.value_at(self.low), self.value_at(self.high)
        whole = self.step == 1 and not self.log
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low * (1 - EDGE) <= value <= high * (1 + EDGE)
            or (whole and value != int(value))
        ):
            kind = "a whole number" if whole else "a number"
            raise InputError(f"{self.name} is {shown(value)!r}; it must be {kind} from {low:g} to {high:g}.")
        return int(value) if whole else float(value)


@dataclass(frozen=True)
class Choice:
    """One of some words: (value, label) each; the first is the start."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]

    @property
    def start(self) -> str:
        """The value to begin with."""
        return self.options[0][0]

    def checked(self, value: Any) -> str:
        """The value, if it is one of the options; InputError names it and them else."""
        known = [option for option, _ in self.options]
        if not isinstance(value, str) or value not in known:
            raise InputError(f"{self.name} is {shown(value)!r}; it must be one of {', '.join(known)}.")
        return value


def shown(value: Any) -> str:
    """A value from outside for a sentence, at most 40 characters; an integer may be too long even to be written."""
    try:
        return str(value)[:40]
    except ValueError:
        return "a number of thousands of digits"


def start(control: Slider | Choice) -> float | str:
    """The value that a control begins with."""
    return control.start if isinstance(control, Choice) else control.value_at(control.start)
