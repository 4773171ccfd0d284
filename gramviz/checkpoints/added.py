"""Models of one's own beside the shipped ones: from a configuration and a file of weights to a row of a manifest.

They lie in a folder of their own, under the same rules as the shipped ones: safetensors, known by hash. Knows no hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.models import eva, vision_transformer
from torch import Tensor, nn

from gramviz.checkpoints.files import load_tensors, save_tensors, sha256_of
from gramviz.checkpoints.hub import CONFIG, WEIGHTS
from gramviz.checkpoints.manifest import (
    MANIFEST,
    MODEL_BRANCH,
    CheckpointInfo,
    CheckpointStore,
    write_manifest,
)
from gramviz.errors import CheckpointError, ConfigError
from gramviz.vit.backbones import IMAGENET_MEAN, IMAGENET_STD, NetworkConfig, create_backbone

MOST_CONFIG = 2**20  # bytes
_NAME = re.compile(r"[\w][\w.-]{0,99}")


def network_of(content: bytes, what: str) -> NetworkConfig:
    """The network that a `config.json` describes: timm's, or one that this program wrote.

    Raises CheckpointError, which names `what`, for any other.
    """
    try:
        told = json.loads(content[:MOST_CONFIG])
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"The {CONFIG} of {what} is not readable JSON.") from error
    if not isinstance(told, dict):
        raise CheckpointError(f"The {CONFIG} of {what} is no JSON object.")
    try:
        if isinstance(told.get("network"), dict):
            return NetworkConfig.from_dict(told["network"])
        if not isinstance(told.get("architecture"), str):
            raise CheckpointError(
                f"The {CONFIG} of {what} names no architecture of timm; only timm's vision transformers are read."
            )
        pixels, options = told.get("pretrained_cfg") or {}, told.get("model_args") or {}
        if not isinstance(pixels, dict) or not isinstance(options, dict):
            raise CheckpointError(f"The {CONFIG} of {what} is malformed.")
        mean, std = pixels.get("mean", IMAGENET_MEAN), pixels.get("std", IMAGENET_STD)
        return NetworkConfig(told["architecture"], _dense(options), mean, std)
    except ConfigError as error:
        raise CheckpointError(f"{what} cannot be shown: {error}") from error


def read_source(path: Path, architecture: str | None = None) -> tuple[NetworkConfig, Path]:
    """The network and the file of weights of a folder (`config.json` and `model.safetensors`), or of a safetensors
    file, whose architecture is beside it in `config.json`, or given.

    Raises CheckpointError where something is missing.
    """
    weights = path / WEIGHTS if path.is_dir() else path
    if not weights.is_file():
        raise CheckpointError(f"There is no file {weights.name!r} to read weights from.")
    if weights.suffix != ".safetensors":
        raise CheckpointError(
            f"{weights.name!r} is no safetensors file; pickled weights can run code and are never opened."
        )
    if architecture is not None:
        try:
            return NetworkConfig(architecture), weights
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
    beside = weights.parent / CONFIG
    if not beside.is_file():
        raise CheckpointError(
            f"Beside {weights.name!r} is no {CONFIG} that names its architecture; name one of timm's "
            "with --architecture."
        )
    with beside.open("rb") as file:
        return network_of(file.read(MOST_CONFIG + 1), weights.parent.name), weights


def fitting_weights(config: NetworkConfig, tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors under the names of plain timm and in the shapes of the network, without a classifier's.

    Uses timm's own conversions (names of other programs, positions of another grid). Raises CheckpointError where one
    is missing, of another shape, or not finite.
    """
    try:
        network = create_backbone(config).network
    except ConfigError as error:
        raise CheckpointError(f"{what} cannot be shown: {error}") from error
    wanted = network.state_dict()
    found = dict(tensors)
    if found.keys() != wanted.keys() or any(found[name].shape != wanted[name].shape for name in wanted):
        found = _converted(network, found, what)
    for name, tensor in wanted.items():
        if name not in found:
            raise CheckpointError(f"{what} has no {name!r}, which {config.architecture} needs.")
        if found[name].shape != tensor.shape:
            raise CheckpointError(
                f"{name!r} of {what} is {tuple(found[name].shape)}, not {tuple(tensor.shape)} as in "
                f"{config.architecture}."
            )
        if not found[name].dtype.is_floating_point or not bool(found[name].isfinite().all()):
            raise CheckpointError(f"{name!r} of {what} holds values that are no finite numbers.")
    return {name: found[name].contiguous() for name in wanted}


def add_model(
    folder: Path, name: str, config: NetworkConfig, weights: Path, *, licence: str, title: str
) -> CheckpointInfo:
    """Keep a model in `folder` under a name, in place of one that had it; the row of the manifest.

    licence: as far as it is known. title: a sentence. Raises CheckpointError where the weights do not fit.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise CheckpointError(f"{name[:120]!r} is no name for a model; use letters, digits, dots and dashes.")
    tensors, _ = load_tensors(weights)
    kept = fitting_weights(config, tensors, name)
    file = f"{name}/{WEIGHTS}"
    save_tensors(folder / file, kept, {"network": config.to_dict(), "licence": licence})
    info = CheckpointInfo(
        id=name,
        run=name,
        branch=MODEL_BRANCH,
        step=0,
        file=file,
        sha256=sha256_of(folder / file),
        bytes=(folder / file).stat().st_size,
        images_seen=0,
        parent=None,
        licence=licence or "unknown",
        title=title,
        network=config,
    )
    write_manifest(folder, (*(other for other in added_models(folder) if other.id != name), info))
    return info


def remove_model(folder: Path, name: str) -> None:
    """Forget a model and its file. Raises CheckpointError where there is none of that name."""
    kept = added_models(folder)
    gone = [info for info in kept if info.id == name]
    if not gone:
        known = ", ".join(info.id for info in kept) or "none"
        raise CheckpointError(f"No model {name[:120]!r} was added; there are: {known}.")
    write_manifest(folder, [info for info in kept if info.id != name])
    (folder / gone[0].file).unlink(missing_ok=True)


def added_models(folder: Path) -> tuple[CheckpointInfo, ...]:
    """What was added, in that order; nothing where the folder is not there yet."""
    return CheckpointStore.open(folder).all() if (folder / MANIFEST).is_file() else ()


def open_with_added(models: Path, added: Path) -> CheckpointStore:
    """The checkpoints of a models folder, then those that were added; a name that both have is the former's."""
    store = CheckpointStore.open(models)
    known = {info.id for info in store.all()}
    extra = [
        replace(info, file=str((added / info.file).resolve()))
        for info in added_models(added)
        if info.id not in known
    ]
    return CheckpointStore(models, (*store.all(), *extra)) if extra else store


def _dense(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a configuration without those of a classifier, which has no place in a dense backbone."""
    return {name: value for name, value in options.items() if name not in ("num_classes", "dynamic_img_size")}


def _converted(network: nn.Module, tensors: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    convert = (
        eva.checkpoint_filter_fn if isinstance(network, eva.Eva) else vision_transformer.checkpoint_filter_fn
    )
    try:
        with torch.no_grad():
            found: dict[str, Tensor] = convert(tensors, network)
    except Exception as error:  # timm's conversions trust their input, which is a stranger's here
        raise CheckpointError(f"The weights of {what} are not laid out as timm knows them.") from error
    return found
