"""What a visitor may ask of a fine-tune: the controls with their ranges, a checked plan, and presets to begin with.

Knows no weights and no engine; `serving/jobs.py` makes the job of a plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import InputError
from gramviz.serving.controls import shown
from gramviz.serving.dials import CONTROLS

_BY_NAME = {control.name: control for control in CONTROLS}


@dataclass(frozen=True)
class Plan:
    """One fine-tune, checked.

    start: id of the checkpoint to begin with. teacher: id of the Gram teacher's, "" for the start itself.
    resolution: 1 or 2, how many times the student's crops the Gram teacher sees. dino, ibot, koleo, gram: weights of
    the losses. trained: "all", "blocks" (the last `blocks` of them) or "norms". images: "pack" (the sample pack),
    "picture" (the visitor's picture alone) or "own" (images that came with the request). rate: AdamW's learning
    rate. batch: images a step, two crops each. control: whether an arm with Gram weight 0 runs beside it.
    """

    start: str
    teacher: str = ""
    resolution: int = 1
    gram: float = 1.0
    dino: float = 0.0
    ibot: float = 0.0
    koleo: float = 0.0
    trained: str = "all"
    blocks: int = 2
    images: str = "pack"
    steps: int = 50
    rate: float = 1e-3
    batch: int = 4
    seed: int = 0
    control: bool = False

    @property
    def gram_alone(self) -> bool:
        """Whether nothing but the Gram loss is minimised, which needs no projection heads."""
        return self.dino == self.ibot == self.koleo == 0

    @staticmethod
    def from_values(values: Any) -> Plan:
        """Check what came from outside: a mapping from names of this class's fields to values, where a missing one
        stands for its default. Raises InputError that names the value and what would be right.
        """
        if not isinstance(values, Mapping):
            raise InputError("The settings of the fine-tune were damaged; please choose them again.")
        unknown = [shown(name) for name in values if name not in Plan.__dataclass_fields__]
        if unknown:
            raise InputError(f"A fine-tune has no setting {unknown[0]!r}.")
        start, teacher = values.get("start"), values.get("teacher", "")
        if not isinstance(start, str) or not start or not isinstance(teacher, str):
            raise InputError("Please choose the checkpoint to start from and the Gram teacher.")
        control = values.get("control", False)
        if not isinstance(control, bool):
            raise InputError(f"control is {shown(control)!r}; it must be true or false.")
        chosen: dict[str, Any] = {
            name: _BY_NAME[name].checked(value) for name, value in values.items() if name in _BY_NAME
        }
        if "resolution" in chosen:
            chosen["resolution"] = int(chosen["resolution"])
        plan = Plan(start=start, teacher=teacher, control=control, **chosen)
        plan._check_objective()
        return plan

    def _check_objective(self) -> None:
        if self.gram_alone and self.gram == 0:
            raise InputError("Every weight is 0, so nothing would be trained; raise at least one.")
        if self.control and self.gram_alone:
            raise InputError(
                "A control arm with Gram weight 0 would have nothing left to minimise; give DINO, iBOT or KoLeo a "
                "weight, or leave it out."
            )
        if self.control and self.gram == 0:
            raise InputError("The Gram weight is 0, so a control arm would be the same run; leave it out.")


@dataclass(frozen=True)
class Preset:
    """A plan to begin with: its name, the words on its button, and in one sentence what it shows."""

    name: str
    title: str
    sentence: str
    plan: Plan


def presets(checkpoints: Sequence[CheckpointInfo]) -> tuple[Preset, ...]:
    """The presets that these checkpoints allow, of the first run that has them.

    Needed are a trunk to take the Gram teacher from and a later step trained without Gram anchoring; those with
    DINO and iBOT need the trunk's projection heads too.
    """
    for run in dict.fromkeys(info.run for info in checkpoints):
        own = [info for info in checkpoints if info.run == run]
        trunk = max((i for i in own if i.branch == "trunk"), key=lambda i: i.step, default=None)
        plain = max((i for i in own if i.branch == "plain"), key=lambda i: i.step, default=None)
        if trunk is not None and plain is not None:
            return _presets(trunk, plain)
    return ()


def _presets(trunk: CheckpointInfo, plain: CheckpointInfo) -> tuple[Preset, ...]:
    found = [
        Preset(
            "repair",
            "Repair a degraded checkpoint",
            f"Step {plain.step:,} without anchoring, pulled back to the Gram matrices of step {trunk.step:,} by the "
            "Gram loss alone.",
            Plan(start=plain.id, teacher=trunk.id),
        ),
    ]
    if trunk.heads is not None:
        global_losses = {"dino": 1.0, "ibot": 2.0, "koleo": 0.05, "rate": 10**-2.5, "steps": 100, "batch": 16}
        found += [
            Preset(
                "degrade",
                "Watch it degrade",
                f"Step {trunk.step:,} trained on with DINO, iBOT and KoLeo and no anchor, at a high learning rate.",
                Plan(start=trunk.id, gram=0.0, **global_losses),  # type: ignore[arg-type]
            ),
            Preset(
                "anchor",
                "Anchor it",
                "The same training with a Gram anchor to its start; the control arm without it runs beside.",
                Plan(start=trunk.id, gram=15.0, control=True, **global_losses),  # type: ignore[arg-type]
            ),
        ]
    found.append(
        Preset(
            "highres",
            "High-resolution teacher",
            f"Step {plain.step:,} anchored to step {trunk.step:,} that sees each crop at twice the size.",
            Plan(start=plain.id, teacher=trunk.id, resolution=2),
        )
    )
    return tuple(found)
