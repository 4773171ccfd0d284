"""Recipes: named experiments of several arms, as data that ships with the package, and the runs that they stand for.

A recipe is one configuration, its images, and arms that change the Gram section alone; an arm may fork from a state
of another one. The runs of a recipe lie beside each other in one folder, as `<arm>_s<seed>`. Knows nothing of the
command line or of where images come from.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from gramviz.checkpoints.heads import KEPT_STATE
from gramviz.errors import ConfigError
from gramviz.training.config import TrainConfig, from_mapping
from gramviz.training.loop import ImageSource, StepReport
from gramviz.training.parallel import ALONE, Peers
from gramviz.training.runs import run, saved_step


@dataclass(frozen=True)
class Fork:
    """Where an arm begins: at a step of another arm, of the same seed."""

    arm: str
    step: int


@dataclass(frozen=True)
class Arm:
    """One way to go. gram: settings that differ from those of the recipe's Gram section."""

    about: str
    gram: Mapping[str, Any]
    fork: Fork | None = None


@dataclass(frozen=True)
class Recipe:
    """An experiment that anyone can rerun.

    config: of the plain arm; its seed is replaced. data: as `gramviz train --data` takes it; data_note: what to know
    about it. image_size: pixels a side; held_out: images never trained on. checkpoints, states: steps that are
    exported, and whose whole state is kept. arms: by name.
    """

    name: str
    about: str
    config: TrainConfig
    data: str
    data_note: str
    image_size: int
    held_out: int
    checkpoints: tuple[int, ...]
    states: tuple[int, ...]
    arms: Mapping[str, Arm]

    def __post_init__(self) -> None:
        for name in self.arms:
            self.config_for(name, 0)
            self._check_fork(name)

    def config_for(self, arm: str, seed: int) -> TrainConfig:
        """The configuration of one run. Raises ConfigError for an unknown arm or a seed below 0."""
        gram = {**dataclasses.asdict(self.config.gram), **self.arm(arm).gram}
        plain = self.config.to_dict()
        return TrainConfig.from_dict({**plain, "seed": seed, "gram": gram})

    def arm(self, name: str) -> Arm:
        """The arm of that name. Raises ConfigError where there is none."""
        if name not in self.arms:
            raise ConfigError(f"the recipe {self.name!r} has no arm {name!r}; it has {', '.join(self.arms)}")
        return self.arms[name]

    def _check_fork(self, name: str) -> None:
        """Every chain of forks ends at an arm that begins at step 0."""
        seen = [name]
        while (fork := self.arm(seen[-1]).fork) is not None:
            if fork.arm in seen:
                raise ConfigError(f"in the recipe {self.name!r} the arm {name!r} forks from itself")
            if fork.step not in self.states:
                raise ConfigError(
                    f"in the recipe {self.name!r} the arm {seen[-1]!r} forks at step {fork.step}, "
                    f"whose state is not among those kept: {list(self.states)}"
                )
            seen.append(fork.arm)


def shipped_recipes() -> tuple[Recipe, ...]:
    """The recipes in the package, by name."""
    files = sorted(_folder().iterdir(), key=lambda file: file.name)
    return tuple(_parse(file.name.removesuffix(".json"), file.read_text(encoding="utf-8")) for file in files)


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by its name, or one of your own by the path of its JSON file.

    Raises ConfigError where there is none, or where it is not a recipe.
    """
    if name.endswith(".json"):
        try:
            return _parse(Path(name).stem, Path(name).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"the recipe {name!r} cannot be read: {error}") from error
    shipped = {recipe.name: recipe for recipe in shipped_recipes()}
    if name not in shipped:
        raise ConfigError(
            f"there is no recipe {name!r}; there are {', '.join(shipped)}, or a path to a .json"
        )
    return shipped[name]


def train_arm(
    recipe: Recipe,
    arm: str,
    seed: int,
    folder: Path,
    source: ImageSource,
    *,
    device: torch.device,
    autocast: torch.dtype | None = None,
    data: Mapping[str, Any] | None = None,
    peers: Peers = ALONE,
) -> Iterator[StepReport]:
    """Train one arm in `folder`/<arm>_s<seed>, and before it what it forks from, if that is not there yet.

    Yields after each step, of the arm forked from too, and ends with the report of a step that diverged; goes on
    where earlier calls stopped. The rest is as in `runs.run`.
    """
    options = {"device": device, "autocast": autocast, "data": data, "peers": peers}
    return _train(recipe, arm, seed, folder, source, None, **options)


def _train(
    recipe: Recipe, arm: str, seed: int, folder: Path, source: ImageSource, until: int | None, **options: Any
) -> Iterator[StepReport]:
    """`train_arm`, stopping after step `until`."""
    fork, own = recipe.arm(arm).fork, folder / f"{arm}_s{seed}"
    kept = None
    if fork is not None and saved_step(own) is None:
        trunk = folder / f"{fork.arm}_s{seed}"
        kept = trunk / KEPT_STATE.format(fork.step)
        if not kept.exists():
            reached = saved_step(trunk)
            if reached is not None and reached >= fork.step:
                raise ConfigError(
                    f"{trunk.name!r} stands at step {reached} and kept no state of step {fork.step}, from which "
                    f"{arm!r} forks; train it anew in another folder"
                )
            yield from _train(recipe, fork.arm, seed, folder, source, fork.step, **options)
            # all processes go by what the first, which writes, sees
            if not options["peers"].from_first(kept.exists()):
                return  # it diverged, as its last report says
    reports = run(
        own,
        recipe.config_for(arm, seed),
        source,
        checkpoints_at=recipe.checkpoints,
        states_at=recipe.states,
        fork_from=kept,
        **options,
    )
    with closing(reports):
        for report in reports:
            yield report
            if report.step == until:
                return


def _folder() -> Any:
    return resources.files("gramviz.training") / "recipes"


def _parse(name: str, text: str) -> Recipe:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the recipe {name!r} is not JSON: {error}") from error
    where = f"the recipe {name!r}"
    if not isinstance(data, dict) or not isinstance(data.get("arms"), dict) or "config" not in data:
        raise ConfigError(f"{where} must be a table with 'config' and a table 'arms'")
    arms = {
        key: from_mapping(
            Arm, _with_fork(value, f"the arm {key!r} of {where}"), f"the arm {key!r} of {where}"
        )
        for key, value in data["arms"].items()
    }
    config = TrainConfig.from_dict({**data["config"], "seed": 0})
    recipe: Recipe = from_mapping(Recipe, {**data, "name": name, "config": config, "arms": arms}, where)
    return recipe


def _with_fork(arm: Any, where: str) -> Any:
    if not isinstance(arm, dict) or arm.get("fork") is None:
        return arm
    return {**arm, "fork": from_mapping(Fork, arm["fork"], f"the fork of {where}")}
