"""Options that more than one command has, and what they mean.

Imports nothing heavy: every command adds its options, and --help needs none of torch.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from gramviz.errors import ConfigError

if TYPE_CHECKING:
    from gramviz.data.sources import TensorSource
    from gramviz.serving.engine import Engine

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
    """--device and --models as `engine` takes them: what is not given is as the environment says."""
    parser.add_argument("--device", default=None, help="auto, cuda, mps or cpu (default: auto)")
    add_models(parser)


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
    """An engine by the environment's settings, unless --device or --models is given."""
    from gramviz.serving.engine import Engine
    from gramviz.serving.settings import Settings

    given = {
        name: getattr(options, name) for name in ("device", "models") if getattr(options, name) is not None
    }
    return Engine.from_settings(dataclasses.replace(Settings.from_environment(), **given))


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
