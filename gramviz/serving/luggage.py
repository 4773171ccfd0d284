"""Pictures and own weights on their way through a Ray cluster: put into its store once, fetched where needed.

A task carries references only: six checkpoints of one picture do not send it six times, and a replica that has the
features already never fetches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import ray
from torch import Tensor

from gramviz.serving.cache import ByteCache
from gramviz.serving.compute import MIB
from gramviz.serving.tasks import Task
from gramviz.serving.views import Ask

KEPT = 256 * MIB  # of pictures and weights in the store that nobody may need any more


class FarWeights(Mapping[str, Tensor]):
    """Weights that are fetched when someone looks into them."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def __getitem__(self, name: str) -> Tensor:
        return self._weights()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights())

    def __len__(self) -> int:
        return len(self._weights())

    def __reduce__(self) -> Any:
        return FarWeights, (self._reference,)

    def _weights(self) -> dict[str, Tensor]:
        if "_fetched" not in self.__dict__:
            self._fetched: dict[str, Tensor] = ray.get(self._reference)
        return self._fetched


class FarPicture:
    """A Picture whose pixels are fetched when someone looks at them."""

    def __init__(self, reference: Any, bare: tuple[Any, ...]) -> None:
        """bare: size, source_size, notes and digest of the picture."""
        self._reference, self._bare = reference, bare
        self.size, self.source_size, self.notes, self.digest = bare

    @property
    def pixels(self) -> Any:
        """See `Picture`."""
        return ray.get(self._reference)

    def __reduce__(self) -> Any:
        return FarPicture, (self._reference, self._bare)


class Luggage:
    """What the tasks of one process have put into the cluster's store."""

    def __init__(self) -> None:
        self._kept: ByteCache[Any] = ByteCache(KEPT)

    def packed(self, task: Task) -> Task:
        """The task with references in the place of what is large."""
        light = {id(ask): self._light(ask) for ask in asks_of(task)}

        def exchanged(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(exchanged(one) for one in value)
            return light.get(id(value), value)

        return replace(task, args=exchanged(task.args), ask=exchanged(task.ask))

    def _light(self, ask: Ask) -> Ask:
        picture, weights = ask.picture, ask.weights
        pixels = self._reference(picture.digest, picture.pixels.nbytes, lambda: picture.pixels)
        bare = (picture.size, picture.source_size, picture.notes, picture.digest)
        far: Any = FarPicture(pixels, bare)
        if weights is not None:
            size = sum(one.numel() * one.element_size() for one in weights.values())
            weights = FarWeights(self._reference(ask.info.sha256, size, lambda: dict(ask.weights or {})))
        return replace(ask, picture=far, weights=weights)

    def _reference(self, digest: str, size: int, value: Callable[[], Any]) -> Any:
        reference = self._kept.get(digest)
        if reference is None:
            reference = ray.put(value())
            self._kept.put(digest, reference, size)
        return reference


def asks_of(task: Task) -> list[Ask]:
    """Every picture with its checkpoint that a task is about."""
    nested = [one for arg in task.args if isinstance(arg, tuple) for one in arg]
    return [one for one in (task.ask, *task.args, *nested) if isinstance(one, Ask)]
