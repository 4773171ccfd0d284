"""Recipes: the shipped one is what the shipped checkpoints were made with, and arms find or train their trunk."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch

from gramviz.errors import ConfigError
from gramviz.training import objective
from gramviz.training.config import TrainConfig
from gramviz.training.loop import train
from gramviz.training.recipe import Arm, Fork, Recipe, load_recipe, shipped_recipes, train_arm
from gramviz.training.runs import LOG, STATE, read_state, saved_step
from gramviz.training.state import new_state, to_tensors

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recipe(config):
    return Recipe(
        name="small",
        about="",
        config=config,
        data="scenes:10",
        data_note="",
        image_size=20,
        held_out=0,
        checkpoints=(0, 2, 6),
        states=(2, 4),
        arms={
            "plain": Arm("", {}),
            "gram": Arm("", {"weight": 5.0}, Fork("plain", 2)),
            "late": Arm("", {"weight": 5.0, "teacher_step": 4, "start": 4}, Fork("plain", 4)),
        },
    )


def follow(recipe, arm, folder, source, seed=3):
    return [report.step for report in train_arm(recipe, arm, seed, folder, source, device=CPU)]


def weights(path):
    return to_tensors(read_state(path, CPU)[0])


def assert_equal(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_every_shipped_recipe_is_sound_and_found_by_its_name():
    names = [recipe.name for recipe in shipped_recipes()]
    assert "caltech-d128" in names
    for name in names:
        recipe = load_recipe(name)
        assert recipe.config_for("plain", 0).gram.weight == 0
        assert max(recipe.checkpoints) == max(recipe.states) == recipe.config.steps
        assert recipe.arms["plain"].fork is None


def test_the_shipped_recipe_gives_the_configurations_of_the_shipped_checkpoints():
    recipe = load_recipe("caltech-d128")
    for path in sorted((ROOT / "models" / "caltech-d128").glob("*_config.json")):
        config = TrainConfig.from_dict(json.loads(path.read_text()))
        assert recipe.config_for(path.name.removesuffix("_config.json"), config.seed) == config
    assert {
        "plain",
        "gram",
        "gram_hires",
        "gram_late",
        "gram_repair",
        "gram_w2",
        "gram_w5",
        "gram_w50",
    } == set(recipe.arms)
    late, repair = (recipe.config_for(name, 1).gram for name in ("gram_late", "gram_repair"))
    assert (late.teacher_step, late.start, late.weight) == (600, 700, 20)
    assert (repair.teacher_step, repair.start, repair.weight) == (200, 2000, 15)
    assert recipe.config_for("gram_hires", 2).gram.resolution == 2
    assert "BACKGROUND_Google" in recipe.data_note


def test_an_arm_first_trains_its_trunk_as_far_as_it_needs_it(tmp_path, recipe, source):
    assert follow(recipe, "gram", tmp_path, source) == [1, 2, 3, 4, 5, 6]
    assert saved_step(tmp_path / "plain_s3") == 2
    unbroken = new_state(recipe.config_for("gram", 3), CPU)
    list(train(unbroken, recipe.config_for("gram", 3), source))  # the Gram term begins at step 2 anyway
    assert_equal(weights(tmp_path / "gram_s3" / STATE), to_tensors(unbroken))
    assert [json.loads(line)["step"] for line in (tmp_path / "gram_s3" / LOG).read_text().splitlines()] == [
        3,
        4,
        5,
        6,
    ]
    assert sorted(path.name for path in (tmp_path / "gram_s3").glob("step_*")) == [
        "step_000002.safetensors",
        "step_000006.safetensors",
    ]
    # the trunk is there now, and goes on to its own end as if nothing had been
    assert follow(recipe, "gram", tmp_path, source) == []
    assert follow(recipe, "plain", tmp_path, source) == [3, 4, 5, 6]
    plain = new_state(recipe.config_for("plain", 3), CPU)
    list(train(plain, recipe.config_for("plain", 3), source))
    assert_equal(weights(tmp_path / "plain_s3" / STATE), to_tensors(plain))


def test_an_arm_that_was_stopped_goes_on_in_its_trunk_or_in_itself(tmp_path, recipe, source):
    follow(recipe, "late", tmp_path / "a", source)
    for stop in (1, 3, 5):
        reports = train_arm(recipe, "late", 3, tmp_path / "b", source, device=CPU)
        for report in reports:
            if report.step == stop:
                break
        reports.close()
    assert follow(recipe, "late", tmp_path / "b", source) == [6]
    assert_equal(weights(tmp_path / "b/late_s3" / STATE), weights(tmp_path / "a/late_s3" / STATE))


def test_a_trunk_that_diverges_is_the_end_and_its_report_the_last(tmp_path, recipe, source, monkeypatch):
    losses = iter([torch.tensor(1.0), torch.tensor(float("nan"))])
    monkeypatch.setattr(objective, "ibot_loss", lambda *a: next(losses).requires_grad_())
    first, last = train_arm(recipe, "gram", 3, tmp_path, source, device=CPU)
    assert (first.step, last.step) == (1, 1)
    assert math.isfinite(first.total)
    assert math.isnan(last.total)
    assert not (tmp_path / "gram_s3").exists()


def test_seeds_lie_beside_each_other_and_a_trunk_without_the_state_is_named(tmp_path, recipe, source):
    follow(recipe, "gram", tmp_path, source, seed=0)
    follow(recipe, "gram", tmp_path, source, seed=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gram_s0", "gram_s1", "plain_s0", "plain_s1"]
    follow(recipe, "plain", tmp_path, source, seed=0)
    (tmp_path / "plain_s0" / "state_000004.safetensors").unlink()
    with pytest.raises(ConfigError, match="'plain_s0' stands at step 6 and kept no state of step 4"):
        follow(recipe, "late", tmp_path, source, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {"plain": Arm("", {"weight": -1})}}, "Gram weight is -1"),
        ({"arms": {"plain": Arm("", {"wait": 1})}}, "unknown settings"),
        ({"arms": {"gram": Arm("", {}, Fork("plain", 2))}}, "no arm 'plain'; it has gram"),
        ({"arms": {"a": Arm("", {}, Fork("b", 2)), "b": Arm("", {}, Fork("a", 2))}}, "forks from itself"),
        ({"states": (4,)}, "forks at step 2, whose state is not among those kept"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(recipe, change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(recipe, **change)


def test_a_recipe_file_of_your_own_is_read_and_its_mistakes_are_named(tmp_path):
    shipped = json.loads((ROOT / "gramviz/training/recipes/caltech-d128.json").read_text())
    path = tmp_path / "mine.json"

    def attempt(**change):
        path.write_text(json.dumps({**shipped, **change}))
        return load_recipe(str(path))

    mine = attempt(held_out=5)
    assert (mine.name, mine.held_out) == ("mine", 5)
    with pytest.raises(ConfigError, match=r"the recipe 'mine' has unknown settings \['colour'\]"):
        attempt(colour="red")
    with pytest.raises(ConfigError, match="must be a table with 'config' and a table 'arms'"):
        attempt(arms=[])
    with pytest.raises(ConfigError, match="the fork of the arm 'x'"):
        attempt(arms={"x": {"about": "", "gram": {}, "fork": {"stop": 1}}})
    with pytest.raises(ConfigError, match="the arm 'x'"):
        attempt(arms={"x": {"gram": {}}})
    path.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load_recipe(str(path))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="no recipe 'best'; there are caltech-d128"):
        load_recipe("best")
