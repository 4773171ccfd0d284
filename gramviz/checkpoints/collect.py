"""Takes the checkpoints of a trunk and its arms out of their run folders into a models folder.

Knows the file names of a run folder (`step_000300.safetensors`, `config.json`); nothing of training itself. Files
that are there already with the same content are left untouched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gramviz.checkpoints.files import load_tensors, sha256_of, to_bytes, write_if_new
from gramviz.checkpoints.heads import HEADS_FILE, STEP_FILE, heads_of_run
from gramviz.checkpoints.manifest import BRANCHES, MANIFEST, CheckpointInfo, CheckpointStore, write_manifest
from gramviz.errors import CheckpointError
from gramviz.vit.backbones import NetworkConfig


def collect(
    models: Path,
    run: str,
    arms: Mapping[str, Path],
    steps: Sequence[int],
    *,
    fork: int,
    title: str,
    licence: str,
    shown: Sequence[int] = (),
    heads: Sequence[int] = (),
    own_steps: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> list[CheckpointInfo]:
    """Copy the checkpoints at `steps` and rewrite the manifest; other runs in it stay as they are.

    Tensor files in the run's folder that the manifest no longer names are removed.

    arms: branch -> run folder ("plain", "gram", ...). Steps up to `fork` are the trunk's and come from the first
    arm. shown: the steps that a new visitor sees. heads: the steps whose projection heads are taken along.
    own_steps: branch -> its steps, where they are not `steps`. Raises CheckpointError where a branch is not known, a
    run folder lacks a step, or the arms differ in anything but their Gram section.
    """
    possible = [branch for branch in BRANCHES if branch != "trunk"]
    if strange := sorted(arms.keys() - possible):
        raise CheckpointError(f"there is no branch {strange[0]!r}; possible are {', '.join(possible)}")
    known = {*steps, *(step for own in own_steps.values() for step in own)}
    if unknown := sorted(set(heads) - known):
        raise CheckpointError(f"heads are asked for at steps {unknown}, which are not taken at all")
    configs = {branch: _read_config(folder) for branch, folder in arms.items()}
    first = next(iter(configs.values()))
    for branch, config in configs.items():
        if {**config, "gram": None} != {**first, "gram": None}:
            raise CheckpointError(f"the arm {branch!r} differs from the first in more than its Gram section")
    rows: list[CheckpointInfo] = []
    for branch, folder in {"trunk": next(iter(arms.values())), **arms}.items():
        parent = _last_of_trunk(rows)
        for step in sorted(own_steps.get(branch, steps)):
            if (step <= fork) != (branch == "trunk"):
                continue
            tensors, _ = load_tensors(folder / STEP_FILE.format(step))
            file = f"{run}/{branch}_{STEP_FILE.format(step)}"
            write_if_new(models / file, to_bytes(tensors, {"step": step, "network": first["network"]}))
            heads_file = f"{run}/{branch}_{HEADS_FILE.format(step)}" if step in heads else None
            if heads_file is not None:
                write_if_new(models / heads_file, to_bytes(*heads_of_run(folder, step)))
            rows.append(
                CheckpointInfo(
                    id=f"{run}/{branch}/{step}",
                    run=run,
                    branch=branch,
                    step=step,
                    file=file,
                    sha256=sha256_of(models / file),
                    bytes=(models / file).stat().st_size,
                    images_seen=step * int(first["batch_size"]),
                    parent=parent,
                    licence=licence,
                    title=title,
                    network=NetworkConfig.from_dict(first["network"]),
                    shown=step in shown,
                    heads=heads_file,
                    heads_sha256=None if heads_file is None else sha256_of(models / heads_file),
                )
            )
            parent = rows[-1].id
    for branch, config in configs.items():
        write_if_new(models / run / f"{branch}_config.json", (json.dumps(config, indent=2) + "\n").encode())
    kept = CheckpointStore.open(models).all() if (models / MANIFEST).exists() else ()
    infos = [info for info in kept if info.run != run] + rows
    write_manifest(models, infos)
    named = {models / file for info in infos for file in (info.file, info.heads) if file is not None}
    for path in set((models / run).glob("*.safetensors")) - named:
        path.unlink()
    return rows


def _last_of_trunk(rows: Sequence[CheckpointInfo]) -> str | None:
    trunk = [info.id for info in rows if info.branch == "trunk"]
    return trunk[-1] if trunk else None


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"the run folder {folder.name!r} has no readable config.json") from error
    return config
