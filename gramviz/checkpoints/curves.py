"""What was measured along a run: the rows of its `metrics.jsonl`, one a step of one arm and seed, and baselines.

Knows the form of a row and nothing of what the numbers mean.
"""

import json
import sys
from pathlib import Path
from typing import Any

from gramviz.errors import CheckpointError

METRICS = "metrics.jsonl"
MOST_BYTES = 8 * 2**20
LARGEST = sys.float_info.max
KEYS = {"arm": str, "run": str, "seed": int, "step": int}
BASELINE = "baseline:"  # how the arm of a row begins that is of no network, and so of no run, seed or step


def read_metrics(folder: Path, run: str) -> tuple[dict[str, Any], ...]:
    """The rows of `folder/run/metrics.jsonl`, in its order; none where there is no such file.

    Every row has `arm`, and where it is of a network also `run`, `seed` and `step`; every value is a string, a finite
    number, or a list of finite numbers and null. Raises CheckpointError that names the line at fault, or for a file
    that cannot be read or is larger than 8 MiB.
    """
    path = folder / run / METRICS
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise CheckpointError(f"the measurements of {run} are too many; {MOST_BYTES:,} bytes is the most")
        lines = content.decode("utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise CheckpointError(f"the measurements of {run} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"the measurements of {run} are not UTF-8 text") from None
    return tuple(_row(line, number, run) for number, line in enumerate(lines, 1) if line.strip())


def metrics_stamp(folder: Path, run: str) -> tuple[int, int] | None:
    """Time of change and size of the file that `read_metrics` reads; None where it cannot be had."""
    try:
        found = (folder / run / METRICS).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _row(line: str, number: int, run: str) -> dict[str, Any]:
    place = f"line {number} of the measurements of {run}"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{place} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise CheckpointError(f"{place} is no JSON object")
    for key, value in row.items():
        if not _is_value(value):
            raise CheckpointError(
                f"{place} has {key[:40]} {str(value)[:40]!r}; it must be a string, a finite number, or a list of "
                "finite numbers and null"
            )
    for key, kind in KEYS.items():
        if str(row.get("arm")).startswith(BASELINE):
            break
        value = row.get(key)
        if not isinstance(value, kind):
            raise CheckpointError(
                f"{place} has {key} {str(value)[:40]!r}; it must be of type {kind.__name__}"
            )
    return row


def _is_value(value: Any) -> bool:
    if isinstance(value, list):
        return all(each is None or _is_finite(each) for each in value)
    return isinstance(value, str) or _is_finite(value)


def _is_finite(value: Any) -> bool:
    # compared rather than asked of `math`: an integer may be too large for a float
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST
