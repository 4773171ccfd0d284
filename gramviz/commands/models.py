"""`gramviz models`: which checkpoints there are, which public ones could be added, and adding one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gramviz.commands.options import Commands, add_settings, settings

if TYPE_CHECKING:
    from gramviz.checkpoints.manifest import CheckpointInfo

KEYS = ("id", "run", "branch", "step", "bytes", "sha256", "images_seen", "parent", "licence", "metrics")


def add(commands: Commands) -> None:
    """The command and its options."""
    models = commands.add_parser(
        "models",
        help="list the checkpoints that there are, or add a model",
        description="List checkpoints. --add takes a name of timm's (vit_small_patch14_dinov2.lvd142m), a repository "
        "(hf-hub:owner/name), a folder with config.json and model.safetensors, or a safetensors file; the model is "
        "then on the page beside the others. Nothing is downloaded unless --add asks for it.",
    )
    add_settings(models, ("models", "added"))
    models.add_argument("--json", action="store_true", help="print JSON")
    task = models.add_mutually_exclusive_group()
    task.add_argument("--zoo", action="store_true", help="list public models that can be added by name")
    task.add_argument("--add", metavar="SOURCE", help="add a model")
    task.add_argument("--remove", metavar="NAME", help="forget a model that was added")
    models.add_argument("--name", help="what the added model is called (default: as its source)")
    models.add_argument(
        "--architecture", help="timm's name for the network of a file that has none beside it"
    )
    models.add_argument(
        "--dry-run", action="store_true", help="say what --add would fetch, and fetch nothing"
    )
    models.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """List, add or remove."""
    if options.zoo:
        _print_zoo(as_json=options.json)
    elif options.add:
        _add(options)
    elif options.remove:
        from gramviz.checkpoints.added import remove_model

        remove_model(settings(options).added, options.remove)
        print(f"{options.remove} is forgotten")
    else:
        from gramviz.checkpoints.added import open_with_added

        told = settings(options)
        _print(open_with_added(told.models, told.added).all(), as_json=options.json)


def _add(options: argparse.Namespace) -> None:
    """Add a model; what it is and under which licence is said before anything is fetched."""
    from gramviz.checkpoints.added import add_model, network_of, read_source
    from gramviz.checkpoints.zoo import zoo_model

    folder, source = settings(options).added, str(options.add)
    if Path(source).exists():
        config, weights = read_source(Path(source), options.architecture)
        name = options.name or Path(source).resolve().name.removesuffix(".safetensors")
        licence, title = "", f"A model of one\u2019s own, from {Path(source).name}."
        print(f"{name}: {weights.stat().st_size / 2**20:,.1f} MiB, {config.architecture}", file=sys.stderr)
        if options.dry_run:
            return
    else:
        from gramviz.checkpoints.hub import fetch, offer_of

        offer = offer_of(source)
        known = zoo_model(offer.name)
        licence = offer.licence or (known.licence if known else "")
        title = f"{known.title}. {known.training}" if known else f"From {offer.repository}."
        said = f"{offer.repository}: {offer.size / 2**20:,.1f} MiB, licence {licence or 'unknown'}. {title}"
        print(said, file=sys.stderr)
        if options.dry_run:
            return
        described, weights = fetch(offer)
        config = network_of(described.read_bytes(), offer.repository)
        name = options.name or offer.name.rpartition("/")[2]
    info = add_model(folder, name, config, weights, licence=licence, title=title)
    print(
        json.dumps(_row(info), indent=1) if options.json else f"{info.id} is added; `gramviz serve` shows it"
    )


def _print(infos: tuple[CheckpointInfo, ...], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_row(info) for info in infos], indent=1))
        return
    for info in infos:
        print(
            f"{info.id:34} {info.branch:10} step {info.step:>7,}  "
            f"{info.bytes / 2**20:5.1f} MiB  {info.licence}"
        )


def _row(info: CheckpointInfo) -> dict[str, object]:
    return {key: getattr(info, key) for key in KEYS}


def _print_zoo(*, as_json: bool) -> None:
    import dataclasses

    from gramviz.checkpoints.zoo import ZOO

    if as_json:
        print(json.dumps([dataclasses.asdict(model) for model in ZOO], indent=1))
        return
    for model in ZOO:
        print(f"{model.name:46} {model.millions:6.1f} M  {model.licence:14} {model.title}. {model.training}")
