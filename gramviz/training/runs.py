"""A training run in a folder: log, checkpoints and a state from which it resumes bit for bit.

    config.json                the TrainConfig
    log.jsonl                  one line a step
    data.json                  which images were held out of training, where the caller told
    step_000300.safetensors    EMA teacher backbone, float16, loads with plain timm
    heads_000300.safetensors   its projection heads and mask token, float16, to train on from
    state.safetensors          everything needed to go on (state_000400.safetensors: kept to fork from)

Consumes `loop.train` and yields its reports on. Knows nothing of the command line or of progress bars.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Generator, Mapping
from pathlib import Path
from typing import Any

import torch

from gramviz.checkpoints.files import load_tensors as read_tensors
from gramviz.checkpoints.files import save_tensors, write_atomic
from gramviz.checkpoints.heads import HEADS_FILE, KEPT_STATE, STATE, STEP_FILE, select_heads
from gramviz.errors import CheckpointError, ConfigError
from gramviz.training.config import TrainConfig
from gramviz.training.loop import ImageSource, StepReport, train
from gramviz.training.parallel import ALONE, Peers
from gramviz.training.state import TrainState, load_tensors, new_state, to_tensors

LOG = "log.jsonl"
DATA = "data.json"
AUTOCAST = {None: None, "bfloat16": torch.bfloat16}


def run(
    folder: Path,
    config: TrainConfig,
    source: ImageSource,
    *,
    device: torch.device,
    autocast: torch.dtype | None = None,
    checkpoints_at: Collection[int] = (),
    states_at: Collection[int] = (),
    fork_from: Path | None = None,
    save_every: int = 200,
    data: Mapping[str, Any] | None = None,
    peers: Peers = ALONE,
) -> Generator[StepReport, None, None]:
    """Train in `folder`, resuming where its saved state stands; yields after each step.

    A new run starts from `fork_from`, a state kept by another run, where given: its configuration may differ
    from that run's in the Gram section alone. `autocast` is for a new run; one that goes on, or forks, keeps the
    dtype that its state was trained with. `data` tells which images `source` was split from and is kept in
    data.json. State is saved every `save_every` steps, at the end, and when the generator is closed or fails; a step
    broken off is not part of it. Of several `peers`, who must see the same folders, the first alone writes. Raises
    ConfigError where the folder or the fork belongs to another configuration or to other images.
    """
    # timing may tell processes different things; and none may look for a file that the first has yet to write
    autocast = peers.from_first(autocast)
    folder.mkdir(parents=True, exist_ok=True)
    for home in (folder, *([] if fork_from is None else [fork_from.parent])):
        if data is not None and read_data(home) not in (None, data):
            raise ConfigError(f"the folder {home.name!r} holds a run on other images; choose a new folder")
    state, autocast = _start(folder, config, device, fork_from, autocast)
    reports = train(state, config, source, autocast=autocast, peers=peers)
    if peers.rank > 0:
        yield from reports
        return
    _cut_log(folder / LOG, state.step)
    write_atomic(folder / "config.json", (json.dumps(config.to_dict(), indent=2) + "\n").encode())
    if data is not None:
        write_atomic(folder / DATA, (json.dumps(data, indent=2) + "\n").encode())
    if state.step in checkpoints_at:
        export(folder, state, config)
    saved = logged = state.step
    try:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            for report in reports:
                log.write(json.dumps(dataclasses.asdict(report)) + "\n")
                if state.step in checkpoints_at:
                    export(folder, state, config)
                if state.step in states_at:
                    save_state(folder / KEPT_STATE.format(state.step), state, config, autocast)
                if state.step % save_every == 0:
                    log.flush()
                    save_state(folder / STATE, state, config, autocast)
                    saved = state.step
                logged = state.step
                yield report
    finally:
        # an earlier state stands where the last step was not applied, logged and exported to its end
        if state.step == logged != saved and not state.torn:
            save_state(folder / STATE, state, config, autocast)


def export(folder: Path, state: TrainState, config: TrainConfig) -> None:
    """Write the EMA teacher as float16: its backbone under timm's own names, and its heads in a file beside it."""
    network = state.teacher.backbone.network.state_dict()
    weights = {k: v.half() if v.is_floating_point() else v for k, v in network.items()}
    metadata = {"step": state.step, "network": config.network.to_dict()}
    save_tensors(folder / STEP_FILE.format(state.step), weights, metadata)
    heads, metadata = select_heads(to_tensors(state), state.step, config.to_dict())
    save_tensors(folder / HEADS_FILE.format(state.step), heads, metadata)


def save_state(path: Path, state: TrainState, config: TrainConfig, autocast: torch.dtype | None) -> None:
    """Write everything that a run needs to go on (atomic)."""
    dtype = None if autocast is None else str(autocast).removeprefix("torch.")
    metadata = {"step": state.step, "config": config.to_dict(), "autocast": dtype}
    save_tensors(path, to_tensors(state), metadata)


def read_state(path: Path, device: torch.device) -> tuple[TrainState, TrainConfig, torch.dtype | None]:
    """A saved state, the configuration and the autocast dtype it was trained with.

    Raises CheckpointError where the file is damaged or holds weights alone.
    """
    tensors, metadata = read_tensors(path)
    if not {"step", "config", "autocast"} <= metadata.keys() or metadata["autocast"] not in AUTOCAST:
        raise CheckpointError(f"{path.name!r} is not a training state that this version can read")
    config = TrainConfig.from_dict(metadata["config"])
    state = new_state(config, device)
    load_tensors(state, tensors, metadata["step"])
    return state, config, AUTOCAST[metadata["autocast"]]


def saved_step(folder: Path) -> int | None:
    """The step at which a run folder's state stands; None where it has none."""
    return read_tensors(folder / STATE)[1].get("step") if (folder / STATE).exists() else None


def read_data(folder: Path) -> dict[str, Any] | None:
    """Which images a run held out, as told in its data.json; None where it has none.

    Raises CheckpointError where that file is damaged.
    """
    if not (folder / DATA).exists():
        return None
    try:
        data = json.loads((folder / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the {DATA} of the run folder {folder.name!r} cannot be read") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"the {DATA} of the run folder {folder.name!r} must be a JSON object")
    return data


def _start(
    folder: Path,
    config: TrainConfig,
    device: torch.device,
    fork_from: Path | None,
    autocast: torch.dtype | None,
) -> tuple[TrainState, torch.dtype | None]:
    if (folder / STATE).exists():
        state, saved, autocast = read_state(folder / STATE, device)
        if saved != config:
            raise ConfigError(
                f"the folder {folder.name!r} holds a run with another configuration; choose a new folder"
            )
        return state, autocast
    if fork_from is None:
        return new_state(config, device), autocast
    state, saved, autocast = read_state(fork_from, device)
    if dataclasses.replace(saved, gram=config.gram) != config:
        raise ConfigError("a fork may differ from its trunk in the Gram section alone")
    if state.step > config.gram.start and saved.gram != config.gram:
        raise ConfigError(
            f"the trunk is at step {state.step}, past the Gram start at {config.gram.start}; fork it earlier"
        )
    if config.gram.teacher_step >= state.step:
        state.gram_teacher = None  # the fork takes its own, now or later
    elif config.gram.weight > 0 and saved.gram.teacher_step != config.gram.teacher_step:
        raise ConfigError(
            f"the trunk kept its Gram teacher at step {saved.gram.teacher_step}, "
            f"not at {config.gram.teacher_step}"
        )
    return state, autocast


def _cut_log(path: Path, step: int) -> None:
    """Drop log lines past `step`: a run that was killed had gone on after its last saved state."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    write_atomic(path, "".join(kept).encode())
