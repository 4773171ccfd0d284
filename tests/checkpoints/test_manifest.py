"""The manifest: rows come back as they were written, and nothing but the named bytes is loaded."""

import json

import pytest
import torch

from gramviz.checkpoints.files import load_tensors, save_tensors, sha256_of
from gramviz.checkpoints.manifest import MANIFEST, CheckpointStore
from gramviz.errors import CheckpointError
from tests.stores import make_store

CPU = torch.device("cpu")


def test_rows_survive_the_disk(store, tmp_path):
    assert CheckpointStore.open(tmp_path).all() == store.all()
    assert [info.branch for info in store.all()] == ["trunk", "trunk", "plain", "gram"]


def test_a_network_is_loaded_frozen_in_eval_mode_with_the_weights_of_its_file(store, tmp_path):
    network = store.load("tiny-gram-2000", CPU)
    saved, _ = load_tensors(tmp_path / "tiny/gram_step_002000.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in network.network.state_dict().items())
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("unknown", ["nothing", "", None, 3, "x" * 5000])
def test_an_unknown_id_is_answered_with_the_known_ones(store, unknown):
    with pytest.raises(CheckpointError, match="tiny-plain-2000") as caught:
        store.get(unknown)
    assert len(str(caught.value)) < 400


def test_other_bytes_missing_files_wrong_shapes_and_nan_are_refused(store, tmp_path):
    path = tmp_path / "tiny/plain_step_002000.safetensors"
    tensors, _ = load_tensors(path)

    def attempt(changed):
        save_tensors(path, changed, {})
        rows = json.loads((tmp_path / MANIFEST).read_text())
        rows["checkpoints"][2]["sha256"] = sha256_of(path)
        (tmp_path / MANIFEST).write_text(json.dumps(rows))
        CheckpointStore.open(tmp_path).load("tiny-plain-2000", CPU)

    attempt(tensors)
    with pytest.raises(CheckpointError, match="do not fit"):
        attempt({name: value for name, value in tensors.items() if name != "cls_token"})
    with pytest.raises(CheckpointError, match="not finite"):
        attempt({**tensors, "cls_token": torch.full_like(tensors["cls_token"], torch.nan)})
    with pytest.raises(CheckpointError, match="not the bytes"):
        store.load("tiny-plain-2000", CPU)
    path.unlink()
    with pytest.raises(CheckpointError, match="missing") as caught:
        store.load("tiny-plain-2000", CPU)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"checkpoints": [{"id": "x"}]}', '{"other": 1}'])
def test_a_malformed_manifest_is_named(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="malformed"):
        CheckpointStore.open(tmp_path)


def test_a_folder_without_manifest_and_an_unknown_branch_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="has no manifest"):
        CheckpointStore.open(tmp_path / "none")
    make_store(tmp_path)
    rows = json.loads((tmp_path / MANIFEST).read_text())
    rows["checkpoints"][0]["branch"] = "sideways"
    (tmp_path / MANIFEST).write_text(json.dumps(rows))
    with pytest.raises(CheckpointError, match="sideways"):
        CheckpointStore.open(tmp_path)
