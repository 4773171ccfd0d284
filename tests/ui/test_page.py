import inspect
import json
import re

import gradio as gr
import pytest
from gradio.state_holder import SessionState

import gramviz.ui.page as page_module
from gramviz.ui.files import Files
from gramviz.ui.page import build_page, launch_options
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("uploads"), 2**20)


@pytest.fixture(scope="module")
def page(files):
    return build_page(FakeEngine(), files)


def test_only_the_documented_endpoints_are_public(page):
    public = {fn.api_name for fn in page.fns.values() if fn.api_visibility != "private"}
    assert public == {"checkpoints", "similarity", "spectrum", "theory"}


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


def test_sessions_share_what_components_say_of_themselves(files, monkeypatch):
    monkeypatch.setattr(page_module, "share_descriptions", lambda page: None)
    plain = SessionState(build_page(FakeEngine(), files))
    monkeypatch.undo()
    page = build_page(FakeEngine(), files)
    first, second = SessionState(page), SessionState(page)

    def described(state):
        return [(c["type"], c.get("props")) for c in state.components]

    def numbered(state):
        return re.sub(r"[0-9]+", "n", json.dumps(described(state), default=repr))

    assert numbered(first) == numbered(plain)
    (key,) = [key for key, block in page.blocks.items() if block.elem_id == "gv-explorer"]
    first._update_value_in_config(key, "of one visitor")
    assert "of one visitor" in numbered(first)
    assert "of one visitor" not in numbered(second) + numbered(SessionState(page))
