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


def gather(tmp_path, arms, steps=(0, 300, 700, 2000), **options):
    return collect(
        tmp_path / "models",
        "small",
        arms,
        steps,
        fork=700,
        title="A run",
        licence="MIT",
        shown=(0, 2000),
        **options,
    )


def heads(value):
    """Tensors and metadata as a run folder has them beside a checkpoint."""
    tensors = {
        "dino_head.prototypes": torch.full((3, 2), value).half(),
        "mask_token": torch.full((32,), value).half(),
    }
    return tensors, {"head": {"prototypes": 3}, "loss": {"dino": 1.0}}


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


def test_files_that_the_manifest_no_longer_names_are_removed(tmp_path, arms):
    make_store(tmp_path / "models")
    others = set((tmp_path / "models/tiny").iterdir())
    gather(tmp_path, arms)
    folder = tmp_path / "models/small"
    (folder / "plain_heads_002000.safetensors").touch()
    (folder / "README.md").touch()
    gather(tmp_path, arms, steps=(0, 2000))
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "gram_config.json",
        "gram_step_002000.safetensors",
        "plain_config.json",
        "plain_step_002000.safetensors",
        "trunk_step_000000.safetensors",
    ]
    assert set((tmp_path / "models/tiny").iterdir()) == others


@pytest.mark.parametrize("name", ["gram_late", "trunk"])
def test_a_branch_that_cannot_be_is_refused_before_anything_is_copied(tmp_path, arms, name):
    with pytest.raises(CheckpointError, match=f"no branch '{name}'; possible are plain, gram, gram_hires"):
        gather(tmp_path, {**arms, name: arms["gram"]})
    assert not (tmp_path / "models").exists()


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


def test_heads_are_taken_from_their_file_or_from_the_state_of_that_step(tmp_path, arms):
    tensors, metadata = heads(0.5)
    save_tensors(arms["plain"] / "heads_000300.safetensors", tensors, {"step": 300, **metadata})
    save_tensors(arms["plain"] / "heads_002000.safetensors", tensors, {"step": 2000, **metadata})
    state = {
        "teacher.dino_head.prototypes": torch.full((3, 2), 0.25),
        "teacher.backbone.network.cls_token": torch.zeros(1),
        "student.dino_head.prototypes": torch.zeros(3, 2),
        "teacher.mask_token": torch.full((32,), 0.25),
        "student.mask_token": torch.zeros(32),
    }
    saved = {"step": 2000, "config": {**metadata, "batch_size": 32}}
    save_tensors(arms["gram"] / "state.safetensors", state, saved)
    rows = {row.id: row for row in gather(tmp_path, arms, heads=(300, 2000))}
    assert {row.id: row.heads for row in rows.values() if row.heads} == {
        "small/trunk/300": "small/trunk_heads_000300.safetensors",
        "small/plain/2000": "small/plain_heads_002000.safetensors",
        "small/gram/2000": "small/gram_heads_002000.safetensors",
    }
    store = CheckpointStore.open(tmp_path / "models")
    for name, value in (("trunk/300", 0.5), ("plain/2000", 0.5), ("gram/2000", 0.25)):
        found, told = store.load_heads(f"small/{name}")
        assert found.keys() == tensors.keys()
        assert all(v.dtype == torch.float32 and bool((v == value).all()) for v in found.values())
        assert told == {"step": int(name.split("/")[1]), **metadata}
    with pytest.raises(CheckpointError, match="small/trunk/0 has no projection heads"):
        store.load_heads("small/trunk/0")
    path = tmp_path / "models/small/gram_heads_002000.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match="heads of small/gram/2000 are not the bytes"):
        store.load_heads("small/gram/2000")
    path.unlink()
    with pytest.raises(CheckpointError, match="heads of small/gram/2000 are missing"):
        store.load_heads("small/gram/2000")


def test_heads_that_cannot_be_had_are_refused(tmp_path, arms):
    with pytest.raises(CheckpointError, match=r"steps \[400\], which are not taken"):
        gather(tmp_path, arms, heads=(400,))
    with pytest.raises(CheckpointError, match="neither heads nor a training state of step 300"):
        gather(tmp_path, arms, heads=(300,))


def test_an_arm_may_have_steps_of_its_own(tmp_path, arms):
    rows = gather(tmp_path, arms, steps=(0, 700), own_steps={"gram": (300, 2000)})
    assert [row.id for row in rows] == ["small/trunk/0", "small/trunk/700", "small/gram/2000"]


def test_what_is_there_already_is_left_untouched(tmp_path, arms):
    def stamps():
        files = [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    gather(tmp_path, arms)
    before = stamps()
    assert len(before) == 8  # five checkpoints, two configurations, the manifest
    gather(tmp_path, arms)
    assert stamps() == before
    changed = arms["gram"] / "step_002000.safetensors"
    save_tensors(changed, create_backbone(TINY).network.state_dict(), {})
    gather(tmp_path, arms)
    after = stamps()
    assert {path.name for path in before if before[path] != after[path]} == {
        "gram_step_002000.safetensors",
        "manifest.json",
    }
