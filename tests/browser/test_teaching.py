"""Lecture mode, what an address hides, the notes for lecturers, and every exercise with right and wrong answers."""

import re
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from gramviz.data.samples import load
from gramviz.ui.exercises import EXERCISES, last_ids, named
from gramviz.ui.lessons import LESSONS
from gramviz.ui.teaching import PARTS, TABS
from tests.browser.visitor import CHECKPOINTS, INFO
from tests.ui.fake_engine import features

pytestmark = pytest.mark.browser

HALL = {"viewport": {"width": 1920, "height": 1080}}
IDS = last_ids(CHECKPOINTS)
NUMBERS = {step.judge: number for number, step in enumerate(EXERCISES, 1)}


def state(visitor):
    return visitor.page.evaluate("document.querySelector('.gv-guide').gramviz.state()")


def open_tab(visitor):
    return visitor.page.locator('.gv-tabs [role=tab][aria-selected="true"]').first.inner_text()


def wait_for_tab(visitor, name):
    visitor.page.locator(
        f'.gv-tabs [role=tab][aria-selected="true"]:has-text("{TABS[name]}")'
    ).first.wait_for()


# ---- lecture mode


def test_type_is_large_and_contrast_high_without_anything_beside_the_page(visit, address):
    plain, hall = visit(**HALL), visit(f"{address}#lecture=1", **HALL)
    size = "(s) => parseFloat(getComputedStyle(document.querySelector(s)).fontSize)"
    for selector, least in (
        (".gv-explorer", 22),
        (".gv-reading", 28),
        (".gv-measures", 19),
        ("#gv-story-button", 24),
    ):
        assert hall.page.evaluate(size, selector) >= least
        assert hall.page.evaluate(size, selector) > plain.page.evaluate(size, selector)
    for hidden in (".gv-masthead p", ".gv-explorer .gv-help", ".gv-about"):
        assert hall.page.locator(hidden).first.is_hidden()
    assert hall.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    soft = "getComputedStyle(document.querySelector('.gv-explorer .gv-caption')).color"
    assert max(map(int, hall.page.evaluate(soft)[4:-1].split(","))) < 64


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_fits_the_hall_and_a_phone(visit, address, tab):
    visitor = visit(f"{address}#lecture=1&tab={tab}", **HALL)
    wait_for_tab(visitor, tab)
    for size in (HALL["viewport"], {"width": 390, "height": 844}):
        visitor.page.set_viewport_size(size)
        visitor.page.wait_for_timeout(300)
        assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")


def test_keys_of_a_presenter(visit, address):
    visitor = visit(f"{address}#lecture=1", **HALL)
    visitor.press("PageDown")
    wait_for_tab(visitor, "story")
    visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
    visitor.press(" ")
    playing = "document.querySelector('.gv-player').gramviz.state().playing"
    visitor.page.wait_for_function(playing)
    visitor.press(" ")
    visitor.page.wait_for_function(f"!({playing})")
    visitor.press("PageUp")
    wait_for_tab(visitor, "explore")
    visitor.hover(4, 11)
    visitor.press("p")
    assert [(pin["x"], pin["y"]) for pin in visitor.state["pins"]] == [(11.5 / 28, 4.5 / 19)]
    visitor.press("PageUp")  # there is nothing before the first
    assert open_tab(visitor) == TABS["explore"]


def test_in_the_tour_the_keys_turn_its_pages(visit, address):
    visitor = visit(f"{address}#lecture=1&tour=1", **HALL)
    visitor.press("PageDown")
    assert state(visitor)["at"] == 1
    visitor.press("b")
    assert state(visitor)["at"] == 0
    assert "lecture=1" in urlparse(visitor.page.url).fragment


def test_the_pointer_is_right_in_full_screen(visit, address):
    visitor = visit(f"{address}#lecture=1", **HALL)
    visitor.press("f")
    visitor.page.wait_for_function("Boolean(document.fullscreenElement)")
    visitor.drawn()
    visitor.hover(13, 21)
    assert visitor.text(".gv-explorer .gv-spot") == "row 13, column 21"
    ring = visitor.page.locator(".gv-ring")
    box, (x, y) = ring.bounding_box(), visitor.spot(13, 21)
    assert abs(box["x"] + box["width"] / 2 - x) < 2
    assert abs(box["y"] + box["height"] / 2 - y) < 2
    visitor.press("f")
    visitor.page.wait_for_function("!document.fullscreenElement")


def test_keys_do_nothing_elsewhere_and_while_typing(visit, address):
    visitor = visit()
    visitor.hover(4, 11)
    visitor.press("p")
    visitor.press("PageDown")
    assert (visitor.state["pins"], open_tab(visitor)) == ([], TABS["explore"])
    visitor = visit(f"{address}#lecture=1")
    visitor.page.locator(".gv-open-notes").click()
    visitor.press("PageDown")
    assert open_tab(visitor) == TABS["explore"]


def test_lecture_mode_is_entered_and_left_in_the_notes(visit):
    visitor = visit()
    box = visitor.page.get_by_role("checkbox", name="Lecture mode")
    visitor.page.locator(".gv-open-notes").click()
    box.check()
    visitor.page.wait_for_function("location.hash.includes('lecture=1')")
    assert visitor.page.locator("html.gv-lecture").count() == 1
    box.uncheck()
    visitor.page.wait_for_function("!location.hash.includes('lecture')")
    assert visitor.page.locator("html.gv-lecture").count() == 0


# ---- what an address hides


def test_exactly_one_experiment_is_handed_out(visit, address):
    hidden = [name for name in PARTS if name not in ("patches", "view")]
    visitor = visit(f"{address}#only=explore&hide={','.join(hidden)}")
    assert visitor.page.locator(".gv-tabs [role=tab]:visible").count() == 0
    for gone in (".gv-masthead", ".gv-sources", ".gv-checkpoints", ".gv-layer", ".gv-link", ".gv-enter"):
        assert visitor.page.locator(gone).first.is_hidden(), gone
    for gone in (".gv-open-notes", ".gv-open-exports", ".gv-tree .gv-measures"):
        assert visitor.page.locator(gone).first.is_hidden(), gone
    for left in (".gv-patches", ".gv-view", ".gv-explorer .gv-photo"):
        assert visitor.page.locator(left).first.is_visible(), left


def test_every_part_can_be_hidden(visit):
    visitor = visit()
    visible = """(part) => {
        document.documentElement.dataset.hide = part;
        return [...document.querySelectorAll('.gv-page *')].filter((node) => node.clientWidth).length;
    }"""
    everything = visitor.page.evaluate(visible, "")
    for part in PARTS:
        assert visitor.page.evaluate(visible, part) < everything, part


def test_a_link_to_a_tab_that_is_hidden_opens_one_that_is_not(visit, address):
    visitor = visit(f"{address}#only=spectra,story&tab=theory")
    wait_for_tab(visitor, "spectra")
    shown = visitor.page.locator(".gv-tabs .tab-container [role=tab]:visible").all_inner_texts()
    assert shown == [TABS["story"], TABS["spectra"]]


def test_junk_hides_nothing(visit, address):
    visitor = visit(f"{address}#only=attic&hide=everything,..")
    assert visitor.page.locator(".gv-tabs .tab-container [role=tab]:visible").count() == len(TABS)


def test_the_handed_out_link_opens_what_is_left(visit):
    visitor = visit()
    visitor.click(4, 11)
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.page.locator(".gv-open-notes").click()
    for name in ("Training story", "Spectra", "Theory lab", "Fine-tune", "photographs"):
        visitor.page.get_by_role("checkbox", name=name, exact=True).uncheck()
    visitor.page.get_by_role("button", name="copy the link").click()
    visitor.page.wait_for_function(
        "document.querySelector('.gv-handed').textContent === 'The link is copied.'"
    )
    link = visitor.page.evaluate("navigator.clipboard.readText()")
    other = visit(link)
    assert other.page.locator(".gv-sources").is_hidden()
    assert other.page.locator(".gv-tabs .tab-container [role=tab]:visible").count() == 0
    assert len(other.state["pins"]) == 1
    visitor.page.get_by_role("checkbox", name="Explore", exact=True).uncheck()
    visitor.page.get_by_role("button", name="copy the link").click()
    visitor.page.wait_for_function(
        "document.querySelector('.gv-handed').textContent.startsWith('Leave at least')"
    )


# ---- plans


def test_every_link_of_a_plan_opens_its_state(visit):
    visitor = visit(**HALL)
    for lesson in LESSONS:
        assert sum(part.minutes for part in lesson.parts) == lesson.minutes
        for index, part in enumerate(lesson.parts):
            visitor.page.locator(".gv-open-notes").click()
            plan = visitor.page.locator(f'.gv-plans details:has-text("{lesson.title}")')
            if plan.get_attribute("open") is None:
                plan.locator("summary").click()
            plan.locator("a").nth(index).click()
            wanted = parse_qs(part.state)
            walk = next((name for name in ("tour", "exercise") if name in wanted), None)
            if walk:
                assert state(visitor)["at"] == int(wanted[walk][0]) - 1
                assert state(visitor)["walk"] == walk
                visitor.page.locator(".gv-leave").click()
            else:
                wait_for_tab(visitor, wanted.get("tab", ["explore"])[0])
            assert visitor.page.locator("html.gv-lecture").count() == 1


# ---- exercises


def exercise(visit, address, judge):
    visitor = visit(f"{address}#exercise={NUMBERS[judge]}")
    assert state(visitor)["at"] == NUMBERS[judge] - 1
    return visitor


def check(visitor):
    """Press "check", and what the page says to it."""
    visitor.page.locator(".gv-check").click()
    visitor.page.wait_for_function("document.querySelector('.gv-guide').gramviz.state().found !== null")
    return visitor.text(".gv-reveal")


def number_after(words, said):
    return float(re.search(f"{words} ([\u2212\\d.]+\\d)", said)[1].replace("\u2212", "-"))


def pin(visitor, index):
    columns = visitor.state["grid"][1]
    visitor.page.evaluate("scrollTo(0, 0)")
    visitor.page.locator(".gv-panel").evaluate("(n) => (n.style.visibility = 'hidden')")
    visitor.click(index // columns, index % columns)
    visitor.page.locator(".gv-panel").evaluate("(n) => (n.style.visibility = '')")


def cosines_of(key, patches=20):
    x = features(load("chelsea"), INFO[key], patches)
    return x[:-1] @ x[:-1].T, x[:-1] @ x[-1]


def test_the_states_of_exercises_name_checkpoints_that_there_are():
    for step in EXERCISES:
        told = named(step.state, IDS)
        assert "{" not in told
        for key in parse_qs(told).get("ids", [""])[0].split(","):
            assert not key or key in INFO
    assert named("a=1&ids={trunk},{gram}&b=2", {"trunk": "t"}) == "a=1&b=2"
    assert len(EXERCISES) >= 6


def test_the_patch_that_changes_most(visit, address):
    visitor = exercise(visit, address, "most_changed")
    changes = np.abs(cosines_of(IDS["plain"])[0] - cosines_of(IDS["trunk"])[0]).mean(1)
    assert check(visitor) == "Not yet. Pin exactly one patch."
    pin(visitor, int(changes.argmin()))
    said = check(visitor)
    assert said.startswith("Not yet.")
    assert abs(number_after("mean change is", said) - changes.min()) < 0.002
    pin(visitor, int(changes.argmax()))
    said = check(visitor)
    assert said.startswith("Right.")
    assert abs(number_after("mean change is", said) - changes.max()) < 0.002
    assert f"number 1 of {len(changes)}" in said


def test_the_patch_nearest_to_cls(visit, address):
    visitor = exercise(visit, address, "nearest_to_cls")
    assert visitor.state["cls"]
    cosines = cosines_of(IDS["plain"])[1]
    assert check(visitor) == "Not yet. Pin exactly one patch."
    order = cosines.argsort()[::-1]
    for place, verdict in ((20, "Not yet."), (0, "Right."), (2, "Right.")):
        pin(visitor, int(order[place]))
        said = check(visitor)
        assert said.startswith(verdict)
        assert abs(number_after("CLS is", said) - cosines[order[place]]) < 0.002


def test_how_many_directions_matter(visit, address):
    visitor = exercise(visit, address, "energy")
    visitor.page.wait_for_function("document.querySelector('.gv-spectral')?.gramviz?.ready()")
    gram = cosines_of(IDS["plain"])[0]
    shares = np.sort(np.linalg.eigvalsh(gram))[::-1] / len(gram)
    right = int(np.searchsorted(shares.cumsum(), 0.9)) + 1
    box = visitor.page.locator('.gv-counter input[type="number"]')
    for k, verdict in ((right + 1, "Not yet."), (right, "Right.")):
        box.fill(str(k))
        box.press("Enter")
        said = check(visitor)
        assert said.startswith(verdict)
        assert f"{100 * shares[:k].sum():.1f} %" in said


def test_when_it_was_worst(visit, address):
    visitor = exercise(visit, address, "peak")
    visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
    run = [info for info in CHECKPOINTS if info.branch in ("trunk", "plain")]
    values = {}
    for info in run:
        gram = cosines_of(info.id, 28)[0]
        values[info.step] = (gram.sum() - len(gram)) / (len(gram) * (len(gram) - 1))
    best, worst = max(values, key=values.get), min(values, key=values.get)
    stops = visitor.page.evaluate("document.querySelector('.gv-player').gramviz.state().stops")
    for step, verdict in ((worst, "Not yet."), (best, "Right.")):
        visitor.page.evaluate(
            "(p) => document.querySelector('.gv-player').gramviz.goTo(p)", stops.index(step)
        )
        said = check(visitor)
        assert said.startswith(verdict)
        assert f"It is {values[step]:.3f} here" in said
    visitor.page.evaluate("document.querySelector('.gv-player').gramviz.goTo(0.5)")
    assert check(visitor).startswith("Not yet. Stand at a saved step")


def settled(visitor, card):
    visitor.page.wait_for_function(
        f"document.querySelector('#gv-card-{card} .gv-card')?.gramviz?.state().settled", timeout=30_000
    )


def move(visitor, card, name, value):
    """Set a control of a card, and wait for its answer."""
    control = visitor.page.locator(f'#gv-card-{card} [name="{name}"]').first
    if control.evaluate("(n) => n.tagName") == "SELECT":
        control.select_option(value)
    elif control.get_attribute("type") == "radio":
        visitor.page.locator(f'#gv-card-{card} [name="{name}"][value="{value}"]').check(force=True)
    else:
        control.evaluate(
            "(n, v) => { n.value = v; n.dispatchEvent(new Event('input', {bubbles: true})); }", value
        )
    settled(visitor, card)


def test_a_drift_that_lowers_r(visit, address):
    visitor = exercise(visit, address, "lowers")
    settled(visitor, "lemma2")
    assert "at least 0.2" in check(visitor)
    move(visitor, "lemma2", "size", "0.5")
    assert check(visitor).startswith("Not yet. R goes from")
    move(visitor, "lemma2", "direction", "opposite")
    assert check(visitor).startswith("Right. R goes from")


def test_what_the_gram_loss_does_not_see(visit, address):
    visitor = exercise(visit, address, "unseen")
    settled(visitor, "eq6")
    assert check(visitor).startswith("Not yet.")
    move(visitor, "eq6", "map", "scaling")
    said = check(visitor)
    assert said.startswith("Not yet.")
    assert "turn by 0 degrees" in said
    move(visitor, "eq6", "map", "rotation")
    assert check(visitor).startswith("Right. Features turn by 90 degrees")


def test_enough_gram_and_not_too_much(visit, address, engine):
    visitor = exercise(visit, address, "anchor")
    tuner = "document.querySelector('.gv-tuner')?.gramviz?.state()"
    visitor.page.wait_for_function(tuner)
    plan = visitor.page.evaluate(f"{tuner}.plan")
    assert (plan["dino"], plan["gram"], plan["control"]) == (1, 0.5, True)
    assert check(visitor).startswith("Not yet. Run it to its end")
    tries = (("1", "0.80 of", "Not yet."), ("12", "higher by 20.0 %", "Not yet."), ("5", "0.00 of", "Right."))
    for number, (weight, said, verdict) in enumerate(tries, 1):
        knob = visitor.page.locator('.gv-tuner [name="gram"]').first
        knob.evaluate(
            "(n, v) => { n.value = v; n.dispatchEvent(new Event('input', {bubbles: true})); }", weight
        )
        visitor.page.locator(".gv-tuner .gv-start").click()
        ended = f"{tuner}.asked === {number} && {tuner}.run && {tuner}.phase === 'over'"
        visitor.page.wait_for_function(ended, timeout=30_000)
        found = check(visitor)
        assert found.startswith(verdict), (weight, found)
        assert said in found
    engine.refusal = "There is no place left."
    try:
        visitor.page.locator(".gv-tuner .gv-start").click()
        visitor.page.wait_for_function(f"{tuner}.run === null && {tuner}.phase === 'over'", timeout=30_000)
        assert check(visitor).startswith(
            "Not yet. Run it to its end"
        )  # what was there before is not judged again
    finally:
        engine.refusal = ""


def test_exercises_can_be_walked_and_left(visit, address):
    visitor = visit(f"{address}#exercise=1")
    visitor.page.locator(".gv-forth").click()
    assert (state(visitor)["walk"], state(visitor)["at"]) == ("exercise", 1)
    assert "exercise=2" in urlparse(visitor.page.url).fragment
    visitor.page.locator(".gv-leave").click()
    visitor.page.wait_for_function("!location.hash.includes('exercise')")
    assert visitor.page.get_by_role("button", name="take the tour").is_visible()
