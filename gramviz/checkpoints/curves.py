"""What was measured along a run: the rows of its `metrics.jsonl`, one a step of one arm and seed, and baselines.

Knows the form of a row and nothing of what the numbers mean.
"""

import json
from pathlib import Path
from typing import Any

from gramviz.errors import CheckpointError

METRICS = "metrics.jsonl"
KEYS = {"arm": str, "run": str, "seed": int, "step": int}
BASELINE = "baseline:"  # how the arm of a row begins that is of no network, and so of no run, seed or step


def read_metrics(folder: Path, run: str) -> tuple[dict[str, Any], ...]:
    """The rows of `folder/run/metrics.jsonl`, in its order; none where there is no such file.

    Every row has `arm`, and where it is of a network also `run`, `seed` and `step`. Raises CheckpointError that names
    the line at fault.
    """
    try:
        lines = (folder / run / METRICS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(_row(line, number, run) for number, line in enumerate(lines, 1) if line.strip())


def _row(line: str, number: int, run: str) -> dict[str, Any]:
    place = f"line {number} of the measurements of {run}"
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{place} is not JSON: {error.msg}") from None
    if not isinstance(row, dict):
        raise CheckpointError(f"{place} is no JSON object")
    for key, kind in KEYS.items():
        if str(row.get("arm")).startswith(BASELINE):
            break
        value = row.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise CheckpointError(
                f"{place} has {key} {str(value)[:40]!r}; it must be of type {kind.__name__}"
            )
    return row
