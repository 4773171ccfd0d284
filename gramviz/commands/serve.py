"""`gramviz serve`: the page on this machine."""

from __future__ import annotations

import argparse

from gramviz.commands.options import Commands, add_settings, settings


def add(commands: Commands) -> None:
    """The command and its options."""
    serve = commands.add_parser("serve", help="open the page on this machine")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    serve.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    add_settings(serve)
    serve.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Serve the page until it is interrupted."""
    from gramviz.serving.settings import share_processors

    share_processors()  # before torch is imported
    wanted = settings(options)

    from gramviz.serving.engine import Engine
    from gramviz.ui.logs import configure
    from gramviz.ui.operations import serve

    configure(wanted.log_level, wanted.log_format)
    engine = Engine.from_settings(wanted)
    try:
        serve(engine, server_name=options.host, server_port=options.port)
    finally:
        engine.close()
