"""Settings of a running service, read once from the environment and the command line into one frozen object.

Everything that is told of a setting stands at its field: environment, command line and README's table follow from
there. Knows nothing of the page. Imports no torch, since some settings must be made before it is imported.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gramviz.errors import ConfigError

if TYPE_CHECKING:
    import torch

_PACKAGE = Path(__file__).resolve().parents[1]
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def shipped_models() -> Path:
    """The models folder: beside the package in a checkout, inside it in an installed wheel."""
    beside = _PACKAGE.parent / "models"
    return beside if (beside / "manifest.json").is_file() else _PACKAGE / "models"


def added_models() -> Path:
    """Where models of one's own are kept: in the user's cache, which XDG_CACHE_HOME can move."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "gramviz" / "models"


def _number(default: int, low: int, high: int, unit: str, text: str) -> Any:
    return dataclasses.field(
        default=default, metadata={"help": text, "low": low, "high": high, "unit": unit, "kind": int}
    )


def _word(default: str, choices: tuple[str, ...], text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices, "kind": str})


@dataclass(frozen=True)
class Settings:
    """All settings. The environment variable of a field is GRAMVIZ_<FIELD>, its option --<field> with dashes.

    Raises ConfigError for a value out of range.
    """

    device: str = _word("auto", (), "where to compute: `auto` takes `cuda`, then `mps`, then `cpu`")
    models: Path = dataclasses.field(
        default_factory=shipped_models,
        metadata={"help": "folder with `manifest.json`", "kind": Path, "shown": "the shipped ones"},
    )
    added: Path = dataclasses.field(
        default_factory=added_models,
        metadata={
            "help": "folder of models that `gramviz models --add` keeps",
            "kind": Path,
            "shown": "`~/.cache/gramviz/models`",
        },
    )
    threads: int = _number(
        0,
        0,
        1024,
        "",
        "threads that torch computes with on a CPU; 0: all processors but one, which the page needs",
    )
    feature_cache: int = _number(512, 1, 2**20, "MiB", "kept of features and of what is computed from them")
    model_cache: int = _number(1024, 1, 2**20, "MiB", "kept of networks")
    page_cache: int = _number(256, 16, 2**20, "MiB", "kept of maps and photographs for pages to fetch")
    picture_mib: int = _number(
        512, 16, 2**20, "MiB", "of visitors' pictures in use at once; whoever comes then waits"
    )
    own_mib: int = _number(
        1024, 0, 2**20, "MiB", "kept of visitors' own checkpoints, of all of them together"
    )
    model_mib: int = _number(
        400, 0, 2**20, "MiB", "the largest model that a visitor may add on the page; 0 for none"
    )
    fetch: str = _word(
        "listed",
        ("none", "listed", "any"),
        "what visitors may have fetched from the Hub: `none`, what `gramviz models --zoo` lists, or `any` repository",
    )
    image_mib: int = _number(64, 1, 1024, "MiB", "the largest file or request that is taken")
    pending: int = _number(
        1024, 1, 100_000, "", "computations that may wait before a visitor is told to come back"
    )
    batch: int = _number(8, 1, 256, "", "forwards of one network that may be made together")
    deadline: int = _number(120, 1, 3600, "s", "how long a computation may wait for its turn")
    finetunes: int = _number(2, 0, 64, "", "fine-tunes that run at once")
    finetune_queue: int = _number(16, 0, 10_000, "", "fine-tunes that may wait for a place")
    finetune_seconds: int = _number(600, 1, 86_400, "s", "work that one fine-tune may take")
    engine: str = _word(
        "auto",
        ("auto", "local", "ray", "zero"),
        "`local` computes in this process, `ray` on a Ray cluster, `zero` fine-tunes on GPUs that ZeroGPU lends; "
        "`auto` takes `zero` on such a Space, else `local`",
    )
    replicas: int = _number(
        0, 0, 10_000, "", "replicas of the `ray` engine; 0 lets their number follow the load"
    )
    metrics: bool = dataclasses.field(
        default=True, metadata={"help": "whether `/metrics` is served", "kind": bool}
    )
    log_level: str = _word("info", ("debug", "info", "warning", "error"), "what is logged")
    log_format: str = _word("text", ("text", "json"), "`json` logs one object a line")

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            value, told = getattr(self, one.name), one.metadata
            if told["kind"] is int and not told["low"] <= value <= told["high"]:
                raise ConfigError(
                    f"{one.name} is {value}; it must lie between {told['low']} and {told['high']}"
                )
            if told.get("choices") and value not in told["choices"]:
                raise ConfigError(f"{one.name} is {value!r}; it must be one of {', '.join(told['choices'])}")

    @staticmethod
    def read(
        environment: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None
    ) -> Settings:
        """Settings by the environment (os.environ unless given) and by options, field -> value, which come first
        where they are not None. Raises ConfigError naming the variable or option and what would be right.
        """
        source = os.environ if environment is None else environment
        given: dict[str, Any] = {}
        for one in dataclasses.fields(Settings):
            variable = f"GRAMVIZ_{one.name.upper()}"
            option = (options or {}).get(one.name)
            if option is not None:
                given[one.name] = _parsed(f"--{one.name.replace('_', '-')}", option, one.metadata["kind"])
            elif variable in source:
                given[one.name] = _parsed(variable, source[variable], one.metadata["kind"])
        return Settings(**given)


def _parsed(name: str, text: Any, kind: type) -> Any:
    if isinstance(text, kind):
        return text
    if kind is bool:
        if str(text).lower() in (*TRUE, *FALSE):
            return str(text).lower() in TRUE
        raise ConfigError(f"{name} is {text!r}; it must be true or false")
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}; it must be a whole number") from error


def share_processors(environment: Any = os.environ) -> None:
    """Let threads that wait for each other sleep soon. Must be called before torch is imported.

    GNU's OpenMP spins while it waits, which on shared cores takes the time of those it waits for. Measured on two
    cores, ms a view, alone and beside a busy process: 38 and 470 as it comes, 42 and 97 with this; with less, what
    is gained beside others is lost alone. A value that was set stays.
    """
    environment.setdefault("GOMP_SPINCOUNT", "2000")


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have none
        return os.cpu_count() or 1


def choose_device(wanted: str = "auto") -> torch.device:
    """The device to compute on: cuda, then mps, then cpu for "auto", else the one named.

    Raises ConfigError for a name that torch does not know or a device that is not there.
    """
    import torch

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
