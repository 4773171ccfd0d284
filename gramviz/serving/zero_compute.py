"""Who computes on a ZeroGPU Space: the page's process on its CPU, and lent GPUs for fine-tunes.

A view of a shipped checkpoint takes some 50 ms on a CPU; a lent GPU would take a second to come and count on the
visitor's quota. Imported only where it is wanted: it needs the package `spaces`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.cache import ByteCache
from gramviz.serving.compute import LocalCompute
from gramviz.serving.monitoring import Monitor
from gramviz.serving.runs import Runs
from gramviz.serving.settings import Settings
from gramviz.serving.zero_finetune import SLICE, ZeroRun
from gramviz.training.finetune import FinetuneJob


class ZeroCompute:
    """This process for all but fine-tunes, which run in slices on lent GPUs."""

    def __init__(
        self, store: CheckpointStore, settings: Settings, results: ByteCache[Any], monitor: Monitor
    ) -> None:
        # the page's process only seems to have a GPU there
        self._local = LocalCompute(store, replace(settings, device="cpu"), results, monitor)
        self._threads = torch.get_num_threads()  # as the settings have it, on this machine
        self._runs = Runs(settings.finetunes, settings.finetune_queue)
        self.submit, self.release = self._local.submit, self._local.release
        self.position, self.healthy = self._local.position, self._local.healthy

    @property
    def notice(self) -> str:
        """See `Compute`."""
        return self._local.notice

    @property
    def terms(self) -> str:
        """See `Compute`."""
        return (
            f"A fine-tune runs on a GPU that ZeroGPU lends for {SLICE:.0f} seconds at a time, as often as it needs; "
            "each time counts on your daily quota. Where that is used up, a CPU goes on."
        )

    def finetune(self, job: FinetuneJob, line: str) -> ZeroRun:
        """See `Compute`."""
        return ZeroRun(self._runs, job, line, self._threads)

    def status(self) -> dict[str, float]:
        """See `Compute`."""
        return {**self._local.status(), **self._runs.status()}

    def close(self) -> None:
        """See `Compute`."""
        self._runs.close()
        self._local.close()
