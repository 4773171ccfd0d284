"""`gramviz models`: which checkpoints there are."""

from __future__ import annotations

import argparse
import json

from gramviz.commands.options import Commands, add_models


def add(commands: Commands) -> None:
    """The command and its options."""
    models = commands.add_parser("models", help="list the checkpoints that there are")
    add_models(models)
    models.add_argument("--json", action="store_true", help="print JSON")
    models.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print a line a checkpoint, or JSON."""
    from gramviz.checkpoints.manifest import CheckpointStore
    from gramviz.serving.settings import shipped_models

    infos = CheckpointStore.open(options.models or shipped_models()).all()
    if options.json:
        keys = (
            "id",
            "run",
            "branch",
            "step",
            "bytes",
            "sha256",
            "images_seen",
            "parent",
            "licence",
            "metrics",
        )
        print(json.dumps([{key: getattr(info, key) for key in keys} for info in infos], indent=1))
        return
    for info in infos:
        print(
            f"{info.id:34} {info.branch:10} step {info.step:>7,}  "
            f"{info.bytes / 2**20:5.1f} MiB  {info.licence}"
        )
