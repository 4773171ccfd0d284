"""A download while its visitor watches: made in a thread of its own, told as it grows, broken off when they go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from gramviz.checkpoints.hub import Offer, fetch
from gramviz.checkpoints.zoo import zoo_model
from gramviz.errors import InputError

PATIENCE = 0.25  # seconds between looks at it

Files = tuple[Path, Path]


class BrokenOffError(Exception):
    """Nobody waits for the download any more."""


def check_permitted(name: str, fetch: str) -> None:
    """InputError where a service that fetches "none", "listed" or "any" models for visitors lets this one be."""
    if fetch == "none":
        raise InputError("Nothing is fetched from the Hub here; whoever runs this service can allow it.")
    if fetch == "listed" and zoo_model(name) is None:
        raise InputError(
            f"{name[:120]!r} is not among the listed models, and others are not fetched here; whoever runs this "
            "service can allow it, or you can add it as a file."
        )


def fetched(offer: Offer, download: Callable[..., Files] = fetch) -> Generator[int | Files, None, None]:
    """The bytes that are there, now and then, and at last both files, as `hub.fetch` gives them.

    Closing the iterator breaks the download off; a later one goes on where it stood. Nobody's login is used: what is
    fetched for a visitor is what everyone may see. Raises CheckpointError in one sentence.
    """
    over = threading.Event()
    there = [0]

    def told(done: int) -> None:
        if over.is_set():
            raise BrokenOffError
        there[0] = done

    with ThreadPoolExecutor(1, "gramviz-download") as pool:
        future = pool.submit(download, offer, token=False, told=told)
        try:
            while not wait([future], PATIENCE).done:
                yield there[0]
            yield future.result()
        finally:
            over.set()
