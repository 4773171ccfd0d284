"""Rows of run folders: which are measured, what they hold, and that an interrupted measuring goes on."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from gramviz import experiment
from gramviz.data.sources import TensorSource, held_out_data
from gramviz.errors import CheckpointError, ConfigError
from gramviz.experiment import Measuring, build_exam, heldout_batches, pupil_of
from gramviz.metrics.heldout import heldout_measures
from gramviz.metrics.watching import watched_outputs
from gramviz.training.config import GramConfig, HeadConfig, LossConfig, TrainConfig, ViewConfig
from gramviz.training.folders import RunFolder
from gramviz.training.loop import compute_losses
from gramviz.training.runs import read_state, run
from gramviz.training.views import make_views
from gramviz.vit.images import picture_from_array
from tests.stores import TINY, make_store

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    TINY,
    steps=4,
    batch_size=4,
    seed=3,
    views=ViewConfig(global_size=16, local_size=8, locals=1),
    head=HeadConfig(hidden=8, bottleneck=8, prototypes=8),
    gram=GramConfig(weight=0.0, teacher_step=1, start=2),
)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, value in {"SCENES": 4, "BANK": 2, "SCENE_SIZE": 32, "KIND_TRAIN": 25, "KIND_TEST": 5}.items():
        monkeypatch.setattr(experiment, name, value)
    monkeypatch.setattr(experiment, "KIND_SIZE", 16)


@pytest.fixture(scope="module")
def source():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (110, 3, 24, 24), dtype=torch.uint8, generator=generator)
    return TensorSource(images, tuple("ab"[i % 2] for i in range(110)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, source):
    """plain: 0, 2, 4 with states at 2 and (the last) 4; gram: forked at 2, has 2 and 4."""
    root = tmp_path_factory.mktemp("runs")
    for _ in run(
        root / "plain", CONFIG, source, device=CPU, checkpoints_at=(0, 2, 4), states_at=(2,), save_every=100
    ):
        pass
    gram = dataclasses.replace(CONFIG, gram=dataclasses.replace(CONFIG.gram, weight=5.0, resolution=2))
    fork = root / "plain" / "state_000002.safetensors"
    for _ in run(root / "gram", gram, source, device=CPU, checkpoints_at=(2, 3, 4), fork_from=fork):
        pass
    return root


def opened(root):
    return [RunFolder.open(arm, root / arm) for arm in ("plain", "gram")]


def measuring(source=None):
    rng = np.random.default_rng(0)
    segments = np.repeat([0, 1], 16)[None].repeat(32, axis=0)
    annotated = [
        (picture_from_array(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)), [segments]) for _ in range(3)
    ]
    return Measuring(annotated, source, held_out=70, patches=4, device=CPU)


def identity(row):
    return row["arm"], row["step"]


def test_each_step_once_and_the_trunk_is_no_arm(folders, source):
    rows = list(measuring(source).runs("mini", opened(folders), fork=2))
    assert [identity(row) for row in rows] == [
        ("trunk", 0),
        ("trunk", 2),
        ("plain", 4),
        ("gram", 3),
        ("gram", 4),
    ]
    told = {"run": "mini", "seed": 3, "pictures": 3, "patches": 4, "held_out": 70, "knn_dtype": "float32"}
    assert all(told.items() <= row.items() for row in rows)
    assert [row["images_seen"] for row in rows] == [0, 8, 16, 12, 16]
    assert [("heldout_dino" in row) for row in rows] == [True, True, True, False, True]  # where a state is
    for row in rows:
        assert json.loads(json.dumps(row, allow_nan=False)) == row
        assert {"auc", "near_auc", "scenes_miou", "knn", "scenes_kind", "locality"} <= row.keys()
        known = "heldout_dino" in row
        for name in ("heldout_gram", "heldout_ibot", "residual_top1", "global_top1_b0", "global_common_b1"):
            assert (name in row) == known
    again = list(measuring(source).runs("mini", opened(folders), fork=2, steps=(4,)))
    assert again == [row for row in rows if row["step"] == 4]


def test_what_is_done_is_not_measured_again(folders):
    rows = list(measuring().runs("mini", opened(folders), fork=2))
    without = {"knn", "heldout_dino", "held_out"}  # images with classes
    assert not any(without & row.keys() for row in rows)
    for count in range(len(rows) + 1):
        rest = measuring().runs("mini", opened(folders), fork=2, done=rows[:count])
        assert [identity(row) for row in rest] == [identity(row) for row in rows[count:]]
    assert next(measuring().runs("other", opened(folders), fork=2, done=rows))["run"] == "other"


def test_the_step_at_which_an_arm_began_is_that_of_the_arm_it_forked_from(folders, tmp_path):
    """gram's folder holds step 2 of plain, from which it forked, as gram_repair's does."""
    plain, gram = opened(folders)
    assert (plain.begin, gram.begin) == (0, 2)
    assert gram.steps == (2, 3, 4)
    rows = measuring().runs("mini", [gram, plain], fork=0, steps=(0, 2, 3))
    assert [identity(row) for row in rows] == [("gram", 3), ("trunk", 0), ("plain", 2)]
    # it is the trunk's wherever it lies
    rows = measuring().runs("mini", [gram], fork=2, steps=(2, 3))
    assert [identity(row) for row in rows] == [("trunk", 2), ("gram", 3)]


@pytest.mark.parametrize(
    ("log", "begin"),
    [
        (None, 0),  # not taken along
        ("", 4),  # it has trained nothing yet
        ('{"step": 3', 4),
        ('{"step": 3}\n{"st', 2),
        ('{"step": 1}\n', 0),
    ],
)
def test_where_a_run_began_is_told_by_its_log(folders, tmp_path, log, begin):
    for name in ("config.json", "step_000002.safetensors", "step_000004.safetensors"):
        (tmp_path / name).write_bytes((folders / "gram" / name).read_bytes())
    if log is not None:
        (tmp_path / "log.jsonl").write_text(log)
    assert RunFolder.open("gram", tmp_path).begin == begin
    for damaged in ("[]\n", "{}\n", "step\n"):
        (tmp_path / "log.jsonl").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"log\.jsonl of the run folder"):
            RunFolder.open("gram", tmp_path)


def test_images_that_a_run_was_trained_on_are_not_tested(folders, source):
    (plain, gram), ours = opened(folders), held_out_data(source, 70)

    def first(data, classes=source):
        entry = dataclasses.replace(gram, data=data)
        return next(measuring(classes).runs("mini", [plain, entry], fork=2, steps=(0,)))["step"]

    assert plain.data is None  # from before it was told
    assert first(ours) == 0
    assert first({**ours, "held_out_sha256": "ab"}) == 0  # the names of these are not known
    assert first({**ours, "images": 111}, classes=None) == 0  # none is tested
    for other, told in (
        ({**ours, "images": 111}, "held out 70 of 111 images, --classes and --held-out give 70 of 110"),
        ({**ours, "held_out": 0}, "held out 0 of 110 images, --classes and --held-out give 70 of 110"),
    ):
        with pytest.raises(ConfigError, match=f"the run in 'gram' {told}"):
            first(other)
    named = TensorSource(source.images, source.names, tuple(f"a/{i}" for i in range(110)))
    renamed = TensorSource(source.images, source.names, tuple(f"b/{i}" for i in range(110)))
    assert first(held_out_data(named, 70), named) == 0
    with pytest.raises(ConfigError, match="'gram' held out 70 of 110 images, but others than --classes"):
        first(held_out_data(named, 70), renamed)


def test_runs_may_differ_in_seed_and_gram_section_alone(folders):
    plain, gram = opened(folders)
    seeded = dataclasses.replace(gram, config=dataclasses.replace(gram.config, seed=9))
    assert next(measuring().runs("mini", [plain, seeded], fork=2))["arm"] == "trunk"
    for change in ({"batch_size": 8}, {"batch_size": 8, "seed": 9}):
        other = dataclasses.replace(gram, config=dataclasses.replace(gram.config, **change))
        with pytest.raises(ConfigError, match="'gram' differs from 'plain' in more than its seed"):
            next(measuring().runs("mini", [plain, other], fork=2))


def test_the_order_of_the_folders_changes_no_row(folders, source):
    plain, gram = opened(folders)
    rows, other = (
        sorted(measuring(source).runs("mini", order, fork=2, steps=(2, 4)), key=identity)
        for order in ([plain, gram], [gram, plain])
    )
    assert rows == other
    assert "heldout_gram" in rows[2]


def test_the_gram_loss_is_against_the_fork_of_the_seed_for_every_arm(folders, source):
    plain, gram = opened(folders)
    batches = heldout_batches(source.images[:70])
    assert [len(one) for one in batches] == [32, 32]
    anchor = plain.backbone(2, CPU)
    state = gram.state(4, CPU)
    measured = heldout_measures(pupil_of(state, gram.config, anchor), batches)
    only = dataclasses.replace(gram, steps=(4,))
    plain_done = {"run": "mini", "seed": 3, "arm": "plain", "step": 4}
    (row,) = measuring(source).runs("mini", [plain, only], fork=2, steps=(4,), done=[plain_done])
    held = heldout_batches(experiment._labelled(source, 70)[1][0])
    expected = heldout_measures(pupil_of(gram.state(4, CPU), gram.config, anchor), held)
    assert {name: row[name] for name in expected} == expected
    # the teacher it was trained with, at its own resolution, has no say; another seed's fork is no anchor
    other = heldout_measures(
        pupil_of(state, dataclasses.replace(gram.config, gram=GramConfig()), anchor), batches
    )
    assert other == measured
    strange = dataclasses.replace(plain, config=dataclasses.replace(plain.config, seed=9))
    done = [{**plain_done, "seed": 9}]
    (row,) = measuring(source).runs("mini", [strange, only], fork=2, steps=(4,), done=done)
    assert "heldout_gram" not in row
    assert row["heldout_dino"] == expected["heldout_dino"]


def test_losses_are_those_of_training_on_fixed_views(folders, source):
    """In float32 on views of the configuration's own, equal in each call; targets as numpy makes them."""
    (plain, _), batches = opened(folders), heldout_batches(source.images[:70])
    state = plain.state(4, CPU)
    pupil = pupil_of(state, plain.config, None)

    def losses(number):
        return {name: value.item() for name, value in pupil.losses(batches[0], number).items()}

    generator = torch.Generator().manual_seed(experiment.HELDOUT_SEED)
    views = make_views(batches[0].float() / 255, plain.config, state, generator, with_clean=False)
    by_training, _ = compute_losses(state, plain.config, views)
    assert losses(0) == {name: value.item() for name, value in by_training.items()}
    assert set(losses(0)) == {"dino", "ibot", "koleo"}
    assert losses(1)["dino"] != losses(0)["dino"]
    logits = torch.randn(6, 8)
    q = np.exp(logits.double().numpy() / 0.05)
    for _ in range(3):
        q = q / q.sum(0, keepdims=True)
        q = q / q.sum(1, keepdims=True)
    np.testing.assert_allclose(pupil.targets(logits).numpy(), q, rtol=1e-3, atol=1e-7)
    state.ibot_center = torch.arange(8.0) / 10
    centred = dataclasses.replace(plain.config, loss=LossConfig(targets="softmax"))
    z = np.exp((logits.double().numpy() - np.arange(8) / 10) / 0.05)
    found = pupil_of(state, centred, None).targets(logits)
    np.testing.assert_allclose(found.numpy(), z / z.sum(1, keepdims=True), rtol=1e-3, atol=1e-7)


def test_the_residual_is_that_of_student_and_teacher(folders, source):
    plain, _ = opened(folders)
    pupil = pupil_of(plain.state(4, CPU), plain.config, None)
    batch = heldout_batches(source.images[:70])[:1]
    with watched_outputs([pupil.student_head, pupil.teacher_head]) as seen:
        row = heldout_measures(pupil, batch)
    student, teacher = (calls[0].detach().double() for calls in seen)
    residual = torch.softmax(student / 0.1, -1) - pupil.targets(teacher)
    energies = np.linalg.svd(residual.numpy(), compute_uv=False) ** 2
    assert row["residual_top1"] == pytest.approx(energies[0] / energies.sum(), rel=1e-5)


def test_held_out_batches_are_fixed_and_mixed():
    images = torch.arange(400, dtype=torch.int32)
    one, two = heldout_batches(images), heldout_batches(images)
    assert [len(batch) for batch in one] == [32] * 8
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert len(set(torch.cat(one).tolist())) == 256
    assert not torch.equal(one[0].sort().values, torch.arange(32, dtype=torch.int32))
    with pytest.raises(ConfigError, match="31 images are held out"):
        heldout_batches(images[:31])


def test_the_exam_keeps_bank_and_test_apart():
    exam = build_exam([], None, 4, 8)
    assert len(exam.scenes) == 4
    assert exam.bank == 2
    assert exam.textures.shape == (4, 16)
    assert exam.classes is None
    (train, _), (test, labels) = exam.kinds
    assert (len(train), len(test), len(labels)) == (25, 5, 5)
    assert not any(torch.equal(a, b) for a, b in itertools.product(train, test))


def test_the_shipped_store_and_baselines(tmp_path, source):
    store = make_store(tmp_path)
    ids = [info.id for info in store.all()]
    rows = list(measuring(source).models(store, ids))
    assert [row["checkpoint"] for row in rows] == ids
    assert [row["arm"] for row in rows] == ["trunk", "trunk", "plain", "gram"]
    assert "seed" not in rows[0]
    assert rows[2]["images_seen"] == 64_000
    assert "knn" in rows[0]
    assert "heldout_dino" not in rows[0]
    (tmp_path / "tiny" / "plain_config.json").write_text(json.dumps({"seed": 7}))
    rest = list(measuring().models(store, ids, done=rows[:3]))
    assert [(row["checkpoint"], row["seed"]) for row in rest] == [(ids[3], 7)]
    near, colour, chance = measuring(source).baselines()
    assert [row["arm"] for row in (near, colour, chance)] == [
        f"baseline:{name}" for name in ("proximity", "colour", "chance")
    ]
    assert near["near_auc"] > 0.5  # halves: neighbours share them
    assert chance["knn"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("none", "no readable config"),
        ("json", "no readable config"),
        ("empty", "holds no step_"),
        ("names", "holds no step_"),
    ],
)
def test_what_is_no_run_folder_is_told(tmp_path, kind, message):
    if kind != "none":
        text = "{" if kind == "json" else json.dumps(CONFIG.to_dict())
        (tmp_path / "config.json").write_text(text)
    if kind == "names":
        (tmp_path / "step_last.safetensors").touch()
    with pytest.raises(CheckpointError, match=message):
        RunFolder.open("plain", tmp_path)


def test_mistakes_are_told(folders, tmp_path):
    plain, gram = opened(folders)
    with pytest.raises(ConfigError, match="'plain' of seed 3"):
        next(measuring().runs("mini", [plain, plain], fork=2))
    with pytest.raises(ConfigError, match="at step 1"):
        next(measuring().runs("mini", [plain, gram], fork=2, steps=(0, 1)))
    other = dataclasses.replace(TINY, options={**TINY.options, "embed_dim": 16})
    wrong = dataclasses.replace(plain, config=dataclasses.replace(CONFIG, network=other))
    with pytest.raises(CheckpointError, match="step 0 of 'plain' does not fit its network"):
        next(measuring().runs("mini", [wrong], fork=2))
    assert plain.state(1, CPU) is None
    assert plain.state(2, CPU).step == 2
    assert plain.state(4, CPU).step == 4  # the last state
    assert read_state(folders / "plain" / "state.safetensors", CPU)[0].step == 4


def test_step_0_needs_no_state_of_its_own(folders):
    plain, _ = opened(folders)
    made, saved = plain.state(0, CPU), plain.backbone(0, CPU)
    for name, value in made.teacher.backbone.network.state_dict().items():
        torch.testing.assert_close(value, saved.network.state_dict()[name], atol=1e-3, rtol=1e-3)
    assert made.step == 0
