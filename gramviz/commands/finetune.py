"""`gramviz finetune`: a short Gram-anchored fine-tune, watched on one picture, as on the page."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gramviz.commands.options import Commands, add_engine, engine
from gramviz.errors import GramvizError, InputError

if TYPE_CHECKING:
    from gramviz.serving.engine import Engine
    from gramviz.serving.plans import Plan
    from gramviz.serving.tuning import Finished, TuneRequest

WHO = "command line"  # the visitor to whom the checkpoints belong until they are written


def add(commands: Commands) -> None:
    """The command and its options."""
    from gramviz.serving.controls import Choice
    from gramviz.serving.dials import CONTROLS

    finetune = commands.add_parser(
        "finetune",
        help="a short Gram-anchored fine-tune, watched on a picture",
        description="Train on from a checkpoint for some steps, with a Gram teacher, and watch one picture: what the "
        "page's Fine-tune tab does. What comes out is written as a zip of safetensors, card and configuration.",
    )
    finetune.add_argument(
        "image", type=Path, help="an image file to watch (and, with --images picture, to train on)"
    )
    finetune.add_argument(
        "--preset", default="repair", help="what is not given is as in it: repair, degrade, anchor or highres"
    )
    finetune.add_argument("--start", metavar="ID", help="the checkpoint to begin with")
    finetune.add_argument("--teacher", metavar="ID", help="the Gram teacher; '' for the start itself")
    for control in CONTROLS:
        if isinstance(control, Choice):
            words = [value for value, _ in control.options if value != "own"]
            finetune.add_argument(f"--{control.name}", choices=words, help=control.label)
        else:
            low, high = control.value_at(control.low), control.value_at(control.high)
            whole = control.step == 1 and not control.log
            finetune.add_argument(
                f"--{control.name}",
                type=int if whole else float,
                help=f"{control.label}, {low:g} to {high:g}",
            )
    finetune.add_argument(
        "--control", action="store_true", default=None, help="an arm with Gram weight 0 beside it"
    )
    finetune.add_argument("--patches", type=int, default=28, help="on the long side, 4 to 64 (%(default)s)")
    finetune.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the zips go (default: nothing is kept)"
    )
    finetune.add_argument("--json", action="store_true", help="print a JSON object a step")
    add_engine(finetune)
    finetune.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Fine-tune, with a bar on stderr, and print what the picture's measures became.

    Raises GramvizError where it did not come to its end; what was trained until then is written all the same.
    """
    from gramviz.serving.tuning import TuneRequest
    from gramviz.vit.images import read_picture

    picture = read_picture(options.image)
    asked = engine(options)
    try:
        request = TuneRequest(picture, _plan(asked, options), options.patches)
        finished = _follow(asked, request, as_json=options.json)
        for info in finished.own if options.out else ():
            _write(options.out, *asked.download(WHO, info.id))
        if finished.reason != "done":
            raise GramvizError(finished.sentence)
    finally:
        asked.close()


def _plan(asked: Engine, options: argparse.Namespace) -> Plan:
    """The preset's plan with what was given in its place."""
    from gramviz.serving.plans import Plan

    known = {preset.name: preset.plan for preset in asked.presets()}
    if options.preset not in known:
        raise InputError(
            f"There is no preset {options.preset!r}; these checkpoints have {', '.join(known) or 'none'}."
        )
    values: dict[str, Any] = dataclasses.asdict(known[options.preset])
    values["resolution"] = str(values["resolution"])
    given = {name: getattr(options, name) for name in values if getattr(options, name, None) is not None}
    return Plan.from_values({**values, **given})


def _follow(asked: Engine, request: TuneRequest, *, as_json: bool) -> Finished:
    """Print each step as it ends, and the measures before and after; the end."""
    from tqdm import tqdm

    from gramviz.serving.tuning import Finished, Frame

    before: dict[str, dict[str, float]] = {}
    after: dict[str, dict[str, float]] = {}
    with tqdm(total=request.plan.steps, unit="step", desc="fine-tuning") as bar:
        for update in asked.finetune(request, WHO):
            if isinstance(update, Finished):
                bar.close()
                _report(before, after, as_json=as_json)
                return update
            if not isinstance(update, Frame):
                continue
            bar.update(update.step - bar.n)
            for look in update.looks:
                before.setdefault(look.arm, look.measures)
                after[look.arm] = look.measures
            for row in update.rows if as_json else ():
                print(json.dumps({"arm": row.arm, "step": row.step, "loss": row.total, "losses": row.losses}))
    raise GramvizError("The fine-tune ended without a word; please try again.")


def _report(
    before: dict[str, dict[str, float]], after: dict[str, dict[str, float]], *, as_json: bool
) -> None:
    for arm in (arm for arm in after if arm not in ("teacher", "start")):
        if as_json:
            print(json.dumps({"arm": arm, "before": before[arm], "after": after[arm]}))
            continue
        print(f"{arm:8} {'before':>10} {'after':>10}")
        for name, value in after[arm].items():
            print(f"  {name:16} {before[arm][name]:8.4f} {value:10.4f}")


def _write(folder: Path, name: str, content: bytes) -> None:
    from gramviz.checkpoints.files import write_atomic

    write_atomic(folder / name, content)
    print(folder / name)
