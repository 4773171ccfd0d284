import inspect

import gradio as gr
import pytest

from gramviz.ui.page import build_page, launch_options
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine


@pytest.fixture(scope="module")
def page():
    return build_page(FakeEngine())


def test_only_the_three_endpoints_are_public(page):
    public = {fn.api_name for fn in page.fns.values() if fn.api_visibility != "private"}
    assert public == {"checkpoints", "similarity", "spectrum"}


def test_the_page_tells_nobody_and_forgets(page):
    assert not page.analytics_enabled
    frequency, age = page.delete_cache
    assert 0 < frequency <= age <= 24 * 3600


def test_launch_options_are_ones_that_gradio_knows():
    options = launch_options()
    assert set(options) <= set(inspect.signature(gr.Blocks.launch).parameters)
    assert options["show_error"] is False
    assert options["run_history"] is False


def test_every_checkpoint_is_offered_and_the_defaults_are_chosen(page):
    chooser = next(block for block in page.blocks.values() if block.elem_id == "gv-chooser")
    assert all(f'"id": "{info.id}"' in chooser.js_on_load for info in CHECKPOINTS)
    assert chooser.value["ids"] == list(FakeEngine().default_ids())


def test_the_theme_names_no_font_of_another_host():
    look = launch_options()["theme"]
    assert look._stylesheets == []
    assert "@import" not in look._get_theme_css()
