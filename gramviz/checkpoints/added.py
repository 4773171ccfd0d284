"""Models of one's own beside the shipped ones: from a configuration and a file of weights to a row of a manifest.

They lie in a folder of their own, under the same rules as the shipped ones: safetensors, known by hash. Knows no hub.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from timm.models import eva, vision_transformer
from torch import Tensor, nn

from gramviz.checkpoints.files import load_tensors, save_tensors, sha256_of, tensors_in
from gramviz.checkpoints.hub import CONFIG, WEIGHTS
from gramviz.checkpoints.manifest import (
    BRANCHES,
    MANIFEST,
    MODEL_BRANCH,
    CheckpointInfo,
    CheckpointStore,
    write_manifest,
)
from gramviz.errors import CheckpointError, ConfigError
from gramviz.vit.backbones import IMAGENET_MEAN, IMAGENET_STD, NetworkConfig, create_backbone

MOST_CONFIG = 2**20  # bytes
MOST_WEIGHTS = 8 * 2**30  # bytes
MOST_STEPS = 200  # of a run
# What an option of a network may be at most: weights are held to their shapes before anything is built, but depth
# costs time, and sides of images and patches memory, before there are any.
MOST: Mapping[str, int] = {"depth": 64, "img_size": 2048, "patch_size": 64}
MOST_NUMBER = 65_536  # of any other
ENLARGED = 2**24  # parameters that timm may add where it resamples positions for another grid
_NAME = re.compile(r"[\w][\w.-]{0,99}")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, eq=False)
class Source:
    """A network, and where its weights are: a file, or the bytes of one. name: as the file or folder is called."""

    name: str
    config: NetworkConfig
    weights: Path | bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the weights as a file."""
        return len(self.weights) if isinstance(self.weights, bytes) else self.weights.stat().st_size

    def tensors(self) -> dict[str, Tensor]:
        """The weights as plain timm has them. Raises CheckpointError as `fitting_weights` does."""
        content = self.weights
        found = tensors_in(content, self.name) if isinstance(content, bytes) else load_tensors(content)[0]
        return fitting_weights(self.config, found, self.name)


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
            return _bounded(NetworkConfig.from_dict(told["network"]), what)
        if not isinstance(told.get("architecture"), str):
            raise CheckpointError(
                f"The {CONFIG} of {what} names no architecture of timm; only timm's vision transformers are read."
            )
        pixels, options = told.get("pretrained_cfg") or {}, told.get("model_args") or {}
        if not isinstance(pixels, dict) or not isinstance(options, dict):
            raise CheckpointError(f"The {CONFIG} of {what} is malformed.")
        mean, std = pixels.get("mean", IMAGENET_MEAN), pixels.get("std", IMAGENET_STD)
        return _bounded(NetworkConfig(told["architecture"], _dense(options), mean, std), what)
    except ConfigError as error:
        raise CheckpointError(f"{what} cannot be shown: {error}") from error


def read_source(
    path: Path, architecture: str | None = None, most: int = MOST_WEIGHTS, config: Path | None = None
) -> Source:
    """What is in a folder (`config.json` and `model.safetensors`), in a safetensors file, whose architecture is
    beside it in `config.json` or given, or in a zip of both, as fine-tunes are taken home.

    most: bytes of the weights; config: the `config.json` of a file, where it is not beside it.

    Raises CheckpointError where something is missing or too large.
    """
    if path.suffix == ".zip" and path.is_file():
        return _unzipped(path, architecture, most)
    weights = path / WEIGHTS if path.is_dir() else path
    if not weights.is_file():
        raise CheckpointError(f"There is no file {weights.name!r} to read weights from.")
    if weights.suffix != ".safetensors":
        raise CheckpointError(
            f"{weights.name!r} is no safetensors file; pickled weights can run code and are never opened."
        )
    check_size(weights.stat().st_size, most)
    beside = config or weights.parent / CONFIG
    content = _start_of(beside) if architecture is None and beside.is_file() else None
    name = path.resolve().name.removesuffix(".safetensors")
    return Source(name, described(content, architecture, weights.name), weights)


def read_run(folder: Path, architecture: str | None = None) -> tuple[tuple[int, Source], ...]:
    """The steps of a run, whichever program made it, in their order: `<...step>.safetensors` files of a folder, or
    `model.safetensors` in folders with the step at the end of their names, all of one network, whose `config.json` is
    in the folder or beside the first of them, or whose architecture is given. Empty for a folder of another kind.

    Raises CheckpointError where two files are of one step, or where nothing tells the network.
    """
    files = [
        *(path for path in folder.glob("*.safetensors") if path.name != WEIGHTS),
        *folder.glob(f"*/{WEIGHTS}"),
    ]
    named = [(_step_of(path.parent.name if path.name == WEIGHTS else path.stem), path) for path in files]
    found = sorted((step, path) for step, path in named if step is not None)
    if not found or (folder / WEIGHTS).is_file():
        return ()
    if len(found) > MOST_STEPS:
        raise CheckpointError(f"{folder.name!r} has {len(found)} steps; at most {MOST_STEPS} are taken.")
    for (step, one), (other, two) in pairwise(found):
        if step == other:
            raise CheckpointError(f"{one.name!r} and {two.name!r} are both of step {step}.")
    configs = (path for path in (folder / CONFIG, found[0][1].parent / CONFIG) if path.is_file())
    content = next((_start_of(path) for path in configs if architecture is None), None)
    config = described(content, architecture, folder.name)
    return tuple((step, Source(f"{folder.name}, step {step}", config, path)) for step, path in found)


def check_size(nbytes: int, most: int, what: str = "The weights have") -> None:
    """CheckpointError where a file has more than `most` bytes."""
    if nbytes > most:
        raise CheckpointError(
            f"{what} {nbytes / 2**20:,.1f} MiB or more; at most {most / 2**20:,.0f} MiB are taken here."
        )


def described(content: bytes | None, architecture: str | None, what: str) -> NetworkConfig:
    """The network that an architecture's name, or else a `config.json`, tells. Raises CheckpointError, which names
    `what`, where neither is there or of use.
    """
    if architecture is not None:
        try:
            return NetworkConfig(architecture)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
    if content is None:
        raise CheckpointError(
            f"Beside {what[:120]!r} is no {CONFIG} that names its architecture; name one of timm\u2019s "
            "(on the command line with --architecture)."
        )
    return network_of(content, what)


def fitting_weights(config: NetworkConfig, tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors under the names of plain timm and in the shapes of the network, without a classifier's.

    Uses timm's own conversions (names of other programs, positions of another grid). Raises CheckpointError where one
    is missing, of another shape, or not finite.
    """
    try:
        # shapes are enough, and no memory goes to a network that nobody has weights of
        with torch.device("meta"):
            network = create_backbone(config).network
    except ConfigError as error:
        raise CheckpointError(f"{what} cannot be shown: {error}") from error
    wanted = network.state_dict()
    given, needed = (sum(value.numel() for value in each.values()) for each in (tensors, wanted))
    if needed > 2 * given + ENLARGED:
        raise CheckpointError(
            f"{config.architecture} as {what} has it has {needed:,} parameters, and the file only {given:,}."
        )
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


def add_model(folder: Path, name: str, source: Source, *, licence: str, title: str) -> CheckpointInfo:
    """Keep a model in `folder` under a name, in place of one that had it; the row of the manifest.

    licence: as far as it is known. title: a sentence. Raises CheckpointError where the weights do not fit.
    """
    info = _kept(folder, name, source, name, MODEL_BRANCH, 0, licence, title)
    _write(folder, [info])
    return info


def add_run(
    folder: Path,
    name: str,
    steps: Sequence[tuple[int, Source]],
    *,
    branch: str,
    licence: str,
    title: str,
) -> tuple[CheckpointInfo, ...]:
    """Keep the steps of a run in `folder` as one branch of a run of that name, in place of such a branch; other
    branches of the name stay. The last step is shown at first. Raises as `add_model`, and for an unknown branch.
    """
    if branch not in BRANCHES:
        raise CheckpointError(f"There is no branch {branch[:40]!r}; there are {', '.join(BRANCHES)}.")
    last = max(step for step, _ in steps)
    infos = [
        replace(
            _kept(folder, f"{name}/{branch}/{step}", source, name, branch, step, licence, title),
            shown=step == last,
        )
        for step, source in steps
    ]
    _write(folder, infos)
    return tuple(infos)


def _kept(
    folder: Path, key: str, source: Source, run: str, branch: str, step: int, licence: str, title: str
) -> CheckpointInfo:
    """Write the weights; the row that tells of them."""
    if not _NAME.fullmatch(run) or ".." in run:
        raise CheckpointError(f"{run[:120]!r} is no name for a model; use letters, digits, dots and dashes.")
    kept = source.tensors()
    file = f"{key}/{WEIGHTS}"
    save_tensors(folder / file, kept, {"network": source.config.to_dict(), "licence": licence})
    return CheckpointInfo(
        id=key,
        run=run,
        branch=branch,
        step=step,
        file=file,
        sha256=sha256_of(folder / file),
        bytes=(folder / file).stat().st_size,
        images_seen=0,
        parent=None,
        licence=licence or "unknown",
        title=title,
        network=source.config,
    )


def _write(folder: Path, infos: Sequence[CheckpointInfo]) -> None:
    """Put rows in the place of those of the same branch of the same run."""
    arms, files = {(info.run, info.branch) for info in infos}, {info.file for info in infos}
    before = added_models(folder)
    others = [info for info in before if (info.run, info.branch) not in arms]
    write_manifest(folder, (*others, *infos))
    for gone in {info.file for info in before} - {info.file for info in others} - files:
        (folder / gone).unlink(missing_ok=True)


def remove_model(folder: Path, name: str) -> None:
    """Forget a model, or a run with all its steps, and the files. Raises CheckpointError where there is none of that
    name.
    """
    kept = added_models(folder)
    gone = [info for info in kept if info.run == name]
    if not gone:
        known = ", ".join(dict.fromkeys(info.run for info in kept)) or "none"
        raise CheckpointError(f"No model {name[:120]!r} was added; there are: {known}.")
    write_manifest(folder, [info for info in kept if info.run != name])
    for info in gone:
        (folder / info.file).unlink(missing_ok=True)


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


def _bounded(config: NetworkConfig, what: str) -> NetworkConfig:
    """The same configuration. Raises CheckpointError for options that could only be meant to do harm."""
    for name, value in config.options.items():
        most = MOST.get(name, MOST_NUMBER)
        for one in value if isinstance(value, list | tuple) else [value]:
            plain = isinstance(one, str | int | float) or one is None
            if not plain or (isinstance(one, str) and len(one) > 40):
                raise CheckpointError(f"The option {name[:40]!r} of {what} is no plain value.")
            if isinstance(one, int | float) and not (math.isfinite(one) and abs(one) <= most):
                raise CheckpointError(
                    f"The option {name[:40]!r} of {what} is {one}; at most {most} are taken."
                )
    return config


def _start_of(path: Path) -> bytes:
    """As much of a file as a configuration may have, and a byte more."""
    with path.open("rb") as file:
        return file.read(MOST_CONFIG + 1)


def _step_of(name: str) -> int | None:
    """The last number in a name."""
    found = _NUMBER.findall(name)
    return int(found[-1][:12]) if found else None


def _unzipped(path: Path, architecture: str | None, most: int) -> Source:
    """Both files of an archive; sizes are checked while unpacking, since what it says of them may be false."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = _member(archive, CONFIG, MOST_CONFIG)
            weights = _member(archive, WEIGHTS, most)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile answers hostile bytes with nearly every type there is
        raise CheckpointError(f"{path.name!r} is not a readable zip file.") from error
    if weights is None:
        raise CheckpointError(f"There is no {WEIGHTS} in {path.name!r}.")
    return Source(path.stem, described(config, architecture, path.name), weights)


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes | None:
    if name not in archive.namelist():
        return None
    with archive.open(name) as file:
        content = file.read(most + 1)
    check_size(len(content), most, f"{name} in the archive has")
    return content


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
