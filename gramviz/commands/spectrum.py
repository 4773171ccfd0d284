"""`gramviz spectrum`: the Gram matrix of one picture by some checkpoints, read as the page's Spectra tab reads it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gramviz.commands.options import Commands, add_engine, bar, engine
from gramviz.errors import InputError

if TYPE_CHECKING:
    from gramviz.metrics.spectra import Spectra
    from gramviz.serving.views import SpectralView

FIRST = 10  # eigenvalues in the table
NAMES = 22  # letters for the names at its left


def add(commands: Commands) -> None:
    """The command and its options."""
    spectrum = commands.add_parser(
        "spectrum",
        help="eigenvalues of a picture's Gram matrix, and what is read from them",
        description="Print the measures and first eigenvalues of G = X X^T, X the patch features at length 1.",
    )
    spectrum.add_argument("image", type=Path, help="an image file")
    spectrum.add_argument(
        "--checkpoint",
        action="append",
        metavar="ID",
        help="may be repeated (default: those of a new visitor)",
    )
    spectrum.add_argument(
        "--patches", type=int, default=28, help="patches on the long side, 4 to 64 (%(default)s)"
    )
    spectrum.add_argument(
        "--layer", type=int, default=-1, help="block after which features are taken, from 0; -1 is the last"
    )
    form = spectrum.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object a checkpoint")
    form.add_argument("--png", type=Path, metavar="FILE", help="draw them into a file, .png, .svg or .pdf")
    add_engine(spectrum)
    spectrum.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print a table or JSON, or draw. Raises InputError where no checkpoint has a spectrum."""
    from gramviz.serving.views import in_order
    from gramviz.vit.images import read_picture

    picture = read_picture(options.image)
    asked = engine(options)
    try:
        ids = list(dict.fromkeys(options.checkpoint or asked.default_ids()))
        found = asked.spectra(picture, ids, options.patches, layer=options.layer)
        views = in_order(bar(found, len(ids), "checkpoint"), ids)
    finally:
        asked.close()
    if options.json:
        for view in views:
            print(json.dumps(as_json(view), allow_nan=False))
        return
    there = [(view.checkpoint, view.spectra) for view in views if view.spectra is not None]
    if not there:
        raise InputError("; ".join(f"{view.checkpoint.id}: {view.problem}" for view in views))
    if options.png is None:
        print(_table([(info.id, spectra) for info, spectra in there]))
    else:
        from gramviz.checkpoints.files import write_atomic
        from gramviz.ui.pictures.spectra import spectra_picture

        write_atomic(options.png, spectra_picture(there, options.png.suffix.removeprefix(".")))
    for line in _remarks(views):
        print(line)


def as_json(view: SpectralView) -> dict[str, Any]:
    """All numbers of one checkpoint but the eigenvectors; where there are none, `problem` says why."""
    info, spectra = view.checkpoint, view.spectra
    head = {"checkpoint": info.id, "run": info.run, "branch": info.branch, "step": info.step}
    if spectra is None:
        return {**head, "problem": view.problem}
    tensors = ("eigenvalues", "reference", "edges", "profile", "distance", "by_distance", "vector_frequency")
    columns = spectra.grid[1]
    outliers = [divmod(int(patch), columns) for patch in spectra.outliers.nonzero()[:, 0]]
    return {
        **head,
        "problem": None,
        "grid": spectra.grid,
        "width": spectra.width,
        "measures": spectra.measures,
        **{name: getattr(spectra, name).tolist() for name in tensors},
        "outliers": outliers,
        "register_lengths": spectra.register_lengths.tolist(),
        "clusters": spectra.clusters.tolist(),
        "notes": spectra.notes,
    }


def _table(found: Sequence[tuple[str, Spectra]]) -> str:
    """A column a checkpoint, and one for the random features of each width."""
    first = found[0][1]
    rows, columns = first.grid
    references = {spectra.width: spectra.reference for _, spectra in found}
    heads = [*(name for name, _ in found), *(f"random, d = {width}" for width in references)]
    lines: list[tuple[str, list[str]]] = [(f"{rows} x {columns} patches", heads)]
    lines += [
        (measure, [f"{spectra.measures[measure]:.4f}" for _, spectra in found]) for measure in first.measures
    ]
    lines.append(("outliers", [str(int(spectra.outliers.sum())) for _, spectra in found]))
    values = [*(spectra.eigenvalues for _, spectra in found), *references.values()]
    for index in range(min(FIRST, max(map(len, values)))):
        cells = [f"{float(each[index]):.5g}" if index < len(each) else "" for each in values]
        lines.append((f"eigenvalue {index + 1}", cells))
    widths = [max(12, len(head)) for head in heads]
    return "\n".join(
        (
            name.ljust(NAMES) + "  ".join(cell.rjust(size) for cell, size in zip(cells, widths, strict=False))
        ).rstrip()
        for name, cells in lines
    )


def _remarks(views: Sequence[SpectralView]) -> list[str]:
    """Notes and problems, each with its checkpoint."""
    notes = [
        f"{view.checkpoint.id}: {note}"
        for view in views
        if view.spectra is not None
        for note in view.spectra.notes
    ]
    return notes + [f"{view.checkpoint.id}: {view.problem}" for view in views if view.problem is not None]
