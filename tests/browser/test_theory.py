"""The theory lab: every card at both ends of its controls, on the photograph and on the blackboard."""

import html
import re

import pytest

from gramviz.data.samples import load
from gramviz.errors import BusyError
from gramviz.serving import lab
from gramviz.ui.findings import prose, verdict_word
from tests.browser.test_view import OVERFLOWING
from tests.browser.visitor import INFO, Visitor
from tests.ui.fake_engine import material

pytestmark = pytest.mark.browser

CAT = load("chelsea")
DEFAULT = "small-plain-8000"
MATHS = (
    "math",
    "mrow",
    "mi",
    "mo",
    "mn",
    "mfrac",
    "msub",
    "msup",
    "msubsup",
    "mover",
    "mspace",
)  # a long formula scrolls
ROUNDING = 1e-9  # a number below it is rounding, which need not come out twice alike
STATE = "document.querySelector('#gv-card-{} .gv-card').gramviz.state()"
BECAUSE = """([name, text]) => {
    const line = document.querySelector(`.gv-theorem:has(#gv-card-${name}) .gv-because`);
    return line && line.textContent.replace(/\\s+/g, ' ') === text;
}"""


class Lab:
    """A visitor on the theory tab."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page = visitor, visitor.page
        self.page.get_by_role("tab", name="Theory lab").click()
        self.values: dict[str, dict[str, float | str]] = {card.name: {} for card in lab.CARDS}
        self.board = False

    def theorem(self, name):
        return self.page.locator(f".gv-theorem:has(#gv-card-{name})")

    def state(self, name):
        return self.page.evaluate(STATE.format(name))

    def settled(self, name):
        """Bring a card into sight and wait until it has the answer to its newest question."""
        self.theorem(name).evaluate("node => node.scrollIntoView({ block: 'center' })")
        self.page.wait_for_function(f"{STATE.format(name)}.settled", timeout=20_000)
        return self

    def source(self, name):
        self.page.locator(f'label:has(input[name="source"][value="{name}"])').click()
        self.board = name == "blackboard"
        return self

    def move(self, name, control, last):
        """Take a control to one of its ends, by the keyboard or the mouse."""
        theorem = self.theorem(name)
        if isinstance(control, lab.Choice):
            value = control.options[-1 if last else 0][0]
            theorem.locator(f'label:has(input[name="{control.name}"][value="{value}"])').click()
        else:
            slider = theorem.locator(f'input[type="range"][name="{control.name}"]')
            slider.focus()
            self.page.keyboard.press("End" if last else "Home")
            value = control.value_at(float(slider.get_attribute("max" if last else "min") or 0))
        self.values[name][control.name] = value
        return self.settled(name)

    def expected(self, name, picture=CAT, key=DEFAULT):
        what = lab.blackboard() if self.board else material(picture, INFO[key])
        return lab.check(name, what, self.values[name])

    def agrees(self, name, picture=CAT, key=DEFAULT):
        """What is on screen is what the lab finds on the same material: verdict, sentence, numbers, charts."""
        finding, theorem = self.expected(name, picture, key), self.theorem(name)
        self.page.wait_for_function(BECAUSE, arg=[name, printed(finding.because)], timeout=10_000)
        assert theorem.locator(".gv-word").inner_text() == verdict_word(finding)
        shown = theorem.locator(".gv-numbers dt + dd").evaluate_all("all => all.map((dd) => dd.innerHTML)")
        assert len(shown) == len(finding.numbers)
        for text, number in zip(shown, finding.numbers, strict=True):
            value = read(text)
            if abs(number.value) < ROUNDING:
                assert abs(value) < ROUNDING, number
            else:
                assert value == pytest.approx(number.value, rel=0.051 if "10<sup>" in text else 6e-4), number
        self.page.wait_for_function(
            "([node, count]) => node.querySelectorAll('.js-plotly-plot .subplot.xy, .js-plotly-plot .subplot').length"
            " === count",
            arg=[theorem.element_handle(), len(finding.charts)],
        )
        return finding


def printed(text):
    """A sentence of the lab as a reader sees it, its tags left out."""
    return re.sub(r"\s+", " ", html.unescape(re.sub("<.*?>", "", prose(text))))


def read(text):
    """A number on the page as a number."""
    text = html.unescape(text).replace("\u2212", "-").replace("\u202f", "").replace("\u00a0", "")
    found = re.fullmatch(r"(-?)(?:([\d.]+)\u00d7)?10<sup>(-?\d+)</sup>", text)
    return float(f"{found[1]}{found[2] or 1}e{found[3]}") if found else float(text)


@pytest.fixture
def theory(visit):
    return Lab(visit())


@pytest.mark.parametrize("source", ["photograph", "blackboard"])
def test_every_card_at_both_ends_of_its_controls(theory, source):
    theory.source(source)
    for card in lab.CARDS:
        theory.settled(card.name).agrees(card.name)
        for control in card.controls:
            for last in (True, False):
                theory.move(card.name, control, last).agrees(card.name)


def test_the_wrong_sign_of_lemma_2_fails(theory):
    theory.settled("lemma2")
    theorem = theory.theorem("lemma2")
    assert theorem.locator(".gv-word").inner_text() == "holds"
    theorem.locator('label:has(input[value="opposite"])').click()
    theory.values["lemma2"] = {"direction": "opposite"}
    finding = theory.settled("lemma2").agrees("lemma2")
    assert finding.holds is False
    assert theorem.locator(".gv-word").inner_text() == "fails"
    spoken = theorem.locator("[aria-live]").inner_text()
    assert spoken.startswith("fails: ")


def test_a_closed_tab_asks_for_nothing_and_an_open_one_for_what_is_in_sight(visit, engine):
    before = len(engine.theories)
    visitor = visit()
    visitor.page.locator('.gv-sample[data-id="coffee"]').click()
    visitor.ready()
    assert len(engine.theories) == before
    theory = Lab(visitor).settled("eq1")
    theory.agrees("eq1", load("coffee"))
    asked = [card for card, _ in engine.theories[before:]]
    assert "prop2" not in asked
    assert len(asked) == len(set(asked))
    visitor.page.get_by_role("tab", name="Explore").click()
    visitor.page.locator('.gv-sample[data-id="rocket"]').click()
    visitor.ready()
    assert len(engine.theories) == before + len(asked)
    visitor.page.get_by_role("tab", name="Theory lab").click()
    theory.settled("eq1").agrees("eq1", load("rocket"))


def test_another_checkpoint_changes_the_cards_in_sight(theory):
    theory.settled("eq1").page.locator(".gv-which select").select_option("small-gram-4000")
    theory.settled("eq1").agrees("eq1", key="small-gram-4000")


def test_a_dragged_slider_ends_at_its_last_value_with_nothing_queued_behind(theory, engine):
    theory.settled("lemma2")
    before = len(engine.theories)
    slider = theory.theorem("lemma2").locator('input[name="size"]')
    slider.evaluate(
        """async (slider) => {
            for (let k = 0; k <= 40; k++) {
                slider.value = k / 20;
                slider.dispatchEvent(new Event('input', { bubbles: true }));
                await new Promise((done) => setTimeout(done, 10));
            }
        }"""
    )
    theory.values["lemma2"] = {"size": 2}
    theory.settled("lemma2").agrees("lemma2")
    asked = [values["size"] for card, values in engine.theories[before:] if card == "lemma2"]
    assert asked[-1] == 2
    assert len(asked) < 15


def test_keyboard(theory):
    theory.settled("eq7")
    theorem = theory.theorem("eq7")
    field = theorem.get_by_role("textbox", name="Step of the finite differences, as a number")
    field.fill("1e-3")
    field.press("Enter")
    theory.values["eq7"] = {"epsilon": 1e-3}
    theory.settled("eq7").agrees("eq7")
    assert theorem.get_by_role("slider").evaluate("node => Number(node.value)") == -3
    for typed, shown in (("7", "0.1"), ("much", "0.1"), ("-3", "1e-12")):
        field.fill(typed)
        field.press("Enter")
        assert field.input_value() == shown
    theory.settled("lemma2")
    first = theory.theorem("lemma2").locator('input[value="mean"]')
    first.focus()
    first.press("ArrowRight")
    theory.values["lemma2"] = {"direction": "opposite"}
    theory.settled("lemma2").agrees("lemma2")


def test_trouble_is_told_on_its_card_and_what_was_shown_stays(theory, engine, monkeypatch):
    theory.settled("eq1").agrees("eq1")
    theorem = theory.theorem("eq1")

    def busy(*_args, **_options):
        raise BusyError("3 computations are waiting already. Please try again in a moment.")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "theory", busy)
        theorem.get_by_role("slider").press("End")
        theorem.locator(".gv-trouble").wait_for(state="visible")
        assert "computations are waiting" in theorem.locator(".gv-trouble").inner_text()
        assert theorem.locator(".gv-word").inner_text() == "holds"
    theory.page.get_by_role("tab", name="Explore").click()
    theory.page.get_by_role("tab", name="Theory lab").click()
    theorem.locator(".gv-trouble").wait_for(state="hidden")
    theory.values["eq1"] = {"stretch": 100}
    theory.settled("eq1").agrees("eq1")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light"), (1920, "dark")])
def test_nothing_overflows_and_both_themes_are_legible(visit, width, scheme):
    theory = Lab(visit(viewport={"width": width, "height": 900}, color_scheme=scheme))
    for source in ("photograph", "blackboard"):
        theory.source(source)
        for name in ("lemma2", "prop2"):
            theory.settled(name)
        found = theory.page.evaluate(OVERFLOWING)
        out = [name for name in found["out"] if name not in MATHS]
        assert (found["page"], out) == (0, [])
    text = theory.theorem("lemma2").locator(".js-plotly-plot .xtick text").first
    colours = text.evaluate(
        "node => [getComputedStyle(node).fill, getComputedStyle(document.body).backgroundColor]"
    )
    light, dark = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert abs(light - dark) > 3 * 120
