"""The whole page, and the options with which it is launched. Building it loads no weights."""

from typing import Any

import gradio as gr

from gramviz.data.samples import SAMPLES
from gramviz.serving.engine import Engine
from gramviz.ui.adder import adder
from gramviz.ui.api import add_endpoints
from gramviz.ui.chooser import MAX_UPLOAD_MB, chooser
from gramviz.ui.exporter import exporter
from gramviz.ui.files import Files
from gramviz.ui.guide import guide
from gramviz.ui.panels.adding import connect_adder
from gramviz.ui.panels.explore import explore_panel
from gramviz.ui.panels.exporting import connect_export
from gramviz.ui.panels.finetune import finetune_panel
from gramviz.ui.panels.spectra import spectra_panel
from gramviz.ui.panels.story import story_panel
from gramviz.ui.panels.theory import theory_panel
from gramviz.ui.sessions import MOST, share_descriptions
from gramviz.ui.teaching import TABS, teaching
from gramviz.ui.theme import page_css, theme

TITLE = "gramviz"
CACHE_CHECK, CACHE_AGE = 600, 7200  # seconds: how often old files are looked for, and how old they may grow
WAITING = 1024  # requests, a few hundred bytes each, in the queue before a visitor is told to come back
MASTHEAD = """<header class="gv-masthead"><h1>gramviz</h1>
<p>How each patch of a photograph resembles all others, along a training run, with and without Gram anchoring.</p>
</header>"""


def build_page(engine: Engine, files: Files, first_sample: str = SAMPLES[0].id) -> gr.Blocks:
    """The page over an engine, not yet launched; it opens on the sample picture of the id `first_sample`."""
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(CACHE_CHECK, CACHE_AGE)
    ) as page:
        with gr.Column(elem_classes="gv-page"):
            with gr.Row(elem_classes="gv-top"):
                gr.HTML(MASTHEAD)
                guide(engine.checkpoints())
                teaching(engine.checkpoints())
                exports = exporter()
                models = adder(engine.settings.fetch, engine.settings.model_mib)
            choice = chooser(engine.checkpoints(), engine.default_ids(), first_sample)
            with gr.Tabs(elem_classes="gv-tabs"):
                # all tabs stay in the page, so that what a visitor did on one is there when they come back
                with gr.Tab(TABS["explore"], elem_id="gv-explore", render_children=True):
                    explore_panel(page, engine, files, choice)
                with gr.Tab(TABS["story"], elem_id="gv-story", render_children=True):
                    story_panel(engine, files, choice)
                with gr.Tab(TABS["spectra"], elem_id="gv-spectra", render_children=True):
                    spectra_panel(engine, files, choice)
                with gr.Tab(TABS["theory"], elem_id="gv-theory", render_children=True):
                    theory_panel(engine, files, choice)
                with gr.Tab(TABS["finetune"], elem_id="gv-finetune", render_children=True):
                    finetune_panel(page, engine, files, choice)
        connect_export(exports, engine, files, choice)
        connect_adder(models, engine, files)
        add_endpoints(engine)
    page.queue(max_size=WAITING)
    share_descriptions(page)
    return page


def launch_options() -> dict[str, Any]:
    """Keyword arguments for `Blocks.launch` (or `gr.mount_gradio_app`, as far as it has them)."""
    return {
        "theme": theme(),
        "css": page_css(),
        "max_file_size": f"{MAX_UPLOAD_MB}mb",
        "show_error": False,
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "state_session_capacity": MOST,
    }
