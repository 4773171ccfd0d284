"""`gramviz push`: a run or a fine-tune to the Hub, with its card and its licence."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gramviz.commands.options import Commands


def add(commands: Commands) -> None:
    """The command and its options."""
    push = commands.add_parser(
        "push",
        help="upload a run or a fine-tune to the Hugging Face Hub",
        description="Upload a folder (a run of `gramviz collect` with its README.md) or the zip of a fine-tune. Its "
        "card must name a licence, a fine-tune's its parent's. Log in with `hf auth login`, or set HF_TOKEN.",
    )
    push.add_argument("source", type=Path, help="a folder, or a zip that a fine-tune left")
    push.add_argument("repository", help="owner/name; made if there is none")
    push.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    push.add_argument("--dry-run", action="store_true", help="say what would be uploaded, and upload nothing")
    push.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Say what goes and under which licence; upload it, and print where it is."""
    from gramviz.checkpoints.push import licence_of, parcel_of, push

    files = parcel_of(options.source)
    print(f"{len(files)} files, licence {licence_of(files)}: {', '.join(files)}", file=sys.stderr)
    if not options.dry_run:
        print(push(options.source, options.repository, private=not options.public))
