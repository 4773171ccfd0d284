"""Projection heads beside a checkpoint: which tensors they are, and what is told with them.

Without them a checkpoint can be looked at but not trained on as it was trained. Heads and mask token are the EMA
teacher's, as the checkpoint's backbone is. Knows names of tensors and of the files they lie in; nothing of modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gramviz.checkpoints.files import load_tensors
from gramviz.errors import CheckpointError

STEP_FILE = "step_{:06d}.safetensors"  # a checkpoint: the backbone alone
HEADS_FILE = "heads_{:06d}.safetensors"
STATE = "state.safetensors"  # the run's last one
KEPT_STATE = "state_{:06d}.safetensors"


def select_heads(
    state: Mapping[str, Tensor], step: int, config: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Heads and mask token as float16 out of a training state's tensors, and the metadata that goes with them.

    Names: "dino_head.<...>", "ibot_head.<...>", "mask_token". Metadata: step, and the sections "head" (shape of the
    heads) and "loss" (weights, temperatures, masks) of the run's configuration.
    """
    tensors = {
        name.removeprefix("teacher."): value.half()
        for name, value in state.items()
        if name.startswith(("teacher.dino_head.", "teacher.ibot_head.")) or name == "teacher.mask_token"
    }
    metadata = {"step": step, "head": config["head"], "loss": config["loss"]}
    return tensors, metadata


def heads_of_run(folder: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The heads of a run folder's checkpoint: its own file, or taken from the training state of that step.

    Raises CheckpointError where the folder has neither.
    """
    if (folder / HEADS_FILE.format(step)).is_file():
        return load_tensors(folder / HEADS_FILE.format(step))
    for path in (folder / KEPT_STATE.format(step), folder / STATE):
        if path.is_file():
            tensors, metadata = load_tensors(path)
            if metadata.get("step") == step:
                return select_heads(tensors, step, metadata["config"])
    raise CheckpointError(
        f"the run folder {folder.name!r} has neither heads nor a training state of step {step}"
    )
