"""The spectra of some checkpoints as the page's scripts take them: maps with their numbers, and a table of measures.

What is sent is small and JSON-able, at full precision; arrays are packed into one file a checkpoint in Gradio's own
cache. See `web/spectra.js` and `web/spectra_table.js` for the other side. This module knows no engine and computes
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.errors import InputError
from gramviz.gram.orders import hilbert_order
from gramviz.metrics.spectra import CLUSTERS, Spectra
from gramviz.serving.views import SpectralView, View
from gramviz.ui import curves
from gramviz.ui.colours import as_hex, diverging, sequential
from gramviz.ui.explorer import (
    MAP_STYLES,
    PICTURE_SCRIPTS,
    Comparison,
    arms_config,
    factor_entry,
)
from gramviz.ui.files import Files
from gramviz.ui.web import web_component

SCRIPTS = (
    *PICTURE_SCRIPTS,
    "fork.js",
    "plots.js",
    "spectra.js",
    "again.js",
    "spectra_map.js",
    "spectra_views.js",
    "spectra_matrix.js",
    "spectra_pair.js",
    "address.js",
    "spectra_address.js",
    "spectra_input.js",
    "spectra_launch.js",
)
TABLE_SCRIPTS = ("text.js", "spectra_table.js")
MOST_CHECKPOINTS = 8
COLUMNS = (1, 2, 4)
ALIGNMENT = 8  # bytes: where an array may begin in a packed file
# Tol's bright scheme, told apart by the colour-blind (Tol 2021, "Colour schemes", SRON technical note).
GROUP_COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")

# key, heading, what it is, decimals
MEASURES = (
    ("cls_alignment", "CLS", "CLS-patch alignment: mean cosine of the patches to the CLS token", 3),
    ("mean_similarity", "mean", "Mean similarity: mean of all entries of G off its diagonal", 3),
    ("rayleigh", "R along 1", "Rayleigh quotient of G along the vector of ones, 1\u1d40G1 / P; at most P", 1),
    ("top1_energy", "top 1", "Share of the largest eigenvalue in the sum of all, which is P", 3),
    ("top3_energy", "top 3", "Share of the three largest eigenvalues in the sum of all", 3),
    ("top10_energy", "top 10", "Share of the ten largest eigenvalues in the sum of all", 3),
    (
        "effective_rank",
        "eff. rank",
        "Effective rank: exp(\u2212\u03a3 p log p), p the shares of the eigenvalues",
        2,
    ),
    (
        "stable_rank",
        "stable rank",
        "Stable rank: \u2016G\u2016\u00b2 Frobenius over \u2016G\u2016\u00b2 spectral",
        3,
    ),
    (
        "outliers",
        "outliers",
        "Patches whose token is too long before the final norm: modified z above 3.5",
        0,
    ),
)


def spectra() -> gr.HTML:
    """The maps and the matrix. The value is what `Spectral.as_value` or `error_value` gives; it says `stop`, then
    `input` with {token, columns} to get one.
    """
    assert len(GROUP_COLOURS) >= CLUSTERS
    return web_component(
        "spectra.html",
        (*MAP_STYLES, "explorer.css", "spectra.css"),
        SCRIPTS,
        {
            "arms": arms_config(),
            "sequential": as_hex(sequential()),
            "diverging": as_hex(diverging()),
            "groups": GROUP_COLOURS,
        },
        elem_id="gv-spectral",
    )


def measures_table() -> gr.HTML:
    """The table of measures. Its value is what `Spectral.as_table` gives."""
    columns = [
        {"key": key, "label": label, "title": title, "digits": digits}
        for key, label, title, digits in MEASURES
    ]
    return web_component(
        "spectra_table.html",
        ("base.css", "spectra_table.css"),
        TABLE_SCRIPTS,
        {"columns": columns, "arms": arms_config()},
        elem_id="gv-measures",
    )


@dataclass(frozen=True)
class Wanted:
    """What the component asks for: the number of the request, and how many figures have room side by side."""

    token: int
    columns: int

    @staticmethod
    def from_data(data: Any) -> "Wanted":
        """Check what came with an event. Raises InputError for anything that the page does not send itself."""
        data = data if isinstance(data, dict) else {}
        token, columns = data.get("token"), data.get("columns")
        if not isinstance(token, int) or columns not in COLUMNS:
            raise InputError("The request was incomplete; please open the page again.")
        return Wanted(token, columns)


@dataclass(frozen=True)
class Spectral:
    """One picture and the spectra of some checkpoints, as far as they have come.

    found: what is ready, by checkpoint id. left_out: how many chosen checkpoints are not drawn.
    """

    comparison: Comparison
    hilbert: dict[str, Any]
    left_out: int
    found: Mapping[str, SpectralView]

    @staticmethod
    def begin(comparison: Comparison, left_out: int, files: Files) -> "Spectral":
        """The spectra before the first is there; `files` takes what the scripts fetch."""
        order = hilbert_order(*comparison.grid).numpy().astype("<u2")
        return Spectral(comparison, files.put(order.tobytes(), "order.bin"), left_out, {})

    def with_view(self, spectral: SpectralView, view: View | None, files: Files) -> "Spectral":
        """The same with one more checkpoint; `view` has the factor of its G, None where there is a problem."""
        entry: dict[str, Any] = {"problem": spectral.problem}
        if spectral.spectra is not None and view is not None:
            content, parts = packed(_arrays(spectral.spectra))
            entry |= factor_entry(view, files)
            entry |= {"file": files.put(content, "spectra.bin"), "parts": parts}
        comparison = self.comparison.with_entry(spectral.checkpoint.id, entry)
        return Spectral(
            comparison, self.hilbert, self.left_out, {**self.found, spectral.checkpoint.id: spectral}
        )

    def spectra(self) -> list[tuple[CheckpointInfo, Spectra]]:
        """The spectra that are there, in the order of the checkpoints."""
        ready = ((info, self.found.get(info.id)) for info in self.comparison.checkpoints)
        return [(info, view.spectra) for info, view in ready if view is not None and view.spectra is not None]

    def as_value(self) -> dict[str, Any]:
        """The value of the component: JSON with files."""
        return {**self.comparison.as_value(), "hilbert": self.hilbert, "notes": self._notes()}

    def as_table(self) -> dict[str, Any]:
        """The value of the table: a row a checkpoint, with its measures or its problem."""
        rows, patches = [], self.comparison.grid[0] * self.comparison.grid[1]
        for info in self.comparison.checkpoints:
            view = self.found.get(info.id)
            if view is None:
                continue
            row = {
                "id": info.id,
                "run": info.run,
                "branch": info.branch,
                "step": info.step,
                "patches": patches,
            }
            if view.spectra is None:
                rows.append({**row, "problem": view.problem})
            else:
                outliers = int(view.spectra.outliers.sum())
                rows.append({**row, **view.spectra.measures, "outliers": outliers, "problem": None})
        return {"rows": rows}

    def _notes(self) -> list[str]:
        """What is to be known of all, then of single checkpoints; the same sentence is said once, with its owners."""
        said: dict[str, list[str]] = {}
        for info, spectra in self.spectra():
            for note in spectra.notes:
                said.setdefault(note, []).append(
                    f"{curves.look(info.branch).label}, step {curves.grouped(info.step)}"
                )
        count = len(self.spectra())
        notes = [note if len(who) == count else f"{'; '.join(who)}: {note}" for note, who in said.items()]
        if self.left_out:
            drawn = len(self.comparison.checkpoints)
            notes.insert(
                0, f"Only the first {drawn} of {drawn + self.left_out} chosen checkpoints are drawn here."
            )
        return notes


def packed(arrays: Mapping[str, NDArray[Any]]) -> tuple[bytes, dict[str, list[Any]]]:
    """Little-endian arrays one after the other: the bytes, and for each name [kind, offset, *shape].

    kind: as in "float16", NumPy's name. Offsets are multiples of 8 bytes, so that a script can look right into them.
    """
    content, parts = b"", {}
    for name, array in arrays.items():
        content += bytes(-len(content) % ALIGNMENT)
        parts[name] = [array.dtype.name, len(content), *array.shape]
        content += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return content, parts


def _arrays(spectra: Spectra) -> dict[str, NDArray[Any]]:
    """What the scripts need. vectors: an eigenvector a row; numbers: of each its eigenvalue, share and frequency."""
    kept = spectra.vectors.shape[1]
    total = float(spectra.eigenvalues.sum())
    values = spectra.eigenvalues[:kept].numpy()
    shares = values / total if total > 0 else np.zeros_like(values)
    return {
        "vectors": _as(spectra.vectors.mT, "float16"),
        "numbers": np.stack([values, shares, _as(spectra.vector_frequency, "float64")]),
        "profiles": _as(spectra.vector_profile, "float32"),
        "edges": _as(spectra.edges, "float64"),
        "lengths": _as(spectra.lengths, "float32"),
        "outliers": _as(spectra.outliers, "uint8"),
        "registers": _as(spectra.register_cosines, "float32"),
        "register_lengths": _as(spectra.register_lengths, "float32"),
        "clusters": _as(spectra.clusters, "uint8"),
        "cluster_order": _as(spectra.cluster_order, "uint16"),
    }


def _as(tensor: Tensor, kind: str) -> NDArray[Any]:
    return tensor.contiguous().numpy().astype(kind)


def first_ids(ids: Sequence[str]) -> tuple[str, ...]:
    """The checkpoints that are drawn, each once."""
    return tuple(dict.fromkeys(ids))[:MOST_CHECKPOINTS]
