"""The manifest: what checkpoints there are, where each comes from, and the way from a row to a network.

Knows nothing of images or of visitors. A file is used only if its bytes are those that the manifest names.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gramviz.checkpoints.files import load_tensors, sha256_of, write_if_new
from gramviz.errors import CheckpointError, ConfigError
from gramviz.vit.backbones import DenseBackbone, NetworkConfig, backbone_of

MANIFEST = "manifest.json"
BRANCHES = ("trunk", "plain", "gram", "gram_hires")
MODEL_BRANCH = "model"  # of a network that is no step of a run
OWN_BRANCHES = ("own1", "own2", "own3", "own4")  # of visitors' fine-tunes; never in a manifest


@dataclass(frozen=True)
class CheckpointInfo:
    """One checkpoint. `file` is relative to the models folder; `metrics` are as measured for the model card.

    branch: "trunk" (before the arms part), "plain" (without Gram anchoring), "gram", "gram_hires" (anchored to a
    teacher that saw twice the resolution), "model" (no step of a run), or one of OWN_BRANCHES (a visitor's fine-tune,
    in memory only: no file).
    `heads` is the file of its projection heads, where they are kept too.
    """

    id: str
    run: str
    branch: str
    step: int
    file: str
    sha256: str
    bytes: int
    images_seen: int
    parent: str | None
    licence: str
    title: str
    network: NetworkConfig
    shown: bool = True
    metrics: dict[str, float] = field(default_factory=dict)
    heads: str | None = None
    heads_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.branch not in (*BRANCHES, MODEL_BRANCH, *OWN_BRANCHES):
            raise CheckpointError(f"checkpoint {self.id!r} has branch {self.branch!r}; known are {BRANCHES}")


class CheckpointStore:
    """The checkpoints below one folder, as its manifest lists them."""

    def __init__(self, folder: Path, checkpoints: Iterable[CheckpointInfo]) -> None:
        self.folder = folder
        self._by_id = {info.id: info for info in checkpoints}

    @staticmethod
    def open(folder: Path) -> CheckpointStore:
        """Read `manifest.json`. Raises CheckpointError where it is missing or malformed."""
        try:
            rows = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["checkpoints"]
            infos = [_from_row(row) for row in rows]
        except FileNotFoundError as error:
            raise CheckpointError(f"the folder {folder.name!r} has no {MANIFEST}") from error
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CheckpointError(f"{MANIFEST} is malformed: {error}") from error
        for info in infos:
            if info.branch in OWN_BRANCHES:
                raise CheckpointError(
                    f"{MANIFEST} names {info.id!r} on {info.branch!r}, which is for visitors"
                )
        return CheckpointStore(folder, infos)

    def all(self) -> tuple[CheckpointInfo, ...]:
        """Every checkpoint, in the manifest's order."""
        return tuple(self._by_id.values())

    def get(self, checkpoint_id: str) -> CheckpointInfo:
        """The checkpoint of that id. Raises CheckpointError where there is none."""
        info = self._by_id.get(checkpoint_id) if isinstance(checkpoint_id, str) else None
        if info is None:
            known = ", ".join(self._by_id)
            raise CheckpointError(f"There is no checkpoint {str(checkpoint_id)[:80]!r}. Known are: {known}.")
        return info

    def load(self, checkpoint_id: str, device: torch.device) -> DenseBackbone:
        """The network in eval mode on the device, float32. Raises CheckpointError where the file is not right."""
        info = self.get(checkpoint_id)
        try:
            return backbone_of(info.network, self.weights(checkpoint_id)).to(device)
        except ConfigError as error:
            raise CheckpointError(f"The weights of {info.id} do not fit their network.") from error

    def weights(self, checkpoint_id: str) -> dict[str, Tensor]:
        """The backbone's weights as they are in the file, under plain timm's names. Raises as `load`."""
        info = self.get(checkpoint_id)
        return self._read(info.file, info.sha256, f"The weights of {info.id}")[0]

    def training_config(self, checkpoint_id: str) -> dict[str, Any] | None:
        """The configuration that the checkpoint's branch was trained with, as its JSON file has it; None where there
        is none. A trunk has that of any arm, whose crops and heads are the same.
        """
        info = self.get(checkpoint_id)
        for branch in dict.fromkeys((info.branch, *BRANCHES)):
            path = self.folder / info.run / f"{branch}_config.json"
            if path.is_file():
                try:
                    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                except json.JSONDecodeError as error:
                    raise CheckpointError(f"The configuration of {info.id} is not readable JSON.") from error
                return found
        return None

    def load_heads(self, checkpoint_id: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors (float32) and metadata of the checkpoint's projection heads, as `select_heads` names them.

        Raises CheckpointError where it has none or their file is not right.
        """
        info = self.get(checkpoint_id)
        if info.heads is None or info.heads_sha256 is None:
            raise CheckpointError(f"{info.id} has no projection heads; take a checkpoint that has")
        tensors, metadata = self._read(info.heads, info.heads_sha256, f"The projection heads of {info.id}")
        return {name: value.float() for name, value in tensors.items()}, metadata

    def _read(self, file: str, sha256: str, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        path = self.folder / file
        if not path.is_file():
            raise CheckpointError(f"{what} are missing from this installation.")
        if sha256_of(path) != sha256:
            raise CheckpointError(f"{what} are not the bytes that the manifest names.")
        tensors, metadata = load_tensors(path)
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise CheckpointError(f"{what} hold values that are not finite.")
        return tensors, metadata


def write_manifest(folder: Path, checkpoints: Iterable[CheckpointInfo]) -> None:
    """Write `manifest.json` for the given checkpoints (atomic)."""
    rows = [{**dataclasses.asdict(info), "network": info.network.to_dict()} for info in checkpoints]
    write_if_new(folder / MANIFEST, (json.dumps({"checkpoints": rows}, indent=1) + "\n").encode())


def _from_row(row: dict[str, Any]) -> CheckpointInfo:
    return CheckpointInfo(**{**row, "network": NetworkConfig.from_dict(row["network"])})
