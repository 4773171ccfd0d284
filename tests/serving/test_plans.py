"""Plans: ranges, presets that the shipped checkpoints allow, and sentences that say what would be right."""

import pytest

from gramviz.errors import InputError
from gramviz.serving.controls import Slider, start
from gramviz.serving.dials import CONTROLS
from gramviz.serving.plans import Plan, presets
from gramviz.serving.settings import Settings


def test_every_control_is_a_field_of_a_plan_and_starts_at_its_default():
    starts = {control.name: start(control) for control in CONTROLS}
    assert Plan.from_values({"start": "a", **starts}) == Plan(start="a")
    for control in CONTROLS:
        if isinstance(control, Slider):
            assert control.low <= control.start <= control.high


def test_a_plan_is_read_from_values():
    plan = Plan.from_values(
        {"start": "a", "teacher": "b", "resolution": "2", "steps": 100, "gram": 3, "rate": 1e-4}
    )
    assert plan == Plan(start="a", teacher="b", resolution=2, steps=100, gram=3.0, rate=1e-4)
    assert plan.gram_alone


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, "damaged"),
        ({}, "choose the checkpoint"),
        ({"start": 3}, "choose the checkpoint"),
        ({"start": "a", "teacher": None}, "Gram teacher"),
        ({"start": "a", "steps": 501}, "steps is '501'"),
        ({"start": "a", "steps": 7.5}, "steps is '7.5'"),
        ({"start": "a", "rate": 1}, "rate is '1'"),
        ({"start": "a", "batch": 64}, "batch is '64'"),
        ({"start": "a", "trained": "head"}, "trained is 'head'"),
        ({"start": "a", "resolution": 2}, "resolution is '2'"),
        ({"start": "a", "seed": float("nan")}, "seed is 'nan'"),
        ({"start": "a", "control": "yes"}, "control is 'yes'"),
        ({"start": "a", "colour": 1}, "no setting 'colour'"),
        ({"start": "a", "gram": 0}, "Every weight is 0"),
        ({"start": "a", "control": True}, "nothing left to minimise"),
        ({"start": "a", "control": True, "gram": 0, "dino": 1}, "same run"),
        ({"start": "a", "steps": 10**5000}, "thousands of digits"),
    ],
)
def test_what_cannot_be_is_said(values, words):
    with pytest.raises(InputError, match=words):
        Plan.from_values(values)


def test_presets_of_the_shipped_checkpoints_are_plans_that_pass_their_own_check():
    from gramviz.checkpoints.manifest import CheckpointStore

    store = CheckpointStore.open(Settings().models)
    found = {preset.name: preset.plan for preset in presets(store.all())}
    assert list(found) == ["repair", "degrade", "anchor", "highres"]
    for plan in found.values():
        values = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
        assert Plan.from_values({**values, "resolution": str(plan.resolution)}) == plan
        start, teacher = store.get(plan.start), store.get(plan.teacher or plan.start)
        assert start.network == teacher.network
        assert plan.gram_alone or start.heads is not None
    assert found["repair"].gram_alone
    assert found["degrade"].gram == 0
    assert found["anchor"].control
    assert found["highres"].resolution == 2


def test_no_presets_where_no_run_degrades():
    assert presets(()) == ()
