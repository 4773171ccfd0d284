"""What was measured along a run, read again only when its file has changed."""

from __future__ import annotations

from typing import Any

from gramviz.checkpoints.curves import metrics_stamp, read_metrics
from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.errors import CheckpointError
from gramviz.serving.cache import ByteCache

OVERHEAD = 1024  # bytes of a cached result beside its arrays
PARSED = 8  # about how many times the size of its file a run's rows take in memory

Rows = tuple[dict[str, Any], ...]


def trajectory(store: CheckpointStore, results: ByteCache[Any], run: str) -> Rows:
    """The rows of a run's metrics.jsonl; empty where nothing was measured. The same object again while the file
    stays as it is.

    Raises CheckpointError for an unknown run or a damaged file.
    """
    known = dict.fromkeys(info.run for info in store.all())
    if run not in known:
        raise CheckpointError(f"There is no run {str(run)[:80]!r}. Known are: {', '.join(known)}.")
    stamp = metrics_stamp(store.folder, run)
    key = ("trajectory", run, stamp)
    found: Rows | None = results.get(key)
    if found is None:
        found = read_metrics(store.folder, run)
        results.put(key, found, PARSED * (stamp[1] if stamp else 0) + OVERHEAD)
    return found
