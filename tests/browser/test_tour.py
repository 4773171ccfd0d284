"""The guided tour: every step leads somewhere, asks, and answers from the live page."""

from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from gramviz.data.samples import load
from gramviz.ui.tour import STEPS
from tests.browser.visitor import INFO, expected
from tests.ui.fake_engine import features

pytestmark = pytest.mark.browser

TABS = {"explore": "Explore", "story": "Training story", "spectra": "Spectra", "theory": "Theory lab"}
TABS["finetune"] = "Fine-tune"


def state(visitor):
    return visitor.page.evaluate("document.querySelector('.gv-guide').gramviz.state()")


def answered(visitor, number):
    """Choose an answer, and wait for what the page says to it."""
    visitor.page.locator(".gv-quiz .gv-button").nth(number).click()
    visitor.page.wait_for_function("document.querySelector('.gv-guide').gramviz.state().found !== null")
    return visitor.text(".gv-reveal")


def test_every_step_leads_to_its_tab_and_points_at_something(visit):
    visitor = visit()
    visitor.page.locator(".gv-enter").click()
    for number, step in enumerate(STEPS):
        assert state(visitor)["at"] == number
        assert visitor.text(".gv-step-name") == step.title
        name = TABS[parse_qs(step.state).get("tab", ["explore"])[0]]
        visitor.page.locator(f'[role=tab][aria-selected="true"]:has-text("{name}")').first.wait_for()
        visitor.page.locator(f"{step.look}.gv-pointed").first.wait_for(state="attached")
        if step.right is not None and not step.judge:
            wrong = (step.right + 1) % len(step.options)
            assert answered(visitor, wrong).startswith("Not so")
            assert visitor.page.locator(".gv-quiz .gv-right").count() == 1
        visitor.page.locator(".gv-forth").click()
    assert state(visitor)["at"] is None
    assert visitor.page.locator(".gv-panel").is_hidden()


def test_a_right_answer_is_told_from_a_wrong_one_by_the_picture_itself(visit, address):
    number = next(i for i, step in enumerate(STEPS) if step.judge == "pinned_mean")
    visitor = visit(f"{address}#tour={number + 1}")
    rows, columns = visitor.state["grid"]
    assert visitor.state["view"] == "difference"
    asked = (rows // 2) * columns + columns // 2
    chosen = {name: visitor.page.locator(f'select[name="{name}"]').input_value() for name in ("a", "b")}
    means = {name: np.mean(expected(load("chelsea"), key, columns, [asked])) for name, key in chosen.items()}
    right = 0 if means["a"] > means["b"] else 1
    said = answered(visitor, right)
    assert said.startswith("Right.")
    for mean in means.values():
        assert f"{mean:.3f}".replace("-", "\u2212") in said


def pairs_mean(key, patches=28):
    """Mean cosine of two different patches, in float64."""
    x = features(load("chelsea"), INFO[key], patches)[:-1]
    gram = x @ x.T
    return (gram.sum() - np.trace(gram)) / (len(x) * (len(x) - 1))


def test_what_training_did_is_answered_from_the_maps_of_the_run(visit, address):
    number = next(i for i, step in enumerate(STEPS) if step.judge == "mean_similarity")
    visitor = visit(f"{address}#tour={number + 1}")
    visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
    run = next(iter(INFO.values())).run
    ends = [
        max((i for i in INFO.values() if i.run == run and i.branch == branch), key=lambda i: i.step)
        for branch in ("trunk", "plain")
    ]
    before, after = (pairs_mean(info.id) for info in ends)
    right = 2 if abs(after - before) <= 0.02 else 0 if after > before else 1
    said = answered(visitor, right)
    assert said.startswith("Right.")
    assert f"from {before:.3f}" in said.replace("\u2212", "-")
    assert f"to {after:.3f}" in said.replace("\u2212", "-")


def rank_of(key, patches=28):
    """Effective rank, exp of the entropy of the eigenvalues of G over their sum, in float64."""
    x = features(load("chelsea"), INFO[key], patches)[:-1]
    shares = np.linalg.eigvalsh(x @ x.T).clip(0)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def test_which_arm_keeps_more_directions_is_answered_from_its_last_maps(visit, address):
    number = next(i for i, step in enumerate(STEPS) if step.judge == "effective_rank")
    visitor = visit(f"{address}#tour={number + 1}")
    visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
    ends = [
        max((i for i in INFO.values() if i.branch == arm), key=lambda i: i.step).id
        for arm in ("gram", "plain")
    ]
    gram, plain = map(rank_of, ends)
    wrong = 1 if gram > plain else 0
    said = answered(visitor, wrong)
    assert said.startswith("Not so")
    assert f"{gram:.1f} with Gram, {plain:.1f} without" in said


def test_the_repair_is_judged_by_the_fine_tune_itself(visit, address):
    number = next(i for i, step in enumerate(STEPS) if step.judge == "repair")
    visitor = visit(f"{address}#tour={number + 1}")
    visitor.page.locator(".gv-tuner .gv-start").wait_for()
    visitor.page.locator(".gv-quiz .gv-button").nth(2).click()
    visitor.page.wait_for_function(
        "document.querySelector('.gv-reveal').textContent.startsWith('The page has no answer yet')"
    )
    visitor.page.locator(".gv-tuner .gv-start").click()
    visitor.page.wait_for_function(
        "document.querySelector('.gv-guide').gramviz.state().found !== null", timeout=30_000
    )
    # the stand-in for the engine takes the distance from 200 / 255 to 150 / 255 in 50 steps
    said = visitor.text(".gv-reveal")
    assert said.startswith("Not so")
    assert "From 0.78 to 0.59 in 50 steps: by 25 %." in said
    assert state(visitor)["found"]["right"] == 1


def test_the_tour_can_be_left_and_joined_again(visit):
    visitor = visit()
    visitor.page.locator(".gv-enter").click()
    visitor.page.locator(".gv-forth").click()
    visitor.page.locator(".gv-leave").click()
    assert visitor.page.locator(".gv-panel").is_hidden()
    visitor.page.wait_for_function("!location.hash.includes('tour')")
    visitor.page.get_by_role("button", name="continue the tour").click()
    assert state(visitor)["at"] == 1
    assert "tour=2" in urlparse(visitor.page.url).fragment


def test_a_link_that_holds_a_state_beside_its_step_opens_that_state(visit, address):
    visitor = visit(f"{address}#tour=2&pins=0.1,0.1&scale=signed")
    assert state(visitor)["at"] == 1
    assert visitor.state["scale"] == "signed"
    assert [(pin["x"], pin["y"]) for pin in visitor.state["pins"]] == [(0.1, 0.1)]


@pytest.mark.parametrize("junk", ["0", "99", "x", "1.5", ""])
def test_a_step_that_there_is_not_opens_no_tour(visit, address, junk):
    assert visit(f"{address}#tour={junk}").page.locator(".gv-panel").is_hidden()
