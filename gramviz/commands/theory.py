"""`gramviz theory`: each result of the post checked on a picture by a checkpoint, as on the page's Theory lab tab."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gramviz.commands.options import Commands, add_engine, bar, engine, refuse
from gramviz.errors import ConfigError, InputError

if TYPE_CHECKING:
    from gramviz.gram.finding import Finding
    from gramviz.serving.lab import Card

VERDICTS = {True: "holds", False: "fails", None: "cannot be decided"}
WIDTH = 34  # letters for the names of numbers


def add(commands: Commands) -> None:
    """The command and its options."""
    theory = commands.add_parser(
        "theory",
        help="check the results of the post on a picture's features",
        description="Check each equation, lemma and proposition on live features, or on a worked example. "
        "Prints the verdict, why, and the numbers.",
    )
    theory.add_argument("image", type=Path, nargs="?", default=None, help="an image file")
    theory.add_argument("--checkpoint", default=None, metavar="ID", help="of the models folder")
    theory.add_argument("--card", default=None, metavar="NAME", help="eq1, eq2, ..., prop2 (default: all)")
    theory.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a control of the card, as direction=opposite or size=0.5; may be repeated",
    )
    theory.add_argument("--blackboard", action="store_true", help="a worked example of four patches instead")
    shown = theory.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print a JSON list")
    shown.add_argument(
        "--png", type=Path, metavar="FILE", help="draw the one --card into a file, .png, .svg or .pdf"
    )
    add_engine(theory)
    theory.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print a block or a JSON object a card. Raises ConfigError for options that do not go together."""
    from gramviz.serving.lab import CARDS, card
    from gramviz.vit.images import read_picture

    if options.blackboard:
        if options.image is not None:
            raise ConfigError("name an image, or ask for the --blackboard")
        refuse(options, "without --blackboard", "checkpoint")
    elif options.image is None or options.checkpoint is None:
        raise ConfigError("name an image and a --checkpoint, or ask for the --blackboard")
    if options.set and options.card is None:
        raise ConfigError("--set is about one card; name it with --card")
    if options.png is not None and options.card is None:
        raise ConfigError("--png draws one card; name it with --card")
    chosen = CARDS if options.card is None else (card(options.card),)
    values = dict(_setting(text, chosen[0]) for text in options.set)
    picture = None if options.image is None else read_picture(options.image)
    asked = engine(options)
    try:
        found = [
            (one.name, one.checked(values), asked.theory(picture, options.checkpoint or "", one.name, values))
            for one in bar(chosen, len(chosen), "card")
        ]
    finally:
        asked.close()
    if options.png is not None:
        _draw(options, *found[0])
    elif options.json:
        rows = [
            {"card": name, "values": used, **dataclasses.asdict(finding)} for name, used, finding in found
        ]
        print(json.dumps(rows, allow_nan=False, indent=1))
    else:
        print("\n\n".join(_block(name, used, finding) for name, used, finding in found))


def _draw(options: argparse.Namespace, name: str, values: dict[str, float | str], finding: Finding) -> None:
    """The card as a picture file."""
    from gramviz.checkpoints.files import write_atomic
    from gramviz.ui.cards import STATEMENTS
    from gramviz.ui.pictures.lab import finding_picture, settings_words

    of = "" if options.blackboard else f"{options.checkpoint}. {options.image.name}."
    kind = options.png.suffix.removeprefix(".")
    picture = finding_picture(STATEMENTS[name].title, settings_words(values, of), finding, kind)
    write_atomic(options.png, picture)


def _setting(text: str, card: Card) -> tuple[str, float | str]:
    """NAME=VALUE as a pair; a word stays one where the control is a choice of words."""
    from gramviz.serving.lab import Choice

    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{text[:80]!r} is not NAME=VALUE, as in size=0.5.")
    if any(control.name == name and isinstance(control, Choice) for control in card.controls):
        return name, value
    try:
        return name, float(value)
    except ValueError as error:
        raise InputError(f"{name[:40]} is {value[:40]!r}; it must be a number.") from error


def _block(name: str, values: dict[str, float | str], finding: Finding) -> str:
    settings = ", ".join(f"{key} = {value}" for key, value in values.items())
    return "\n".join(
        [
            f"{name} ({settings}): {VERDICTS[finding.holds]}",
            finding.because,
            *(f"  {n.name:{WIDTH}} {n.value:>12.6g}  {n.meaning}" for n in finding.numbers),
            *_matrices(finding),
        ]
    )


def _matrices(finding: Finding) -> Sequence[str]:
    return [
        f"  {matrix.name} = [{'; '.join('  '.join(f'{value:.4g}' for value in row) for row in matrix.rows)}]"
        for matrix in finding.matrices
    ]
