"""Lines out of rows: hand-made rows, and numpy over a dense table of made-up ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gramviz.ui import curves
from gramviz.ui.theme import CONTROLS
from tests.ui.rows import ARM_STEPS, FORK, TRUNK_STEPS, made_rows


def row(arm, seed, step, **measures):
    return {"run": "r", "arm": arm, "seed": seed, "step": step, **measures}


ROWS = [
    row("trunk", 0, 0, auc=0.5),
    row("trunk", 0, 200, auc=0.6),
    row("trunk", 1, 0, auc=0.52),
    row("trunk", 1, 200, auc=0.66),
    row("plain", 0, 600, auc=0.7),
    row("plain", 0, 4000, auc=0.4),
    row("plain", 1, 600, auc=0.8),
    row("plain", 1, 1000, auc=0.75),  # a step that the other seed has not
    row("plain", 1, 4000, auc=0.5),
    row("gram", 0, 600, auc=0.71, knn=0.3),
    row("gram_repair", 0, 1000, auc=0.65),
    {"arm": "baseline:proximity", "auc": 0.55},
]


def test_a_history_reaches_back_to_what_the_arm_parted_from():
    assert curves.history(ROWS, "plain", "auc") == {
        0: {0: 0.5, 200: 0.6, 600: 0.7, 4000: 0.4},
        1: {0: 0.52, 200: 0.66, 600: 0.8, 1000: 0.75, 4000: 0.5},
    }
    assert curves.history(ROWS, "gram_repair", "auc") == {0: {0: 0.5, 200: 0.6, 600: 0.7, 1000: 0.65}}
    assert curves.history(ROWS, "gram", "knn") == {0: {600: 0.3}}
    assert curves.history(ROWS, "gram_hires", "auc") == {}


def test_a_line_has_the_steps_that_all_seeds_have():
    line = curves.line(curves.history(ROWS, "plain", "auc"))
    assert line.steps == (0, 200, 600, 4000)
    assert line.mean == pytest.approx((0.51, 0.63, 0.75, 0.45))
    assert line.low == (0.5, 0.6, 0.7, 0.4)
    assert line.high == (0.52, 0.66, 0.8, 0.5)
    assert line.seeds == 2
    assert curves.line({}) is None
    assert curves.line({0: {1: 0.5}, 1: {2: 0.5}}) is None


def test_an_own_line_begins_where_the_arm_parts():
    assert curves.own_line(ROWS, "plain", "auc").steps == (200, 600, 4000)
    assert curves.own_line(ROWS, "gram_repair", "auc").steps == (600, 1000)
    assert curves.own_line(ROWS, "trunk", "auc").steps == (0, 200)
    assert curves.own_line(ROWS, "gram", "knn").steps == (600,)
    assert curves.own_line(ROWS, "gram", "miou") is None


def test_what_there_is():
    assert curves.arms(ROWS) == ("plain", "gram", "gram_repair")
    assert curves.fork(ROWS) == 200
    assert curves.fork([row("plain", 0, 600, auc=0.7)]) is None
    assert curves.baselines(ROWS, "auc") == {"proximity": 0.55}
    assert curves.baselines(ROWS, "knn") == {}


def test_a_seed_is_sound_where_the_trunk_reaches_the_fork_and_the_arm_begins_later():
    rows = [*ROWS, row("plain", 2, 600, auc=0.7), row("gram", 1, 200, auc=0.7), row("gram", 1, 600, auc=0.7)]
    assert curves.sound_seeds(rows, "plain") == {0, 1}
    assert curves.sound_seeds(rows, "gram") == {0}
    assert curves.sound_seeds([r for r in rows if r["arm"] != "trunk"], "plain") == frozenset()
    assert set(curves.since_fork(rows, "plain", "auc")) == {0, 1}
    assert curves.since_fork(rows, "gram", "knn") == {}  # not known at the fork


def test_gradient_measures_are_found_by_their_blocks():
    rows = [row("plain", 0, 0, global_top1_b10=0.1, global_top1_b9=0.1, global_common_b9=0.1)]
    assert curves.block_measures(rows, "top1") == ("global_top1_b9", "global_top1_b10")
    assert curves.block_measures(rows, "common") == ("global_common_b9",)
    assert "block 9: common row" in curves.measure("global_common_b9").label
    with pytest.raises(KeyError):
        curves.measure("global_other_b9")


def test_contrast_is_near_less_far_where_both_were_had():
    locality = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, None]
    near, *others = curves.with_contrast(
        [row("plain", 0, 0, locality=locality), row("plain", 0, 1), row("plain", 0, 2, locality=[0.9, None])]
    )
    assert near["locality_contrast"] == pytest.approx(0.6)
    assert (near["locality_near"], near["locality_far"]) == (0.9, 0.3)
    assert all("locality_contrast" not in other for other in others)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=4, unique=True))
def test_means_over_any_seeds_are_numpys(seeds):
    rows = made_rows(seeds=sorted(seeds))
    line = curves.line(curves.history(rows, "gram", "knn"))
    table = {(r["seed"], r["step"]): r["knn"] for r in rows if r["arm"] in ("trunk", "gram")}
    steps = (*TRUNK_STEPS, *ARM_STEPS)
    values = np.array([[table[seed, step] for step in steps] for seed in sorted(seeds)])
    assert line.steps == steps
    assert np.allclose(line.mean, values.mean(0), atol=1e-12)
    assert np.array_equal(line.low, values.min(0))
    assert np.array_equal(line.high, values.max(0))
    assert line.seeds == len(seeds)


def test_every_made_arm_has_a_look_and_parts_at_the_right_step():
    rows = made_rows()
    for arm in curves.arms(rows):
        assert curves.look(arm).colour.startswith("#")
        assert curves.own_line(rows, arm, "auc").steps[0] == (2000 if arm in curves.PARENTS else FORK)
    assert set(curves.PARENTS) < set(CONTROLS)


def test_numbers_are_grouped_in_threes():
    assert [curves.grouped(n) for n in (0, 999, 1000, 1234567)] == [
        "0",
        "999",
        "1\u202f000",
        "1\u202f234\u202f567",
    ]


def test_a_level_is_far_off_beyond_half_the_range_of_the_curves():
    rows = [row("trunk", 0, 0, auc=0.7), row("plain", 0, 9, auc=0.8), {"arm": "baseline:colour", "auc": 0.1}]
    assert [curves.far_off(rows, "auc", value) for value in (0.64, 0.66, 0.84, 0.86)] == [
        True,
        False,
        False,
        True,
    ]
    assert not curves.far_off(rows, "knn", 0.5)  # nothing is drawn that it could flatten
