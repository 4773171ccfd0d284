"""Models of one's own on the page: under their own names, beside the steps of a run, on every tab."""

import dataclasses

import pytest

from tests.browser.visitor import Visitor
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine, checkpoint
from tests.ui.live import serving

pytestmark = pytest.mark.browser

NAME = "vit_small_patch14_dinov2.lvd142m"
MODEL = dataclasses.replace(
    checkpoint("plain", 0, NAME), id=NAME, branch="model", shown=True, title="DINOv2.", heads=None
)


def test_a_model_goes_by_its_name_on_every_tab(browser, tmp_path):
    shown = [info for info in CHECKPOINTS if info.step == 8000]
    with serving(FakeEngine([*shown, MODEL]), tmp_path) as address:
        visitor = Visitor(browser.new_page(viewport={"width": 1440, "height": 900}), address).open()
        assert visitor.page.locator(".gv-tree .gv-heading").all_inner_texts()[-1] == NAME
        assert visitor.page.locator(".gv-tree .gv-step").all_inner_texts()[-1] == ""
        assert visitor.page.get_by_role("checkbox", name=NAME, exact=True).is_checked()
        visitor.page.get_by_role("radio", name="difference").check(force=True)
        visitor.page.locator('.gv-explorer select[name="a"]').select_option(NAME)
        visitor.drawn()
        assert visitor.page.locator(".gv-pair .gv-heading").first.inner_text() == f"A: {NAME}"
        visitor.page.get_by_role("tab", name="Spectra").click()
        visitor.page.wait_for_function("document.querySelector('.gv-spectral')?.gramviz?.ready()")
        assert NAME in visitor.page.locator(".gv-spectral .gv-heading").all_inner_texts()
        visitor.page.get_by_role("tab", name="Theory lab").click()
        assert NAME in visitor.page.locator(".gv-lab-head option").all_inner_texts()
        visitor.page.get_by_role("tab", name="Training story").click()
        visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
        assert NAME not in visitor.page.locator(".gv-runs").inner_text()  # one network has no story
        assert visitor.problems == []
        visitor.page.close()
