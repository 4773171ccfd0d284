"""Run folders as they are read when the training is over: checkpoints, states and where the run began.

Knows the names of files as `runs` writes them, and nothing of what is done with the networks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gramviz.checkpoints.files import load_tensors
from gramviz.checkpoints.heads import KEPT_STATE, STATE, STEP_FILE
from gramviz.errors import CheckpointError
from gramviz.training.config import TrainConfig
from gramviz.training.runs import LOG, read_data, read_state
from gramviz.training.state import TrainState, new_state
from gramviz.vit.backbones import DenseBackbone, create_backbone


@dataclass(frozen=True)
class RunFolder:
    """One arm of one seed.

    steps: of its checkpoints, ascending. begin: the step at which its own training begins; checkpoints up to there
    are those of the arm that it forked from. data: which images it held out, where its data.json tells.
    """

    arm: str
    folder: Path
    config: TrainConfig
    steps: tuple[int, ...]
    begin: int = 0
    data: Mapping[str, Any] | None = None

    @staticmethod
    def open(arm: str, folder: Path) -> RunFolder:
        """Raises CheckpointError where the folder has no configuration or no checkpoint, or its log is damaged."""
        try:
            config = TrainConfig.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"the run folder {folder.name!r} has no readable config.json") from error
        names = [path.stem.removeprefix("step_") for path in folder.glob("step_*.safetensors")]
        steps = tuple(sorted(int(name) for name in names if name.isdecimal()))
        if not steps:
            raise CheckpointError(f"the run folder {folder.name!r} holds no step_NNNNNN.safetensors")
        return RunFolder(arm, folder, config, steps, _begin(folder, steps), read_data(folder))

    def backbone(self, step: int, device: torch.device) -> DenseBackbone:
        """The EMA teacher's backbone at one of the steps, frozen, float32."""
        tensors, _ = load_tensors(self.folder / STEP_FILE.format(step))
        # at these short sequences the fused kernel is the slower one on a CPU
        backbone = create_backbone(self.config.network, fused_attention=device.type != "cpu")
        try:
            backbone.network.load_state_dict({name: value.float() for name, value in tensors.items()})
        except RuntimeError as error:
            raise CheckpointError(f"step {step} of {self.folder.name!r} does not fit its network") from error
        return backbone.eval().requires_grad_(False).to(device)

    def state(self, step: int, device: torch.device) -> TrainState | None:
        """The training state at a step: one that was kept, or the last one if it is of that step; else None.

        At step 0 it is what the configuration's seed makes.
        """
        if step == 0:
            return new_state(self.config, device)
        for name in (KEPT_STATE.format(step), STATE):
            if (self.folder / name).is_file():
                state, _, _ = read_state(self.folder / name, device)
                if state.step == step:
                    return state
        return None


def _begin(folder: Path, steps: Sequence[int]) -> int:
    """The step before the first that is in the log; without a line the run has trained no step of its own yet."""
    if not (folder / LOG).exists():
        return 0
    with (folder / LOG).open(encoding="utf-8") as log:
        first = log.readline()
    if not first.endswith("\n"):
        return steps[-1]
    try:
        return int(json.loads(first)["step"]) - 1
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the {LOG} of the run folder {folder.name!r} cannot be read") from error
