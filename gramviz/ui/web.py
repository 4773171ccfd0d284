"""Components of our own, put together from the files in `web/`: markup, style and script.

Gradio passes markup and style through template engines, so they must hold none of their marks; the script runs once
for each page, with the component's constants in `config`. This module knows nothing of what a component does.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

WEB = Path(__file__).parent / "web"
# `{{` opens a Handlebars expression; the other two end or enter a JavaScript template literal.
TEMPLATE_MARKS = ("{{", "${", "`", "\\")


def read_web(name: str) -> str:
    """The text of one file in `web/`."""
    return (WEB / name).read_text(encoding="utf-8")


def read_template(*names: str) -> str:
    """The text of some files in `web/`, joined. Raises ValueError if it holds marks of Gradio's template engines."""
    text = "\n".join(read_web(name) for name in names)
    found = [mark for mark in TEMPLATE_MARKS if mark in text]
    if found:
        raise ValueError(f"{', '.join(names)} may not hold {' or '.join(found)}: Gradio would interpret it")
    return text


def web_component(
    markup: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    config: Mapping[str, Any],
    value: Any = None,
    elem_id: str | None = None,
) -> gr.HTML:
    """A component from files in `web/`. `config` is JSON-able and becomes the constant `config` of the script.

    A plain `gr.HTML` rather than a subclass: Gradio writes a `.pyi` file beside the module of every subclass.
    """
    code = "\n".join(read_web(name) for name in scripts)
    return gr.HTML(
        value=value,
        html_template=read_template(markup),
        css_template=read_template(*styles),
        js_on_load=f"const config = {json.dumps(config)};\n{code}",
        apply_default_css=False,
        elem_id=elem_id,
    )
