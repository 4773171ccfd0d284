"""axe-core finds no serious fault on any tab, dialog or panel, in light and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from gramviz.ui.teaching import TABS
from tests.browser.visitor import noise, png

pytestmark = pytest.mark.browser

THEMES = ("light", "dark")
NO_PLOT_TO_COME = """![...document.querySelectorAll('[aria-label="Empty value"]')].some(
    (node) => node.checkVisibility({ visibilityProperty: true })
)"""
GRAVE = ("serious", "critical")


def grave(page):
    """Violations by rule, with the elements they are of."""
    found = Axe().run(page).response["violations"]
    return {
        each["id"]: [node["html"][:120] for node in each["nodes"]]
        for each in found
        if each["impact"] in GRAVE
    }


@pytest.fixture(params=THEMES)
def themed(request, visit, address):
    """Opens the page, or a state of it, in one theme."""

    def arrive(state=""):
        visitor = visit(f"{address}?__theme={request.param}{state}", color_scheme=request.param)
        assert (visitor.page.locator(".dark").count() > 0) == (request.param == "dark")
        return visitor

    return arrive


def test_every_tab(themed):
    visitor = themed()
    settled = {
        "story": "document.querySelector('.gv-player')?.gramviz?.ready()",
        "spectra": "document.querySelector('.gv-spectral')?.gramviz?.ready()",
        "theory": "document.querySelector('#gv-card-eq1 .gv-card')?.gramviz?.state().settled",
        "finetune": "document.querySelector('.gv-tuner')?.gramviz?.state()",
    }
    for name, title in TABS.items():
        visitor.page.get_by_role("tab", name=title).click()
        if name in settled:
            visitor.page.wait_for_function(settled[name])
        # Gradio's stand-in for a plot that is still to come is a fault of its own, for that while
        visitor.page.wait_for_function(NO_PLOT_TO_COME, timeout=60_000)
        visitor.drawn()
        assert grave(visitor.page) == {}, name


def test_every_dialog_and_panel(themed):
    visitor = themed("#exercise=1&lecture=1")
    assert grave(visitor.page) == {}
    visitor.page.locator(".gv-leave").click()
    visitor.page.locator(".gv-enter").click()
    assert grave(visitor.page) == {}
    visitor.page.locator(".gv-leave").click()
    for opener in (".gv-open-notes", ".gv-open-exports", ".gv-open-adder"):
        visitor.page.locator(opener).click()
        assert grave(visitor.page) == {}, opener
        visitor.page.keyboard.press("Escape")
    visitor.page.get_by_role("tab", name=TABS["story"]).click()
    visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
    visitor.page.wait_for_function(NO_PLOT_TO_COME, timeout=60_000)
    visitor.page.locator(".gv-make").click()
    assert grave(visitor.page) == {}


def test_axe_would_find_a_fault(visit):
    visitor = visit()
    visitor.page.evaluate("document.querySelector('.gv-open-exports').textContent = ''")
    assert "button-name" in grave(visitor.page)


def test_figure_1_of_an_own_picture_takes_three_clicks(visit, address):
    visitor = visit()
    visitor.page.evaluate(
        "document.addEventListener('click', () => (window.clicks = (window.clicks ?? 0) + 1), true)"
    )
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.get_by_role("button", name="open a file").click()
    chooser.value.set_files([{"name": "own.png", "mimeType": "image/png", "buffer": png(noise(3))}])
    visitor.page.wait_for_function("!document.querySelector('.gv-caption').textContent.includes('Chelsea')")
    visitor.page.get_by_role("tab", name=TABS["story"]).click()
    visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
    visitor.page.locator(".gv-make").click()
    assert visitor.page.get_by_role("dialog", name="Figure 1").is_visible()
    # a script opens the file dialog by a click of its own
    assert visitor.page.evaluate("window.clicks") <= 4
    drawn = "document.querySelector('.gv-paper canvas').width"
    assert visitor.page.evaluate(drawn) > 1000
