"""Bytes on disk: whole or not at all, and damage is named."""

import os

import pytest
import torch
from safetensors.torch import save_file

from gramviz.checkpoints.files import load_tensors, save_tensors, sha256_of, write_atomic
from gramviz.errors import CheckpointError


def test_tensors_and_metadata_come_back(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3, dtype=torch.int64)}
    save_tensors(tmp_path / "x.safetensors", tensors, {"step": 7, "config": {"lr": [1, None]}})
    back, metadata = load_tensors(tmp_path / "x.safetensors")
    assert all(torch.equal(back[k], tensors[k]) for k in tensors)
    assert metadata == {"step": 7, "config": {"lr": [1, None]}}


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_atomic(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\xff" * 64, b"\x80\x02}q\x00."])
def test_damaged_and_pickled_files_are_refused_without_their_path(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors") as caught:
        load_tensors(path)
    assert str(tmp_path) not in str(caught.value)


def test_equal_content_is_equal_bytes_and_foreign_metadata_is_left_alone(tmp_path):
    tensors = {name: torch.ones(3) for name in "zyx"}
    metadata = {"step": 1, "a": 2, "network": {"k": 3}}
    save_tensors(tmp_path / "1", tensors, metadata)
    save_tensors(tmp_path / "2", dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    assert sha256_of(tmp_path / "1") == sha256_of(tmp_path / "2")
    save_file(tensors, tmp_path / "3", {"format": "pt", "other": "x"})
    assert load_tensors(tmp_path / "3")[1] == {}
    save_file(tensors, tmp_path / "4", {"gramviz": "[1"})
    with pytest.raises(CheckpointError, match="metadata of '4' is damaged"):
        load_tensors(tmp_path / "4")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint file 'gone'"):
        load_tensors(tmp_path / "gone")


def test_sha256_is_that_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
