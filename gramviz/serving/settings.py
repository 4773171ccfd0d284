"""Settings of a running service, read once from the environment into one frozen object.

Knows nothing of the page. Every variable is named GRAMVIZ_<FIELD IN CAPITALS>.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from gramviz.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_models() -> Path:
    """The models folder: beside the package in a checkout, inside it in an installed wheel."""
    beside = _PACKAGE.parent / "models"
    return beside if (beside / "manifest.json").is_file() else _PACKAGE / "models"


@dataclass(frozen=True)
class Settings:
    """device: "auto" or a torch device; cache sizes in MiB; `pending`: forwards that may wait at once."""

    device: str = "auto"
    models: Path = dataclasses.field(default_factory=shipped_models)
    feature_cache: int = 512
    model_cache: int = 1024
    pending: int = 256

    def __post_init__(self) -> None:
        for name in ("feature_cache", "model_cache", "pending"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")

    @staticmethod
    def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
        """Read GRAMVIZ_DEVICE, GRAMVIZ_MODELS, GRAMVIZ_FEATURE_CACHE, ... Raises ConfigError for a bad value."""
        source = os.environ if environment is None else environment
        given: dict[str, str | int | Path] = {}
        for name, parse in (
            ("device", str),
            ("models", Path),
            ("feature_cache", int),
            ("model_cache", int),
            ("pending", int),
        ):
            value = source.get(f"GRAMVIZ_{name.upper()}")
            if value is None:
                continue
            try:
                given[name] = parse(value)
            except ValueError as error:
                raise ConfigError(
                    f"GRAMVIZ_{name.upper()} is {value!r}; it must be a whole number"
                ) from error
        return Settings(**given)  # type: ignore[arg-type]


def choose_device(wanted: str = "auto") -> torch.device:
    """The device to compute on: cuda, then mps, then cpu for "auto", else the one named.

    Raises ConfigError for a name that torch does not know or a device that is not there.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"the device {wanted!r} is not available here; use auto, cuda, mps or cpu"
        ) from error
    return device
