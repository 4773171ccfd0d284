"""Fine-tunes of visitors: from a request to a run, and from its events to what the page is told.

Knows nothing of where the run computes (`serving/compute.py`).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from torch import Tensor

from gramviz.checkpoints.manifest import CheckpointInfo, CheckpointStore
from gramviz.checkpoints.own import OwnCheckpoint, archive, own_checkpoint
from gramviz.errors import BusyError, CheckpointError, InputError
from gramviz.serving.compute import Compute, Run
from gramviz.serving.jobs import Start, make_job, start_of
from gramviz.serving.monitoring import Monitor
from gramviz.serving.plans import Plan
from gramviz.serving.tuning import (
    START,
    Begun,
    Finished,
    Frame,
    Looked,
    Row,
    TuneRequest,
    Update,
    Waiting,
)
from gramviz.serving.views import checked_patches
from gramviz.serving.visitors import Visitors
from gramviz.serving.watching import Sight, looked
from gramviz.training.finetune import CONTROL, TUNED, Ended, FinetuneJob, Stepped
from gramviz.vit.images import grid_for

PATIENCE = 0.25  # seconds between looks at a run that says nothing
HEARTBEAT = 2.0  # seconds after which the same is told again, so that whoever has gone is noticed
LONGEST_PAUSE = 300.0  # seconds; a paused run keeps its place from others
SOURCES = {
    "pack": "gramviz's sample pack: photographs from scikit-image (public domain or CC0) and synthetic scenes",
    "picture": "one picture of the visitor's choice",
    "own": "images of the visitor's own",
}


class Tuning:
    """One run and what its visitor last saw of it."""

    def __init__(self, run: Run, plan: Plan, pinned: int) -> None:
        self.run, self.plan, self.pinned = run, plan, pinned
        self.seen: dict[str, Sight] = {}
        self.paused_at: float | None = None
        self.rested = 0.0  # seconds of pauses that are over
        self.stopped = self.closed = False

    def pause(self, now: float) -> None:
        """Rest until `resume`."""
        if self.paused_at is None and not self.stopped:
            self.paused_at = now
            self.run.pause()

    def resume(self, now: float) -> None:
        """Go on."""
        if self.paused_at is not None:
            self.rested += now - self.paused_at
            self.paused_at = None
            self.run.resume()

    def stop(self, now: float) -> None:
        """End with what there is."""
        self.run.stop()  # before it goes on from a pause, so that no further step begins
        self.resume(now)
        self.stopped = True

    def close(self) -> None:
        """End at once."""
        self.closed = True
        self.run.close()


class Tuner:
    """Starts, follows and ends the fine-tunes of all visitors."""

    def __init__(
        self, store: CheckpointStore, compute: Compute, visitors: Visitors, monitor: Monitor, seconds: float
    ) -> None:
        self._store, self._compute, self._visitors = store, compute, visitors
        self._monitor, self._seconds = monitor, seconds

    def run(self, request: TuneRequest, visitor: str) -> Iterator[Update]:
        """See `Engine.finetune`."""
        if not visitor:
            raise InputError("A fine-tune belongs to a visitor's page; open the page to start one.")
        plan = request.plan
        start = self._start(plan, visitor)
        grid = grid_for(request.picture.size, checked_patches(request.patches))
        patches = grid[0] * grid[1]
        pinned = (grid[0] // 2) * grid[1] + grid[1] // 2 if request.pinned is None else request.pinned
        check_pinned(pinned, patches)
        job = make_job(request, start, self._seconds)
        arms = (TUNED, CONTROL) if plan.control else (TUNED,)
        nbytes = len(arms) * start.info.bytes
        with self._visitors.places(visitor, len(arms), nbytes) as keep:
            run = self._compute.finetune(job, visitor)
            tuning = Tuning(run, plan, pinned)
            number = self._visitors.begin(visitor, tuning)
            try:
                yield from waited(tuning)
                if run.position > 0:
                    yield Finished("stopped", "It was stopped before it had begun.", ())
                    return
                yield Begun(number, grid, plan.steps, arms, len(job.images))
                ended = yield from self._followed(tuning, job, arms)
                made = self._made(ended, start, plan, visitor, len(job.images))
                keep(made)
                yield finished(ended, made)
            finally:
                tuning.close()
                self._visitors.end(visitor, number)

    def pause(self, visitor: str, number: Any) -> None:
        """See `Engine.pause`."""
        self._tuning(visitor, number).pause(time.monotonic())

    def resume(self, visitor: str, number: Any) -> None:
        """See `Engine.resume`."""
        self._tuning(visitor, number).resume(time.monotonic())

    def stop(self, visitor: str, number: Any) -> None:
        """See `Engine.stop`."""
        self._tuning(visitor, number).stop(time.monotonic())

    def pin(self, visitor: str, number: Any, index: Any) -> tuple[Looked, ...]:
        """See `Engine.pin`."""
        tuning: Tuning = self._visitors.run(visitor, number, over=True)
        seen = list(tuning.seen.values())
        if seen:
            check_pinned(index, len(seen[0].units))
            tuning.pinned = int(index)
        return tuple(looked(one, tuning.pinned) for one in seen)

    def leave(self, visitor: str) -> None:
        """See `Engine.leave`."""
        for tuning in self._visitors.leave(visitor):
            tuning.close()

    def download(self, visitor: str, checkpoint_id: str) -> tuple[str, bytes]:
        """See `Engine.download`."""
        own = self._visitors.get(visitor, checkpoint_id)
        if own is None:
            raise CheckpointError(f"You have no checkpoint {str(checkpoint_id)[:80]!r} of your own.")
        return f"gramviz-{own.info.run}-{own.info.id.replace('/', '-')}.zip", archive(own)

    def _tuning(self, visitor: str, number: Any) -> Tuning:
        found: Tuning = self._visitors.run(visitor, number)
        return found

    def _start(self, plan: Plan, visitor: str) -> Start:
        info, weights = self._weights(plan.start, visitor)
        teacher = None
        if plan.teacher and plan.teacher != plan.start:
            other, teacher = self._weights(plan.teacher, visitor)
            if other.network != info.network:
                raise InputError(
                    f"The Gram teacher {other.id} has another network than {info.id}; choose one of the same run."
                )
        if plan.gram > 0 and teacher is None and plan.resolution == 1 and plan.gram_alone:
            raise InputError(
                "The start would be anchored to itself, so nothing would change; choose another Gram teacher, or let "
                "it see twice the resolution."
            )
        return start_of(plan, info, weights, teacher, self._store)

    def _weights(self, checkpoint_id: str, visitor: str) -> tuple[CheckpointInfo, Mapping[str, Tensor]]:
        own = self._visitors.get(visitor, checkpoint_id)
        if own is not None:
            return own.info, own.weights
        return self._store.get(checkpoint_id), self._store.weights(checkpoint_id)

    def _followed(
        self, tuning: Tuning, job: FinetuneJob, arms: tuple[str, ...]
    ) -> Generator[Update, None, Ended | None]:
        """Frames until the end, which is the generator's value; None where it was closed from elsewhere."""
        began = told = time.monotonic()
        steps = dict.fromkeys(arms, 0)
        rows: list[Row] = []
        looks: dict[str, Sight] = {}
        was_paused = False
        while True:
            event = tuning.run.next(PATIENCE)
            now = time.monotonic()
            if isinstance(event, Sight):
                looks[event.arm] = tuning.seen[event.arm] = event
                if event.arm == TUNED and event.step == 0:
                    looks[START] = tuning.seen[START] = replace(event, arm=START)
            elif isinstance(event, Stepped):
                rows.append(row_of(event))
                steps[event.arm] = event.report.step
                self._monitor.count("finetune_steps")
            elif isinstance(event, Ended) or (event is None and tuning.run.ended):
                yield frame(tuning, job, steps, rows, looks, now - began)
                return event
            paused = tuning.paused_at is not None
            if paused and now - (tuning.paused_at or now) > LONGEST_PAUSE:
                tuning.stop(now)
            if isinstance(event, Sight) or paused != was_paused or now - told > HEARTBEAT:
                yield frame(tuning, job, steps, rows, looks, now - began)
                rows, looks, was_paused, told = [], {}, paused, now

    def _made(
        self, ended: Ended | None, start: Start, plan: Plan, visitor: str, images: int
    ) -> list[OwnCheckpoint]:
        if ended is None or ended.step == 0:
            return []
        made: list[OwnCheckpoint] = []
        for arm, weights in ended.weights.items():
            shown = described(plan, arm)
            made.append(
                own_checkpoint(
                    start.info,
                    weights,
                    number=self._visitors.number(visitor),
                    branch=self._visitors.free_branch(visitor, len(made)),
                    settings=shown,
                    data=f"{images} squares cut from {SOURCES[plan.images]}",
                    step=ended.step,
                    images_seen=ended.step * plan.batch,
                    when=datetime.now(UTC),
                    about=f"Gram weight {0 if arm == CONTROL else plan.gram:g}",
                )
            )
        return made


def waited(tuning: Tuning) -> Iterator[Waiting]:
    """The place of a run that waits, whenever it changes and now and then, until it runs, is stopped or closed."""
    told, when = 0, 0.0
    while (position := tuning.run.position) > 0 and not tuning.closed and not tuning.stopped:
        if position != told or time.monotonic() - when > HEARTBEAT:
            told, when = position, time.monotonic()
            yield Waiting(position)
        time.sleep(PATIENCE)


def frame(
    tuning: Tuning,
    job: FinetuneJob,
    steps: Mapping[str, int],
    rows: list[Row],
    looks: Mapping[str, Sight],
    since: float,
) -> Frame:
    """What is new, with the time that the rest will take at the pace so far."""
    now = time.monotonic()
    resting = now - tuning.paused_at if tuning.paused_at is not None else 0.0
    elapsed = max(since - tuning.rested - resting, 0.0)
    step = min(steps.values())
    left = None if step == 0 else elapsed / step * (job.config.steps - step)
    seen = tuple(looked(one, tuning.pinned) for one in looks.values())
    return Frame(step, job.config.steps, elapsed, left, tuning.paused_at is not None, tuple(rows), seen)


def row_of(event: Stepped) -> Row:
    """One step's report for the page."""
    report = event.report
    return Row(event.arm, report.step, report.losses, report.total, report.gradient_norm)


def finished(ended: Ended | None, made: list[OwnCheckpoint]) -> Finished:
    """The end in words."""
    if ended is None:
        raise BusyError("The fine-tune was ended from elsewhere.")
    return Finished(ended.reason, ended.sentence, tuple(own.info for own in made))


def described(plan: Plan, arm: str) -> dict[str, str]:
    """A plan in words, for the card of what came out of it."""
    gram = 0.0 if arm == CONTROL else plan.gram
    what = {"all": "all weights", "norms": "norms only", "blocks": f"the last {plan.blocks} blocks"}
    return {
        "Start": plan.start,
        "Gram teacher": f"{plan.teacher or plan.start} at {plan.resolution}x the student's resolution",
        "Loss weights": f"Gram {gram:g}, DINO {plan.dino:g}, iBOT {plan.ibot:g}, KoLeo {plan.koleo:g}",
        "Trained": what[plan.trained],
        "Steps asked for": str(plan.steps),
        "Learning rate": f"{plan.rate:.3g} (AdamW)",
        "Batch": f"{plan.batch} images, two crops each",
        "Seed": str(plan.seed),
    }


def check_pinned(index: Any, patches: int) -> None:
    """InputError where there is no such patch."""
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < patches:
        raise InputError(f"There is no patch {str(index)[:20]}; the picture has {patches}, counted from 0.")
