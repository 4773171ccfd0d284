"""What a training run is made of, as frozen data that goes to and from JSON.

Knows nothing of files, devices or images. Each class checks its own ranges once, when it is made.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from gramviz.errors import ConfigError
from gramviz.vit.backbones import NetworkConfig


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class ViewConfig:
    """The multi-crop views of one image (DINO, arXiv 2104.14294, section 3.1).

    Sizes are in pixels and must be multiples of the patch size; scales are shares of the image's area in (0, 1].
    """

    global_size: int = 48
    global_scale: tuple[float, float] = (0.32, 1.0)
    local_size: int = 24
    local_scale: tuple[float, float] = (0.05, 0.32)
    locals: int = 4
    distortion: float = 1.0

    def __post_init__(self) -> None:
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            _require(0 < low <= high <= 1, f"{name} is {(low, high)}; it must satisfy 0 < low <= high <= 1")
        _require(0 <= self.locals <= 16, f"locals is {self.locals}; it must lie between 0 and 16")
        _require(0 <= self.distortion <= 2, f"distortion is {self.distortion}; it must lie between 0 and 2")


@dataclass(frozen=True)
class HeadConfig:
    """Shape of a projection head: d -> hidden -> hidden -> bottleneck -> unit sphere -> K prototypes."""

    hidden: int = 512
    bottleneck: int = 128
    prototypes: int = 256

    def __post_init__(self) -> None:
        smallest = min(self.hidden, self.bottleneck, self.prototypes)
        _require(smallest >= 2, f"the head has a layer of {smallest} units; each must have at least 2")


@dataclass(frozen=True)
class LossConfig:
    """Weights and temperatures of L = w_D L_DINO + w_I L_iBOT + w_K L_KoLeo (DINOv3, arXiv 2508.10104, eq. 1).

    `targets` says how the teacher's logits become targets: "sinkhorn" (Sinkhorn-Knopp over the batch) or
    "softmax" (softmax with a running centre). `mask_share` is the range of the share of masked patches, and
    `masked_views` the share of global views that get a mask at all.
    """

    dino: float = 1.0
    ibot: float = 1.0
    koleo: float = 0.1
    student_temperature: float = 0.1
    teacher_temperature: float = 0.05
    targets: str = "sinkhorn"
    mask_share: tuple[float, float] = (0.1, 0.5)
    masked_views: float = 0.5

    def __post_init__(self) -> None:
        for name in ("dino", "ibot", "koleo"):
            _require(getattr(self, name) >= 0, f"the {name} weight is {getattr(self, name)}; it must be >= 0")
        for name in ("student_temperature", "teacher_temperature"):
            _require(0 < getattr(self, name) <= 1, f"{name} is {getattr(self, name)}; it must lie in (0, 1]")
        _require(
            self.targets in ("sinkhorn", "softmax"),
            f"targets is {self.targets!r}; it must be 'sinkhorn' or 'softmax'",
        )
        low, high = self.mask_share
        _require(0 < low <= high < 1, f"mask_share is {(low, high)}; it must satisfy 0 < low <= high < 1")
        _require(0 < self.masked_views <= 1, f"masked_views is {self.masked_views}; it must lie in (0, 1]")


@dataclass(frozen=True)
class GramConfig:
    """Gram anchoring (DINOv3, section 4.2): w_Gram ||X X^T - X_G X_G^T||_F^2 / P^2 from step `start` on.

    The Gram teacher is the EMA teacher as it was after `teacher_step` steps. It sees the student's global crops
    unmasked and undistorted, at `resolution` times their size; its patch grid is then brought to the student's by
    bicubic interpolation before normalisation. Weight 0 is the control arm: all else stays equal.
    """

    weight: float = 0.0
    teacher_step: int = 300
    start: int = 400
    resolution: int = 1

    def __post_init__(self) -> None:
        _require(self.weight >= 0, f"the Gram weight is {self.weight}; it must be >= 0")
        _require(
            0 <= self.teacher_step <= self.start,
            f"the Gram teacher is taken at step {self.teacher_step}, after Gram anchoring starts at {self.start}",
        )
        _require(self.resolution in (1, 2), f"the Gram teacher's resolution is {self.resolution}; use 1 or 2")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up, then a cosine from `lr` to `final_lr`; the EMA momentum likewise from `ema` on."""

    lr: float = 1e-3
    final_lr: float = 1e-3
    warmup: int = 50
    weight_decay: float = 0.04
    clip: float = 3.0
    ema: float = 0.99
    final_ema: float = 0.99

    def __post_init__(self) -> None:
        _require(0 < self.lr <= 1, f"lr is {self.lr}; it must lie in (0, 1]")
        _require(0 <= self.final_lr <= 1, f"final_lr is {self.final_lr}; it must lie in [0, 1]")
        _require(self.warmup >= 0, f"warmup is {self.warmup} steps; it must be >= 0")
        _require(self.clip > 0, f"clip is {self.clip}; it must be > 0")
        for name in ("ema", "final_ema"):
            _require(0 <= getattr(self, name) < 1, f"{name} is {getattr(self, name)}; it must lie in [0, 1)")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Two runs with equal configs and data are equal bit for bit on the CPU."""

    network: NetworkConfig
    steps: int = 2000
    batch_size: int = 48
    seed: int = 0
    views: ViewConfig = field(default_factory=ViewConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    gram: GramConfig = field(default_factory=GramConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        _require(
            1 <= self.steps <= 10_000_000, f"steps is {self.steps}; it must lie between 1 and 10,000,000"
        )
        _require(
            2 <= self.batch_size <= 65_536,
            f"batch_size is {self.batch_size}; it must be between 2 and 65,536",
        )
        _require(self.seed >= 0, f"seed is {self.seed}; it must be >= 0")
        if self.gram_alone:
            _require(self.gram.weight > 0, "every loss has weight 0; at least one must be above 0 to train")
            _require(
                self.gram.start == 0,
                f"the Gram loss alone starts at step {self.gram.start}; without another loss it must start at 0",
            )

    @property
    def gram_alone(self) -> bool:
        """Whether nothing but the Gram loss is trained on: no self-distillation, so no heads and no EMA teacher."""
        return self.loss.dino == self.loss.ibot == self.loss.koleo == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data; `from_dict` is its inverse."""
        plain = dataclasses.asdict(dataclasses.replace(self, network=None))  # type: ignore[arg-type]
        return json.loads(json.dumps({**plain, "network": self.network.to_dict()}))

    @staticmethod
    def from_dict(data: dict[str, Any]) -> TrainConfig:
        """Build and check a config. Raises ConfigError for a missing, unknown or out-of-range entry."""
        sections = {
            "views": ViewConfig,
            "head": HeadConfig,
            "loss": LossConfig,
            "gram": GramConfig,
            "optimizer": OptimizerConfig,
        }
        _require("network" in data, "the configuration has no 'network' section")
        known: dict[str, Any] = {"network": NetworkConfig.from_dict(data["network"])}
        for name, value in data.items():
            if name in sections:
                known[name] = from_mapping(sections[name], value, name)
            elif name != "network":
                known[name] = value
        return from_mapping(TrainConfig, known, "the configuration")


def from_mapping(kind: type, values: Any, where: str) -> Any:
    """Make a dataclass from a mapping: lists become tuples. ConfigError names unknown settings and wrong types."""
    _require(isinstance(values, dict), f"{where} is {values!r}; it must be a table of settings")
    names = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - names)
    _require(not unknown, f"{where} has unknown settings {unknown}; known are {sorted(names)}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where} holds a setting of the wrong type: {error}") from error
