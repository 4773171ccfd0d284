"""A run in a folder: what it writes, how it goes on after a stop, and how arms fork from a trunk."""

import dataclasses
import json

import pytest
import timm
import torch
from safetensors.torch import load_file

from gramviz.checkpoints.files import load_tensors, to_bytes
from gramviz.checkpoints.heads import heads_of_run
from gramviz.errors import CheckpointError, ConfigError
from gramviz.training import loop, runs
from gramviz.training.config import GramConfig, TrainConfig
from gramviz.training.heads import heads_from
from gramviz.training.loop import faster_dtype
from gramviz.training.runs import LOG, STATE, read_state, run
from gramviz.training.state import to_tensors

CPU = torch.device("cpu")


def finish(folder, config, source, stop=None, **options):
    for report in run(folder, config, source, device=CPU, save_every=2, **options):
        if report.step == stop:
            break
    state, *_ = read_state(folder / STATE, CPU)
    return to_tensors(state)


def steps_logged(folder):
    return [json.loads(line)["step"] for line in (folder / LOG).read_text().splitlines()]


def assert_equal(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_writes_its_configuration_log_and_checkpoints(tmp_path, config, source):
    finish(tmp_path, config, source, checkpoints_at=(0, 3, 6))
    assert TrainConfig.from_dict(json.loads((tmp_path / "config.json").read_text())) == config
    assert steps_logged(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert sorted(p.name for p in tmp_path.glob("step_*")) == [
        f"step_00000{i}.safetensors" for i in (0, 3, 6)
    ]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_exported_checkpoint_is_the_ema_teacher_and_loads_with_plain_timm(tmp_path, config, source):
    finish(tmp_path, config, source, checkpoints_at=(6,))
    model = timm.create_model(config.network.architecture, **config.network.options)
    model.load_state_dict(load_file(tmp_path / "step_000006.safetensors"))
    state, *_ = read_state(tmp_path / STATE, CPU)
    image = torch.rand(1, 3, 16, 16)
    (wanted,) = state.teacher.backbone.eval()(image)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (config.network.mean, config.network.std))
    found = model.eval().forward_features((image - mean) / std)
    assert torch.allclose(found[:, 0], wanted.cls, atol=0.02)
    assert torch.allclose(found[:, 5:], wanted.patches, atol=0.02)


def test_closing_the_generator_saves_and_a_second_call_goes_on(tmp_path, config, source):
    unbroken = finish(tmp_path / "a", config, source)
    finish(tmp_path / "b", config, source, stop=3)
    assert_equal(finish(tmp_path / "b", config, source), unbroken)
    assert steps_logged(tmp_path / "b") == [1, 2, 3, 4, 5, 6]
    assert not list(run(tmp_path / "b", config, source, device=CPU))  # nothing left to do


def test_after_a_kill_the_log_and_the_weights_go_on_from_the_last_saved_state(tmp_path, config, source):
    unbroken = finish(tmp_path / "a", config, source)
    finish(tmp_path / "b", config, source, stop=4)
    with (tmp_path / "b" / LOG).open(
        "a"
    ) as log:  # lines of steps whose state was never saved, the last cut off
        log.write(json.dumps({"step": 5}) + "\n" + '{"step": 6, "los')
    assert_equal(finish(tmp_path / "b", config, source), unbroken)
    assert steps_logged(tmp_path / "b") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("place", "name", "calls"),
    [
        (torch, "_foreach_lerp_", 4),  # the fourth step's student has moved, its teacher has not
        (loop, "take_gram_teacher", 1),  # before any state was saved
        (runs, "export", 1),  # the step is whole, but not what belongs to it
    ],
)
def test_a_step_broken_off_is_not_saved(tmp_path, config, source, monkeypatch, place, name, calls):
    config = dataclasses.replace(config, gram=GramConfig(weight=5.0, teacher_step=3, start=4))
    unbroken = finish(tmp_path / "a", config, source, checkpoints_at=(3,))
    original, left = getattr(place, name), [calls]

    def interrupted(*arguments):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            finish(tmp_path / "b", config, source, checkpoints_at=(3,))
    state, *_ = read_state(tmp_path / "b" / STATE, CPU)
    assert state.step == 2
    assert_equal(finish(tmp_path / "b", config, source, checkpoints_at=(3,)), unbroken)
    assert steps_logged(tmp_path / "b") == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "b" / "step_000003.safetensors").exists()


def test_which_images_were_held_out_is_kept_and_others_are_refused(tmp_path, config, source):
    ours, others = {"images": 10, "held_out": 2}, {"images": 11, "held_out": 2}
    finish(tmp_path / "a", config, source, stop=2, states_at=(2,), data=ours)
    assert json.loads((tmp_path / "a" / "data.json").read_text()) == ours
    fork = tmp_path / "a" / "state_000002.safetensors"
    with pytest.raises(ConfigError, match="'a' holds a run on other images"):
        finish(tmp_path / "a", config, source, data=others)
    with pytest.raises(ConfigError, match="'a' holds a run on other images"):
        finish(tmp_path / "b", config, source, data=others, fork_from=fork)
    finish(tmp_path / "b", config, source, data=ours, fork_from=fork)
    assert json.loads((tmp_path / "b" / "data.json").read_text()) == ours
    finish(tmp_path / "c", config, source, stop=2)  # nothing told
    assert not (tmp_path / "c" / "data.json").exists()
    for damaged in ("{", "[]"):
        (tmp_path / "c" / "data.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"data\.json of the run folder 'c'"):
            finish(tmp_path / "c", config, source, data=ours)


def test_a_fork_with_weight_zero_equals_the_trunk_and_one_with_weight_does_not(tmp_path, config, source):
    unbroken = finish(tmp_path / "trunk", config, source, states_at=(2,))
    fork = tmp_path / "trunk" / "state_000002.safetensors"
    same = finish(tmp_path / "same", config, source, fork_from=fork)
    assert_equal(same, unbroken)
    anchored = dataclasses.replace(config, gram=dataclasses.replace(config.gram, weight=5.0))
    gram = finish(tmp_path / "gram", anchored, source, fork_from=fork)
    assert not torch.equal(gram["student.mask_token"], unbroken["student.mask_token"])


def test_a_fork_may_differ_in_the_gram_section_alone(tmp_path, config, source):
    finish(tmp_path / "trunk", config, source, states_at=(2, 4))
    early, late = (tmp_path / "trunk" / f"state_00000{step}.safetensors" for step in (2, 4))
    with pytest.raises(ConfigError, match="Gram section alone"):
        finish(tmp_path / "x", dataclasses.replace(config, seed=9), source, fork_from=early)
    anchored = dataclasses.replace(config, gram=GramConfig(weight=1.0, teacher_step=1, start=2))
    with pytest.raises(ConfigError, match="fork it earlier"):
        finish(tmp_path / "y", anchored, source, fork_from=late)
    other = dataclasses.replace(config, gram=GramConfig(weight=1.0, teacher_step=0, start=2))
    with pytest.raises(ConfigError, match="Gram teacher at step 1, not at 0"):
        finish(tmp_path / "z", other, source, fork_from=early)


@pytest.mark.parametrize("teacher_step", [2, 3])
def test_a_fork_whose_gram_teacher_is_yet_to_be_taken_takes_its_own(tmp_path, config, source, teacher_step):
    options = {"states_at": (2, teacher_step), "checkpoints_at": (teacher_step,)}
    trunk = finish(tmp_path / "trunk", config, source, **options)  # which took its own after step 1
    late = dataclasses.replace(config, gram=GramConfig(weight=5.0, teacher_step=teacher_step, start=3))
    fork = finish(tmp_path / "late", late, source, fork_from=tmp_path / "trunk" / "state_000002.safetensors")
    wanted, *_ = read_state(tmp_path / "trunk" / f"state_00000{teacher_step}.safetensors", CPU)
    teacher = {k.removeprefix("gram_teacher."): v for k, v in fork.items() if k.startswith("gram_teacher.")}
    assert_equal(teacher, dict(wanted.teacher.backbone.state_dict()))
    assert not torch.equal(teacher["network.cls_token"], trunk["gram_teacher.network.cls_token"])


def test_heads_lie_beside_a_checkpoint_and_give_the_ema_teachers_logits(tmp_path, config, source):
    finish(tmp_path, config, source, checkpoints_at=(0, 6), states_at=(6,))
    state, *_ = read_state(tmp_path / STATE, CPU)
    assert sorted(p.name for p in tmp_path.glob("heads_*")) == [
        f"heads_00000{step}.safetensors" for step in (0, 6)
    ]
    tensors, metadata = load_tensors(tmp_path / "heads_000006.safetensors")
    assert all(value.dtype == torch.float16 for value in tensors.values())
    assert metadata["step"] == 6
    heads = heads_from({name: value.float() for name, value in tensors.items()}, metadata, CPU)
    assert heads.loss == config.loss
    features = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    for kept, trained in (
        (heads.dino_head, state.teacher.dino_head),
        (heads.ibot_head, state.teacher.ibot_head),
    ):
        assert torch.allclose(kept(features), trained(features), atol=5e-3)
        assert not any(p.requires_grad for p in kept.parameters())
    assert torch.equal(heads.mask_token, state.teacher.mask_token.half().float())
    assert not torch.equal(heads.mask_token, state.student.mask_token.half().float())
    # a folder from before heads were kept: the same bytes, out of the state
    before = to_bytes(tensors, metadata)
    (tmp_path / "heads_000006.safetensors").unlink()
    assert to_bytes(*heads_of_run(tmp_path, 6)) == before
    (tmp_path / "state_000006.safetensors").unlink()
    assert to_bytes(*heads_of_run(tmp_path, 6)) == before  # the last state is of that step, too
    with pytest.raises(CheckpointError, match="neither heads nor a training state of step 4"):
        heads_of_run(tmp_path, 4)


def test_heads_that_do_not_fit_are_named(tmp_path, config, source):
    finish(tmp_path, config, source, checkpoints_at=(6,))
    tensors, metadata = load_tensors(tmp_path / "heads_000006.safetensors")
    with pytest.raises(CheckpointError, match="no projection heads"):
        heads_from(tensors, {"step": 6}, CPU)
    with pytest.raises(CheckpointError, match="ibot_head does not fit"):
        heads_from({k: v for k, v in tensors.items() if k != "ibot_head.prototypes"}, metadata, CPU)


def test_a_folder_of_another_run_and_a_damaged_state_are_refused(tmp_path, config, source):
    finish(tmp_path, config, source, stop=2)
    with pytest.raises(ConfigError, match="another configuration"):
        finish(tmp_path, dataclasses.replace(config, seed=9), source)
    state = tmp_path / STATE
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cut off"):
        finish(tmp_path, config, source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"nonsense": 1}, r"unknown settings \['nonsense'\]"),
        ({"loss": {"ibot": -1}}, "ibot weight is -1"),
        ({"loss": 3}, "must be a table"),
        ({"gram": {"teacher_step": 9, "start": 3}}, "after Gram anchoring starts"),
        ({"gram": {"resolution": 3}}, "use 1 or 2"),
        ({"optimizer": {"lr": "fast"}}, "wrong type"),
        ({"views": {"local_scale": [0.5, 0.1]}}, "low <= high"),
    ],
)
def test_a_wrong_setting_is_named(config, change, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict({**config.to_dict(), **change})


def test_a_run_that_goes_on_or_forks_keeps_its_dtype(tmp_path, config, source):
    finish(tmp_path / "a", config, source, stop=2, autocast=torch.bfloat16, states_at=(2,))
    assert_equal(
        finish(tmp_path / "a", config, source, autocast=None),
        finish(tmp_path / "b", config, source, autocast=torch.bfloat16),
    )
    finish(tmp_path / "c", config, source, fork_from=tmp_path / "a" / "state_000002.safetensors")
    assert read_state(tmp_path / "c" / STATE, CPU)[2] == torch.bfloat16
    assert faster_dtype(CPU) in (None, torch.bfloat16)


def test_weights_alone_are_not_taken_for_a_state(tmp_path, config, source):
    finish(tmp_path, config, source, stop=2, checkpoints_at=(2,))
    with pytest.raises(CheckpointError, match="not a training state"):
        finish(tmp_path / "x", config, source, fork_from=tmp_path / "step_000002.safetensors")
