"""What the theory lab's cards are checked on: a picture's features and those of a neighbour, or the blackboard.

Knows no card and no engine.

Letters: P patches, d feature width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import InputError
from gramviz.serving.rehearsal import Training
from gramviz.vit.features import PatchFeatures


@dataclass(frozen=True, eq=False)
class Material:
    """What cards are checked on, all float64 on the CPU.

    patches [P, d] and cls [d]: features; lengths [P]: of the tokens before the final norm; grid: rows and columns.
    other [P, d]: features of a neighbouring checkpoint, None where the run has no other that fits; other_name: its
    id. training: network and heads, None where the checkpoint has no heads. with_heads: ids of the checkpoints of
    its run that have. rows: what was measured along the run. blackboard: whether this is the worked example.
    """

    patches: Tensor
    cls: Tensor
    lengths: Tensor
    grid: tuple[int, int]
    other: Tensor | None = None
    other_name: str = ""
    training: Training | None = None
    with_heads: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    blackboard: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors, with all that its training may compute later; the rows are not its own."""
        tensors = [self.patches, self.cls, self.lengths, *([] if self.other is None else [self.other])]
        own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return own + (self.training.nbytes if self.training else 0)


def blackboard() -> Material:
    """The worked example: four patches of width 2 in small whole numbers, so that each number can be followed."""
    patches = torch.tensor([[2, 0], [2, 1], [0, 1], [1, 2]], dtype=torch.float64)
    return Material(
        patches=patches,
        cls=torch.tensor([1, 1], dtype=torch.float64),
        lengths=patches.norm(dim=-1),
        grid=(2, 2),
        other=torch.tensor([[2, 1], [2, 1], [1, 1], [2, 2]], dtype=torch.float64),
        other_name="a second set of four",
        blackboard=True,
    )


def material_of(
    features: PatchFeatures,
    other: PatchFeatures | None,
    other_name: str,
    *,
    training: Training | None,
    with_heads: tuple[str, ...],
    rows: tuple[Mapping[str, Any], ...],
) -> Material:
    """Features as an engine has them, in float64. Raises InputError where one is not finite."""
    if not bool(features.patches.isfinite().all() and features.cls.isfinite().all()):
        raise InputError("The features of this checkpoint hold values that are not finite.")
    fits = other is not None and bool(other.patches.isfinite().all())
    return Material(
        patches=features.patches.flatten(0, 1).double(),
        cls=features.cls.double(),
        lengths=features.token_lengths.flatten().double(),
        grid=(features.patches.shape[0], features.patches.shape[1]),
        other=other.patches.flatten(0, 1).double() if other is not None and fits else None,
        other_name=other_name,
        training=training,
        with_heads=with_heads,
        rows=rows,
    )


def neighbour(info: CheckpointInfo, run: Sequence[CheckpointInfo]) -> CheckpointInfo | None:
    """What `info` is held against among its run: its parent, else its first child, else the nearest step."""
    others = [other for other in run if other.id != info.id]
    parents = [other for other in others if other.id == info.parent]
    children = [other for other in others if other.parent == info.id]
    nearest = sorted(others, key=lambda other: abs(other.step - info.step))
    return next(iter((*parents, *children, *nearest)), None)
