"""The guided tour as a component beside the page.

See `web/guide.js` for the other side. It reads what other components show and leads the page to states; it asks the
server for nothing. This module knows no engine.
"""

import gradio as gr

from gramviz.ui.cards import with_maths
from gramviz.ui.tour import STEPS
from gramviz.ui.web import web_component

SCRIPTS = ("text.js", "address.js", "guide_judges.js", "guide.js")


def guide() -> gr.HTML:
    """The component. It has no value."""
    config = {
        "arms": {},
        "steps": [
            {
                "title": step.title,
                "text": with_maths(step.text),
                "state": step.state,
                "look": step.look,
                "ask": with_maths(step.ask),
                "options": [with_maths(option) for option in step.options],
                "reveal": with_maths(step.reveal),
                "right": step.right,
                "judge": step.judge,
                "after": step.after,
            }
            for step in STEPS
        ],
    }
    return web_component("guide.html", ("base.css", "guide.css"), SCRIPTS, config, None, "gv-guide")
