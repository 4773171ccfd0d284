"""Options that more than one command has, and what they mean.

Imports nothing heavy: every command adds its options, and --help needs none of torch.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from gramviz.errors import ConfigError

if TYPE_CHECKING:
    from gramviz.data.sources import TensorSource
    from gramviz.serving.engine import Engine
    from gramviz.serving.settings import Settings

Item = TypeVar("Item")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_models(parser: argparse.ArgumentParser) -> None:
    """--models, the folder with the checkpoints."""
    parser.add_argument(
        "--models", type=Path, default=None, help="folder with manifest.json (default: the shipped)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device, where to compute."""
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default %(default)s)")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """--device, --models and --added as `engine` takes them: what is not given is as the environment says."""
    add_settings(parser, ("device", "models", "added"))


def add_settings(parser: argparse.ArgumentParser, names: Collection[str] = ()) -> None:
    """An option for each setting of a service, or for those of the given names only."""
    from gramviz.serving.settings import Settings

    for one in dataclasses.fields(Settings):
        if not names or one.name in names:
            told = one.metadata
            default = told.get("shown", one.default)
            unit = f" {told['unit']}" if told.get("unit") else ""
            parser.add_argument(
                f"--{one.name.replace('_', '-')}",
                default=None,
                choices=told.get("choices") or None,
                metavar=None if told.get("choices") else told["kind"].__name__.upper(),
                help=f"{told['help'].replace('`', '')} (default {default}{unit})",
            )


def add_downloads(parser: argparse.ArgumentParser) -> None:
    """--root and --download, for torchvision's data sets."""
    parser.add_argument(
        "--root", type=Path, default=Path("data"), help="where torchvision keeps its data sets"
    )
    parser.add_argument("--download", action="store_true", help="let torchvision download the data set")


def steps(text: str) -> tuple[int, ...]:
    """Steps as they are given, such as 0,300,1000."""
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of steps such as 0,300,1000") from error


def refuse(options: argparse.Namespace, when: str, *names: str) -> None:
    """No option may be given that would have no effect."""
    given = ", ".join(f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None)
    if given:
        raise ConfigError(f"{given} can be given {when} only")


def engine(options: argparse.Namespace) -> Engine:
    """An engine by the settings."""
    from gramviz.serving.engine import Engine

    return Engine.from_settings(settings(options))


def settings(options: argparse.Namespace) -> Settings:
    """The environment's settings, with those that were given as options in their place."""
    from gramviz.serving.settings import Settings

    return Settings.read(None, vars(options))


def bar(items: Iterable[Item], total: int | None, unit: str) -> Iterator[Item]:
    """The items as they come, with a bar on stderr where that is a terminal."""
    from tqdm import tqdm

    yield from tqdm(items, total=total, unit=unit, leave=False, disable=None)


def images(data: str, options: argparse.Namespace, size: int) -> TensorSource:
    """The images of a folder or of torchvision:NAME, with a bar."""
    from tqdm import tqdm

    from gramviz.data.sources import folder_source, torchvision_source

    with tqdm(unit="image", desc="reading", leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        kind, _, rest = data.partition(":")
        if kind != "torchvision":
            return folder_source(Path(data), size, progress)
        return torchvision_source(rest, options.root, size, download=options.download, progress=progress)
