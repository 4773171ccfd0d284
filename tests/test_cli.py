"""The command line from configuration to measures, as a user would run it, on images made here."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from gramviz.__main__ import main
from gramviz.checkpoints.manifest import write_manifest
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.training.config import GramConfig, HeadConfig, TrainConfig, ViewConfig
from gramviz.vit.images import read_picture
from tests.load.service import served
from tests.stores import TINY, make_store, make_wild


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
def recipe_file(tmp_path, config_file):
    """A recipe of two arms on eight scenes."""
    recipe = {
        "about": "small",
        "data": "scenes:8",
        "data_note": "",
        "image_size": 24,
        "held_out": 0,
        "checkpoints": [0, 4],
        "states": [2, 4],
        "arms": {
            "plain": {"about": "without", "gram": {}},
            "gram": {"about": "with", "gram": {"weight": 5}, "fork": {"arm": "plain", "step": 2}},
        },
        "config": json.loads(config_file.read_text()),
    }
    path = tmp_path / "mini.json"
    path.write_text(json.dumps(recipe))
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


@pytest.fixture
def bsds(tmp_path):
    """Three photographs, each divided into halves by one person."""
    (tmp_path / "bsds" / "images").mkdir(parents=True)
    (tmp_path / "bsds" / "segments").mkdir()
    halves = np.repeat(np.array([[0, 1]], np.uint8), 16, axis=1).repeat(32, axis=0)
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "bsds" / "images" / f"{index}.jpg")
        Image.fromarray(halves).save(tmp_path / "bsds" / "segments" / f"{index}_0.png")
    return tmp_path / "bsds"


def train_on_scenes(config_file):
    """The arguments that train on eight scenes, all but the run's folder."""
    return [
        *("train", "--config", str(config_file), "--data", "scenes:8"),
        *("--image-size", "24", "--device", "cpu"),
    ]


def test_train_fork_collect_list_and_measure(tmp_path, config_file, folder, bsds, capsys):
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
    told = json.loads((tmp_path / "plain" / "data.json").read_text())
    assert (told["images"], told["held_out"], told["image_size"]) == (40, 10, 24)
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
        f"plain={plain}:2,4",
        f"gram={gram}:4",
        "--run",
        "mini",
        "--title",
        "Mini",
        "--licence",
        "MIT",
    ]
    collect += ["--fork", "2", "--steps", "0,2", "--heads", "2,4", "--shown", "4", "--models", models]
    assert main(collect) == 0
    capsys.readouterr()
    assert main(["models", "--json", "--models", models]) == 0
    ids = [row["id"] for row in json.loads(capsys.readouterr().out)]
    assert ids == ["mini/trunk/0", "mini/trunk/2", "mini/plain/4", "mini/gram/4"]
    assert main(["models", "--models", models]) == 0
    assert "mini/gram/4" in capsys.readouterr().out

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
    assert (row["checkpoint"], row["arm"], row["step"], row["pictures"]) == ("mini/gram/4", "gram", 4, 3)
    assert 0 <= row["auc"] <= 1
    assert 0 <= row["knn"] <= 1
    assert {"near_auc", "near_auc_error", "cls_alignment", "top1_energy", "effective_rank"} <= row.keys()
    runs = ["measure", "--segments", str(bsds), "--runs", f"plain={plain}", "--run", "mini", "--fork", "2"]
    assert main([*runs, "--classes", str(folder), "--held-out", "9"]) == 1  # one that was trained on
    assert "held out 10 of 40 images, --classes and --held-out give 9 of 40" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", [False, True])
def test_torchvisions_images_are_trained_on_and_measured(
    tmp_path, config_file, recipe_file, folder, bsds, capsys, monkeypatch, recipe
):
    """With the very images of a folder, which are the same ones in the same order."""
    from gramviz import experiment

    for name, value in {"SCENES": 3, "BANK": 2, "SCENE_SIZE": 32, "KIND_TRAIN": 25, "KIND_TEST": 5}.items():
        monkeypatch.setattr(experiment, name, value)
    monkeypatch.setattr(experiment, "HELDOUT_BATCH", 5)
    home = tmp_path / "root" / "caltech101"
    background = home / "101_ObjectCategories" / "BACKGROUND_Google"  # which torchvision leaves out
    for empty in (home / "Annotations", background):
        empty.mkdir(parents=True)
    for kind in ("a", "b"):
        (home / "101_ObjectCategories" / kind).mkdir(parents=True)
        for index in range(20):
            image = Image.open(folder / kind / f"{index}.png")
            image.save(home / "101_ObjectCategories" / kind / f"image_{index + 1:04d}.jpg")
    data = ["--data", "torchvision:Caltech101", "--root", str(tmp_path / "root"), "--device", "cpu"]
    out = tmp_path / "run"
    if recipe:
        recipe_file.write_text(json.dumps({**json.loads(recipe_file.read_text()), "held_out": 10}))
        call = ["train", "--recipe", str(recipe_file), *data, "--out", str(tmp_path)]
        out = tmp_path / "plain_s0"
    else:
        call = ["train", "--config", str(config_file), *data, "--image-size", "24", "--held-out", "10"]
        call += ["--checkpoints", "4", "--out", str(out)]
    assert main(call) == 0
    told = json.loads((out / "data.json").read_text())
    assert told == {"images": 40, "held_out": 10, "image_size": 24}
    capsys.readouterr()
    measure = ["measure", "--segments", str(bsds), "--patches", "4", "--device", "cpu", "--held-out", "10"]
    measure += [
        "--runs",
        f"plain={out}",
        "--run",
        "mini",
        "--fork",
        "2",
        "--steps",
        "4",
        "--image-size",
        "24",
    ]
    classes = ["--classes", "torchvision:Caltech101", "--root", str(tmp_path / "root")]
    assert main([*measure, *classes]) == 0
    one = json.loads(capsys.readouterr().out)
    assert {"knn", "heldout_dino"} <= one.keys()
    assert main([*measure, "--classes", str(home / "101_ObjectCategories")]) == 0
    assert json.loads(capsys.readouterr().out) == one
    Image.new("RGB", (32, 32)).save(background / "image_0001.jpg")
    assert main([*measure, "--classes", str(home / "101_ObjectCategories")]) == 1
    assert "held out 10 of 40 images, --classes and --held-out give 10 of 41" in capsys.readouterr().err


def test_measure_run_folders_and_go_on(tmp_path, config_file, bsds, capsys, monkeypatch):
    from gramviz import experiment

    for name, value in {"SCENES": 3, "BANK": 2, "SCENE_SIZE": 32, "KIND_TRAIN": 25, "KIND_TEST": 5}.items():
        monkeypatch.setattr(experiment, name, value)
    run = tmp_path / "run"
    assert main([*train_on_scenes(config_file), "--out", str(run), "--checkpoints", "0,2,4"]) == 0
    capsys.readouterr()
    rows = tmp_path / "metrics.jsonl"
    common = ["measure", "--segments", str(bsds), "--patches", "4", "--device", "cpu", "--float32"]
    call = [*common, "--runs", f"plain={run}", "--run", "mini", "--fork", "2", "--out", str(rows)]
    assert main([*call, "--steps", "2"]) == 0
    first = rows.read_text()
    assert json.loads(first) == json.loads(capsys.readouterr().out)
    assert main(call) == 0  # goes on with what is missing
    assert rows.read_text().startswith(first)
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [(row["arm"], row["step"]) for row in found] == [("trunk", 2), ("trunk", 0), ("plain", 4)]
    capsys.readouterr()
    assert main(call) == 0
    assert capsys.readouterr().out == ""
    assert main([*call, "--patches", "5"]) == 1
    assert "patches 4, not 5" in capsys.readouterr().err
    assert main([*call, "--limit", "2"]) == 1
    assert "pictures 3, not 2" in capsys.readouterr().err
    assert main([*common, "--baselines"]) == 0
    arms = [json.loads(line)["arm"] for line in capsys.readouterr().out.splitlines()]
    assert arms == ["baseline:proximity", "baseline:colour", "baseline:chance"]


def test_a_recipe_trains_its_arms_and_tells_its_speed(tmp_path, recipe_file, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = ["train", "--recipe", str(recipe_file), "--device", "cpu"]
    assert main([*call, "--arm", "gram", "--seed", "7"]) == 0
    told = capsys.readouterr().out
    assert re.fullmatch(r"step 4 of 4: \d+ images/s in 4 steps\n", told)
    assert main([*call, "--out", "mine"]) == 0
    assert sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.glob("*/**/config.json")) == [
        "mine/plain_s0",
        "runs/mini/gram_s7",
        "runs/mini/plain_s7",
    ]
    log = (tmp_path / "runs/mini/gram_s7/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [3, 4]
    assert "gram" in json.loads(log[0])["losses"]


def test_two_processes_of_torchrun_train_as_one(tmp_path, recipe_file):
    call = ["train", "--recipe", str(recipe_file), "--arm", "gram", "--device", "cpu", "--float32"]
    assert main([*call, "--out", str(tmp_path / "one")]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "gramviz", *call, "--out", str(tmp_path / "two")],
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("images/s") == 1  # the first process speaks for all
    for arm in ("plain_s0", "gram_s0"):
        logs = [
            [json.loads(line) for line in (tmp_path / name / arm / "log.jsonl").read_text().splitlines()]
            for name in ("one", "two")
        ]
        assert [row["step"] for row in logs[1]] == [row["step"] for row in logs[0]]
        for one, two in zip(*logs, strict=True):
            assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)


def test_the_shipped_recipes_are_listed(capsys):
    assert main(["train", "--recipes"]) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("caltech-d128", "gram_hires", "BACKGROUND_Google"))


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
        (["train", "--config", "{config}", "--out", "{out}"], "--config needs --data and --out"),
        (["train", "--config", "{config}", "--arm", "gram"], "--arm can be given with --recipe only"),
        (
            ["train", "--recipe", "{recipe}", "--held-out", "3", "--fork", "x"],
            "--held-out, --fork can be given with --config only",
        ),
        (["train", "--recipe", "{recipe}", "--arm", "best"], "no arm 'best'; it has plain, gram"),
        (["train", "--recipe", "none"], "no recipe 'none'"),
        (["models", "--models", "{out}"], "has no manifest"),
        (["measure", "--segments", "{out}", "--models", "{store}"], "holds no images"),
        (["measure", "--segments", "{out}", "--runs", "plain={out}"], "needs --run NAME"),
        (
            ["measure", "--segments", "{out}", "--runs", "plain", "--run", "a", "--fork", "1"],
            "'plain' is not ARM=FOLDER",
        ),
        (["measure", "--segments", "{out}", "--baselines", "--out", "{out}/rows"], "printed"),
        (
            ["measure", "--segments", "{out}", "--steps", "1", "--fork", "1", "--run", "a"],
            "--run, --fork, --steps can be given with --runs only",
        ),
        (
            ["measure", "--segments", "{out}", "--runs", "a=b", "--checkpoint", "c", "--models", "d"],
            "--checkpoint, --models can be given without --runs only",
        ),
        (
            ["measure", "--segments", "{out}", "--baselines", "--checkpoint", "c"],
            "--checkpoint can be given without --baselines only",
        ),
        (["curves", "--models", "{empty}", "--out", "{out}/a.png"], "holds no run"),
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
def test_a_mistake_is_one_sentence_and_exit_code_one(
    tmp_path, config_file, recipe_file, capsys, arguments, message
):
    make_store(tmp_path / "store")
    write_manifest(tmp_path / "empty", [])
    names = {
        "empty": tmp_path / "empty",
        "recipe": recipe_file,
        "config": config_file,
        "out": tmp_path / "out",
        "store": tmp_path / "store",
    }
    assert main([part.format(**names) for part in arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_wrong_usage_is_exit_code_two_and_help_names_every_command(capsys):
    for wrong in (
        [],
        ["dance"],
        ["train"],
        ["train", "--config", "a", "--recipe", "b"],
        ["train", "--config", "a", "--data", "b", "--out", "c", "--checkpoints", "x"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("serve", "train", "models", "spectrum", "collect", "measure"))


def test_divergence_is_told(tmp_path, config_file, recipe_file, capsys, monkeypatch):
    from gramviz.training import objective

    monkeypatch.setattr(objective, "ibot_loss", lambda *a: torch.tensor(float("nan"), requires_grad=True))
    call = train_on_scenes(config_file)
    assert main([*call, "--out", str(tmp_path / "run")]) == 1
    assert "diverged after step 0" in capsys.readouterr().err
    call = ["train", "--recipe", str(recipe_file), "--arm", "gram", "--device", "cpu"]
    assert main([*call, "--out", str(tmp_path / "recipe")]) == 1  # in the trunk
    assert "diverged after step 0" in capsys.readouterr().err


def test_curves_draws_a_runs_measures(tmp_path, capsys):
    make_store(tmp_path)
    rows = [
        {"run": "tiny", "seed": seed, "arm": arm, "step": step, "knn": 0.2}
        for seed in (0, 1)
        for arm, step in (("trunk", 0), ("plain", 1))
    ]
    (tmp_path / "tiny" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    call = ["curves", "--models", str(tmp_path), "--out", str(tmp_path / "curves.png")]
    assert main(call) == 0
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
    for wrong, said in (
        (["--run", "other"], "no measurements of a run 'other'; there are those of tiny"),
        (["--measures", "images_seen"], "There is no measure 'images_seen'; there are near_auc"),
        (["--measures", "knn,locality"], "There is no measure 'locality'"),
        (["--measures", "auc"], "No row has any of the measures auc"),
        (["--out", str(tmp_path / "curves.bmp")], "possible are png, svg, pdf"),
    ):
        assert main([*call, *wrong]) == 1
        assert said in capsys.readouterr().err


SPECTRA = ("tiny-trunk-300", "tiny-plain-2000", "tiny-gram-2000")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def spectrum(tmp_path, photo):
    """The arguments that ask for the spectrum of a small picture, all but the checkpoints."""
    make_store(tmp_path)
    return ["spectrum", str(photo), "--models", str(tmp_path), "--device", "cpu", "--patches", "8"]


def of(ids):
    return [word for checkpoint in ids for word in ("--checkpoint", checkpoint)]


def test_spectrum_prints_the_engines_numbers_as_json(tmp_path, photo, spectrum, capsys):
    assert main([*spectrum, "--json", *of(SPECTRA), "--layer", "0"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["checkpoint"] for row in rows] == list(SPECTRA)
    engine = Engine.from_settings(Settings(device="cpu", models=tmp_path))
    views = {view.checkpoint.id: view for view in engine.spectra(read_picture(photo), SPECTRA, 8, layer=0)}
    engine.close()
    for row in rows:
        expected = views[row["checkpoint"]].spectra
        assert (row["grid"], row["width"], row["problem"]) == ([6, 8], 32, None)
        assert row["measures"] == expected.measures
        for name in ("eigenvalues", "reference", "edges", "profile", "distance", "by_distance"):
            assert row[name] == getattr(expected, name).tolist()
        assert [row * 8 + column for row, column in row["outliers"]] == (
            expected.outliers.nonzero()[:, 0].tolist()
        )
        assert (len(row["clusters"]), row["notes"]) == (48, list(expected.notes))
    assert rows[0]["measures"] != rows[1]["measures"]


def test_spectrum_prints_a_table(spectrum, capsys):
    assert main([*spectrum, "--json", *of(SPECTRA)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main([*spectrum, *of(SPECTRA), *of(SPECTRA[:1])]) == 0
    lines = [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    table = {line[0]: line[1:] for line in lines}
    assert table["6 x 8 patches"] == [*SPECTRA, "random, d = 32"]
    for name in rows[0]["measures"]:
        assert table[name] == [f"{row['measures'][name]:.4f}" for row in rows]
    assert table["outliers"] == [str(len(row["outliers"])) for row in rows]
    for index in range(10):
        found = [float(cell) for cell in table[f"eigenvalue {index + 1}"]]
        expected = [*(row["eigenvalues"][index] for row in rows), rows[0]["reference"][index]]
        assert found == pytest.approx(expected, rel=1e-4)


def test_spectrum_draws_a_picture(tmp_path, spectrum, capsys):
    for name in ("spectra.png", "spectra.svg"):
        assert main([*spectrum, *of(SPECTRA), "--png", str(tmp_path / "new" / name)]) == 0
    with Image.open(tmp_path / "new" / "spectra.png") as picture:
        assert picture.format == "PNG"
    assert capsys.readouterr().out == ""
    assert main([*spectrum, "--png", str(tmp_path / "spectra.gif"), *of(SPECTRA)]) == 1
    assert "possible are png, svg, pdf" in capsys.readouterr().err


def test_spectrum_says_what_is_degenerate_or_not_there(tmp_path, spectrum, capsys):
    grey = tmp_path / "grey.png"
    Image.new("RGB", (32, 32), (90, 90, 90)).save(grey)
    assert main(["spectrum", str(grey), *spectrum[2:], *of(SPECTRA[:1])]) == 0
    assert "tiny-trunk-300: All patches point nearly the same way" in capsys.readouterr().out
    for wrong, said in (
        (of(["none"]), "no checkpoint 'none'"),
        ([*of(SPECTRA), "--patches", "65"], "choose 4 to 64"),
        ([*of(SPECTRA), "--layer", "2"], "layers 0 to 1"),
    ):
        assert main([*spectrum, *wrong]) == 1
        assert said in capsys.readouterr().err
    assert main(["spectrum", str(tmp_path / "nothing.jpg"), *spectrum[2:]]) == 1
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main([*spectrum, "--json", "--png", "a.png"])
    assert caught.value.code == 2


def test_a_checkpoint_without_a_spectrum_leaves_the_others_alone(tmp_path, spectrum, capsys):
    make_wild(tmp_path, SPECTRA[1])
    assert main([*spectrum, "--json", *of(SPECTRA)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["measures" in row for row in rows] == [True, False, True]
    assert "not finite" in rows[1]["problem"]
    assert main([*spectrum, *of(SPECTRA)]) == 0
    told = capsys.readouterr().out
    assert "tiny-plain-2000" not in told.splitlines()[0]
    assert f"tiny-plain-2000: {rows[1]['problem']}" in told
    assert main([*spectrum, *of(SPECTRA[1:2])]) == 1
    assert "gramviz: tiny-plain-2000:" in capsys.readouterr().err


@pytest.fixture
def compare(tmp_path, photo):
    """The arguments that compare a small picture, all but the checkpoints."""
    make_store(tmp_path)
    return ["compare", str(photo), "--models", str(tmp_path), "--device", "cpu", "--patches", "8"]


def test_compare_prints_and_writes_the_engines_cosines(tmp_path, photo, compare, capsys):
    files = [word for kind in ("json", "npz", "csv") for word in ("--out", str(tmp_path / f"maps.{kind}"))]
    assert main([*compare, "--at", "2,5", "--json", *files, *of(SPECTRA)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "maps.json").read_text())
    assert told["query"] == {"positive": [2 * 8 + 5], "negative": []}
    engine = Engine.from_settings(Settings(device="cpu", models=tmp_path))
    with np.load(tmp_path / "maps.npz") as arrays:
        for index, key in enumerate(SPECTRA):
            wanted = engine.similarity(read_picture(photo), key, 8, 2, 5)["map"]
            off = np.abs(np.array(wanted) - told["maps"][index]["cosines"]).max()
            assert off <= told["maps"][index]["bound"] + 1e-6
            np.testing.assert_array_equal(arrays["cosines"][index], told["maps"][index]["cosines"])
    engine.close()


def test_compare_prints_a_table_of_the_default_checkpoints(compare, capsys):
    assert main([*compare, "--cls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Query: the CLS token."
    for line in lines[2:]:
        cells = line.split()
        assert float(cells[1]) == pytest.approx(
            float(cells[-1]), abs=1e-3
        )  # the mean cosine to CLS is the CLS-patch alignment
    assert len(lines) >= 4


def test_compare_writes_pictures_a_film_and_a_page(tmp_path, compare):
    kinds = ("png", "svg", "pdf", "gif", "webp", "html")
    files = [word for kind in kinds for word in ("--out", str(tmp_path / "new" / f"maps.{kind}"))]
    assert main([*compare, *files, "--sheet", *of(SPECTRA)]) == 0
    with Image.open(tmp_path / "new" / "maps.gif") as film:
        assert film.n_frames > 2
    assert (tmp_path / "new" / "maps.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--at", "9,0"], "There is no patch 9,0; rows go to 5, columns to 7."),
        (["--at", "x"], "'x' is no patch"),
        (["--out", "maps.bmp"], "A file of kind 'bmp' cannot be written"),
        (["--checkpoint", "gone"], "There is no checkpoint 'gone'"),
        (["--patches", "900"], "900 patches"),
    ],
)
def test_compare_says_what_is_wrong_and_writes_nothing(compare, capsys, wrong, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*compare, *wrong]) == 1
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("maps.*"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("ada", "line 1 of who.txt is not name:password"), ("# a\n\nada:", "line 3"), ("# a\n", "names nobody")],
)
def test_a_file_of_names_is_checked_and_no_password_told(tmp_path, capsys, text, said):
    file = tmp_path / "who.txt"
    file.write_text(text)
    assert main(["serve", "--auth", str(file), "--device", "cpu"]) == 1
    assert said in capsys.readouterr().err


def test_only_those_who_are_named_come_in(tmp_path):
    file = tmp_path / "who.txt"
    file.write_text("# lecturers\nada:engine:1843\n")
    with served(tmp_path, "--auth", str(file)) as service:
        with httpx.Client(base_url=service.address, follow_redirects=True) as stranger:
            assert stranger.get("config").status_code == 401
            assert stranger.post("login", data={"username": "ada", "password": "wrong"}).status_code == 400
            assert stranger.get("config").status_code == 401
        with httpx.Client(base_url=service.address, follow_redirects=True) as ada:
            assert ada.post("login", data={"username": "ada", "password": "engine:1843"}).status_code == 200
            assert ada.get("config").status_code == 200
        assert httpx.get(f"{service.address}healthz").json()["status"] == "ok"


def test_finetune_repairs_and_writes_what_came_of_it(tmp_path, photo, capsys):
    make_store(tmp_path / "models")
    call = ["finetune", str(photo), "--models", str(tmp_path / "models"), "--device", "cpu", "--patches", "8"]
    call += ["--steps", "6", "--batch", "2", "--rate", "0.003", "--out", str(tmp_path / "tuned")]
    assert main([*call, "--json"]) == 0
    out = capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in out if line.startswith("{")]
    assert [row["step"] for row in rows[:-1]] == [1, 2, 3, 4, 5, 6]
    told = rows[-1]
    assert told["after"].keys() == told["before"].keys() >= {"gram_distance", "effective_rank"}
    assert told["after"] != told["before"]
    (archive,) = (tmp_path / "tuned").iterdir()
    assert str(archive) == out[-1]
    with zipfile.ZipFile(archive) as file:
        assert any(name.endswith(".safetensors") for name in file.namelist())
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    weights = next(folder.glob("*.safetensors"))
    assert main(["models", "--add", str(weights), "--name", "mine", "--added", str(tmp_path / "added")]) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--preset", "magic"], "There is no preset 'magic'; these checkpoints have repair"),
        (["--steps", "3"], "steps is '3'; it must be a whole number from 5 to 500"),
        (["--start", "gone"], "There is no checkpoint 'gone'"),
        (["--control"], "A control arm with Gram weight 0 would have nothing left"),
    ],
)
def test_finetune_says_what_is_wrong(tmp_path, photo, capsys, wrong, said):
    make_store(tmp_path / "models")
    call = ["finetune", str(photo), "--models", str(tmp_path / "models"), "--device", "cpu"]
    assert main([*call, *wrong]) == 1
    assert said in capsys.readouterr().err


def test_mcp_without_its_package_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("gramviz.commands.serve.find_spec", lambda name: None)
    assert main(["serve", "--mcp", "--device", "cpu"]) == 1
    assert "pip install 'gramviz[mcp]'" in capsys.readouterr().err


def test_help_needs_neither_torch_nor_a_page():
    heavy = "import sys; from gramviz.__main__ import _parser; _parser().format_help()"
    heavy += (
        "; print(sorted({'torch', 'gradio', 'numpy', 'timm', 'plotly', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
