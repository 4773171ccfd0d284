"""The command line: `serve` opens the page, `models` lists checkpoints, `train` makes them, `collect` puts them
where the page finds them, `measure` tells how good they are.

Exit codes: 0 done, 1 a deliberate error (one sentence on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gramviz.errors import ConfigError, GramvizError

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none of it
    import torch

    from gramviz.data.sources import TensorSource
    from gramviz.training.config import TrainConfig
    from gramviz.training.loop import ImageSource, StepReport


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except GramvizError as error:
        print(f"gramviz: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gramviz: interrupted; what was done is saved", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gramviz", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="command")

    serve = commands.add_parser("serve", help="open the page on this machine")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    serve.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    serve.add_argument("--device", default=None, help="auto, cuda, mps or cpu (default: auto)")
    serve.add_argument(
        "--models", type=Path, default=None, help="folder with manifest.json (default: the shipped)"
    )
    serve.set_defaults(command=_serve)

    models = commands.add_parser("models", help="list the checkpoints that there are")
    models.add_argument(
        "--models", type=Path, default=None, help="folder with manifest.json (default: the shipped)"
    )
    models.add_argument("--json", action="store_true", help="print JSON")
    models.set_defaults(command=_models)

    train = commands.add_parser(
        "train",
        help="train checkpoints, or go on with a run",
        description="Train in a folder of its own. Run again after a stop, it goes on where it stood. "
        "Under torchrun, processes share each batch: torchrun --nproc-per-node 2 -m gramviz train ...",
    )
    what = train.add_mutually_exclusive_group(required=True)
    what.add_argument("--recipe", help="a shipped recipe by name, or the path of your own (.json)")
    what.add_argument("--recipes", action="store_true", help="list the shipped recipes and their arms")
    what.add_argument("--config", type=Path, help="JSON file of a TrainConfig")
    train.add_argument(
        "--data",
        default=None,
        help="a folder of images, torchvision:NAME (Caltech101, CIFAR10, ...), or scenes:COUNT",
    )
    train.add_argument(
        "--out", type=Path, default=None, help="the run's folder; a recipe's (default: runs/<recipe>)"
    )
    train.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default %(default)s)")
    train.add_argument("--float32", action="store_true", help="no bfloat16, even where it is faster")
    train.add_argument(
        "--root", type=Path, default=Path("data"), help="where torchvision keeps its data sets"
    )
    train.add_argument("--download", action="store_true", help="let torchvision download the data set")
    ours = train.add_argument_group("with --recipe")
    ours.add_argument("--arm", default=None, help="which of the recipe's arms (default: plain)")
    ours.add_argument("--seed", type=int, default=None, help="seed of weights and data order (default: 0)")
    own = train.add_argument_group("with --config")
    own.add_argument(
        "--image-size", type=int, default=None, help="images are kept at this size (default: 64)"
    )
    own.add_argument("--held-out", type=int, default=None, help="random images never trained on (default: 0)")
    own.add_argument("--checkpoints", type=_steps, default=None, help="steps to export, as 0,300,1000")
    own.add_argument(
        "--keep-states", type=_steps, default=None, help="steps whose full state is kept to fork from"
    )
    own.add_argument("--fork", type=Path, default=None, help="start from this kept state of another run")
    own.add_argument("--gram-weight", type=float, default=None, help="Gram weight instead of the config's")
    train.set_defaults(command=_train)

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
    collect.add_argument("--steps", type=_steps, required=True, help="steps to take, as 0,300,1000")
    collect.add_argument("--shown", type=_steps, default=(), help="steps that a new visitor sees")
    collect.add_argument(
        "--heads", type=_steps, default=(), help="steps whose projection heads are taken along"
    )
    collect.add_argument("--models", type=Path, default=None, help="models folder (default: the shipped)")
    collect.set_defaults(command=_collect)

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
    measure.add_argument(
        "--root", type=Path, default=Path("data"), help="where torchvision keeps its data sets"
    )
    measure.add_argument("--download", action="store_true", help="let torchvision download the data set")
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
    measure.add_argument("--steps", type=_steps, default=None, help="with --runs: only these, as 0,300,1000")
    measure.add_argument(
        "--out", type=Path, default=None, help="append rows to this file; those it has are not measured again"
    )
    measure.add_argument(
        "--baselines", action="store_true", help="measure nearness and mean colour instead of checkpoints"
    )
    measure.add_argument("--checkpoint", action="append", help="id; may be repeated (default: all)")
    measure.add_argument("--models", type=Path, default=None, help="models folder (default: the shipped)")
    measure.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default %(default)s)")
    measure.add_argument(
        "--float32", action="store_true", help="no bfloat16 for k-NN, even where it is faster"
    )
    measure.set_defaults(command=_measure)

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
    curves.add_argument("--models", type=Path, default=None, help="models folder (default: the shipped)")
    curves.set_defaults(command=_curves)
    return parser


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of steps such as 0,300,1000") from error


def _serve(options: argparse.Namespace) -> None:
    from gramviz.serving.engine import Engine
    from gramviz.serving.settings import Settings
    from gramviz.ui.page import build_page, launch_options

    given = {
        name: getattr(options, name) for name in ("device", "models") if getattr(options, name) is not None
    }
    engine = Engine.from_settings(dataclasses.replace(Settings.from_environment(), **given))
    try:
        build_page(engine).launch(
            **{**launch_options(), "server_name": options.host, "server_port": options.port}
        )
    finally:
        engine.close()


def _models(options: argparse.Namespace) -> None:
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


def _train(options: argparse.Namespace) -> None:
    from gramviz.serving.settings import choose_device
    from gramviz.training.loop import faster_dtype
    from gramviz.training.parallel import joined
    from gramviz.training.recipe import load_recipe, shipped_recipes, train_arm
    from gramviz.training.runs import run

    if options.recipes:
        for recipe in shipped_recipes():
            print(f"{recipe.name}: {recipe.about}\n  data: {recipe.data}. {recipe.data_note}")
            print("".join(f"  {name:12} {arm.about}\n" for name, arm in recipe.arms.items()), end="")
        return
    with joined(choose_device(options.device)) as (peers, device):
        autocast = None if options.float32 else faster_dtype(device)
        if options.recipe is not None:
            _refuse(
                options,
                "with --config",
                "image_size",
                "held_out",
                "checkpoints",
                "keep_states",
                "fork",
                "gram_weight",
            )
            recipe = load_recipe(options.recipe)
            arm, seed = options.arm or "plain", options.seed or 0
            config = recipe.config_for(arm, seed)
            data, size, held_out = options.data or recipe.data, recipe.image_size, recipe.held_out
        else:
            _refuse(options, "with --recipe", "arm", "seed")
            config = _own_config(options)
            data, size, held_out = options.data, options.image_size or 64, options.held_out or 0
        if peers.rank > 0:
            peers.from_first(None)  # waits: the first process may have to download the images
        source, told = _source(data, options, size, held_out, device)
        if peers.rank == 0:
            peers.from_first(None)
        if options.recipe is not None:
            folder = options.out or Path("runs") / recipe.name
            reports = train_arm(
                recipe, arm, seed, folder, source, device=device, autocast=autocast, data=told, peers=peers
            )
        else:
            reports = run(
                options.out,
                config,
                source,
                device=device,
                autocast=autocast,
                checkpoints_at=options.checkpoints or (),
                states_at=options.keep_states or (),
                fork_from=options.fork,
                data=told,
                peers=peers,
            )
        _follow(reports, config, quiet=peers.rank > 0)


def _refuse(options: argparse.Namespace, when: str, *names: str) -> None:
    """No option may be given that would have no effect."""
    given = ", ".join(f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None)
    if given:
        raise ConfigError(f"{given} can be given {when} only")


def _own_config(options: argparse.Namespace) -> TrainConfig:
    from gramviz.training.config import TrainConfig

    if options.data is None or options.out is None:
        raise ConfigError("--config needs --data and --out")
    try:
        config = TrainConfig.from_dict(json.loads(options.config.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"the configuration {str(options.config)!r} cannot be read: {error}") from error
    if options.gram_weight is None:
        return config
    return dataclasses.replace(config, gram=dataclasses.replace(config.gram, weight=options.gram_weight))


def _follow(reports: Iterator[StepReport], config: TrainConfig, *, quiet: bool) -> None:
    """Train, with a bar and, at the end, the speed. Raises GramvizError where training diverges."""
    from tqdm import tqdm

    last, steps, seconds = None, 0, 0.0
    with tqdm(total=config.steps, unit="step", disable=quiet) as bar:
        for report in reports:
            bar.update(report.step - bar.n)
            bar.set_postfix({name: f"{value:.3f}" for name, value in report.losses.items()})
            last, steps, seconds = report, steps + 1, seconds + report.seconds
    if last is None:
        return
    if not math.isfinite(last.total + last.gradient_norm):
        raise GramvizError(
            f"training diverged after step {last.step}: the loss is {last.total}; try a lower learning rate"
        )
    if not quiet:
        speed = steps * config.batch_size / seconds
        print(f"step {last.step:,} of {config.steps:,}: {speed:.0f} images/s in {steps:,} steps")


def _collect(options: argparse.Namespace) -> None:
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
            own_steps[named["branch"]] = _steps(named["steps"])
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


def _measure(options: argparse.Namespace) -> None:
    from itertools import islice

    from gramviz.checkpoints.manifest import CheckpointStore
    from gramviz.data.segments import annotated_pictures
    from gramviz.experiment import Measuring
    from gramviz.metrics.rows import append_row, protocol, read_rows, row_line
    from gramviz.serving.settings import choose_device, shipped_models
    from gramviz.training.folders import RunFolder
    from gramviz.training.loop import faster_dtype

    if options.runs is None:
        _refuse(options, "with --runs", "run", "fork", "steps")
    else:
        _refuse(options, "without --runs", "checkpoint", "models")
        if options.run is None or options.fork is None:
            raise ConfigError("--runs needs --run NAME for its rows and --fork N, the last step of the trunk")
    if options.baselines:
        _refuse(options, "without --baselines", "runs", "checkpoint", "models")
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
        None if options.classes is None else _images(options.classes, options, options.image_size),
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
    for row in rows:
        if options.out is not None:
            append_row(options.out, row)
        print(row_line(row), flush=True)


def _curves(options: argparse.Namespace) -> None:
    from gramviz.checkpoints.curves import METRICS, read_metrics
    from gramviz.checkpoints.files import write_atomic
    from gramviz.serving.settings import shipped_models
    from gramviz.ui.pictures import CARD, curves_picture

    folder = options.models or shipped_models()
    names = sorted(path.parent.name for path in folder.glob(f"*/{METRICS}"))  # weights may lie elsewhere
    if not names:
        raise ConfigError(f"the models folder {str(folder)!r} holds no run that was measured")
    run = options.run or names[0]
    if run not in names:
        raise ConfigError(
            f"there are no measurements of a run {run!r}; there are those of {', '.join(names)}"
        )
    measures = CARD if options.measures is None else tuple(options.measures.split(","))
    kind = options.out.suffix.removeprefix(".")
    write_atomic(options.out, curves_picture(read_metrics(folder, run), measures, kind))


def _source(
    data: str, options: argparse.Namespace, size: int, held_out: int, device: torch.device
) -> tuple[ImageSource, dict[str, int | str] | None]:
    """What to train on, and what tells which images were held out (None of scenes, which are drawn)."""
    from gramviz.data.sources import SceneSource, held_out_data, split

    kind, _, rest = data.partition(":")
    if kind == "scenes":
        if not rest.isdigit() or int(rest) < 1:
            raise ConfigError(f"--data {data!r} must name how many scenes, as scenes:10000")
        return SceneSource(int(rest), size), None
    source = _images(data, options, size)
    kept, _ = split(len(source), held_out)
    return source.subset(kept).to(device), held_out_data(source, held_out)


def _images(data: str, options: argparse.Namespace, size: int) -> TensorSource:
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


if __name__ == "__main__":
    sys.exit(main())
