"""What is said: the numbers of the sentences are those of the rows, whatever rows there are."""

import re

import numpy as np
import pytest

from gramviz.ui.story import CHAPTERS
from tests.ui.rows import made_rows

ROWS = made_rows()
BY_KEY = {chapter.key: chapter for chapter in CHAPTERS}


def values(rows, arm, step, name):
    return np.array([r[name] for r in rows if r["arm"] == arm and r["step"] == step])


def told(key, rows=ROWS):
    return {arm: text.replace("\u00a0", " ") for arm, text in BY_KEY[key].seen(rows)}


def pair(effect, digits=3):
    return f"{abs(effect.mean()):.{digits}f} ± {effect.std(ddof=1):.{digits}f}"


def test_the_crossing_names_the_fall_from_the_peak_and_the_rise_since_the_fork():
    fall = values(ROWS, "plain", 4000, "near_auc") - values(ROWS, "plain", 600, "near_auc")
    rise = values(ROWS, "plain", 4000, "knn") - values(ROWS, "trunk", 200, "knn")
    assert told("crossing")["plain"] == (
        f"Near AUC ends {pair(fall)} below its peak at step 600 (clear); "
        f"from the fork on, k-NN rises by {pair(rise)} (clear). n = 3."
    )
    held = values(ROWS, "gram", 4000, "near_auc") - values(ROWS, "plain", 600, "near_auc")
    assert f"ends {pair(held)} below the peak without Gram" in told("crossing")["gram"]


def test_quality_and_losses_compare_with_the_run_without_gram():
    for key, name in (("quality", "near_auc"), ("losses", "heldout_ibot")):
        gap = values(ROWS, "gram", 4000, name) - values(ROWS, "plain", 4000, name)
        assert f"is {'higher' if gap.mean() > 0 else 'lower'} by {pair(gap)} (clear)" in told(key)["gram"]
    assert set(told("quality")) == {"gram", "gram_hires"}


def test_drift_tells_where_an_arm_turned_back():
    rows = [{**r, "top1_energy": 0.9 + 0.001 * r["seed"]} if r.get("step") == 600 else r for r in ROWS]
    start = values(rows, "trunk", 200, "top1_energy")
    swing, whole = (values(rows, "plain", s, "top1_energy") - start for s in (600, 4000))
    text = told("drift", rows)["plain"]
    assert f"top-1 energy rises by {pair(swing)} (clear) until step 600; and over the whole arm rises" in text
    assert f"{pair(whole)}" in text


def test_norms_tell_the_change_since_the_fork():
    change = values(ROWS, "plain", 4000, "stable_rank") - values(ROWS, "trunk", 200, "stable_rank")
    assert f"stable rank falls by {abs(change.mean()):.2f}" in told("norms")["plain"]


def test_residuals_tell_the_last_level_and_its_range():
    share = values(ROWS, "plain", 4000, "residual_top1")
    assert f"holds {share.mean():.3f} ({share.min():.3f} to {share.max():.3f})" in told("residuals")["plain"]
    common = values(ROWS, "gram", 4000, "global_common_b5")
    assert f"explains {common.mean():.3f}" in told("residuals")["gram"]


def test_locality_tells_of_near_and_far():
    far = np.array([r["locality"][7] for r in ROWS if r["arm"] == "plain" and r["step"] == 4000])
    start = np.array([r["locality"][7] for r in ROWS if r["arm"] == "trunk" and r["step"] == 200])
    assert f"that of patches 8 apart rises by {(far - start).mean():.3f}" in told("locality")["plain"]


def test_one_seed_has_no_spread_and_no_verdict():
    for chapter in CHAPTERS:
        for _, text in chapter.seen(made_rows(seeds=(4,))):
            assert text.endswith("One seed.")
            assert not re.search(r"\u00b1|clear|weak|no effect", text)


@pytest.mark.parametrize("kept", [(), ("trunk",), ("plain",), ("gram", "gram_late"), ("trunk", "gram_hires")])
def test_missing_arms_are_passed_over(kept):
    rows = [r for r in ROWS if r["arm"] in kept]
    for chapter in CHAPTERS:
        assert {arm for arm, _ in chapter.seen(rows)} <= set(kept)


def test_measures_that_no_row_has_are_named():
    bare = [{k: v for k, v in r.items() if not k.startswith(("residual", "heldout_ibot"))} for r in ROWS]
    assert BY_KEY["losses"].missing(ROWS) == ()
    assert BY_KEY["losses"].missing(bare) == ("iBOT loss",)
    assert len(BY_KEY["residuals"].missing(bare)) == 3
    assert "iBOT" not in " ".join(told("losses", bare).values())


def test_every_sentence_is_one_paragraph_of_plain_words():
    for chapter in CHAPTERS:
        assert chapter.theory.endswith(".")
        for _, text in chapter.seen(ROWS):
            assert text.endswith(".")
            assert not re.search(r"[<>&{}]|nan|None", text)
