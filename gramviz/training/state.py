"""All that a training run remembers between two steps, and how that becomes tensors and back.

Knows nothing of files: `to_tensors` and `load_tensors` speak in flat dictionaries of tensors, so that a state
survives a round trip bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from gramviz.errors import CheckpointError
from gramviz.training.config import TrainConfig
from gramviz.training.heads import ProjectionHead
from gramviz.vit.backbones import DenseBackbone, create_backbone

M = TypeVar("M", bound=nn.Module)


class Learner(nn.Module):
    """A backbone with its DINO head, iBOT head and mask token; student and EMA teacher are one of these each."""

    def __init__(self, config: TrainConfig, *, fused_attention: bool = True) -> None:
        super().__init__()
        self.backbone: DenseBackbone = create_backbone(config.network, fused_attention=fused_attention)
        self.dino_head = ProjectionHead(self.backbone.width, config.head, batch_norm=True)
        self.ibot_head = ProjectionHead(self.backbone.width, config.head, batch_norm=False)
        self.mask_token = nn.Parameter(torch.zeros(self.backbone.width))
        nn.init.normal_(self.mask_token, std=0.02)


@dataclass
class TrainState:
    """Student, EMA teacher, Gram teacher (once taken), optimizer, centres and the number of finished steps.

    teacher: the student itself where the Gram loss alone is trained on, which needs no EMA.
    torn: a step is being applied; where it stays so, the weights are of no step and not to be saved.
    """

    student: Learner
    teacher: Learner
    optimizer: torch.optim.AdamW
    dino_center: Tensor
    ibot_center: Tensor
    gram_teacher: DenseBackbone | None = None
    step: int = 0
    torn: bool = False


def new_state(
    config: TrainConfig, device: torch.device, trains: Callable[[str], bool] = lambda _: True
) -> TrainState:
    """A fresh state; its weights depend on `config.seed` alone and global random state is left as it was.

    trains: says by its name in the student whether a parameter is trained; the others need no gradient and get no
    slots in the optimizer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        # the fused kernel's backward pass is the slower one on a CPU at the short sequences of training
        student = Learner(config, fused_attention=device.type != "cpu")
    student = student.to(device).train()
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(trains(name))
    return TrainState(
        student=student,
        teacher=student if config.gram_alone else _frozen(copy.deepcopy(student)),
        optimizer=_optimizer(student, config),
        dino_center=torch.zeros(config.head.prototypes, device=device),
        ibot_center=torch.zeros(config.head.prototypes, device=device),
    )


def take_gram_teacher(state: TrainState) -> None:
    """Freeze a copy of the EMA teacher's backbone as the Gram teacher."""
    state.gram_teacher = _frozen(copy.deepcopy(state.teacher.backbone))


def _frozen(module: M) -> M:
    return module.requires_grad_(False)


def _optimizer(student: Learner, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; vectors and the mask token get no weight decay, as is the custom for ViTs."""
    trained = [p for p in student.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.optimizer.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.optimizer.lr, betas=(0.9, 0.999), fused=True)


def to_tensors(state: TrainState) -> dict[str, Tensor]:
    """Every tensor of the state under a flat name; with `state.step` it is the whole state."""
    tensors = {f"student.{k}": v for k, v in state.student.state_dict().items()}
    if state.teacher is not state.student:
        tensors |= {f"teacher.{k}": v for k, v in state.teacher.state_dict().items()}
    tensors |= {"dino_center": state.dino_center, "ibot_center": state.ibot_center}
    if state.gram_teacher is not None:
        tensors |= {f"gram_teacher.{k}": v for k, v in state.gram_teacher.state_dict().items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in slots.items()}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def load_tensors(state: TrainState, tensors: Mapping[str, Tensor], step: int) -> None:
    """Put saved tensors back. Raises CheckpointError where names or shapes do not fit the configuration."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    try:
        state.student.load_state_dict(part("student."))
        if state.teacher is not state.student:
            state.teacher.load_state_dict(part("teacher."))
        if part("gram_teacher."):
            take_gram_teacher(state)
            assert state.gram_teacher is not None
            state.gram_teacher.load_state_dict(part("gram_teacher."))
        state.dino_center.copy_(tensors["dino_center"])
        state.ibot_center.copy_(tensors["ibot_center"])
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimizer.").items():
            index, slot = name.split(".")
            slots.setdefault(int(index), {})[slot] = value
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    except (RuntimeError, KeyError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"the saved training state does not fit this configuration ({first})"
        ) from error
    state.step = step
