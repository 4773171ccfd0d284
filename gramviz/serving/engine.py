"""The engine: features of any checkpoint for any picture, computed once, and all that the page shows of them.

Knows nothing of the page. A visitor's picture comes in as an argument and nothing of it stays but cache entries under
the hash of its pixels; what is a visitor's own (`serving/visitors.py`) is found under their name alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from gramviz.checkpoints.added import Source, check_size, network_of, open_with_added
from gramviz.checkpoints.hub import Offer, offer_of
from gramviz.checkpoints.manifest import CheckpointInfo, CheckpointStore
from gramviz.checkpoints.own import OwnCheckpoint, own_model
from gramviz.checkpoints.zoo import told_of
from gramviz.errors import BusyError, GramvizError, InputError
from gramviz.gram.finding import Finding
from gramviz.serving import lab, tasks
from gramviz.serving.backends import compute_for
from gramviz.serving.cache import ByteCache
from gramviz.serving.compute import MIB, Compute
from gramviz.serving.fetching import check_permitted, fetched
from gramviz.serving.lab import Values
from gramviz.serving.monitoring import Monitor
from gramviz.serving.pictures import Pictures
from gramviz.serving.plans import Preset, presets
from gramviz.serving.records import trajectory
from gramviz.serving.settings import Settings
from gramviz.serving.tasks import Task
from gramviz.serving.tuner import Tuner
from gramviz.serving.tuning import Looked, TuneRequest, Update, Waiting
from gramviz.serving.views import Ask, SpectralView, View, checked_patches
from gramviz.serving.visitors import Visitors
from gramviz.vit.features import PatchFeatures
from gramviz.vit.images import Picture

MOST_CHECKPOINTS = 64


class Engine:
    """The only object that the page talks to. Thread-safe.

    Wherever a visitor is named, "" is nobody: the shipped checkpoints only, and one line in the queue for all.
    """

    def __init__(self, store: CheckpointStore, settings: Settings, compute: Compute | None = None) -> None:
        """compute: who computes; None for whom the settings name."""
        self.settings = settings
        self.monitor = Monitor()
        self._store = store
        self._pictures = Pictures(settings.picture_mib * MIB, settings.deadline)
        self._results: ByteCache[Any] = ByteCache(settings.feature_cache * MIB)
        self._visitors = Visitors(settings.own_mib * MIB)
        self._compute = compute or compute_for(settings, store, self._results, self.monitor)
        self._tuner = Tuner(store, self._compute, self._visitors, self.monitor, settings.finetune_seconds)
        self._watch()

    @staticmethod
    def from_settings(settings: Settings) -> Engine:
        """An engine over the checkpoints of `settings.models` and `settings.added`. Loads no weights."""
        return Engine(open_with_added(settings.models, settings.added), settings)

    def close(self) -> None:
        """Finish the running computation and drop the rest."""
        self._compute.close()

    @property
    def notice(self) -> str:
        """What visitors should know of the service now in one sentence; "" for nothing."""
        return self._compute.notice

    @property
    def terms(self) -> str:
        """What a visitor should know before they start a fine-tune, in sentences; "" for nothing."""
        return self._compute.terms

    def healthy(self, timeout: float) -> bool:
        """Whether a computation of no cost comes back within `timeout` seconds."""
        return self._compute.healthy(timeout)

    def status(self) -> dict[str, float]:
        """Numbers for a look at the load: the queue, caches in bytes, visitors."""
        return {
            **self._compute.status(),
            "result_cache_bytes": self._results.used,
            "own_checkpoint_bytes": self._visitors.used,
            "picture_bytes": self._pictures.used,
            "visitors": self._visitors.count,
        }

    def read(self, source: bytes | Path) -> Picture:
        """The picture in an image file, given as its bytes or its path. Raises InputError where it is none, BusyError
        where others' pictures left no room for too long.
        """
        with self._refusals():
            return self._pictures.read(source)

    def checkpoints(self, visitor: str = "") -> tuple[CheckpointInfo, ...]:
        """Every checkpoint there is, in the manifest's order, then the visitor's own."""
        return (*self._store.all(), *(own.info for own in self._visitors.own(visitor)))

    def default_ids(self) -> tuple[str, ...]:
        """The checkpoints that a new visitor sees."""
        return tuple(info.id for info in self._store.all() if info.shown)

    def presets(self) -> tuple[Preset, ...]:
        """Fine-tunes to begin with, as far as the checkpoints allow them."""
        return presets(self._store.all())

    def trajectory(self, run: str) -> tuple[dict[str, Any], ...]:
        """What was measured along a run, as its metrics.jsonl has it; empty where nothing was. The same object again
        while the file stays as it is.

        Raises CheckpointError for an unknown run or a damaged file.
        """
        return trajectory(self._store, self._results, run)

    def compare(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1, visitor: str = ""
    ) -> Iterator[View]:
        """A View of each checkpoint, each as soon as it is ready; closing the iterator drops what has not begun.

        patches: number of patches on the picture's long side, 4 to 64. Raises InputError or CheckpointError for
        a value out of range, BusyError where too much is waiting.
        """
        for found in self.compare_with_places(
            picture, ids, patches, layer=layer, visitor=visitor, patience=0
        ):
            if isinstance(found, View):
                yield found

    def compare_with_places(
        self,
        picture: Picture,
        ids: Sequence[str],
        patches: int,
        *,
        layer: int = -1,
        visitor: str = "",
        patience: float = 1.0,
    ) -> Iterator[View | Waiting]:
        """As `compare`, with the place in the queue: told after all that was there already, and wherever nothing came
        for `patience` seconds, 0 for never.
        """
        asks = self._asks(picture, ids, patches, layer, visitor)
        for found in self._each([tasks.view_task(ask) for ask in asks], visitor, patience):
            yield found if isinstance(found, Waiting) else as_asked(*found)

    def spectra(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1, visitor: str = ""
    ) -> Iterator[SpectralView]:
        """The spectrum of each checkpoint's G with all that is read from it, as `compare` gives its views.

        A checkpoint whose features cannot be worked with says so in `problem` and leaves the others alone. Raises as
        `compare` does.
        """
        asks = self._asks(picture, ids, patches, layer, visitor)
        for found in self._each([tasks.spectral_task(ask) for ask in asks], visitor, 0.0):
            assert not isinstance(found, Waiting), "without patience no place is told"
            yield as_asked(*found)

    def common_colours(
        self, picture: Picture, ids: Sequence[str], patches: int, *, layer: int = -1, visitor: str = ""
    ) -> dict[str, bytes]:
        """PCA colours of each checkpoint in one basis fitted to all of them together: id -> uint8 (P, 3).

        Raises InputError where the networks differ in width.
        """
        asks = self._asks(picture, ids, patches, layer, visitor)
        found: list[bytes] = self._one(tasks.colours_task(asks), visitor)
        return {ask.info.id: colours for ask, colours in zip(asks, found, strict=True)}

    def features(
        self, picture: Picture, checkpoint_id: str, patches: int, *, layer: int = -1, visitor: str = ""
    ) -> PatchFeatures:
        """Features of one picture by one checkpoint, from the cache or computed now."""
        found: PatchFeatures = self._one(
            tasks.features_task(self._ask(picture, checkpoint_id, patches, layer, visitor)), visitor
        )
        return found

    def similarity(
        self, picture: Picture, checkpoint_id: str, patches: int, row: int, column: int, *, visitor: str = ""
    ) -> dict[str, Any]:
        """The exact cosine map of one patch: {checkpoint, grid, row, column, map (rows of columns)}."""
        ask = self._ask(picture, checkpoint_id, patches, -1, visitor)
        found: dict[str, Any] = self._one(tasks.similarity_task(ask, row, column), visitor)
        return found

    def spectrum(
        self, picture: Picture, checkpoint_id: str, patches: int, *, visitor: str = ""
    ) -> dict[str, Any]:
        """Eigenvalues of G (descending) and what is read from them: {checkpoint, grid, eigenvalues, measures}."""
        ask = self._ask(picture, checkpoint_id, patches, -1, visitor)
        found: dict[str, Any] = self._one(tasks.spectrum_task(ask), visitor)
        return found

    def theory(
        self, picture: Picture | None, checkpoint_id: str, card: str, values: Values, *, visitor: str = ""
    ) -> Finding:
        """What a card of the theory lab finds on a checkpoint's features of a picture, or on the blackboard (None).

        values: of the card's controls, its start where one is not given. Raises InputError for a card, control or
        value that does not exist, CheckpointError for an unknown checkpoint, BusyError where too much is waiting.
        """
        settled = lab.card(card).checked(values)
        if picture is None:
            task = tasks.blackboard_task(card, settled)
        else:
            ask = self._ask(picture, checkpoint_id, lab.THEORY_PATCHES, -1, visitor)
            task = tasks.theory_task(ask, self._store, card, settled)
        found: Finding = self._one(task, visitor)
        return found

    def finetune(self, request: TuneRequest, visitor: str) -> Iterator[Update]:
        """Run a fine-tune and tell of it: Waiting as long as it has no place, Begun, Frames, Finished.

        Closing the iterator stops it at its next step and frees everything. Where Finished names checkpoints, the
        visitor has them from then on. Raises InputError or CheckpointError for a plan that cannot be, BusyError
        where too many wait or there is no room for what would come out.
        """
        with self._refusals():
            yield from self._tuner.run(request, visitor)

    def pause(self, visitor: str, number: int) -> None:
        """Rest a running fine-tune of the visitor's. Raises InputError where there is none of that number."""
        self._tuner.pause(visitor, number)

    def resume(self, visitor: str, number: int) -> None:
        """Let a paused one go on. Raises as `pause`."""
        self._tuner.resume(visitor, number)

    def stop(self, visitor: str, number: int) -> None:
        """End one after its present step, with the weights it has then. Raises as `pause`."""
        self._tuner.stop(visitor, number)

    def pin(self, visitor: str, number: int, index: int) -> tuple[Looked, ...]:
        """Watch another patch, row by row from 0: the newest looks of all arms with its maps. Raises as `pause`."""
        return self._tuner.pin(visitor, number, index)

    def download(self, visitor: str, checkpoint_id: str) -> tuple[str, bytes]:
        """File name and content of a zip with one of the visitor's own checkpoints and its card.

        Raises CheckpointError where they have none of that id.
        """
        return self._tuner.download(visitor, checkpoint_id)

    def add_model(self, visitor: str, source: Source, *, licence: str, title: str) -> CheckpointInfo:
        """Take a visitor's model in; it is theirs alone, under its name or, where that is taken, one with a number.

        Raises CheckpointError where the weights do not fit or are too large, InputError where the visitor has no
        place left, BusyError where the service has no room.
        """
        with self._refusals():
            check_size(source.nbytes, self.settings.model_mib * MIB)
            with self._visitors.places(visitor, 1, source.nbytes) as keep:
                own = self._own_model(visitor, source, licence, title)
                keep([own])
        return own.info

    def offer(self, name: str) -> Offer:
        """What the Hub has under a name, as far as visitors may have it fetched; nothing is fetched.

        Raises InputError where they may not, CheckpointError where there is nothing of use or it is too large.
        """
        with self._refusals():
            check_permitted(name, self.settings.fetch)
            offer = offer_of(name, token=False)
            check_size(offer.size, self.settings.model_mib * MIB)
        return offer

    def fetch_model(self, visitor: str, name: str) -> Iterator[tuple[int, int] | CheckpointInfo]:
        """Fetch a model of the Hub for a visitor: (bytes there, bytes in all) on the way, then the model as theirs.

        Closing the iterator breaks the download off. Raises as `offer` and `add_model`.
        """
        offer = self.offer(name)
        licence, title = told_of(offer.name, offer.repository, offer.licence)
        room = self._visitors.places(visitor, 1, offer.size)  # before anything is fetched in vain
        with self._refusals(), room as keep, closing(fetched(offer)) as download:
            for found in download:
                if isinstance(found, int):
                    yield found, offer.size
                    continue
                config, weights = found
                yield offer.size, offer.size
                network = network_of(config.read_bytes(), offer.repository)
                source = Source(offer.name.rpartition("/")[2], network, weights)
                own = self._own_model(visitor, source, licence, title)
                keep([own])
                yield own.info

    def forget(self, visitor: str, checkpoint_id: str) -> None:
        """Drop one of the visitor's own checkpoints. Raises as `download`."""
        self._visitors.forget(visitor, checkpoint_id)

    def leave(self, visitor: str) -> None:
        """The visitor has gone: their fine-tunes are stopped and their checkpoints dropped."""
        self._tuner.leave(visitor)

    def _own_model(self, visitor: str, source: Source, licence: str, title: str) -> OwnCheckpoint:
        taken = {info.run for info in self.checkpoints(visitor)}
        return own_model(
            free_name(source.name, taken),
            source.config,
            source.tensors(),
            number=self._visitors.number(visitor),
            licence=licence,
            title=title,
        )

    # ---- asking

    def _info(self, checkpoint_id: str, visitor: str) -> tuple[CheckpointInfo, Any]:
        own = self._visitors.get(visitor, checkpoint_id)
        return (self._store.get(checkpoint_id), None) if own is None else (own.info, own.weights)

    def _ask(self, picture: Picture, checkpoint_id: str, patches: int, layer: int, visitor: str) -> Ask:
        info, weights = self._info(checkpoint_id, visitor)
        return Ask(picture, info, checked_patches(patches), layer, weights)

    def _asks(
        self, picture: Picture, ids: Sequence[str], patches: int, layer: int, visitor: str
    ) -> list[Ask]:
        unique = list(dict.fromkeys(ids))
        if not 1 <= len(unique) <= MOST_CHECKPOINTS:
            raise InputError(
                f"{len(unique)} checkpoints were asked for; choose between 1 and {MOST_CHECKPOINTS}."
            )
        return [self._ask(picture, one, patches, layer, visitor) for one in unique]

    def _one(self, task: Task, visitor: str) -> Any:
        ((_, result, _),) = self._each([task], visitor, 0.0)  # type: ignore[misc]
        return result

    def _each(
        self, wanted: Sequence[Task], visitor: str, patience: float
    ) -> Iterator[tuple[Task, Any, bool] | Waiting]:
        """(task, result, whether it was there already) of each, as soon as it is ready."""
        began = time.monotonic()
        asked: list[tuple[Future[Any], Task]] = []
        ready: list[tuple[Task, Any, bool]] = []
        with self._refusals():
            try:
                for task in wanted:
                    found = self._results.get(task.key)
                    if found is not None:
                        ready.append((task, found, True))
                    else:
                        asked.append((self._compute.submit(task, visitor, None), task))
                for entry in ready:
                    self.monitor.observe(entry[0].kind, time.monotonic() - began)
                    yield entry
                if asked and patience:
                    yield self._place(asked)
                while asked:
                    done, _ = wait(
                        [future for future, _ in asked], patience or None, return_when=FIRST_COMPLETED
                    )
                    if not done:
                        yield self._place(asked)
                    for future, task in [entry for entry in asked if entry[0] in done]:
                        asked.remove((future, task))
                        result = result_of(future)
                        self.monitor.observe(task.kind, time.monotonic() - began)
                        yield task, result, False
            finally:
                for future, task in asked:
                    self._compute.release(task, future)

    def _place(self, asked: Sequence[tuple[Future[Any], Task]]) -> Waiting:
        return Waiting(max(0, min(self._compute.position(future) for future, _ in asked)))

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Count what is refused."""
        try:
            yield
        except GramvizError as error:
            self.monitor.refused(type(error).__name__)
            raise

    def _watch(self) -> None:
        def number(name: str) -> Callable[[], float]:
            return lambda: self.status().get(name, 0.0)

        for name in self.status():
            self.monitor.watch(name, number(name))


def free_name(name: str, taken: Container[str]) -> str:
    """A name that is not taken: as it is, or with the first number that makes it one."""
    return next(one for n in count(1) if (one := name if n == 1 else f"{name} {n}") not in taken)


def as_asked(task: Task, view: Any, cached: bool) -> Any:
    """A view under the name that this visitor asked for it; the cache knows content only."""
    assert task.ask is not None
    return replace(view, checkpoint=task.ask.info, **({"seconds": 0.0, "cached": True} if cached else {}))


def result_of(future: Future[Any]) -> Any:
    """The result of a finished future; a dropped one is told as BusyError."""
    try:
        return future.result()
    except CancelledError:
        raise BusyError("The service is shutting down; please try again later.") from None
