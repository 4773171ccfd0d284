"""Models of one's own and of the Hub: real huggingface_hub and timm code against a hub on loopback."""

import errno
import json
import pickle
import shutil
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from gramviz.__main__ import main
from gramviz.checkpoints import hub as hub_module
from gramviz.checkpoints.added import (
    Source,
    add_model,
    added_models,
    fitting_weights,
    network_of,
    open_with_added,
    read_source,
    remove_model,
)
from gramviz.checkpoints.hub import fetch, offer_of, repository_of
from gramviz.checkpoints.own import archive, own_checkpoint
from gramviz.checkpoints.zoo import DISTILLED, ZOO, zoo_model
from gramviz.data.samples import load
from gramviz.errors import CheckpointError
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.vit.backbones import NetworkConfig, create_backbone
from gramviz.vit.images import to_tensor
from tests.checkpoints.stub_hub import SMALL, Repository, timm_repository
from tests.stores import make_store

DINOV2 = {**SMALL, "img_size": 28, "patch_size": 14, "init_values": 1e-5}


# ---- names


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("hf-hub:me/mine", ("me/mine", "me/mine", None)),
        ("hf-hub:me/mine@v1", ("me/mine", "me/mine", "v1")),
        (
            "vit_small_patch14_dinov2.lvd142m",
            ("vit_small_patch14_dinov2.lvd142m", "timm/vit_small_patch14_dinov2.lvd142m", None),
        ),
    ],
)
def test_names_become_repositories(source, found):
    assert repository_of(source) == found


@pytest.mark.parametrize(
    "source",
    [
        *(
            "",
            "nobody",
            "hf-hub:",
            "hf-hub:alone",
            "hf-hub:a/b/c",
            "hf-hub:../../etc",
            "hf-hub:a/..",
            "hf-hub:a/b@..",
        ),
        *("a" * 999, "https://evil.example/x", "file:///etc/passwd", "hf-hub:http://169.254.169.254/x"),
        "vit_tiny_patch16_224.nope",
    ],
)
def test_what_is_no_name_is_told_in_a_sentence(source):
    with pytest.raises(CheckpointError, match=r"\.$") as error:
        repository_of(source)
    assert len(str(error.value)) < 400


def test_the_list_names_weights_that_timm_knows_and_no_dinov3_is_called_gram_trained():
    assert len(ZOO) >= 14
    for model in ZOO:
        assert repository_of(model.name)[1] == f"timm/{model.name}"
        if "dinov3" in model.name:
            assert model.training == DISTILLED
            assert "not Gram-trained" in model.training
            assert model.licence == "DINOv3 License"
    assert zoo_model("nothing") is None


@pytest.mark.parametrize("model", [m for m in ZOO if m.millions < 100], ids=lambda m: m.name)
def test_the_size_of_a_model_of_the_list_is_what_timm_builds(model):
    with torch.device("meta"):
        network = create_backbone(NetworkConfig(model.name.partition(".")[0])).network
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(model.millions, abs=0.06)


# ---- the Hub


def test_an_offer_says_what_would_come_and_fetches_nothing(hub):
    repository, _ = timm_repository()
    hub.repositories["me/mine"] = repository
    offer = offer_of("hf-hub:me/mine")
    sizes = [len(repository.files[name]) for name in ("config.json", "model.safetensors")]
    assert (offer.size, offer.licence, offer.name) == (sum(sizes), "apache-2.0", "me/mine")
    assert all("/api/" in line for line in hub.asked)


def test_what_was_fetched_is_not_fetched_again_and_what_broke_off_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 4096)  # what is kept is whole chunks
    repository, _ = timm_repository()
    repository.cut = 10_000
    hub.repositories["me/mine"] = repository
    config, weights = fetch(offer_of("hf-hub:me/mine"), cache=tmp_path / "cache")
    assert weights.read_bytes() == repository.files["model.safetensors"]
    assert config.read_bytes() == repository.files["config.json"]
    assert any("bytes=8192-" in line for line in hub.asked)  # not from the beginning again
    count = len([line for line in hub.asked if line.startswith("GET") and "resolve" in line])
    fetch(offer_of("hf-hub:me/mine"), cache=tmp_path / "cache")
    assert len([line for line in hub.asked if line.startswith("GET") and "resolve" in line]) == count


def broken(**files):
    repository, _ = timm_repository()
    repository.files = {
        name: data for name, data in {**repository.files, **files}.items() if data is not None
    }
    return repository


def gated():
    repository, _ = timm_repository()
    repository.gated = True
    return repository


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        (None, "There is no repository me/mine"),
        (gated(), "me/mine is gated: accept its terms"),
        (Repository({}, status=403), r"The Hub refuses me/mine \(403\)"),
        (Repository({}, status=500), r"could not give me/mine \(status 500\)"),
        (broken(**{"model.safetensors": None}), "has no model.safetensors"),
        (broken(**{"model.safetensors": None, "pytorch_model.bin": b"x"}), "pickled weights only"),
        (broken(**{"config.json": None}), "has no config.json"),
        (broken(**{"config.json": b"{"}), "not readable JSON"),
        (broken(**{"config.json": b"[" * 100_000}), "not readable JSON"),
        (broken(**{"config.json": b'{"model_type": "dinov3_vit"}'}), "names no architecture of timm"),
        (broken(**{"config.json": b'{"architecture": "resnet18"}'}), "cannot be shown: timm cannot build resnet18"),
        (broken(**{"config.json": b'{"architecture": "os.system"}'}), "is not an architecture of timm"),
        (broken(**{"config.json": b'{"architecture": "vit_tiny_patch16_224", "model_args": 3}'}), "malformed"),
        (
            broken(**{"config.json": b'{"architecture": "vit_tiny_patch16_224", "model_args": {"in_chans": 1}}'}),
            "in_chans",
        ),
        (broken(**{"model.safetensors": b"\x80\x04pickle"}), "not a readable safetensors file"),
        (broken(**{"model.safetensors": (2**62).to_bytes(8, "little") + b"{}"}), "not a readable safetensors file"),
        (broken(**{"model.safetensors": safetensors.torch.save({"a": torch.ones(2)})}), "has no 'cls_token'"),
    ],
)  # fmt: skip
def test_every_refusal_is_one_sentence(hub, tmp_path, capsys, repository, said):
    if repository is not None:
        hub.repositories["me/mine"] = repository
    assert main(["models", "--add", "hf-hub:me/mine", "--added", str(tmp_path / "added")]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("gramviz: ")
    assert __import__("re").search(said, told), told
    assert str(tmp_path) not in told
    assert added_models(tmp_path / "added") == ()


def test_a_revision_that_is_not_there(hub):
    hub.repositories["me/mine"] = timm_repository()[0]
    with pytest.raises(CheckpointError, match="no such revision"):
        offer_of("hf-hub:me/mine@v9")


def test_without_a_network_it_says_so(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="there is no way to the Hub"):
        offer_of("hf-hub:me/mine")


def test_a_full_disk_is_told(hub, tmp_path, monkeypatch):
    hub.repositories["me/mine"] = timm_repository()[0]
    offer = offer_of("hf-hub:me/mine")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hub_module, "hf_hub_download", full)
    with pytest.raises(CheckpointError, match="The disk is full"):
        fetch(offer, cache=tmp_path)


def test_too_large_a_model_is_refused_before_anything_is_fetched(hub, monkeypatch):
    hub.repositories["me/mine"] = timm_repository()[0]
    monkeypatch.setattr(hub_module, "MOST_BYTES", 1000)
    with pytest.raises(CheckpointError, match="GiB of weights; at most"):
        offer_of("hf-hub:me/mine")


# ---- weights


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("vit_tiny_patch16_224", SMALL),
        ("vit_small_patch14_reg4_dinov2", DINOV2),
        ("vit_small_patch16_dinov3", {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": 32}),
        ("vit_base_patch16_siglip_224", SMALL),
    ],
)
def test_features_are_those_of_plain_timm(hub, tmp_path, architecture, options):
    repository, network = timm_repository(architecture, options, classes=0 if "siglip" in architecture else 5)
    hub.repositories["me/mine"] = repository
    added = tmp_path / "added"
    assert main(["models", "--add", "hf-hub:me/mine", "--added", str(added)]) == 0
    make_store(tmp_path / "models")
    engine = Engine.from_settings(Settings(device="cpu", models=tmp_path / "models", added=added))
    picture = load("coffee")
    found = engine.features(picture, "mine", 8)
    engine.close()
    rows, columns = found.patches.shape[:2]
    side = network.patch_embed.patch_size[0]
    pixels = to_tensor(picture, (rows, columns), side)
    mean, std = (torch.tensor(values)[:, None, None] for values in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    plain = timm.create_model(architecture, **{**options, "num_classes": 0, "dynamic_img_size": True}).eval()
    plain.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad():
        tokens = plain.forward_features(((pixels - mean) / std)[None])[0]
    wanted = tokens[plain.num_prefix_tokens :].reshape(rows, columns, -1)
    np.testing.assert_allclose(found.patches.numpy(), wanted.numpy(), atol=2e-5)


def test_different_patches_and_widths_stand_side_by_side(tmp_path):
    make_store(tmp_path / "models")
    added = tmp_path / "added"
    for name, options in (("wide", {**SMALL, "embed_dim": 96}), ("fine", {**SMALL, "patch_size": 8})):
        config = NetworkConfig("vit_tiny_patch16_224", options)
        file = tmp_path / f"{name}.safetensors"
        safetensors.torch.save_file(create_backbone(config).network.state_dict(), file)
        add_model(added, name, Source(name, config, file), licence="MIT", title="One\u2019s own.")
    engine = Engine.from_settings(Settings(device="cpu", models=tmp_path / "models", added=added))
    ids = [*engine.default_ids()]
    assert ids[-2:] == ["wide", "fine"]
    views = list(engine.compare(load("coffee"), ids, 8))
    assert {view.grid for view in views} == {
        (5, 8)
    }  # one region and one grid, each network at its own pixels
    spectra = {view.checkpoint.id: view.spectra for view in engine.spectra(load("coffee"), ids, 8)}
    assert (spectra["wide"].width, spectra["fine"].width) == (96, 48)
    for key in ("wide", "fine"):
        finding = engine.theory(load("coffee"), key, "lemma2", {})
        assert finding.holds is not None
    engine.close()


def test_a_name_of_the_shipped_is_not_taken_over(tmp_path):
    store = make_store(tmp_path / "models")
    first = store.all()[0]
    config = NetworkConfig("vit_tiny_patch16_224", SMALL)
    file = tmp_path / "m.safetensors"
    safetensors.torch.save_file(create_backbone(config).network.state_dict(), file)
    add_model(tmp_path / "added", "mine", Source("mine", config, file), licence="", title="")
    found = open_with_added(tmp_path / "models", tmp_path / "added")
    assert found.get(first.id) == first
    assert found.weights("mine").keys() == create_backbone(config).network.state_dict().keys()
    assert found.get("mine").licence == "unknown"


def test_a_file_of_added_weights_that_was_changed_is_refused(tmp_path):
    make_store(tmp_path / "models")
    config = NetworkConfig("vit_tiny_patch16_224", SMALL)
    file = tmp_path / "m.safetensors"
    safetensors.torch.save_file(create_backbone(config).network.state_dict(), file)
    info = add_model(tmp_path / "added", "mine", Source("mine", config, file), licence="", title="")
    kept = tmp_path / "added" / info.file
    kept.write_bytes(kept.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match="not the bytes that the manifest names"):
        open_with_added(tmp_path / "models", tmp_path / "added").weights("mine")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value):
    config = NetworkConfig("vit_tiny_patch16_224", SMALL)
    tensors = dict(create_backbone(config).network.state_dict())
    tensors["norm.weight"] = torch.full((48,), value)
    with pytest.raises(CheckpointError, match="no finite numbers"):
        fitting_weights(config, tensors, "mine")
    tensors["norm.weight"] = torch.ones(48, dtype=torch.int64)
    with pytest.raises(CheckpointError, match="no finite numbers"):
        fitting_weights(config, tensors, "mine")
    tensors["norm.weight"] = torch.ones(47)
    with pytest.raises(CheckpointError, match=r"is \(47,\), not \(48,\)"):
        fitting_weights(config, tensors, "mine")


# ---- folders and files


def test_a_folder_a_file_and_a_file_whose_network_is_named(tmp_path, capsys):
    repository, _ = timm_repository()
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, data in repository.files.items():
        (folder / name).write_bytes(data)
    added = ["--added", str(tmp_path / "added")]
    assert main(["models", "--add", str(folder), *added, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "mine"
    assert main(["models", "--add", str(folder / "model.safetensors"), "--name", "again", *added]) == 0
    alone = tmp_path / "alone" / "tiny.safetensors"
    alone.parent.mkdir()
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    safetensors.torch.save_file(network.state_dict(), alone)
    assert main(["models", "--add", str(alone), *added]) == 1
    assert "--architecture" in capsys.readouterr().err
    assert main(["models", "--add", str(alone), "--architecture", "vit_tiny_patch16_224", *added]) == 0
    assert [info.id for info in added_models(tmp_path / "added")] == ["mine", "again", "tiny"]
    assert main(["models", "--remove", "again", *added]) == 0
    assert main(["models", "--remove", "again", *added]) == 1
    assert "there are: mine, tiny" in capsys.readouterr().err
    make_store(tmp_path / "models")
    capsys.readouterr()
    assert main(["models", "--models", str(tmp_path / "models"), *added, "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)][-2:] == ["mine", "tiny"]


def test_pickled_weights_are_never_opened(tmp_path, monkeypatch):
    trap = tmp_path / "weights.pt"
    trap.write_bytes(pickle.dumps({"a": 1}))
    monkeypatch.setattr(pickle, "load", lambda *a, **k: 1 / 0)
    with pytest.raises(CheckpointError, match="never opened"):
        read_source(trap)
    disguised = tmp_path / "weights.safetensors"
    disguised.write_bytes(trap.read_bytes())
    source = read_source(disguised, "vit_tiny_patch16_224")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        add_model(tmp_path / "added", "mine", source, licence="", title="")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a" * 101, "a b", "caf\u00e9/"])
def test_a_name_that_is_no_folder_is_refused(tmp_path, name):
    config = NetworkConfig("vit_tiny_patch16_224", SMALL)
    with pytest.raises(CheckpointError, match="no name for a model"):
        add_model(tmp_path, name, Source("x", config, tmp_path / "x.safetensors"), licence="", title="")


def test_the_zip_of_a_fine_tune_is_taken_back(tmp_path):
    torch.manual_seed(0)
    config = NetworkConfig("vit_tiny_patch16_224", SMALL)
    weights = create_backbone(config).network.state_dict()
    own = own_checkpoint(
        make_store(tmp_path / "models").all()[0],
        weights,
        number=1,
        branch="own1",
        settings={},
        data="x",
        step=3,
        images_seen=6,
        when=datetime(2026, 1, 1),
        about="y",
    )
    own = replace(own, info=replace(own.info, network=config))
    packed = tmp_path / "mine.zip"
    packed.write_bytes(archive(own))
    source = read_source(packed)
    assert (source.name, source.config) == ("mine", config)
    assert all(torch.equal(value, weights[name].half()) for name, value in source.tensors().items())
    with pytest.raises(CheckpointError, match="at most 0 MiB are taken here"):
        read_source(packed, most=100)
    packed.write_bytes(b"PK\3\4 nothing")
    with pytest.raises(CheckpointError, match="not a readable zip"):
        read_source(packed)


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        ("vit_tiny_patch16_224", {"depth": 10_000_000}, "'depth' of mine is 10000000; at most 64"),
        ("vit_tiny_patch16_224", {"img_size": [224, 10**9]}, "'img_size' of mine"),
        ("vit_small_patch16_dinov3", {"patch_size": 4096}, "'patch_size' of mine is 4096"),
        ("vit_tiny_patch16_224", {"init_values": float("nan")}, "'init_values' of mine is nan"),
        ("vit_tiny_patch16_224", {"norm_layer": {"a": 1}}, "no plain value"),
        ("vit_tiny_patch16_224", {"act_layer": "x" * 99}, "no plain value"),
    ],
)
def test_a_configuration_that_would_cost_too_much_is_refused(architecture, options, said):
    told = json.dumps({"architecture": architecture, "model_args": options}).encode()
    with pytest.raises(CheckpointError, match=said):
        network_of(told, "mine")


def test_weights_are_held_to_the_shapes_of_a_network_that_takes_no_memory():
    config = NetworkConfig("vit_tiny_patch16_224", {"embed_dim": 32768, "num_heads": 8, "depth": 64})
    with pytest.raises(CheckpointError, match=r"has 8\d\d,\d+,\d+,\d+ parameters, and the file only 32,768"):
        fitting_weights(config, {"norm.weight": torch.ones(32768)}, "mine")


def test_positions_are_not_enlarged_beyond_measure():
    small = create_backbone(NetworkConfig("vit_tiny_patch16_224", {**SMALL, "patch_size": 2}))
    grid = NetworkConfig("vit_tiny_patch16_224", {**SMALL, "patch_size": 2, "img_size": 2048})
    with pytest.raises(CheckpointError, match="parameters, and the file only"):  # 1024 x 1024 positions
        fitting_weights(grid, small.network.state_dict(), "mine")
    some = NetworkConfig("vit_tiny_patch16_224", {**SMALL, "patch_size": 2, "img_size": 64})
    assert fitting_weights(some, small.network.state_dict(), "mine")["pos_embed"].shape == (1, 1025, 48)


# ---- runs of other programs


def make_run(folder, names, seed=0):
    """Steps of one small network, as safetensors under these names."""
    config = NetworkConfig("vit_tiny_patch16_224", SMALL)
    found = {}
    for number, name in enumerate(names):
        torch.manual_seed(seed + number)
        found[name] = create_backbone(config).network.state_dict()
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(found[name], path)
    (folder / "config.json").write_text(
        json.dumps({"architecture": "vit_tiny_patch16_224", "model_args": SMALL}), encoding="utf-8"
    )
    return found


@pytest.mark.parametrize("name", ["step_{}.safetensors", "checkpoint-{}/model.safetensors"])
def test_the_steps_of_a_run_become_a_branch(tmp_path, capsys, name):
    plain = make_run(tmp_path / "plain", [name.format(step) for step in (9, 1000, 200)])
    make_run(tmp_path / "gram", [name.format(step) for step in (9, 1000)], seed=7)
    added, models = tmp_path / "added", tmp_path / "models"
    make_store(models)
    base = ["models", "--added", str(added), "--name", "mine", "--licence", "MIT"]
    assert main([*base, "--add", str(tmp_path / "plain"), "--dry-run"]) == 0
    assert "mine, plain: 3 steps from 9 to 1000" in capsys.readouterr().err
    assert not added.exists()
    assert main([*base, "--add", str(tmp_path / "plain")]) == 0
    assert main([*base, "--add", str(tmp_path / "gram"), "--branch", "gram"]) == 0
    store = open_with_added(models, added)
    mine = [info for info in store.all() if info.run == "mine"]
    assert [(info.branch, info.step, info.shown) for info in mine] == [
        *(("plain", 9, False), ("plain", 200, False), ("plain", 1000, True)),
        *(("gram", 9, False), ("gram", 1000, True)),
    ]
    assert all(info.licence == "MIT" for info in mine)
    found = store.weights("mine/plain/200")
    assert all(torch.equal(found[key], value) for key, value in plain[name.format(200)].items())
    with closing(Engine.from_settings(Settings(device="cpu", models=models, added=added))) as engine:
        views = list(engine.compare(load("coffee"), ["mine/plain/9", "mine/gram/1000"], 6))
        assert {view.checkpoint.run for view in views} == {"mine"}

    # a branch that is added again takes the place of the first, and leaves no file behind
    shutil.rmtree(tmp_path / "plain" / name.format(9).partition("/")[0], ignore_errors=True)
    (tmp_path / "plain" / name.format(9)).unlink(missing_ok=True)
    assert main([*base, "--add", str(tmp_path / "plain")]) == 0
    assert [info.step for info in added_models(added)] == [9, 1000, 200, 1000]
    assert not (added / "mine/plain/9/model.safetensors").exists()
    assert main(["models", "--added", str(added), "--remove", "mine"]) == 0
    assert added_models(added) == ()
    assert list(added.rglob("*.safetensors")) == []


def test_a_run_that_cannot_be_told_apart_is_refused(tmp_path, capsys):
    make_run(tmp_path / "twice", ["a_5.safetensors", "b_5.safetensors"])
    added = ["--added", str(tmp_path / "added")]
    assert main(["models", "--add", str(tmp_path / "twice"), *added]) == 1
    assert "both of step 5" in capsys.readouterr().err
    make_run(tmp_path / "run", ["step_5.safetensors"])
    assert main(["models", "--add", str(tmp_path / "run"), "--branch", "nope", *added]) == 1
    assert "no branch 'nope'; there are trunk, plain, gram" in capsys.readouterr().err
    (tmp_path / "run" / "config.json").unlink()
    assert main(["models", "--add", str(tmp_path / "run"), *added]) == 1
    assert "--architecture" in capsys.readouterr().err
    assert added_models(tmp_path / "added") == ()


def test_a_dry_run_keeps_nothing(hub, tmp_path, capsys):
    hub.repositories["me/mine"] = timm_repository()[0]
    assert main(["models", "--add", "hf-hub:me/mine", "--dry-run", "--added", str(tmp_path / "added")]) == 0
    assert "licence apache-2.0" in capsys.readouterr().err
    assert not (tmp_path / "added").exists()


def test_the_list_is_printed(capsys):
    assert main(["models", "--zoo"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(ZOO)
    assert main(["models", "--zoo", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [model.name for model in ZOO]


def test_a_network_that_this_program_wrote_is_read(tmp_path):
    config = NetworkConfig("vit_tiny_patch16_224", SMALL)
    told = json.dumps({"network": config.to_dict(), "parent": None}).encode()
    assert network_of(told, "mine") == config
    with pytest.raises(CheckpointError, match="no JSON object"):
        network_of(b"[]", "mine")


def test_removing_from_nowhere(tmp_path):
    with pytest.raises(CheckpointError, match="there are: none"):
        remove_model(tmp_path, "mine")
