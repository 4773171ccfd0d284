"""Effects: hand-made rows with known changes, and numpy's mean and standard deviation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gramviz.ui.effects import Effect, change, farthest, from_peak, gap, peak
from tests.ui.test_lines import row

# near AUC: the mean over the two seeds is highest at step 600
ROWS = [
    *(row("trunk", seed, 200, near_auc=0.70 + 0.01 * seed, knn=0.2, effective_rank=4.0) for seed in (0, 1)),
    *(row("plain", seed, 600, near_auc=0.80 + 0.02 * seed, knn=0.2) for seed in (0, 1)),
    *(row("plain", seed, 4000, near_auc=0.60, knn=0.3 + 0.1 * seed, effective_rank=3.0) for seed in (0, 1)),
    *(row("gram", seed, 4000, near_auc=0.79 + 0.01 * seed, knn=0.32, effective_rank=3.9) for seed in (0, 1)),
]


def test_a_change_is_from_the_fork_to_the_last_step_seed_by_seed():
    assert change(ROWS, "plain", "knn").values == pytest.approx((0.1, 0.2))
    assert change(ROWS, "gram", "near_auc").values == pytest.approx((0.09, 0.09))
    assert change(ROWS, "gram_hires", "knn") is None
    assert change(ROWS, "plain", "auc") is None
    assert change([r for r in ROWS if r["arm"] != "trunk"], "plain", "knn") is None


def test_the_peak_is_that_of_the_run_without_gram():
    assert peak(ROWS, "near_auc") == 600
    assert peak(ROWS, "auc") is None
    assert from_peak(ROWS, "plain", "near_auc").values == pytest.approx((-0.2, -0.22))
    assert from_peak(ROWS, "gram", "near_auc").values == pytest.approx((-0.01, -0.02))
    assert from_peak(ROWS, "gram_hires", "near_auc") is None


def test_a_gap_is_an_arm_less_the_run_without_gram_at_their_last_common_step():
    assert gap(ROWS, "gram", "knn").values == pytest.approx((0.02, -0.08))
    assert gap(ROWS, "gram", "near_auc").values == pytest.approx((0.19, 0.20))
    only_trunk = [r for r in ROWS if r["step"] != 4000]
    assert gap([*only_trunk, row("gram", 0, 1000, knn=0.5)], "gram", "knn") is None


def test_the_farthest_step_is_told_where_an_arm_came_back():
    levels = {200: 0.5, 600: 0.8, 1000: 0.75, 4000: 0.6}
    rows = [
        row("trunk" if step == 200 else "plain", seed, step, cls_alignment=level + 0.1 * seed)
        for seed in (0, 1)
        for step, level in levels.items()
    ]
    step, effect = farthest(rows, "plain", "cls_alignment")
    assert step == 600
    assert effect.values == pytest.approx((0.3, 0.3))
    assert (
        farthest([r for r in rows if r["step"] < 1000], "plain", "cls_alignment") is None
    )  # the last one is
    assert farthest([r for r in rows if r["step"] != 200], "plain", "cls_alignment") is None  # no fork
    assert farthest(rows, "gram", "cls_alignment") is None


def test_only_seeds_that_both_have_are_compared():
    rows = [*ROWS, row("gram", 2, 4000, near_auc=0.5)]
    assert len(gap(rows, "gram", "near_auc").values) == len(from_peak(rows, "gram", "near_auc").values) == 2


def test_what_counts_as_small_is_relative_where_the_measure_says_so():
    assert change(ROWS, "gram", "effective_rank").least == pytest.approx(0.4)
    assert change(ROWS, "plain", "near_auc").least == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("values", "strength"),
    [
        ((0.1,), "one seed"),
        ((0.1, -0.001, 0.2), "no effect"),
        ((0.0, 0.1), "no effect"),
        ((0.01, 0.011, 0.012), "weak"),  # below `least`
        ((0.03, 0.3), "weak"),  # below twice the spread
        ((-0.1, -0.11, -0.12), "clear"),
    ],
)
def test_strength(values, strength):
    assert Effect(values, least=0.02).strength == strength


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6))
def test_mean_and_spread_are_numpys(values):
    effect = Effect(tuple(values), least=0.02)
    assert effect.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert effect.spread == pytest.approx(np.std(values, ddof=1), abs=1e-6)


def test_words():
    def told(*values):
        return Effect(values, 0.02).words("rises by {}", "falls by {}", 3).replace("\u00a0", " ")

    assert told(0.1) == "rises by 0.100"
    assert told(-0.1, -0.12) == "falls by 0.110 ± 0.014 (clear)"
    assert told(0.01, 0.012) == "rises by 0.011 ± 0.001 (weak)"
    assert told(-0.01, 0.002) == "stays within the seeds’ spread, −0.004 ± 0.008 (no effect)"
