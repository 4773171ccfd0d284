"""What is said beside the curves: what theory predicts, and what the rows show and how strongly.

Every number in a sentence is computed from the rows. Knows nothing of plots or of the page.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gramviz.ui import curves
from gramviz.ui.curves import Row, history, measure
from gramviz.ui.effects import farthest, from_peak, peak
from gramviz.ui.sentences import Clause, Told, at, changes, gaps, level, moved, span, told_of_each
from gramviz.ui.theme import ARMS

MAIN = tuple(name for name in ARMS if name != curves.TRUNK)
SIGNAL = 0.03  # how far above guessing a measure must be to say anything of an arm

Names = Callable[[Sequence[Row]], tuple[str, ...]]


@dataclass(frozen=True)
class Chapter:
    """One group of curves: its measures, what theory predicts of them, and what is seen.

    seen: a sentence an arm. remarks: sentences of no one arm. families: how the names of measures begin that `names`
    gives only where rows have them -> what they are called together.
    """

    key: str
    title: str
    theory: str
    names: Names
    seen: Callable[[Sequence[Row]], Told]
    remarks: Names = lambda _rows: ()
    families: tuple[tuple[str, str], ...] = ()

    def missing(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """Labels of the chapter's measures that no row has."""
        there = {name for row in rows for name in row}
        single = (measure(name).label for name in self.names(rows) if name not in there)
        families = (label for start, label in self.families if not any(n.startswith(start) for n in there))
        return (*single, *families)


def _fixed(*names: str) -> Names:
    return lambda _rows: names


def _crossing(rows: Sequence[Row]) -> Told:
    def clauses(arm: str) -> list[Clause]:
        told = []
        if dense := from_peak(rows, arm, "near_auc"):
            top, last = dense.steps
            whose = ("its peak" if arm == "plain" else "the peak without Gram") + f" {at(top)}"
            forms = (f"is {{}} above {whose}", f"is {{}} below {whose}", f"differs by {{}} from {whose}")
            told.append(Clause(at(last), f"near AUC {dense.words(*forms, 3)}", len(dense.values)))
        return told + changes(rows, arm, {"knn": "k-NN"})

    return told_of_each(rows, MAIN, clauses)


QUALITY = {"near_auc": "near AUC", "scenes_miou": "mIoU on scenes", "knn": "k-NN"}


def _quality(rows: Sequence[Row]) -> Told:
    names = {name: label for name, label in QUALITY.items() if not _at_chance(rows, name)}
    return told_of_each(rows, MAIN[1:], lambda arm: gaps(rows, arm, names))


def _no_signal(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(
        f"{label}: no signal (at chance)." for name, label in QUALITY.items() if _at_chance(rows, name)
    )


def _at_chance(rows: Sequence[Row], name: str) -> bool:
    """Whether every arm's mean at its last step is within `SIGNAL` of guessing, or below."""
    chance = curves.baselines(rows, name).get(curves.CHANCE)
    lines = [line for arm in MAIN if (line := curves.line(history(rows, arm, name)))]
    return chance is not None and bool(lines) and all(line.mean[-1] < chance + SIGNAL for line in lines)


def _drift(rows: Sequence[Row]) -> Told:
    names = {"cls_alignment": "CLS\u2013patch alignment", "top1_energy": "top-1 energy"}

    def clauses(arm: str) -> list[Clause]:
        # where a measure went and came back, its way there is told first
        swings = ((name, label, farthest(rows, arm, name)) for name, label in names.items())
        return [
            *(
                moved(name, label, swing)
                for name, label, swing in swings
                if swing and swing.strength in ("clear", "") and abs(swing.mean) >= swing.least
            ),
            *changes(rows, arm, {**names, "effective_rank": "effective rank"}),
        ]

    return told_of_each(rows, MAIN, clauses)


def _peaks(rows: Sequence[Row]) -> tuple[str, ...]:
    dense, energy = peak(rows, "near_auc"), peak(rows, "top1_energy")
    if dense is None or energy is None:
        return ()
    return (
        f"Without Gram, near AUC is highest {at(dense)}, top-1 energy {at(energy)}: "
        "a collapsed spectrum and bad maps are two things, to be read apart.",
    )


def _norms(rows: Sequence[Row]) -> Told:
    names = {"token_norm": "the length of patches before the final norm", "stable_rank": "stable rank"}
    return told_of_each(rows, MAIN, lambda arm: changes(rows, arm, names))


def _residuals(rows: Sequence[Row]) -> Told:
    def clauses(arm: str) -> list[Clause]:
        return [
            *level(rows, arm, "residual_top1", "one direction holds {} of the residuals"),
            *_gradient(rows, arm),
            *changes(rows, arm, {"residual_top1": "that share of the residuals"}),
        ]

    return told_of_each(rows, MAIN, clauses)


def _gradient(rows: Sequence[Row], arm: str) -> list[Clause]:
    """Both shares of the global gradient at an arm's last step: means over seeds, lowest to highest block."""
    top1, common = (
        [
            line
            for name in curves.block_measures(rows, part)
            if (line := curves.line(history(rows, arm, name)))
        ]
        for part in ("top1", "common")
    )
    if not top1 or not common:
        return []
    text = (
        f"of the global gradient at {_blocks(rows)}, one direction holds {span([x.mean[-1] for x in top1])} "
        f"and a row common to all patches {span([x.mean[-1] for x in common])}"
    )
    return [Clause(at(top1[0].steps[-1]), text, top1[0].seeds)]


def _blocks(rows: Sequence[Row]) -> str:
    """As in "blocks 3 to 5", counted from 0."""
    first, *_, last = [name.rpartition("_b")[2] for name in curves.block_measures(rows, "top1")] * 2
    return f"block {first}" if first == last else f"blocks {first} to {last}"


def _untrained(rows: Sequence[Row]) -> tuple[str, ...]:
    """The same numbers before any training, where they were had."""
    start = [row for row in rows if row["arm"] == curves.TRUNK and row["step"] == 0]

    def means(names: Sequence[str]) -> list[float]:
        found = ([row[name] for row in start if name in row] for name in names)
        return [statistics.fmean(values) for values in found if values]

    told = []
    if residual := means(["residual_top1"]):
        told.append(f"{residual[0]:.3f} in one direction of the residuals")
    top1, common = (means(curves.block_measures(rows, part)) for part in ("top1", "common"))
    if top1 and common:
        told.append(
            f"{span(top1)} in one direction of the global gradient at {_blocks(rows)}, "
            f"and {span(common)} in its common row"
        )
    return (f"An untrained network (step 0) has {'; '.join(told)}.",) if told else ()


def _losses(rows: Sequence[Row]) -> Told:
    names = {"heldout_ibot": "the iBOT loss", "heldout_dino": "DINO", "heldout_gram": "the Gram loss"}
    return told_of_each(rows, MAIN[1:], lambda arm: gaps(rows, arm, names))


def _locality(rows: Sequence[Row]) -> Told:
    names = {
        "locality_near": "the cosine of neighbours",
        "locality_far": f"that of patches {curves.FAR} apart",
        "locality_contrast": "their difference",
    }
    return told_of_each(rows, MAIN, lambda arm: changes(curves.with_contrast(rows), arm, names))


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
        "Anchored, every dense measure should end near its peak, and the global one should lose next to nothing. In "
        "DINOv3 that is the linear accuracy on ImageNet, 88.2 without and 88.0 with Gram, and not a k-NN.",
        _fixed("near_auc", "auc", "knn", "scenes_near_auc", "scenes_miou", "scenes_kind"),
        _quality,
        _no_signal,
    ),
    Chapter(
        "drift",
        "Drift of the patches",
        "An update that adds the same a to every patch changes HH\u1d40 by at most rank 2 to first order, and lifts "
        "its Rayleigh quotient along 1 only if the mean feature has a positive component along a (mean(h)\u00b7a > "
        "0). Then alignment with CLS and the first eigenvalue should grow and the effective rank fall, unless G is "
        "held in place; the curves are of G, the cosines, for which this is no theorem.",
        _fixed("cls_alignment", "mean_similarity", "top1_energy", "effective_rank"),
        _drift,
        _peaks,
    ),
    Chapter(
        "norms",
        "Spectrum and norms",
        "Energy that gathers in one direction lowers the stable rank; it lifts the Rayleigh quotient along 1 only if "
        "all patches have the same sign along that direction. In DINOv3 the lengths of the patches stay stable while "
        "their directions drift; registers keep outliers few.",
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
        "The argument assumes that all patches are pushed alike: then one direction holds most of the residuals R = "
        "p \u2212 t, and one row common to all patches explains most of the global gradient. But Sinkhorn targets "
        "keep the mean row of R small by construction; and CLS reads the last block\u2019s input through few heads "
        "(2 in the shipped networks), which makes the gradient there nearly low-rank by construction. Patches "
        "behind that block get none.",
        lambda rows: (
            *("residual_top1", "residual_effective_rank", "residual_common"),
            *curves.block_measures(rows, "top1"),
            *curves.block_measures(rows, "common"),
        ),
        _residuals,
        _untrained,
        (("global_", "gradient of the global loss"),),
    ),
    Chapter(
        "losses",
        "Losses on held-out images",
        "The post predicts that with Gram anchoring the iBOT loss falls faster and the global (DINO) loss hardly "
        "moves. Both are against the targets of each arm\u2019s own EMA teacher, so a lower loss may also mean "
        "easier targets.",
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
