"""Forwards on one device, in the way that was measured to be the fastest there: batched or one by one, stacked or
not, in float32 or half.

Knows no cache and no queue. Everything is called from one thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from gramviz.errors import BusyError
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.features import PatchFeatures, extract_all, extract_stacked
from gramviz.vit.images import Picture, grid_for

T = TypeVar("T")

# Largest difference of a cosine of two patches from float32's that a faster type may make.
COSINE_BOUND = 0.005
# A way that is not this much faster is not worth its memory.
GAIN = 1.1
ROUNDS = 3

log = logging.getLogger(__name__)


class Forwards:
    """Features from networks on `device`. What is faster is measured once for each kind of forward, at first use."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._dtypes: dict[str, torch.dtype | None] = {}
        self._stacking: dict[tuple[str, tuple[int, int], int], bool] = {}

    def gathers(self, grid: tuple[int, int]) -> bool:
        """Whether pictures on a grid of (rows, columns) patches should go through a network together.

        On a CPU the cores are busy with one picture, and whoever is first in a batch would wait for the last
        (measured with the shipped network: 1.3 times as fast at 14 x 14, 1.0 at 28 x 28).
        """
        return self.device.type != "cpu" or grid[0] * grid[1] <= 14 * 14

    def features(
        self, network: DenseBackbone, pictures: Sequence[Picture], patches: int, layer: int = -1
    ) -> list[PatchFeatures]:
        """Features of pictures that have one grid, in one forward, or in several smaller ones where memory runs out.

        Raises BusyError where it runs out for a single picture, InputError as `extract`.
        """
        dtype = self._dtype(network, pictures[0], patches)

        def forward(part: Sequence[Picture]) -> list[PatchFeatures]:
            return extract_all(network, part, patches, layer=layer, device=self.device, autocast=dtype)

        return halving(forward, pictures, self.device)

    def stacked(
        self, networks: Sequence[DenseBackbone], picture: Picture, patches: int, layer: int = -1
    ) -> list[PatchFeatures]:
        """Features of one picture by networks of one architecture: in one stacked forward where that was measured to
        be faster, else one after another. Raises as `features`.
        """

        def one_by_one() -> list[PatchFeatures]:
            return [self.features(network, [picture], patches, layer)[0] for network in networks]

        def together() -> list[PatchFeatures]:
            return extract_stacked(
                [one.to(self.device).eval() for one in networks], picture, patches, layer=layer
            )

        # Float32 on both sides: a stacked forward in half precision would need a bound of its own. Never on a CPU,
        # where the answer would depend on who asked beside: measured on two cores, 1.6 to 1.9 times as fast at
        # 14 x 14 patches and 0.6 to 0.7 times at 28 x 28.
        if len(networks) == 1 or self.device.type == "cpu":
            return one_by_one()
        key = (architecture(networks[0]), grid_for(picture.size, patches), len(networks))
        try:
            if key not in self._stacking:
                self._stacking[key] = seconds(one_by_one, self.device) > GAIN * seconds(together, self.device)
            return together() if self._stacking[key] else one_by_one()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            self._stacking[key] = False
            free(self.device)
            return one_by_one()

    def _dtype(self, network: DenseBackbone, picture: Picture, patches: int) -> torch.dtype | None:
        """bfloat16 where CUDA is faster with it on this architecture and cosines stay within COSINE_BOUND; else None.

        Measured on a CPU (two cores, the shipped network): cosines off by up to 0.03, so float32 it is there.
        """
        if self.device.type != "cuda" or not torch.cuda.is_bf16_supported():
            return None
        name = architecture(network)
        if name not in self._dtypes:

            def run(dtype: torch.dtype | None) -> list[PatchFeatures]:
                return extract_all(network, [picture], patches, device=self.device, autocast=dtype)

            (exact,), (half,) = run(None), run(torch.bfloat16)
            error = cosine_error(exact, half)
            faster = seconds(lambda: run(None), self.device) > GAIN * seconds(
                lambda: run(torch.bfloat16), self.device
            )
            chosen = torch.bfloat16 if faster and error <= COSINE_BOUND else None
            log.info("%s: %s; bfloat16 moves cosines by %.4f", name, chosen or "float32", error)
            self._dtypes[name] = chosen
        return self._dtypes[name]


def architecture(network: DenseBackbone) -> str:
    """A name for all networks whose forwards cost the same."""
    return f"{type(network.network).__name__} {network.width} {network.depth}"


def halving(
    forward: Callable[[Sequence[Picture]], list[T]], pictures: Sequence[Picture], device: torch.device
) -> list[T]:
    """`forward` of all, in halves of halves where memory runs out. Raises BusyError where one alone is too many."""
    try:
        return forward(pictures)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        log.warning("memory ran out in a forward of %d pictures", len(pictures))
    free(device)
    if len(pictures) == 1:
        raise BusyError(
            "There was not enough memory for this picture; please choose fewer patches, or try again later."
        )
    middle = len(pictures) // 2
    return halving(forward, pictures[:middle], device) + halving(forward, pictures[middle:], device)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU (torch.OutOfMemoryError) or on the CPU (whose allocator says so in words)."""
    words = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "out of memory" in words or "can't allocate memory" in words or "not enough memory" in words
    )


def free(device: torch.device) -> None:
    """Give cached blocks back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def cosine_error(exact: PatchFeatures, other: PatchFeatures) -> float:
    """Largest difference of a cosine of two patches between two features of one picture."""

    def gram(features: PatchFeatures) -> torch.Tensor:
        unit = torch.nn.functional.normalize(features.patches.flatten(0, 1), dim=-1)
        return unit @ unit.T

    return float((gram(exact) - gram(other)).abs().max())


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The fastest of a few runs, after one to warm up."""
    times = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])
