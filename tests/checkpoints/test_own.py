"""Visitors' own checkpoints: provenance, licence, and weights that plain timm reads."""

import io
import zipfile
from datetime import datetime

import pytest
import safetensors.torch
import timm
import torch

from gramviz.checkpoints.files import to_bytes
from gramviz.checkpoints.manifest import OWN_BRANCHES, CheckpointInfo, CheckpointStore, write_manifest
from gramviz.checkpoints.own import DINOV3_LINK, archive, own_checkpoint
from gramviz.errors import CheckpointError
from gramviz.vit.backbones import NetworkConfig, backbone_of, create_backbone
from tests.stores import make_store

NETWORK = NetworkConfig("vit_tiny_patch16_224", {"depth": 2, "embed_dim": 24, "num_heads": 2})


def parent(licence="MIT"):
    return CheckpointInfo(
        id="run/plain/100",
        run="run",
        branch="plain",
        step=100,
        file="run/x.safetensors",
        sha256="ab" * 32,
        bytes=1,
        images_seen=3200,
        parent="run/trunk/10",
        licence=licence,
        title="A run",
        network=NETWORK,
        heads="run/heads.safetensors",
        heads_sha256="cd" * 32,
    )


def made(licence="MIT", number=3):
    torch.manual_seed(0)
    weights = create_backbone(NETWORK).network.state_dict()
    return weights, own_checkpoint(
        parent(licence),
        weights,
        number=number,
        branch="own2",
        settings={"Seed": "7", "Batch": "4 images, two crops each"},
        data="3 photographs",
        step=50,
        images_seen=200,
        when=datetime(2026, 11, 26),
        about="Gram weight 2",
    )


def test_it_belongs_to_its_parents_run_and_has_no_file():
    weights, own = made()
    info = own.info
    assert (info.id, info.run, info.branch, info.parent) == ("yours/3", "run", "own2", "run/plain/100")
    assert (info.step, info.images_seen, info.file, info.heads, info.shown) == (150, 3400, "", None, False)
    assert info.licence == "MIT"
    assert own.nbytes == 2 * sum(value.numel() for value in weights.values())
    assert made()[1].info.sha256 == info.sha256
    backbone = backbone_of(NETWORK, own.weights)
    for name, value in backbone.network.state_dict().items():
        assert torch.equal(value, weights[name].half().float())


def test_the_archive_loads_with_plain_timm():
    weights, own = made()
    assert archive(own) == archive(made()[1])
    files = zipfile.ZipFile(io.BytesIO(archive(own)))
    model = timm.create_model(NETWORK.architecture, **NETWORK.options)
    loaded = safetensors.torch.load(files.read("model.safetensors"))
    model.load_state_dict(loaded, strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name].half().float())
    card = files.read("README.md").decode()
    for words in (
        "run/plain/100",
        "ab" * 32,
        "3 photographs",
        "| Seed | 7 |",
        "not a published model",
        "license: mit",
    ):
        assert words in card


def test_a_dinov3_parent_passes_its_licence_on():
    _, own = made("DINOv3 License (Meta)")
    assert own.info.licence == "DINOv3 License (Meta)"
    for words in ("license_name: dinov3-license", f"license_link: {DINOV3_LINK}", "built with DINOv3"):
        assert words in own.card
    assert "dinov3-license" not in made("CC BY 4.0 (x)")[1].card
    assert "license: cc-by-4.0" in made("CC BY 4.0 (x)")[1].card
    assert 'license_name: "Other: terms"' in made("Other: terms")[1].card


@pytest.mark.parametrize("branch", OWN_BRANCHES)
def test_no_manifest_may_name_a_visitors_branch(tmp_path, branch):
    from dataclasses import replace

    store = make_store(tmp_path)
    write_manifest(tmp_path, [replace(store.all()[0], branch=branch)])
    with pytest.raises(CheckpointError, match="which is for visitors"):
        CheckpointStore.open(tmp_path)


def test_a_store_gives_weights_and_configurations(tmp_path):
    store = make_store(tmp_path)
    info = store.all()[2]
    weights = store.weights(info.id)
    network = store.load(info.id, torch.device("cpu")).network.state_dict()
    assert weights.keys() == network.keys()
    assert all(torch.equal(weights[name].float(), network[name]) for name in weights)
    assert store.training_config(info.id) is None
    (tmp_path / "tiny" / "gram_config.json").write_text('{"steps": 3}')
    assert store.training_config("tiny-trunk-0") == {"steps": 3}
    (tmp_path / "tiny" / "plain_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not readable JSON"):
        store.training_config(info.id)
    (tmp_path / info.file).write_bytes(to_bytes({"a": torch.zeros(1)}, {}))
    with pytest.raises(CheckpointError, match="not the bytes"):
        store.weights(info.id)
