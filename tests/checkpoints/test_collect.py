"""From run folders to a models folder: rows, parents, and refusals."""

import json

import pytest
import torch

from gramviz.checkpoints.collect import collect
from gramviz.checkpoints.files import save_tensors
from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.errors import CheckpointError
from gramviz.vit.backbones import create_backbone
from tests.stores import TINY, make_store


@pytest.fixture
def arms(tmp_path):
    folders = {}
    for branch, weight in (("plain", 0), ("gram", 5)):
        folder = tmp_path / "runs" / branch
        for step in (0, 300, 700, 2000):
            save_tensors(
                folder / f"step_{step:06d}.safetensors", create_backbone(TINY).network.state_dict(), {}
            )
        config = {"network": TINY.to_dict(), "batch_size": 32, "gram": {"weight": weight}}
        (folder / "config.json").write_text(json.dumps(config))
        folders[branch] = folder
    return folders


def gather(tmp_path, arms, steps=(0, 300, 700, 2000)):
    return collect(
        tmp_path / "models", "small", arms, steps, fork=700, title="A run", licence="MIT", shown=(0, 2000)
    )


def test_the_trunk_comes_from_the_first_arm_and_every_row_names_its_parent(tmp_path, arms):
    rows = gather(tmp_path, arms)
    assert [(r.id, r.parent) for r in rows] == [
        ("small/trunk/0", None),
        ("small/trunk/300", "small/trunk/0"),
        ("small/trunk/700", "small/trunk/300"),
        ("small/plain/2000", "small/trunk/700"),
        ("small/gram/2000", "small/trunk/700"),
    ]
    assert [r.images_seen for r in rows] == [0, 9600, 22400, 64000, 64000]
    assert [r.shown for r in rows] == [True, False, False, True, True]
    store = CheckpointStore.open(tmp_path / "models")
    for row in rows:
        store.load(row.id, torch.device("cpu"))
    assert (tmp_path / "models/small/gram_config.json").exists()


def test_other_runs_stay_and_a_second_call_replaces_its_own(tmp_path, arms):
    make_store(tmp_path / "models")
    gather(tmp_path, arms)
    gather(tmp_path, arms, steps=(0, 2000))
    ids = [info.id for info in CheckpointStore.open(tmp_path / "models").all()]
    assert ids[:4] == ["tiny-trunk-0", "tiny-trunk-300", "tiny-plain-2000", "tiny-gram-2000"]
    assert ids[4:] == ["small/trunk/0", "small/plain/2000", "small/gram/2000"]


def test_arms_that_differ_in_more_than_gram_and_missing_steps_are_refused(tmp_path, arms):
    with pytest.raises(CheckpointError, match=r"step_000500"):
        gather(tmp_path, arms, steps=(500,))
    config = arms["gram"] / "config.json"
    config.write_text(config.read_text().replace('"batch_size": 32', '"batch_size": 64'))
    with pytest.raises(CheckpointError, match="'gram' differs"):
        gather(tmp_path, arms)
    config.unlink()
    with pytest.raises(CheckpointError, match="no readable config"):
        gather(tmp_path, arms)
