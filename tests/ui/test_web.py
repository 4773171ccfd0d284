import gradio as gr
import pytest

from gramviz.ui import adder, chooser, explorer, exporter, guide, player, spectra, teaching, theory, tuner
from gramviz.ui.exports import page
from gramviz.ui.web import TEMPLATE_MARKS, WEB, read_template, web_component


def test_markup_and_style_hold_nothing_that_gradio_would_interpret():
    for path in [*WEB.glob("*.html"), *WEB.glob("*.css")]:
        text = path.read_text(encoding="utf-8")
        assert not [mark for mark in TEMPLATE_MARKS if mark in text], path.name


def test_a_template_mark_is_refused():
    with pytest.raises(ValueError, match=r"text\.js may not hold"):
        read_template("base.css", "text.js")


def test_every_script_is_used():
    parts = (
        *(chooser.SCRIPTS, explorer.SCRIPTS, player.SCRIPTS, spectra.SCRIPTS, spectra.TABLE_SCRIPTS),
        guide.SCRIPTS,
        adder.SCRIPTS,
        *(theory.HEAD_SCRIPTS, theory.CARD_SCRIPTS, tuner.SCRIPTS, ("tuner_reply.js",)),
        (*page.SCRIPTS, *exporter.SCRIPTS, *teaching.SCRIPTS),
    )
    used = {name for part in parts for name in part}
    assert {path.name for path in WEB.glob("*.js")} == used


def test_a_component_is_made_of_its_files():
    with gr.Blocks(analytics_enabled=False):
        component = web_component("chooser.html", ["base.css"], ["text.js"], {"answer": 42}, value={"a": 1})
    assert component.value == {"a": 1}
    assert component.js_on_load.startswith('const config = {"answer": 42};\n')
    assert "gv-chooser" in component.html_template
    assert ".gv-segments" in component.css_template


def test_no_stub_files_appear_beside_the_sources():
    assert not list(WEB.parent.rglob("*.pyi"))
