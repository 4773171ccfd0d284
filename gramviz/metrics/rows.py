"""Rows of measures in a file, one JSON object a line: what they share, and how several processes add to one file.

Knows nothing of what the measures are or of how they are made.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gramviz.errors import ConfigError


def protocol(
    pictures: int, patches: int, held_out: int | None, autocast: torch.dtype | None
) -> dict[str, int | str]:
    """What rows must share to be compared: pictures, patches, held_out (where images are classified), knn_dtype."""
    classified = {} if held_out is None else {"held_out": held_out}
    dtype = str(autocast or torch.float32).removeprefix("torch.")
    return {"pictures": pictures, "patches": patches, **classified, "knn_dtype": dtype}


def row_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a row from others: run, seed, arm, step."""
    return tuple(row.get(name) for name in ("run", "seed", "arm", "step"))


def read_rows(path: Path, protocol: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a file, none where there is no file; a last line that was cut off in writing is none.

    Raises ConfigError where it cannot be read or has rows of another protocol than ours.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text.rfind("\n") + 1
        rows = [json.loads(line) for line in text[:whole].split("\n")[:-1]]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name!r} is not a file of measured rows; name another one") from error
    if not all(isinstance(row, dict) for row in rows) or text[whole : whole + 1] not in ("", "{"):
        raise ConfigError(f"{path.name!r} is not a file of measured rows; name another one")
    for row in rows:
        for name, ours in protocol.items():
            if row.get(name, ours) != ours:
                raise ConfigError(
                    f"{path.name!r} was measured with {name} {row[name]}, not {ours}; name another one"
                )
    return rows


def row_line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON: numbers that are not finite are left out, in lists they are null."""
    kept = {name: value for name, value in row.items() if _finite(value)}
    lists = {
        name: [one if _finite(one) else None for one in value]
        for name, value in kept.items()
        if isinstance(value, list)
    }
    return json.dumps({**kept, **lists}, allow_nan=False)


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to the end of a file of rows, which other processes may add to as well.

    A last line without its end, left by a process that was killed as it wrote, is taken away first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # else a line that is being written would look like one cut off
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.write((row_line(row) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
