"""Notes for lecturers: three plans with the states of the page that they use, in order.

A state is as in the page's address, with placeholders as in `exercises`. Every link opens in lecture mode.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part of a lesson. minutes: how long it takes; state: what its link opens; text: what to do with it."""

    minutes: int
    text: str
    state: str


@dataclass(frozen=True)
class Lesson:
    """A plan; its parts add up to `minutes`."""

    minutes: int
    title: str
    parts: tuple[Part, ...]


LESSONS: tuple[Lesson, ...] = (
    Lesson(
        10,
        "The effect, and its repair",
        (
            Part(2, "Point at patches of a photograph: what a similarity map is.", "tour=1&patches=20"),
            Part(3, "Play the run: both arms from the same step, then apart.", "tab=story&at=0"),
            Part(
                2,
                "The last checkpoints side by side; let the room name patches.",
                "view=difference&pins=0.5,0.5",
            ),
            Part(3, "Start the repair, and watch the maps move back.", "tab=finetune&preset=repair"),
        ),
    ),
    Lesson(
        45,
        "Why patch features go global",
        (
            Part(8, "Steps 1 to 3 of the tour: patches, cosines, the spectrum of G.", "tour=1"),
            Part(7, "What training did, with the curves beneath: ask for predictions first.", "tour=4"),
            Part(10, "One push for all patches; a small cause, a small change.", "tour=6"),
            Part(8, "Lemma 2 and its condition: turn the drift around, and R falls.", "tour=8"),
            Part(7, "Gram anchoring, and what it leaves free.", "tour=9"),
            Part(5, "Repair, live; then what it takes to say that it helped.", "tour=11"),
        ),
    ),
    Lesson(
        90,
        "A lab hour after the lecture",
        (
            Part(25, "The tour as a whole, on the students\u2019 own photographs.", "tour=1"),
            Part(10, "Exercise 1: the patch that changes most.", "exercise=1"),
            Part(8, "Exercise 2: the patch nearest to CLS.", "exercise=2"),
            Part(8, "Exercise 3: how many directions matter.", "exercise=3"),
            Part(6, "Exercise 4: when it was worst.", "exercise=4"),
            Part(8, "Exercise 5: a drift that lowers R.", "exercise=5"),
            Part(7, "Exercise 6: what the Gram loss does not see.", "exercise=6"),
            Part(13, "Exercise 7: enough Gram, and not too much.", "exercise=7"),
            Part(5, "Collect: what held on all pictures, and what did not.", "tab=story"),
        ),
    ),
)
