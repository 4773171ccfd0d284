"""`gramviz measure`: how good checkpoints are, a JSON line each."""

from __future__ import annotations

import argparse
from pathlib import Path

from gramviz.commands.options import (
    Commands,
    add_device,
    add_downloads,
    add_models,
    bar,
    images,
    refuse,
    steps,
)
from gramviz.errors import ConfigError


def add(commands: Commands) -> None:
    """The command and its options."""
    measure = commands.add_parser(
        "measure",
        help="dense and global quality, geometry, residuals and losses of checkpoints",
        description="Print one JSON line a checkpoint, of the models folder or of run folders.",
    )
    measure.add_argument(
        "--segments", type=Path, required=True, help="folder with images/ and segments/ (BSDS500)"
    )
    measure.add_argument(
        "--classes",
        default=None,
        help="folder of class folders, or torchvision:NAME, for k-NN and the held-out losses: what was trained on",
    )
    add_downloads(measure)
    measure.add_argument(
        "--held-out", type=int, default=2000, help="images held out of training (%(default)s)"
    )
    measure.add_argument("--image-size", type=int, default=64, help="size of the k-NN images (%(default)s)")
    measure.add_argument("--patches", type=int, default=20, help="patches on the long side (%(default)s)")
    measure.add_argument("--limit", type=int, default=None, help="measure the first so many pictures only")
    measure.add_argument(
        "--runs",
        nargs="+",
        default=None,
        metavar="ARM=FOLDER",
        help="run folders instead of the models folder",
    )
    measure.add_argument("--run", default=None, help="with --runs: name of the run in the rows")
    measure.add_argument("--fork", type=int, default=None, help="with --runs: last step of the shared trunk")
    measure.add_argument("--steps", type=steps, default=None, help="with --runs: only these, as 0,300,1000")
    measure.add_argument(
        "--out", type=Path, default=None, help="append rows to this file; those it has are not measured again"
    )
    measure.add_argument(
        "--baselines", action="store_true", help="measure nearness and mean colour instead of checkpoints"
    )
    measure.add_argument("--checkpoint", action="append", help="id; may be repeated (default: all)")
    add_models(measure)
    add_device(measure)
    measure.add_argument(
        "--float32", action="store_true", help="no bfloat16 for k-NN, even where it is faster"
    )
    measure.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Measure what is not yet in the file, and print it."""
    from itertools import islice

    from gramviz.checkpoints.manifest import CheckpointStore
    from gramviz.data.segments import annotated_pictures
    from gramviz.experiment import Measuring
    from gramviz.metrics.rows import append_row, protocol, read_rows, row_line
    from gramviz.serving.settings import choose_device, shipped_models
    from gramviz.training.folders import RunFolder
    from gramviz.training.loop import faster_dtype

    if options.runs is None:
        refuse(options, "with --runs", "run", "fork", "steps")
    else:
        refuse(options, "without --runs", "checkpoint", "models")
        if options.run is None or options.fork is None:
            raise ConfigError("--runs needs --run NAME for its rows and --fork N, the last step of the trunk")
    if options.baselines:
        refuse(options, "without --baselines", "runs", "checkpoint", "models")
    given = options.runs or ()
    arms = [arm.partition("=") for arm in given]
    for (branch, _, path), arm in zip(arms, given, strict=True):
        if not branch or not path:
            raise ConfigError(f"{arm!r} is not ARM=FOLDER, as in plain=runs/a")
    if options.baselines and options.out is not None:
        raise ConfigError("--baselines are of no run and no step, so they are printed and not put into --out")
    device = choose_device(options.device)
    pictures = list(islice(annotated_pictures(options.segments), options.limit))
    autocast = None if options.float32 else faster_dtype(device)
    held_out = None if options.classes is None else options.held_out
    ours = protocol(len(pictures), options.patches, held_out, autocast)
    done = [] if options.out is None else read_rows(options.out, ours)
    measuring = Measuring(
        pictures,
        None if options.classes is None else images(options.classes, options, options.image_size),
        held_out=options.held_out,
        patches=options.patches,
        device=device,
        autocast=autocast,
    )
    if options.baselines:
        rows = measuring.baselines()
    elif arms:
        folders = [RunFolder.open(branch, Path(path)) for branch, _, path in arms]
        rows = measuring.runs(options.run, folders, fork=options.fork, steps=options.steps, done=done)
    else:
        store = CheckpointStore.open(options.models or shipped_models())
        ids = options.checkpoint or [info.id for info in store.all()]
        rows = measuring.models(store, ids, done)
    for row in bar(rows, None, "row"):
        if options.out is not None:
            append_row(options.out, row)
        print(row_line(row), flush=True)
