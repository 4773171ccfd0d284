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
    effect = farthest(rows, "plain", "cls_alignment")
    assert effect.steps == (200, 600)
    assert effect.values == pytest.approx((0.3, 0.3))
    assert (
        farthest([r for r in rows if r["step"] < 1000], "plain", "cls_alignment") is None
    )  # the last one is
    assert farthest([r for r in rows if r["step"] != 200], "plain", "cls_alignment") is None  # no fork
    assert farthest(rows, "gram", "cls_alignment") is None


def test_only_seeds_that_both_have_are_compared():
    rows = [*ROWS, row("trunk", 2, 200, near_auc=0.7), row("gram", 2, 4000, near_auc=0.5)]
    assert len(gap(rows, "gram", "near_auc").values) == len(from_peak(rows, "gram", "near_auc").values) == 2


@pytest.mark.parametrize(
    "doubtful",
    [
        [row("plain", 2, 4000, knn=0.9), row("gram", 2, 4000, knn=0.1)],  # no trunk
        [row("trunk", 2, 100, knn=0.2), row("plain", 2, 4000, knn=0.9), row("gram", 2, 4000, knn=0.1)],
        [
            row("trunk", 2, 200, knn=0.2),
            *(row(arm, 2, step, knn=0.9) for arm in ("plain", "gram") for step in (200, 4000)),
        ],
    ],
    ids=["no trunk", "trunk ends early", "arm begins at the fork"],
)
def test_a_seed_whose_fork_is_in_doubt_is_left_out(doubtful):
    for effect in (change, gap, from_peak):
        assert effect([*ROWS, *doubtful], "gram", "knn") == effect(ROWS, "gram", "knn")
    assert peak([*ROWS, *doubtful], "knn") == peak(ROWS, "knn")


def test_an_effect_knows_its_steps():
    assert change(ROWS, "plain", "knn").steps == (200, 4000)
    assert from_peak(ROWS, "gram", "near_auc").steps == (600, 4000)
    ended = [r for r in ROWS if r["arm"] != "gram"] + [
        row("gram", s, 600, knn=0.3, near_auc=0.7) for s in (0, 1)
    ]
    assert gap(ended, "gram", "knn").steps == (600, 600)
    assert change(ended, "gram", "near_auc").steps == (200, 600)


def test_what_counts_as_small_is_relative_where_the_measure_says_so():
    assert change(ROWS, "gram", "effective_rank").least == pytest.approx(0.4)
    assert change(ROWS, "plain", "near_auc").least == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("values", "strength"),
    [
        ((0.1,), ""),
        ((0.1, 0.1), ""),  # two seeds are too few
        ((0.10, 0.12, -0.001), "seeds disagree"),
        ((0.10, -0.09, 0.01), "no effect"),  # both signs, and a small mean
        ((0.01, 0.011, 0.012), "small"),
        ((0.0, 0.0, 0.0), "no effect"),
        ((0.01, 0.011, 0.025), "small"),
        ((0.03, 0.3, 0.3), "weak"),  # below twice the spread
        ((-0.1, -0.11, -0.12), "clear"),
    ],
)
def test_strength(values, strength):
    assert Effect(values, 0.02, (200, 4000)).strength == strength


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6))
def test_mean_and_spread_are_numpys(values):
    effect = Effect(tuple(values), 0.02, (200, 4000))
    assert effect.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert effect.spread == pytest.approx(np.std(values, ddof=1), abs=1e-6)


def test_words():
    def told(*values):
        effect = Effect(values, 0.02, (200, 4000))
        return effect.words("rises by {}", "falls by {}", "changes by {}", 3).replace("\u00a0", " ")

    assert told(0.1) == "rises by 0.100"
    assert told(-0.1, -0.12) == "falls by 0.110 ± 0.014"
    assert told(-0.1, -0.11, -0.12) == "falls by 0.110 ± 0.010 (clear)"
    assert told(0.01, 0.02, 0.024) == "rises by 0.018 ± 0.007 (small)"
    assert told(-0.01, 0.002, -0.004) == "changes by −0.004 ± 0.006 (no effect)"
    assert told(0.1, -0.1, 0.3) == "changes by +0.100 ± 0.200 (seeds disagree)"
