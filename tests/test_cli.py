"""The command line from configuration to measures, as a user would run it, on images made here."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gramviz.__main__ import main
from gramviz.training.config import GramConfig, HeadConfig, TrainConfig, ViewConfig
from tests.stores import TINY, make_store


@pytest.fixture
def config_file(tmp_path):
    config = TrainConfig(
        TINY,
        steps=4,
        batch_size=4,
        views=ViewConfig(global_size=16, local_size=8, locals=1),
        head=HeadConfig(hidden=8, bottleneck=8, prototypes=8),
        gram=GramConfig(teacher_step=1, start=2),
    )
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    return path


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("a", "b"):
        (tmp_path / "classes" / kind).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "classes" / kind / f"{index}.png")
    return tmp_path / "classes"


def train_on_scenes(config_file):
    """The arguments that train on eight scenes, all but the run's folder."""
    return [
        *("train", "--config", str(config_file), "--data", "scenes:8"),
        *("--image-size", "24", "--device", "cpu"),
    ]


def test_train_fork_collect_list_and_measure(tmp_path, config_file, folder, capsys):
    common = [
        "train",
        "--config",
        str(config_file),
        "--data",
        str(folder),
        "--image-size",
        "24",
        "--device",
        "cpu",
    ]
    steps = ["--checkpoints", "0,2,4", "--held-out", "10"]
    plain, gram, models = (str(tmp_path / name) for name in ("plain", "gram", "models"))
    assert main([*common, *steps, "--out", plain, "--keep-states", "2"]) == 0
    kept = f"{plain}/state_000002.safetensors"
    assert main([*common, *steps, "--out", gram, "--fork", kept, "--gram-weight", "5"]) == 0
    logs = [
        [json.loads(line) for line in (tmp_path / arm / "log.jsonl").read_text().splitlines()]
        for arm in ("plain", "gram")
    ]
    assert [row["step"] for row in logs[0]] == [1, 2, 3, 4]
    assert [row["step"] for row in logs[1]] == [3, 4]
    assert (
        logs[1][0]["losses"]["dino"] == logs[0][2]["losses"]["dino"]
    )  # same batch, same weights, same views
    assert "gram" in logs[1][0]["losses"]
    assert "gram" not in logs[0][2]["losses"]

    collect = [
        "collect",
        f"plain={plain}",
        f"gram={gram}",
        "--run",
        "mini",
        "--title",
        "Mini",
        "--licence",
        "MIT",
    ]
    assert main([*collect, "--fork", "2", "--steps", "0,2,4", "--shown", "4", "--models", models]) == 0
    capsys.readouterr()
    assert main(["models", "--json", "--models", models]) == 0
    ids = [row["id"] for row in json.loads(capsys.readouterr().out)]
    assert ids == ["mini/trunk/0", "mini/trunk/2", "mini/plain/4", "mini/gram/4"]
    assert main(["models", "--models", models]) == 0
    assert "mini/gram/4" in capsys.readouterr().out

    bsds = tmp_path / "bsds"
    (bsds / "images").mkdir(parents=True)
    (bsds / "segments").mkdir()
    halves = np.repeat(np.array([[0, 1]], np.uint8), 16, axis=1).repeat(32, axis=0)
    for index in range(3):
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            bsds / "images" / f"{index}.jpg"
        )
        Image.fromarray(halves).save(bsds / "segments" / f"{index}_0.png")
    measure = [
        "measure",
        "--segments",
        str(bsds),
        "--classes",
        str(folder),
        "--held-out",
        "10",
        "--models",
        models,
    ]
    assert main([*measure, "--patches", "4", "--checkpoint", "mini/gram/4", "--device", "cpu"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["pictures"] == 3
    assert 0 <= row["auc"] <= 1
    assert 0 <= row["knn"] <= 1
    assert {"near_auc", "near_auc_error", "cls_alignment", "top1_energy", "effective_rank"} <= row.keys()


def test_scenes_are_a_source_and_a_second_call_goes_on(tmp_path, config_file):
    call = train_on_scenes(config_file)
    assert main([*call, "--out", str(tmp_path / "run")]) == 0
    assert main([*call, "--out", str(tmp_path / "run")]) == 0
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--config", "{config}", "--data", "/nowhere", "--out", "{out}"], "is not a folder"),
        (["train", "--config", "{out}/none.json", "--data", "x", "--out", "{out}"], "cannot be read"),
        (["train", "--config", "{config}", "--data", "scenes:no", "--out", "{out}"], "how many scenes"),
        (["train", "--config", "{config}", "--data", "torchvision:No", "--out", "{out}"], "no image dataset"),
        (
            ["train", "--config", "{config}", "--data", "scenes:8", "--out", "{out}", "--device", "x"],
            "not available",
        ),
        (["models", "--models", "{out}"], "has no manifest"),
        (["measure", "--segments", "{out}", "--models", "{store}"], "holds no images"),
        (
            [
                "collect",
                "plain",
                "--run",
                "a",
                "--title",
                "b",
                "--licence",
                "c",
                "--fork",
                "1",
                "--steps",
                "1",
            ],
            "BRANCH",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_one(tmp_path, config_file, capsys, arguments, message):
    make_store(tmp_path / "store")
    names = {"config": config_file, "out": tmp_path / "out", "store": tmp_path / "store"}
    assert main([part.format(**names) for part in arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_wrong_usage_is_exit_code_two_and_help_names_every_command(capsys):
    for wrong in (
        [],
        ["dance"],
        ["train"],
        ["train", "--config", "a", "--data", "b", "--out", "c", "--checkpoints", "x"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("serve", "train", "models", "collect", "measure"))


def test_divergence_is_told(tmp_path, config_file, capsys, monkeypatch):
    from gramviz.training import loop

    monkeypatch.setattr(loop, "ibot_loss", lambda *a: torch.tensor(float("nan"), requires_grad=True))
    call = train_on_scenes(config_file)
    assert main([*call, "--out", str(tmp_path / "run")]) == 1
    assert "diverged after step 0" in capsys.readouterr().err
