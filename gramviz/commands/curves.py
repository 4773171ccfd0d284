"""`gramviz curves`: what was measured along a run, as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from gramviz.commands.options import Commands, add_models
from gramviz.errors import ConfigError


def add(commands: Commands) -> None:
    """The command and its options."""
    curves = commands.add_parser(
        "curves",
        help="draw what was measured along a run",
        description="Draw a run's measurements over its steps, with the seeds as bands, into a picture file.",
    )
    curves.add_argument("--run", default=None, help="name of the run (default: the first)")
    curves.add_argument("--out", type=Path, required=True, help="file to write: .png, .svg or .pdf")
    curves.add_argument(
        "--measures", default=None, help="which, as knn,near_auc,top1_energy (default: those of the cards)"
    )
    add_models(curves)
    curves.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Draw the run into the file."""
    from gramviz.checkpoints.curves import METRICS, read_metrics
    from gramviz.checkpoints.files import write_atomic
    from gramviz.serving.settings import shipped_models
    from gramviz.ui.pictures.curves import CARD, curves_picture

    folder = options.models or shipped_models()
    names = sorted(path.parent.name for path in folder.glob(f"*/{METRICS}"))  # weights may lie elsewhere
    if not names:
        raise ConfigError(f"the models folder {str(folder)!r} holds no run that was measured")
    name = options.run or names[0]
    if name not in names:
        raise ConfigError(
            f"there are no measurements of a run {name!r}; there are those of {', '.join(names)}"
        )
    measures = CARD if options.measures is None else tuple(options.measures.split(","))
    kind = options.out.suffix.removeprefix(".")
    write_atomic(options.out, curves_picture(read_metrics(folder, name), measures, kind))
