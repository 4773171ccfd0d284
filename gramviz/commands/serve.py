"""`gramviz serve`: the page on this machine."""

from __future__ import annotations

import argparse

from gramviz.commands.options import Commands, add_engine, engine


def add(commands: Commands) -> None:
    """The command and its options."""
    serve = commands.add_parser("serve", help="open the page on this machine")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    serve.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    add_engine(serve)
    serve.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Serve the page until it is interrupted."""
    from gramviz.ui.page import build_page, launch_options

    served = engine(options)
    try:
        build_page(served).launch(
            **{**launch_options(), "server_name": options.host, "server_port": options.port}
        )
    finally:
        served.close()
