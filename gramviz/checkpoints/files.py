"""Reading and writing safetensors files, atomically and with clear errors.

Knows nothing of networks or of the manifest. Pickled weights are never opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from gramviz.errors import CheckpointError

METADATA = "gramviz"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, either the old or the whole new content is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_if_new(path: Path, content: bytes) -> None:
    """`write_atomic`, but a file that holds just these bytes is left untouched."""
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, content)


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Tensors with JSON-able metadata as the bytes of a safetensors file; equal content is equal bytes."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # under one key: safetensors writes several in an order of its own
    content: bytes = safetensors.torch.save(plain, {METADATA: json.dumps(dict(metadata), sort_keys=True)})
    return content


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Save tensors with JSON-able metadata as one safetensors file (atomic)."""
    write_atomic(path, to_bytes(tensors, metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and our metadata ({} in a file of another program) of a safetensors file.

    Raises CheckpointError if it is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint file {path.name!r}") from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path.name!r} is not a readable safetensors file; it may be cut off"
        ) from error
    try:
        metadata = json.loads(header.get(METADATA, "{}"))
    except json.JSONDecodeError:
        metadata = None
    if not isinstance(metadata, dict):
        raise CheckpointError(f"the metadata of {path.name!r} is damaged; it must be a JSON object")
    return tensors, metadata


def tensors_in(content: bytes, what: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file's bytes. Raises CheckpointError, which names `what`, if it is damaged."""
    try:
        found: dict[str, Tensor] = safetensors.torch.load(content)
    except Exception as error:  # what the library says of hostile bytes has no common type
        raise CheckpointError(f"{what!r} is not a readable safetensors file; it may be cut off") from error
    return found


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
