"""The shipped checkpoints: small enough, whole, honestly described, and readable by plain timm."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gramviz.checkpoints.curves import read_metrics
from gramviz.checkpoints.files import load_tensors, sha256_of
from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.data.samples import load
from gramviz.gram.similarity import gram_matrix
from gramviz.gram.spectrum import eigenvalues
from gramviz.training.config import TrainConfig
from gramviz.training.heads import heads_from
from gramviz.training.recipe import load_recipe
from gramviz.vit.features import extract

MODELS = Path(__file__).resolve().parents[1] / "models"
STORE = CheckpointStore.open(MODELS)
CPU = torch.device("cpu")
RUNS = sorted({info.run for info in STORE.all()})
CARDS = sorted(path.parent.name for path in MODELS.glob("*/README.md"))
WITHOUT_WEIGHTS = sorted(set(CARDS) - set(RUNS))


def config_of(run, branch):
    return json.loads((MODELS / run / f"{branch}_config.json").read_text())


def test_there_is_a_trunk_and_an_arm_with_and_without_gram_for_at_least_six_checkpoints():
    assert len(STORE.all()) >= 6
    for run in RUNS:
        assert {"trunk", "plain", "gram"} <= {info.branch for info in STORE.all() if info.run == run}


def test_sizes_stay_within_the_limits():
    assert max(info.bytes for info in STORE.all()) <= 6 * 2**20
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) <= 48 * 2**20


@pytest.mark.parametrize("info", STORE.all(), ids=lambda info: info.id)
def test_a_row_is_its_file(info):
    path = MODELS / info.file
    assert (path.stat().st_size, sha256_of(path)) == (info.bytes, info.sha256)
    metadata = load_tensors(path)[1]
    assert metadata["step"] == info.step
    assert metadata["network"] == info.network.to_dict()
    config = config_of(info.run, "plain" if info.branch == "trunk" else info.branch)
    assert info.images_seen == info.step * config["batch_size"]
    assert TrainConfig.from_dict(config).network == info.network
    assert "CC BY 4.0" in info.licence
    ids = [other.id for other in STORE.all()]
    assert info.parent is None or ids.index(info.parent) < ids.index(info.id)
    assert (info.parent is None) == (info == next(one for one in STORE.all() if one.run == info.run))


def test_the_arms_differ_by_their_gram_section_alone_and_the_recipe_gives_them():
    for run in RUNS:
        recipe = load_recipe(run)
        branches = {info.branch for info in STORE.all() if info.run == run} - {"trunk"}
        configs = {branch: config_of(run, branch) for branch in branches}
        assert {config["gram"]["weight"] > 0 for b, config in configs.items() if b != "plain"} == {True}
        assert configs["plain"]["gram"]["weight"] == 0
        for branch, config in configs.items():
            assert TrainConfig.from_dict(config) == recipe.config_for(branch, config["seed"])
            assert {**config, "gram": 0} == {**configs["plain"], "gram": 0}
        plain, gram = (configs[name]["gram"] for name in ("plain", "gram"))
        assert {**plain, "weight": 0} == {**gram, "weight": 0}


def test_a_run_of_which_rows_alone_are_kept_has_its_card_and_its_recipe():
    assert WITHOUT_WEIGHTS == ["caltech-d128-batch256"]
    for run in WITHOUT_WEIGHTS:
        recipe = load_recipe(run)
        for arm in ("plain", "gram"):
            config = TrainConfig.from_dict(config_of(run, arm))
            assert config == recipe.config_for(arm, config.seed)
        rows = [row for row in read_metrics(MODELS, run) if "step" in row]
        assert {row["run"] for row in rows} == {run}
        assert {row["seed"] for row in rows if row["arm"] == "gram"} == {0, 1, 2}
        assert all(row["images_seen"] == row["step"] * recipe.config.batch_size for row in rows)
        card = (MODELS / run / "README.md").read_text(encoding="utf-8")
        for word in ("no weights", "CC BY 4.0", "BSDS500", "How to rerun", "What it does not show"):
            assert word in card, word


def test_no_file_lies_there_that_no_row_names():
    named = {file for info in STORE.all() for file in (info.file, info.heads) if file}
    assert {str(p.relative_to(MODELS)) for p in MODELS.rglob("*.safetensors")} == named


def test_there_are_heads_of_the_fork_and_of_the_ends_of_the_main_arms():
    for run in ("caltech-d128",):
        infos = [info for info in STORE.all() if info.run == run]
        kept = {info.branch for info in infos if info.heads}
        assert {"trunk", "plain", "gram"} <= kept
        for info in infos:
            if info.heads:
                tensors, metadata = STORE.load_heads(info.id)
                heads = heads_from(tensors, metadata, CPU)
                width = info.network.options["embed_dim"]
                logits = heads.dino_head(torch.randn(8, width, generator=torch.Generator().manual_seed(0)))
                assert logits.shape == (8, metadata["head"]["prototypes"])
                assert float(logits.abs().max()) <= 1 + 1e-5
                assert metadata["step"] == info.step


def test_half_precision_moves_cosines_by_less_than_a_thousandth():
    """Noise of the size of float16's rounding stands for the rounding that was done."""
    for info in (info for info in STORE.all() if info.step == 4000):
        backbone = STORE.load(info.id, CPU)
        exact = extract(backbone, load("chelsea"), 20, device=CPU).patches.flatten(0, 1).double()
        noise = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for (
                weights
            ) in backbone.parameters():  # a value was within half a unit in the last of 11 binary places
                weights.mul_(1 + (torch.rand(weights.shape, generator=noise) - 0.5) * 2**-10)
        moved = extract(backbone, load("chelsea"), 20, device=CPU).patches.flatten(0, 1).double()
        before, after = eigenvalues(exact)[:32], eigenvalues(moved)[:32]
        assert float((gram_matrix(exact) - gram_matrix(moved)).abs().max()) < 1e-3
        assert float(((before - after).abs() / before).max()) < 0.01


@pytest.mark.parametrize("run", RUNS)
def test_the_card_says_what_it_must_and_its_timm_example_gives_our_features(run, monkeypatch):
    card = (MODELS / run / "README.md").read_text(encoding="utf-8")
    for word in ("Caltech-101", "CC BY 4.0", "seed", "BSDS500", "How to rerun", "What it does not show"):
        assert word in card, word
    (example,) = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(MODELS / run)
    names: dict = {}
    exec(compile(example, "card", "exec"), names)
    info = next(one for one in STORE.all() if one.run == run and Path(one.file).name in example)
    ours = extract(STORE.load(info.id, CPU), load("chelsea"), 20, device=CPU)
    rows, columns, width = ours.patches.shape
    from gramviz.vit.images import to_tensor

    image = to_tensor(load("chelsea"), (rows, columns), ours.patch_size)[None]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (info.network.mean, info.network.std))
    with torch.inference_mode():
        tokens = names["model"].forward_features((image - mean) / std)[0]
    assert tokens.shape == (5 + rows * columns, width)
    assert np.allclose(tokens[5:].numpy(), ours.patches.flatten(0, 1).numpy(), atol=1e-3)
    assert np.allclose(tokens[0].numpy(), ours.cls.numpy(), atol=1e-3)


def test_measured_numbers_stand_beside_each_checkpoint():
    for run in RUNS:
        rows = [row for row in read_metrics(MODELS, run) if "step" in row]
        measured = {(row["seed"], row["arm"], row["step"]) for row in rows}
        for info in (info for info in STORE.all() if info.run == run):
            seed = config_of(run, "plain")["seed"]
            assert (seed, info.branch, info.step) in measured, info.id
        for row in rows:
            assert 0.5 < row["auc"] < 1
            assert 0 < row["knn"] < 1
            assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))


def test_the_main_arms_were_run_with_three_seeds():
    for run in ("caltech-d128",):
        rows = read_metrics(MODELS, run)
        for arm in ("plain", "gram", "gram_hires"):
            assert len({row["seed"] for row in rows if row["arm"] == arm}) >= 3


def test_every_number_in_a_cards_table_is_one_that_was_measured():
    """Rows such as `| without Gram, 4,000 | 0.733 | ... |` hold the means over the seeds that the table names."""
    for run in CARDS:
        rows = read_metrics(MODELS, run)
        card = (MODELS / run / "README.md").read_text(encoding="utf-8")
        (table,) = re.findall(r"<!-- measured: ([\w ,]+) -->\n((?:\|.*\n)+)", card)
        names = table[0].replace(",", " ").split()
        found = re.findall(r"^\| (\w+) \| ([\d,]+) \| (\d) \|(.*)\|$", table[1], re.MULTILINE)
        assert len(found) >= 8
        for arm, step, seeds, cells in found:
            kept = [
                row for row in rows if row["arm"] == arm and row.get("step") == int(step.replace(",", ""))
            ]
            assert len(kept) == int(seeds), (arm, step)
            for name, cell in zip(names, cells.split("|"), strict=True):
                values = [row[name] for row in kept if name in row]
                if cell.strip() == "–":
                    assert not values
                else:
                    assert cell.strip() == f"{np.mean(values):.3f}", (arm, step, name)
