"""`gramviz models`: which checkpoints there are, which public ones could be added, and adding one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gramviz.commands.options import Commands, add_settings, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gramviz.checkpoints.added import Source
    from gramviz.checkpoints.manifest import CheckpointInfo

KEYS = ("id", "run", "branch", "step", "bytes", "sha256", "images_seen", "parent", "licence", "metrics")


def add(commands: Commands) -> None:
    """The command and its options."""
    models = commands.add_parser(
        "models",
        help="list the checkpoints that there are, or add a model",
        description="List checkpoints. --add takes a name of timm's (vit_small_patch14_dinov2.lvd142m), a repository "
        "(hf-hub:owner/name), a folder with config.json and model.safetensors, a safetensors file, or the zip of a "
        "fine-tune; the model is then on the page beside the others. A folder of steps (files <...step>.safetensors, "
        "or folders with the step at the end of their names) becomes a branch of a run, with its slider; add both "
        "arms under one --name to compare them. Nothing is downloaded unless --add asks for it.",
    )
    add_settings(models, ("models", "added"))
    models.add_argument("--json", action="store_true", help="print JSON")
    task = models.add_mutually_exclusive_group()
    task.add_argument("--zoo", action="store_true", help="list public models that can be added by name")
    task.add_argument("--add", metavar="SOURCE", help="add a model")
    task.add_argument("--remove", metavar="NAME", help="forget a model or a run that was added")
    models.add_argument("--name", help="what the added model is called (default: as its source)")
    models.add_argument(
        "--architecture", help="timm's name for the network of a file that has none beside it"
    )
    models.add_argument(
        "--branch",
        default="plain",
        help="where the steps of a run belong: trunk (before the arms part), plain (without Gram anchoring, the "
        "default), gram, or gram_hires",
    )
    models.add_argument("--licence", default="", help="of weights from this machine, as far as you know it")
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
    """Add a model or a run; what it is and under which licence is said before anything is fetched."""
    from gramviz.checkpoints.added import Source, add_model, network_of, read_run, read_source
    from gramviz.checkpoints.zoo import told_of

    asked = str(options.add)
    if Path(asked).exists():
        steps = read_run(Path(asked), options.architecture) if Path(asked).is_dir() else ()
        if steps:
            _add_run(options, Path(asked).resolve().name, steps)
            return
        source = read_source(Path(asked), options.architecture)
        licence, title = options.licence, f"A model of one\u2019s own, from {Path(asked).name}."
        said = f"{source.name}: {source.nbytes / 2**20:,.1f} MiB, {source.config.architecture}"
        print(said, file=sys.stderr)
        if options.dry_run:
            return
    else:
        from gramviz.checkpoints.hub import fetch, offer_of

        offer = offer_of(asked)
        licence, title = told_of(offer.name, offer.repository, offer.licence or options.licence)
        said = f"{offer.repository}: {offer.size / 2**20:,.1f} MiB, licence {licence or 'unknown'}. {title}"
        print(said, file=sys.stderr)
        if options.dry_run:
            return
        described, weights = fetch(offer)
        config = network_of(described.read_bytes(), offer.repository)
        source = Source(offer.name.rpartition("/")[2], config, weights)
    name = options.name or source.name
    info = add_model(settings(options).added, name, source, licence=licence, title=title)
    print(
        json.dumps(_row(info), indent=1) if options.json else f"{info.id} is added; `gramviz serve` shows it"
    )


def _add_run(options: argparse.Namespace, folder: str, steps: Sequence[tuple[int, Source]]) -> None:
    """Add the steps of a run as one branch."""
    from gramviz.checkpoints.added import add_run

    name, numbers = options.name or folder, [step for step, _ in steps]
    size = sum(source.nbytes for _, source in steps) / 2**20
    said = f"{name}, {options.branch}: {len(steps)} steps from {numbers[0]} to {numbers[-1]}, {size:,.1f} MiB"
    print(f"{said}, {steps[0][1].config.architecture}", file=sys.stderr)
    if options.dry_run:
        return
    title = f"A run of one\u2019s own, from {folder}."
    added = add_run(
        settings(options).added, name, steps, branch=options.branch, licence=options.licence, title=title
    )
    if options.json:
        print(json.dumps([_row(info) for info in added], indent=1))
    else:
        print(f"{name} is added, {len(added)} steps; `gramviz serve` shows it")


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
