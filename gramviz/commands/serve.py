"""`gramviz serve`: the page on this machine."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gramviz.commands.options import Commands, add_settings, settings
from gramviz.errors import ConfigError


def add(commands: Commands) -> None:
    """The command and its options."""
    serve = commands.add_parser("serve", help="open the page on this machine")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    serve.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    serve.add_argument(
        "--auth",
        type=Path,
        metavar="FILE",
        help="let in only whom this file names: a line for each, name:password (a file, since others on the machine "
        "can read what stands on a command line)",
    )
    serve.add_argument(
        "--mcp", action="store_true", help="offer the endpoints as tools of the Model Context Protocol, too"
    )
    add_settings(serve)
    serve.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Serve the page until it is interrupted."""
    from gramviz.serving.settings import share_processors

    share_processors()  # before torch is imported
    wanted = settings(options)
    extra: dict[str, Any] = {"auth": admitted(options.auth)} if options.auth else {}
    if options.mcp:
        if find_spec("mcp") is None:
            raise ConfigError("--mcp needs the package mcp; pip install 'gramviz[mcp]'")
        extra["mcp_server"] = True

    from gramviz.serving.engine import Engine
    from gramviz.ui.logs import configure
    from gramviz.ui.operations import serve

    configure(wanted.log_level, wanted.log_format)
    engine = Engine.from_settings(wanted)
    try:
        serve(engine, server_name=options.host, server_port=options.port, **extra)
    finally:
        engine.close()


def admitted(file: Path) -> list[tuple[str, str]]:
    """(name, password) of each line name:password; empty lines and those that begin with # are passed over.

    Raises ConfigError, which names the line and no password, where one is neither, or where there is none at all.
    """
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not (name.strip() and colon and password):
            raise ConfigError(f"line {number} of {file.name} is not name:password")
        found.append((name.strip(), password))
    if not found:
        raise ConfigError(f"{file.name} names nobody; write lines name:password")
    return found
