"""`gramviz collect`: checkpoints from run folders into a models folder."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from gramviz.commands.options import Commands, add_models, steps
from gramviz.errors import ConfigError


def add(commands: Commands) -> None:
    """The command and its options."""
    collect = commands.add_parser(
        "collect",
        help="put a trunk and its arms among the models",
        description="Copy checkpoints out of run folders into a models folder and rewrite its manifest.",
    )
    collect.add_argument(
        "arms",
        nargs="+",
        metavar="BRANCH=FOLDER[:STEPS]",
        help="plain=runs/a gram=runs/b gram_hires=runs/c:2000,4000 ...; the first holds the trunk, too",
    )
    collect.add_argument("--run", required=True, help="name of the run among the models")
    collect.add_argument("--title", required=True, help="one line on what it is")
    collect.add_argument("--licence", required=True, help="licence of the weights, with attribution")
    collect.add_argument("--fork", type=int, required=True, help="last step of the shared trunk")
    collect.add_argument("--steps", type=steps, required=True, help="steps to take, as 0,300,1000")
    collect.add_argument("--shown", type=steps, default=(), help="steps that a new visitor sees")
    collect.add_argument(
        "--heads", type=steps, default=(), help="steps whose projection heads are taken along"
    )
    add_models(collect)
    collect.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Copy the checkpoints and rewrite the manifest."""
    from gramviz.checkpoints.collect import collect
    from gramviz.serving.settings import shipped_models

    arms: dict[str, Path] = {}
    own_steps: dict[str, tuple[int, ...]] = {}
    for arm in options.arms:
        named = re.fullmatch(r"(?P<branch>[^=]+)=(?P<folder>.+?)(:(?P<steps>[0-9,]+))?", arm)
        if named is None:
            raise ConfigError(f"{arm!r} is not BRANCH=FOLDER or BRANCH=FOLDER:STEPS, as in plain=runs/a")
        arms[named["branch"]] = Path(named["folder"])
        if named["steps"] is not None:
            own_steps[named["branch"]] = steps(named["steps"])
    rows = collect(
        options.models or shipped_models(),
        options.run,
        arms,
        options.steps,
        fork=options.fork,
        title=options.title,
        licence=options.licence,
        shown=options.shown,
        heads=options.heads,
        own_steps=own_steps,
    )
    print(f"{len(rows)} checkpoints, {sum(info.bytes for info in rows) / 2**20:.1f} MiB")
