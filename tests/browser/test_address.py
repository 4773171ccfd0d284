"""The address of the page holds what is seen, and opens it again in another browser."""

from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from gramviz.data.samples import load
from tests.browser.test_spectra import SpectraTab
from tests.browser.test_story import Story
from tests.browser.visitor import INFO, bound, expected, noise, png

pytestmark = pytest.mark.browser

SHOWN = [key for key, info in INFO.items() if info.shown]
# what was done is in the address soon, later where the page is busy: as soon as nothing is left to be said
SETTLE = """() => new Promise((done) => {
    const look = () => (Object.keys(window.gramvizUnsaid.parts).length ? setTimeout(look, 50) : done());
    setTimeout(look, 600);
})"""


def said(visitor):
    """The state in the address, once it has settled."""
    visitor.page.evaluate(SETTLE)
    return {name: value[0] for name, value in parse_qs(urlparse(visitor.page.url).fragment).items()}


def test_an_untouched_page_has_a_plain_address(visit):
    assert said(visit()) == {}


def test_a_link_opens_picture_patches_checkpoints_pins_and_view_elsewhere(visit):
    visitor = visit()
    visitor.page.locator('.gv-sample[data-id="coffee"]').click()
    visitor.choose("patches", "20")
    visitor.ready()
    visitor.click(8, 9)
    visitor.click(8, 15, "Shift")
    visitor.click(3, 4, "Alt")
    visitor.choose("scale", "signed")
    visitor.choose("pixels", "smooth")
    visitor.page.locator('.gv-controls input[name="overlay"]').check()
    parts = said(visitor)
    assert (parts["sample"], parts["patches"], parts["scale"]) == ("coffee", "20", "signed")
    assert (parts["pixels"], parts["overlay"]) == ("smooth", "on")
    before = visitor.state
    other = visit(visitor.page.url)
    after = other.state
    for name in ("grid", "key", "view", "scale", "pixels", "overlay", "cls"):
        assert after[name] == before[name]
    assert [pin["sign"] for pin in after["pins"]] == [1, 1, -1]
    rows, columns = after["grid"]
    assert rows * columns == len(other.cosines(SHOWN[0]))
    positive, negative = [8 * columns + 9, 8 * columns + 15], [3 * columns + 4]
    for key in SHOWN:
        wanted = expected(load("coffee"), key, 20, positive, negative)
        assert np.abs(other.cosines(key) - wanted).max() <= bound(load("coffee"), key, 20, positive, negative)
    assert said(other) == parts


def test_a_link_opens_a_difference_and_its_tab(visit):
    visitor = visit()
    visitor.choose("view", "difference")
    names = [each.get_attribute("value") for each in visitor.page.locator('select[name="a"] option').all()]
    visitor.page.locator('select[name="a"]').select_option(names[0])
    visitor.page.locator('select[name="b"]').select_option(names[1])
    visitor.press("c")
    before = visitor.page.evaluate("document.querySelector('.gv-explorer').gramviz.difference()")
    visitor.page.get_by_role("tab", name="Training story").click()
    parts = said(visitor)
    assert (parts["tab"], parts["view"]) == ("story", "difference")
    assert (parts["a"], parts["b"], parts["cls"]) == (names[0], names[1], "1")
    other = visit(visitor.page.url)
    assert other.page.get_by_role("tab", name="Training story").get_attribute("aria-selected") == "true"
    other.page.get_by_role("tab", name="Explore").click()
    other.drawn()
    assert other.page.evaluate("document.querySelector('.gv-explorer').gramviz.difference()") == before
    assert "tab" not in said(other)


@pytest.mark.parametrize("position", [0, 2, 2.5])
def test_a_link_opens_the_story_where_it_stood(visit, position):
    story = Story(visit())
    assert said(story.visitor) == {"tab": "story"}
    story.go_to(position)
    parts = said(story.visitor)
    assert set(parts) == {"tab", "at"}
    other = Story(visit(story.page.url))
    assert other.state["position"] == position
    assert other.state["stops"] == story.state["stops"]
    assert said(other.visitor) == parts


def test_a_link_opens_the_spectra_as_they_stood(visit):
    lab = SpectraTab(visit())
    lab.page.locator(".gv-spectral .gv-next").click()
    lab.page.locator(".gv-spectral .gv-next").click()
    lab.choose("which", "difference")
    lab.choose("order", "hilbert")
    parts = said(lab.visitor)
    assert parts == {"tab": "spectra", "k": "3", "which": "difference", "order": "hilbert"}
    other = SpectraTab(visit(lab.page.url))
    assert other.state["k"] == 3
    for mine, theirs in zip(lab.matrix(), other.matrix(), strict=True):
        assert np.array_equal(mine, theirs)
    assert said(other.visitor) == parts


def card(visitor, name):
    return visitor.page.evaluate(f"document.querySelector('#gv-card-{name} .gv-card').gramviz.state()")


def test_a_link_opens_a_card_of_the_theory_lab_with_its_controls(visit):
    visitor = visit()
    visitor.page.get_by_role("tab", name="Theory lab").click()
    visitor.choose("source", "blackboard")
    field = visitor.page.locator('#gv-card-lemma2 input.gv-value[aria-label*="number"]').first
    field.fill("0.2")
    field.press("Enter")
    parts = said(visitor)
    assert parts == {"tab": "theory", "source": "blackboard", "lemma2.size": "0.2", "card": "lemma2"}
    other = visit(visitor.page.url)
    assert card(other, "lemma2")["values"]["size"] == 0.2
    other.page.wait_for_function("document.querySelector('#gv-card-lemma2 .gv-card').gramviz.state().settled")
    assert other.page.locator('.gv-lab-head input[value="blackboard"]').is_checked()
    assert said(other) == parts


def tuner(visitor):
    return visitor.page.evaluate("document.querySelector('.gv-tuner').gramviz.state()")


def test_a_link_opens_a_plan_of_a_fine_tune_that_has_not_begun(visit):
    visitor = visit()
    visitor.page.get_by_role("tab", name="Fine-tune").click()
    field = visitor.page.locator('.gv-knob:has(input[name="steps"]) input.gv-value')
    field.fill("12")
    field.press("Enter")
    parts = said(visitor)
    assert parts == {"tab": "finetune", "plan.steps": "12"}
    other = visit(visitor.page.url)
    assert tuner(other)["plan"] == {**tuner(visitor)["plan"], "steps": 12}
    assert tuner(other)["phase"] == "idle"
    assert said(other) == parts


def test_a_state_can_be_gone_to_without_opening_the_page_again(visit):
    """What a state lacks is as usual; the picture stays."""
    visitor = visit()
    visitor.page.locator('.gv-sample[data-id="coffee"]').click()
    visitor.ready()
    visitor.choose("scale", "signed")
    token = visitor.state["token"]
    go = "(text) => document.querySelector('.gv-chooser').gramviz.lead(text)"
    visitor.page.evaluate(go, "patches=14&pins=0.25,0.5&pixels=smooth")
    visitor.page.wait_for_function(f"document.querySelector('.gv-explorer').gramviz.state().token > {token}")
    visitor.ready()
    state = visitor.state
    assert state["key"].startswith(load("coffee").digest)
    assert (state["grid"][1], state["scale"], state["pixels"]) == (14, "unit", "smooth")
    assert [(pin["x"], pin["y"]) for pin in state["pins"]] == [(0.25, 0.5)]
    assert said(visitor) == {"sample": "coffee", "patches": "14", "pins": "0.25,0.5", "pixels": "smooth"}
    visitor.page.evaluate(go, "tab=theory&card=lemma2&lemma2.size=0.3")
    assert said(visitor) == {"sample": "coffee", "tab": "theory", "card": "lemma2", "lemma2.size": "0.3"}
    assert visitor.state["grid"][1] == 28


def test_an_own_picture_is_in_no_link_and_the_link_says_so(visit):
    visitor = visit()
    visitor.upload(png(noise(5))).ready()
    assert said(visitor) == {"own": "1"}
    other = visit(visitor.page.url)
    assert "stays with its owner" in other.text(".gv-message")
    assert other.state["key"].startswith(load("chelsea").digest)
    assert said(other) == {}


def test_the_link_can_be_copied(visit):
    visitor = visit()
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.click(2, 3)
    visitor.page.locator(".gv-link").click()
    visitor.page.wait_for_function("document.querySelector('.gv-message').textContent.includes('copied')")
    assert visitor.page.evaluate("navigator.clipboard.readText()") == visitor.page.url
    assert "pins=" in visitor.page.url


@pytest.mark.parametrize(
    "fragment",
    [
        "sample=../../etc/passwd",
        "patches=1e9",
        "layer=-99",
        "ids=nobody",
    ],
)
def test_what_this_page_does_not_have_is_said(visit, address, fragment):
    visitor = visit(f"{address}#{fragment}")
    assert "does not have all" in visitor.text(".gv-message")
    assert visitor.state["grid"] == [19, 28]
    assert said(visitor) == {}


def test_junk_in_the_address_changes_nothing(visit, address):
    junk = "tab=nowhere&view=%3Cscript%3E&scale=&opacity=x&pins=9,9;a;-2,0.5;0.5&at=-1&run=x&length=3&__proto__=1&%ff"
    visitor = visit(f"{address}#{junk}")
    assert visitor.state["pins"] == []
    assert (visitor.state["view"], visitor.state["scale"]) == ("similarity", "unit")
    assert visitor.page.get_by_role("tab", name="Explore").get_attribute("aria-selected") == "true"


def test_another_link_in_the_same_tab_opens_that(visit):
    visitor = visit()
    visitor.page.evaluate("location.hash = 'patches=14'")
    visitor.page.wait_for_function(
        "document.querySelector('.gv-explorer')?.gramviz?.state().grid?.[1] === 14"
    )
