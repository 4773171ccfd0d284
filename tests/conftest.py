"""A Hub that the tests of models share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints.stub_hub import StubHub, stub_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    """One on loopback, with a cache of its own."""
    with stub_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        yield running
