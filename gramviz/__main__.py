"""The command line, a module of `gramviz.commands` a command.

Exit codes: 0 done, 1 a deliberate error (one sentence on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gramviz.commands import (
    collect,
    compare,
    curves,
    finetune,
    measure,
    models,
    push,
    serve,
    spectrum,
    theory,
    train,
)
from gramviz.errors import GramvizError

COMMANDS = (serve, models, compare, spectrum, theory, finetune, train, collect, measure, curves, push)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (GramvizError, OSError) as error:
        # OSError: a full disk, a file that may not be read; what was saved is whole, files are replaced in one go
        print(f"gramviz: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gramviz: interrupted; what was done is saved", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gramviz", description="Why patch features go global, on real checkpoints."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
