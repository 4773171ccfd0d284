"""Hugging Face Space entry point, and `python app.py` on a laptop: settings -> engine -> page."""

from gramviz.serving.settings import Settings, share_processors


def main() -> None:
    """Serve the page until it is stopped."""
    share_processors()  # before torch is imported
    settings = Settings.read()

    from gramviz.serving.engine import Engine
    from gramviz.ui.logs import configure
    from gramviz.ui.operations import serve

    configure(settings.log_level, settings.log_format)
    engine = Engine.from_settings(settings)
    try:
        serve(engine)
    finally:
        engine.close()


if __name__ == "__main__":
    main()
