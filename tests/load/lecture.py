"""A lecture hall over HTTP: many open the page on one sample, others upload pictures, some start fine-tunes.

What everyone got is kept, so that it can be compared with what they should have got.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from tests.load.http import Pages, RefusedError, Visitor

SIDE = 224  # pixels of an upload


def own_picture(seed: int) -> bytes:
    """A PNG of coloured noise, coarse enough for patches to differ; no two seeds look alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.kron(coarse, np.ones((SIDE // 16, SIDE // 16, 1), np.uint8))).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class Plan:
    """Who comes: viewers of one sample, uploaders, and tuners, all within `within` seconds."""

    ids: Sequence[str]
    viewers: int = 100
    uploaders: int = 50
    tuners: int = 5
    patches: int = 28
    within: float = 5.0
    sample: str = "coffee"
    tuning: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What one visitor got. first: seconds from opening the page to the first map."""

    value: dict[str, Any]
    factor: bytes
    photograph: bytes
    first: float


@dataclass
class Report:
    """Everyone's, by what they did; of tuners, all values of their fine-tune."""

    viewers: list[Seen]
    uploaders: list[Seen]
    tuners: list[list[dict[str, Any]]]
    seconds: float


async def look(visitor: Visitor, choice: dict[str, Any]) -> Seen:
    """Open the page and look at the chosen picture, until all maps are there. Raises RefusedError."""
    began = time.perf_counter()
    page = await visitor.client.get(visitor.pages.address, timeout=120)
    page.raise_for_status()
    first, factor, photograph, value = 0.0, b"", b"", {}
    async for value in visitor.events(visitor.pages.compare, [choice]):
        if value.get("error"):
            raise RefusedError(200, value["error"])
        if not photograph:
            photograph = await visitor.fetch(value["picture"]["image"])
        if not first and value["views"]:
            view = next(value["views"][key] for key in choice["ids"] if key in value["views"])
            await visitor.fetch(view["factor"])
            first = time.perf_counter() - began
    assert value["complete"], "the comparison ended before all was there"
    factor = await visitor.fetch(value["views"][choice["ids"][0]]["factor"])
    return Seen(value, factor, photograph, first)


async def attend(pages: Pages, plan: Plan) -> Report:
    """Let everyone come, spread evenly over the first seconds, and wait until all have seen all."""

    async def viewer(index: int) -> Seen:
        async with Visitor(pages) as visitor:
            return await look(
                visitor, visitor.choice(list(plan.ids), sample=plan.sample, patches=plan.patches)
            )

    async def uploader(index: int) -> Seen:
        async with Visitor(pages) as visitor:
            file = await visitor.upload(own_picture(index))
            return await look(visitor, visitor.choice(list(plan.ids), file=file, patches=plan.patches))

    async def tuner(index: int) -> list[dict[str, Any]]:
        async with Visitor(pages) as visitor:
            choice = visitor.choice([plan.tuning["start"]], sample=plan.sample, patches=plan.patches)
            return [value async for value in visitor.tune(choice, {**plan.tuning, "seed": index})]

    async def spread(work: Callable[[int], Awaitable[Any]], count: int) -> list[Any]:
        async def later(index: int) -> Any:
            await asyncio.sleep(plan.within * index / max(count, 1))
            return await work(index)

        return list(await asyncio.gather(*(later(index) for index in range(count))))

    began = time.perf_counter()
    viewers, uploaders, tuners = await asyncio.gather(
        spread(viewer, plan.viewers), spread(uploader, plan.uploaders), spread(tuner, plan.tuners)
    )
    return Report(viewers, uploaders, tuners, time.perf_counter() - began)
