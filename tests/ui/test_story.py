"""What is said: the numbers of the sentences are those of the rows, whatever rows there are."""

import re

import numpy as np
import pytest

from gramviz.ui.story import CHAPTERS
from tests.ui.rows import made_rows

THIN = "\u202f"
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
        f"At step 4{THIN}000, near AUC is {pair(fall)} below its peak at step 600 (clear); "
        f"from step 200 to 4{THIN}000, k-NN rises by {pair(rise)} (clear). n = 3."
    )
    held = values(ROWS, "gram", 4000, "near_auc") - values(ROWS, "plain", 600, "near_auc")
    assert held.max() < 0
    assert np.abs(held).max() < 0.02
    assert (
        f"near AUC is {pair(held)} below the peak without Gram at step 600 (small)"
        in told("crossing")["gram"]
    )


def test_quality_and_losses_compare_with_the_run_without_gram():
    for key, name in (("quality", "near_auc"), ("losses", "heldout_ibot")):
        gap = values(ROWS, "gram", 4000, name) - values(ROWS, "plain", 4000, name)
        assert f"is {'higher' if gap.mean() > 0 else 'lower'} by {pair(gap)} (clear)" in told(key)["gram"]
        assert told(key)["gram"].startswith(f"At step 4{THIN}000, ")
    assert set(told("quality")) == {"gram", "gram_hires"}


def test_drift_tells_where_an_arm_turned_back():
    rows = [{**r, "top1_energy": 0.9 + 0.001 * r["seed"]} if r.get("step") == 600 else r for r in ROWS]
    start = values(rows, "trunk", 200, "top1_energy")
    swing, whole = (values(rows, "plain", s, "top1_energy") - start for s in (600, 4000))
    text = told("drift", rows)["plain"]
    assert text.startswith(
        f"From step 200 to 600, top-1 energy rises by {pair(swing)} (clear); from step 200 to 4"
    )
    assert f"top-1 energy rises by {pair(whole)}" in text


def test_drift_compares_the_steps_of_two_peaks_without_making_them_one():
    (text,) = BY_KEY["drift"].remarks(ROWS)
    assert text.startswith(
        f"Without Gram, near AUC is highest at step 600, top-1 energy at step 4{THIN}000: "
    )
    assert BY_KEY["drift"].remarks([r for r in ROWS if r["arm"] != "plain"]) == ()


def test_a_measure_at_chance_has_no_part_in_the_verdict():
    def with_miou(level):
        return [{**r, "scenes_miou": level} if r.get("step") == 4000 else r for r in ROWS]

    assert "mIoU" in told("quality")["gram"]
    assert BY_KEY["quality"].remarks(ROWS) == ()
    assert "mIoU" not in " ".join(told("quality", with_miou(0.12)).values())
    assert BY_KEY["quality"].remarks(with_miou(0.12)) == ("mIoU on scenes: no signal (at chance).",)
    one_arm_above = [{**r, "scenes_miou": 0.2} if r["arm"] == "gram" else r for r in with_miou(0.12)]
    assert "mIoU" in told("quality", one_arm_above)["gram"]
    unknown = [r for r in with_miou(0.0) if r["arm"] != "baseline:chance"]
    assert "mIoU" in told("quality", unknown)["gram"]  # where guessing was not measured, nothing is left out


def test_norms_tell_the_change_since_the_fork():
    change = values(ROWS, "plain", 4000, "stable_rank") - values(ROWS, "trunk", 200, "stable_rank")
    assert f"stable rank falls by {abs(change.mean()):.2f}" in told("norms")["plain"]


def test_residuals_tell_the_last_level_and_its_range():
    share = values(ROWS, "plain", 4000, "residual_top1")
    assert f"holds {share.mean():.3f} ({share.min():.3f} to {share.max():.3f})" in told("residuals")["plain"]


def test_residuals_tell_both_shares_of_the_gradient_over_the_blocks_and_those_of_an_untrained_network():
    def span(arm, step, part):
        means = [values(ROWS, arm, step, f"global_{part}_b{block}").mean() for block in (3, 4, 5)]
        return f"{min(means):.2f} to {max(means):.2f}"

    assert (
        f"of the global gradient at blocks 3 to 5, one direction holds {span('gram', 4000, 'top1')} "
        f"and a row common to all patches {span('gram', 4000, 'common')}"
    ) in told("residuals")["gram"]
    assert BY_KEY["residuals"].remarks(ROWS) == (
        f"An untrained network (step 0) has {values(ROWS, 'trunk', 0, 'residual_top1').mean():.3f} in one direction "
        f"of the residuals; {span('trunk', 0, 'top1')} in one direction of the global gradient at blocks 3 to 5, "
        f"and {span('trunk', 0, 'common')} in its common row.",
    )
    assert BY_KEY["residuals"].remarks([r for r in ROWS if r.get("step") != 0]) == ()
    one_block = [{k: v for k, v in r.items() if not k.endswith(("_b3", "_b5"))} for r in ROWS]
    assert "global gradient at block 4, one direction holds" in told("residuals", one_block)["gram"]


def test_locality_tells_of_near_and_far():
    far = np.array([r["locality"][7] for r in ROWS if r["arm"] == "plain" and r["step"] == 4000])
    start = np.array([r["locality"][7] for r in ROWS if r["arm"] == "trunk" and r["step"] == 200])
    assert f"that of patches 8 apart rises by {(far - start).mean():.3f}" in told("locality")["plain"]


def test_one_seed_has_no_spread_and_no_verdict():
    for chapter in CHAPTERS:
        for _, text in chapter.seen(made_rows(seeds=(4,))):
            assert text.endswith("One seed.")
            assert not re.search(r"\u00b1|clear|weak|small|no effect|disagree", text)


def test_two_seeds_have_a_spread_and_no_verdict():
    for chapter in CHAPTERS:
        for _, text in chapter.seen(made_rows(seeds=(1, 4))):
            assert text.replace("\u00a0", " ").endswith("n = 2.")
            assert not re.search(r"clear|weak|small|no effect|disagree", text)


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
    no_gradient = [{k: v for k, v in r.items() if not k.startswith("global_")} for r in ROWS]
    assert BY_KEY["residuals"].missing(ROWS) == ()
    assert BY_KEY["residuals"].missing(no_gradient) == ("gradient of the global loss",)
    assert "gradient" not in " ".join(told("residuals", no_gradient).values())
    assert "iBOT" not in " ".join(told("losses", bare).values())


def test_every_sentence_is_one_paragraph_of_plain_words():
    for chapter in CHAPTERS:
        assert chapter.theory.endswith(".")
        for text in (*chapter.remarks(ROWS), *(text for _, text in chapter.seen(ROWS))):
            assert text.endswith(".")
            assert not re.search(r"[<>&{}]|nan|None", text)
