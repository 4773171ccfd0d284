"""What is said beside the curves: what theory predicts, and what the rows show and how strongly.

Every number in a sentence is computed from the rows. Knows nothing of plots or of the page.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gramviz.ui import curves
from gramviz.ui.curves import Row, history, measure
from gramviz.ui.effects import Effect, change, farthest, from_peak, gap, peak
from gramviz.ui.theme import ARMS

MAIN = tuple(name for name in ARMS if name != curves.TRUNK)

Told = tuple[tuple[str, str], ...]  # (arm, sentence) pairs
Clause = tuple[str, int]  # what is said, and of how many seeds


@dataclass(frozen=True)
class Chapter:
    """One group of curves: its measures, what theory predicts of them, and what is seen."""

    key: str
    title: str
    theory: str
    names: Callable[[Sequence[Row]], tuple[str, ...]]
    seen: Callable[[Sequence[Row]], Told]

    def missing(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """Labels of the chapter's measures that no row has."""
        return tuple(measure(n).label for n in self.names(rows) if not any(n in row for row in rows))


def _fixed(*names: str) -> Callable[[Sequence[Row]], tuple[str, ...]]:
    return lambda _rows: names


def _each(rows: Sequence[Row], arms: Sequence[str], clauses: Callable[[str], list[Clause]]) -> Told:
    """One sentence for each of the arms that has something to say."""
    told = ((arm, clauses(arm)) for arm in arms if arm in curves.arms(rows))
    return tuple((arm, _sentence(found)) for arm, found in told if found)


def _sentence(clauses: Sequence[Clause]) -> str:
    text = "; ".join(text for text, _ in clauses)
    low, high = min(n for _, n in clauses), max(n for _, n in clauses)
    count = (
        "One seed"
        if high == 1
        else f"n\u00a0=\u00a0{high}"
        if low == high
        else f"n\u00a0=\u00a0{low} to {high}"
    )
    return f"{text[:1].upper()}{text[1:]}. {count}."


def _changes(rows: Sequence[Row], arm: str, names: Mapping[str, str]) -> list[Clause]:
    """From the fork to the last step."""
    return _clauses(names, lambda name: change(rows, arm, name), "rises by {}", "falls by {}")


def _gaps(rows: Sequence[Row], arm: str, names: Mapping[str, str]) -> list[Clause]:
    """Against the run without Gram, at the last step of both."""
    return _clauses(names, lambda name: gap(rows, arm, name), "is higher by {}", "is lower by {}")


def _clauses(
    names: Mapping[str, str], effect_of: Callable[[str], Effect | None], up: str, down: str
) -> list[Clause]:
    found = ((name, label, effect_of(name)) for name, label in names.items())
    return [
        (f"{label} {e.words(up, down, measure(name).digits)}", len(e.values)) for name, label, e in found if e
    ]


def _crossing(rows: Sequence[Row]) -> Told:
    def clauses(arm: str) -> list[Clause]:
        told = []
        if dense := from_peak(rows, arm, "near_auc"):
            whose = "its peak" if arm == "plain" else "the peak without Gram"
            end = f"{whose} at step {curves.grouped(peak(rows, 'near_auc') or 0)}"
            words = dense.words(f"ends {{}} above {end}", f"ends {{}} below {end}", 3)
            told.append((f"near AUC {words}", len(dense.values)))
        return told + _changes(rows, arm, {"knn": "from the fork on, k-NN"})

    return _each(rows, MAIN, clauses)


def _quality(rows: Sequence[Row]) -> Told:
    names = {"near_auc": "near AUC", "scenes_miou": "mIoU on scenes", "knn": "k-NN"}
    return _each(rows, MAIN[1:], lambda arm: _gaps(rows, arm, names))


def _drift(rows: Sequence[Row]) -> Told:
    names = {"cls_alignment": "CLS\u2013patch alignment", "top1_energy": "top-1 energy"}

    def clauses(arm: str) -> list[Clause]:
        return [
            *(clause for name, label in names.items() for clause in _swing(rows, arm, name, label)),
            *_changes(rows, arm, {"effective_rank": "effective rank"}),
        ]

    return _each(rows, MAIN, clauses)


def _swing(rows: Sequence[Row], arm: str, name: str, label: str) -> list[Clause]:
    """From the fork to the end, and before that to where it went farthest, if it went and came back."""
    told = _changes(rows, arm, {name: label})
    found = farthest(rows, arm, name)
    if not told or found is None or found[1].strength in ("weak", "no effect"):
        return told
    step, effect = found
    words = effect.words("rises by {}", "falls by {}", measure(name).digits)
    count = len(effect.values)
    return [
        (f"{label} {words} until step {curves.grouped(step)}", count),
        *_changes(rows, arm, {name: "and over the whole arm"}),
    ]


def _norms(rows: Sequence[Row]) -> Told:
    names = {"token_norm": "the length of patches before the final norm", "stable_rank": "stable rank"}
    return _each(rows, MAIN, lambda arm: _changes(rows, arm, names))


def _residuals(rows: Sequence[Row]) -> Told:
    def clauses(arm: str) -> list[Clause]:
        told = _levels(rows, arm, "residual_top1", "one direction holds {} of the residuals")
        told += _changes(rows, arm, {"residual_top1": "since the fork this share"})
        for name in curves.block_measures(rows, "common")[-1:]:
            told += _levels(rows, arm, name, "a row common to all patches explains {} of the global gradient")
        return told

    return _each(rows, MAIN, clauses)


def _levels(rows: Sequence[Row], arm: str, name: str, form: str) -> list[Clause]:
    """The last value of a measure, put into `form`."""
    found = curves.line(history(rows, arm, name))
    if found is None:
        return []
    value = f"{found.mean[-1]:.3f}"
    if found.seeds > 1:
        value += f" ({found.low[-1]:.3f} to {found.high[-1]:.3f})"
    return [(form.format(value), found.seeds)]


def _losses(rows: Sequence[Row]) -> Told:
    names = {"heldout_ibot": "the iBOT loss", "heldout_dino": "DINO", "heldout_gram": "the Gram loss"}
    return _each(rows, MAIN[1:], lambda arm: _gaps(rows, arm, names))


def _locality(rows: Sequence[Row]) -> Told:
    names = {
        "locality_near": "the cosine of neighbours",
        "locality_far": f"that of patches {curves.FAR} apart",
        "locality_contrast": "their difference",
    }
    return _each(rows, MAIN, lambda arm: _changes(curves.with_contrast(rows), arm, names))


CHAPTERS = (
    Chapter(
        "crossing",
        "Global up, dense down",
        "The global loss pulls every patch along what CLS reads from it, so k-NN may go on rising while the patches "
        "lose what tells them apart; anchoring G to an early teacher should stop the fall without stopping the rise.",
        _fixed("knn", "near_auc", "auc"),
        _crossing,
    ),
    Chapter(
        "quality",
        "Quality, with and without Gram",
        "Anchored, every dense measure should end near its peak, and k-NN should lose next to nothing (0.2 points in "
        "DINOv3).",
        _fixed("near_auc", "auc", "knn", "scenes_near_auc", "scenes_miou", "scenes_kind"),
        _quality,
    ),
    Chapter(
        "drift",
        "Drift of the patches",
        "An update of rank 1, shared by all patches, adds at most rank 2 to G: alignment with CLS and the first "
        "eigenvalue should grow and the effective rank fall, unless G is held in place.",
        _fixed("cls_alignment", "mean_similarity", "top1_energy", "effective_rank"),
        _drift,
    ),
    Chapter(
        "norms",
        "Spectrum and norms",
        "Energy that gathers in one direction lifts the Rayleigh quotient along 1 and lowers the stable rank. In "
        "DINOv3 the lengths of the patches stay stable while their directions drift; registers keep outliers few.",
        _fixed(
            "top3_energy",
            "top10_energy",
            "stable_rank",
            "rayleigh",
            "patch_norm",
            "token_norm",
            "outlier_share",
            "token_outlier_share",
        ),
        _norms,
    ),
    Chapter(
        "residuals",
        "Residuals and gradients",
        "The argument assumes that all patches are pushed alike: then one direction holds most of the residuals "
        "R = p \u2212 t, and one row common to all patches explains most of the global gradient. Patches "
        "behind the last block get no such gradient, as CLS no longer reads them.",
        lambda rows: (
            *("residual_top1", "residual_effective_rank", "residual_common"),
            *curves.block_measures(rows, "top1"),
            *curves.block_measures(rows, "common"),
        ),
        _residuals,
    ),
    Chapter(
        "losses",
        "Losses on held-out images",
        "With Gram anchoring the iBOT loss should fall faster and the DINO loss hardly move, as the global term does "
        "not need the patches that anchoring holds.",
        _fixed("heldout_ibot", "heldout_dino", "heldout_gram"),
        _losses,
    ),
    Chapter(
        "locality",
        "Locality",
        "Local features resemble their neighbours and not the far side of the picture; a shared direction lifts the "
        "cosine at every distance and flattens the curve.",
        _fixed("locality"),
        _locality,
    ),
)
