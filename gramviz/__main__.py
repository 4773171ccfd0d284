"""The command line: `serve` opens the page, `models` lists checkpoints, `train` makes them, `collect` puts them
where the page finds them, `measure` tells how good they are.

Exit codes: 0 done, 1 a deliberate error (one sentence on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gramviz.errors import ConfigError, GramvizError

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none of it
    import torch

    from gramviz.training.loop import ImageSource


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
        description="Train in a folder of its own. Run again after a stop, it goes on where it stood.",
    )
    train.add_argument("--config", type=Path, required=True, help="JSON file of a TrainConfig")
    train.add_argument(
        "--data",
        required=True,
        help="a folder of images, torchvision:NAME (Caltech101, CIFAR10, ...), or scenes:COUNT",
    )
    train.add_argument("--out", type=Path, required=True, help="the run's folder")
    train.add_argument(
        "--image-size", type=int, default=64, help="images are kept at this size (default %(default)s)"
    )
    train.add_argument(
        "--held-out", type=int, default=0, help="random images never trained on (default %(default)s)"
    )
    train.add_argument("--checkpoints", type=_steps, default=(), help="steps to export, as 0,300,1000")
    train.add_argument(
        "--keep-states", type=_steps, default=(), help="steps whose full state is kept to fork from"
    )
    train.add_argument("--fork", type=Path, default=None, help="start from this kept state of another run")
    train.add_argument("--gram-weight", type=float, default=None, help="Gram weight instead of the config's")
    train.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default %(default)s)")
    train.add_argument("--float32", action="store_true", help="no bfloat16, even where it is faster")
    train.add_argument(
        "--root", type=Path, default=Path("data"), help="where torchvision keeps its data sets"
    )
    train.add_argument("--download", action="store_true", help="let torchvision download the data set")
    train.set_defaults(command=_train)

    collect = commands.add_parser(
        "collect",
        help="put a trunk and its arms among the models",
        description="Copy checkpoints out of run folders into a models folder and rewrite its manifest.",
    )
    collect.add_argument("arms", nargs="+", metavar="BRANCH=FOLDER", help="plain=runs/a gram=runs/b ...")
    collect.add_argument("--run", required=True, help="name of the run among the models")
    collect.add_argument("--title", required=True, help="one line on what it is")
    collect.add_argument("--licence", required=True, help="licence of the weights, with attribution")
    collect.add_argument("--fork", type=int, required=True, help="last step of the shared trunk")
    collect.add_argument("--steps", type=_steps, required=True, help="steps to take, as 0,300,1000")
    collect.add_argument("--shown", type=_steps, default=(), help="steps that a new visitor sees")
    collect.add_argument("--models", type=Path, default=None, help="models folder (default: the shipped)")
    collect.set_defaults(command=_collect)

    measure = commands.add_parser(
        "measure",
        help="dense and global quality of checkpoints",
        description="Print one JSON line a checkpoint: the mean and the standard error over pictures.",
    )
    measure.add_argument(
        "--segments", type=Path, required=True, help="folder with images/ and segments/ (BSDS500)"
    )
    measure.add_argument(
        "--classes", type=Path, default=None, help="folder of class folders, for k-NN on CLS"
    )
    measure.add_argument(
        "--held-out", type=int, default=2000, help="images held out of training (%(default)s)"
    )
    measure.add_argument("--image-size", type=int, default=64, help="size of the k-NN images (%(default)s)")
    measure.add_argument("--patches", type=int, default=20, help="patches on the long side (%(default)s)")
    measure.add_argument("--limit", type=int, default=None, help="measure the first so many pictures only")
    measure.add_argument("--checkpoint", action="append", help="id; may be repeated (default: all)")
    measure.add_argument("--models", type=Path, default=None, help="models folder (default: the shipped)")
    measure.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default %(default)s)")
    measure.set_defaults(command=_measure)
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
    from tqdm import tqdm

    from gramviz.serving.settings import choose_device
    from gramviz.training.config import TrainConfig
    from gramviz.training.loop import faster_dtype
    from gramviz.training.runs import run

    try:
        config = TrainConfig.from_dict(json.loads(options.config.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"the configuration {str(options.config)!r} cannot be read: {error}") from error
    if options.gram_weight is not None:
        config = dataclasses.replace(
            config, gram=dataclasses.replace(config.gram, weight=options.gram_weight)
        )
    device = choose_device(options.device)
    source = _source(options, device)
    reports = run(
        options.out,
        config,
        source,
        device=device,
        autocast=None if options.float32 else faster_dtype(device),
        checkpoints_at=options.checkpoints,
        states_at=options.keep_states,
        fork_from=options.fork,
    )
    last = None
    with tqdm(total=config.steps, unit="step") as bar:
        for report in reports:
            bar.update(report.step - bar.n)
            bar.set_postfix({name: f"{value:.3f}" for name, value in report.losses.items()})
            last = report
    if last is not None and not math.isfinite(last.total + last.gradient_norm):
        raise GramvizError(
            f"training diverged after step {last.step}: the loss is {last.total}; try a lower learning rate"
        )


def _collect(options: argparse.Namespace) -> None:
    from gramviz.checkpoints.collect import collect
    from gramviz.serving.settings import shipped_models

    arms: dict[str, Path] = {}
    for arm in options.arms:
        branch, separator, folder = arm.partition("=")
        if not separator:
            raise ConfigError(f"{arm!r} is not BRANCH=FOLDER, as in plain=runs/a")
        arms[branch] = Path(folder)
    rows = collect(
        options.models or shipped_models(),
        options.run,
        arms,
        options.steps,
        fork=options.fork,
        title=options.title,
        licence=options.licence,
        shown=options.shown,
    )
    print(f"{len(rows)} checkpoints, {sum(info.bytes for info in rows) / 2**20:.1f} MiB")


def _measure(options: argparse.Namespace) -> None:
    from itertools import islice

    import numpy as np
    import torch

    from gramviz.checkpoints.manifest import CheckpointStore
    from gramviz.data.segments import annotated_pictures
    from gramviz.data.sources import folder_source, split
    from gramviz.metrics.evaluate import dense_measures, knn_measure
    from gramviz.serving.settings import choose_device, shipped_models

    store = CheckpointStore.open(options.models or shipped_models())
    device = choose_device(options.device)
    pictures = list(islice(annotated_pictures(options.segments), options.limit))
    classes = None
    if options.classes is not None:
        images = folder_source(options.classes, options.image_size)
        names = sorted(set(images.names))
        labels = torch.tensor([names.index(name) for name in images.names])
        classes = tuple((images.images[part], labels[part]) for part in split(len(images), options.held_out))
    for checkpoint in options.checkpoint or [info.id for info in store.all()]:
        network = store.load(checkpoint, device)
        row: dict[str, object] = {"checkpoint": checkpoint, "pictures": len(pictures)}
        for name, values in dense_measures(network, pictures, patches=options.patches, device=device).items():
            row[name] = round(float(np.nanmean(values)), 4)
            row[f"{name}_error"] = round(float(np.nanstd(values, ddof=1) / len(values) ** 0.5), 4)
        if classes is not None:
            row["knn"] = round(knn_measure(network, *classes, device=device), 4)
        print(json.dumps(row), flush=True)


def _source(options: argparse.Namespace, device: torch.device) -> ImageSource:
    from tqdm import tqdm

    from gramviz.data.sources import SceneSource, folder_source, split, torchvision_source

    kind, _, rest = options.data.partition(":")
    if kind == "scenes":
        if not rest.isdigit() or int(rest) < 1:
            raise ConfigError(f"--data {options.data!r} must name how many scenes, as scenes:10000")
        return SceneSource(int(rest), options.image_size)
    with tqdm(unit="image", desc="reading", leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        if kind == "torchvision":
            source = torchvision_source(
                rest, options.root, options.image_size, download=options.download, progress=progress
            )
        else:
            source = folder_source(Path(options.data), options.image_size, progress)
    kept, _ = split(len(source), options.held_out)
    return source.subset(kept).to(device)


if __name__ == "__main__":
    sys.exit(main())
