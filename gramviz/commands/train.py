"""`gramviz train`: checkpoints from images, by a recipe or a configuration."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gramviz.commands.options import Commands, add_device, add_downloads, images, refuse, steps
from gramviz.errors import ConfigError, GramvizError

if TYPE_CHECKING:
    import torch

    from gramviz.training.config import TrainConfig
    from gramviz.training.loop import ImageSource, StepReport


def add(commands: Commands) -> None:
    """The command and its options."""
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
    add_device(train)
    train.add_argument("--float32", action="store_true", help="no bfloat16, even where it is faster")
    add_downloads(train)
    ours = train.add_argument_group("with --recipe")
    ours.add_argument("--arm", default=None, help="which of the recipe's arms (default: plain)")
    ours.add_argument("--seed", type=int, default=None, help="seed of weights and data order (default: 0)")
    own = train.add_argument_group("with --config")
    own.add_argument(
        "--image-size", type=int, default=None, help="images are kept at this size (default: 64)"
    )
    own.add_argument("--held-out", type=int, default=None, help="random images never trained on (default: 0)")
    own.add_argument("--checkpoints", type=steps, default=None, help="steps to export, as 0,300,1000")
    own.add_argument(
        "--keep-states", type=steps, default=None, help="steps whose full state is kept to fork from"
    )
    own.add_argument("--fork", type=Path, default=None, help="start from this kept state of another run")
    own.add_argument("--gram-weight", type=float, default=None, help="Gram weight instead of the config's")
    train.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Train, or list the recipes."""
    from gramviz.serving.settings import choose_device
    from gramviz.training import runs
    from gramviz.training.loop import faster_dtype
    from gramviz.training.parallel import joined
    from gramviz.training.recipe import load_recipe, shipped_recipes, train_arm

    if options.recipes:
        for recipe in shipped_recipes():
            print(f"{recipe.name}: {recipe.about}\n  data: {recipe.data}. {recipe.data_note}")
            print("".join(f"  {name:12} {arm.about}\n" for name, arm in recipe.arms.items()), end="")
        return
    with joined(choose_device(options.device)) as (peers, device):
        autocast = None if options.float32 else faster_dtype(device)
        if options.recipe is not None:
            refuse(
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
            refuse(options, "with --recipe", "arm", "seed")
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
            reports = runs.run(
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
    source = images(data, options, size)
    kept, _ = split(len(source), held_out)
    return source.subset(kept).to(device), held_out_data(source, held_out)
