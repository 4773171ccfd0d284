"""Hugging Face Space entry point, and `python app.py` on a laptop: settings -> engine -> page."""

from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.ui.page import build_page, launch_options


def main() -> None:
    """Serve the page until it is stopped."""
    engine = Engine.from_settings(Settings.read())
    try:
        build_page(engine).launch(**launch_options())
    finally:
        engine.close()


if __name__ == "__main__":
    main()
