"""The shipped checkpoints: small enough, whole, honestly described, and readable by plain timm."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gramviz.checkpoints.files import load_tensors, sha256_of
from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.data.samples import load
from gramviz.training.config import TrainConfig
from gramviz.vit.features import extract

MODELS = Path(__file__).resolve().parents[1] / "models"
STORE = CheckpointStore.open(MODELS)
CPU = torch.device("cpu")
RUNS = sorted({info.run for info in STORE.all()})


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
    assert (info.parent is None) == (info.step == 0)


def test_the_arms_differ_by_their_gram_weight_alone():
    for run in RUNS:
        plain, gram = config_of(run, "plain"), config_of(run, "gram")
        assert plain["gram"].pop("weight") == 0
        assert gram["gram"].pop("weight") > 0
        assert plain == gram


def test_no_file_lies_there_that_no_row_names():
    assert {str(p.relative_to(MODELS)) for p in MODELS.rglob("*.safetensors")} == {
        info.file for info in STORE.all()
    }


@pytest.mark.parametrize("run", RUNS)
def test_the_card_says_what_it_must_and_its_timm_example_gives_our_features(run, monkeypatch):
    card = (MODELS / run / "README.md").read_text(encoding="utf-8")
    for word in ("Caltech-101", "CC BY 4.0", "seed", "BSDS500", "How to rerun", "What it does not show"):
        assert word in card, word
    (example,) = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(MODELS / run)
    names: dict = {}
    exec(compile(example, "card", "exec"), names)
    info = next(info for info in STORE.all() if Path(info.file).name in example)
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
        lines = [json.loads(line) for line in (MODELS / run / "metrics.jsonl").read_text().splitlines()]
        assert {row["checkpoint"] for row in lines} == {info.id for info in STORE.all() if info.run == run}
        for row in lines:
            assert 0.5 < row["auc"] < 1
            assert 0 < row["knn"] < 1
