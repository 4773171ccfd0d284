"""From rows of measurements to the lines of a plot: which measures there are, and means over seeds along an arm.

A row is one line of `metrics.jsonl`. Works with any number of seeds and with rows, arms or measures missing; knows
nothing of how a line is drawn or what is said of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gramviz.checkpoints.curves import BASELINE
from gramviz.checkpoints.manifest import MODEL_BRANCH, CheckpointInfo
from gramviz.ui.theme import ARMS, CONTROLS, Arm

Row = Mapping[str, Any]
History = dict[int, dict[int, float]]  # seed -> step -> value

TRUNK = "trunk"
CHANCE = "chance"  # the baseline of guessing
THIN = "\u202f"  # the narrow space between groups of three digits
FAR = 8  # patches: the distance that stands for "far" where locality is put into words
# Arms that part from another arm, not from the trunk.
PARENTS = {"gram_late": "plain", "gram_repair": "plain"}


@dataclass(frozen=True)
class Measure:
    """How a measure is named, and how large a change must be to count.

    least: the smallest change that is called an effect; a share of the first value where `relative`.
    """

    label: str
    unit: str
    least: float
    digits: int = 3
    relative: bool = False


MEASURES: Mapping[str, Measure] = {
    "near_auc": Measure("near AUC, photographs", "AUC, pairs 2\u20134 patches apart", 0.02),
    "auc": Measure("AUC, photographs", "AUC, all pairs", 0.02),
    "scenes_near_auc": Measure("near AUC, scenes", "AUC, pairs 2\u20134 patches apart", 0.02),
    "scenes_auc": Measure("AUC, scenes", "AUC, all pairs", 0.02),
    "scenes_miou": Measure("segmentation, scenes", "mIoU, k-NN of patches", 0.02),
    "knn": Measure("k-NN, Caltech-101", "accuracy, held-out images", 0.01),
    "scenes_kind": Measure("k-NN, kind of scene", "accuracy, held-out scenes", 0.01),
    "cls_alignment": Measure("CLS\u2013patch alignment", "mean cosine", 0.03),
    "mean_similarity": Measure("mean similarity", "mean cosine", 0.03),
    "top1_energy": Measure("top-1 energy of G", "share of the trace", 0.03),
    "effective_rank": Measure("effective rank of G", "eigenvalues", 0.1, 2, relative=True),
    "top3_energy": Measure("top-3 energy of G", "share of the trace", 0.03),
    "top10_energy": Measure("top-10 energy of G", "share of the trace", 0.03),
    "stable_rank": Measure(
        "stable rank of G", "\u2016G\u2016\u00b2 Frobenius / spectral", 0.1, 2, relative=True
    ),
    "rayleigh": Measure("Rayleigh quotient along 1", "1\u1d40G1 / P, of at most P", 0.1, 0, relative=True),
    "patch_norm": Measure("patch norm", "mean length", 0.1, 2, relative=True),
    "token_norm": Measure("patch norm before the final norm", "mean length", 0.1, 1, relative=True),
    "outlier_share": Measure("outlier patches", "share, modified z > 3.5", 0.03),
    "token_outlier_share": Measure("outliers before the final norm", "share, modified z > 3.5", 0.03),
    "residual_top1": Measure("residuals: top-1 share", "share of \u2016R\u2016\u00b2", 0.03),
    "residual_effective_rank": Measure("residuals: effective rank", "singular values", 0.1, 2, relative=True),
    "residual_common": Measure("residuals: common row", "share of \u2016R\u2016\u00b2", 0.03),
    "heldout_ibot": Measure("iBOT loss", "nats", 0.02, 3, relative=True),
    "heldout_dino": Measure("DINO loss", "nats", 0.02, 3, relative=True),
    "heldout_gram": Measure("Gram loss to the fork", "mean squared error of G", 0.02, 4, relative=True),
    "locality": Measure("mean cosine against distance", "cosine", 0.03),
    "locality_near": Measure("cosine of neighbours", "cosine", 0.03),
    "locality_far": Measure(f"cosine {FAR} patches apart", "cosine", 0.03),
    "locality_contrast": Measure("contrast of near and far", "cosine", 0.03),
}
_BLOCK = re.compile(r"global_(top1|common)_b(\d+)")


def grouped(number: int) -> str:
    """A whole number in groups of three, as everywhere on the page."""
    return f"{number:,}".replace(",", THIN)


def measure(name: str) -> Measure:
    """The measure of that name. Raises KeyError where there is none."""
    if match := _BLOCK.fullmatch(name):
        part = {"top1": "top-1 share", "common": "common row"}[match[1]]
        return Measure(
            f"gradient at block {match[2]}: {part}", "share of \u2016\u2202L/\u2202H\u2016\u00b2", 0.03, 2
        )
    return MEASURES[name]


def is_measure(name: str) -> bool:
    """Whether `measure` knows the name, as that of one number a step; `locality` has one for each distance."""
    return (name in MEASURES and name != "locality") or _BLOCK.fullmatch(name) is not None


def block_measures(rows: Sequence[Row], part: str) -> tuple[str, ...]:
    """Names of the gradient measures `global_<part>_b<block>` in the rows, by block; `part` is top1 or common."""
    found = {
        name for row in rows for name in row if name.startswith(f"global_{part}_b") and _BLOCK.fullmatch(name)
    }
    return tuple(sorted(found, key=lambda name: int(name.rpartition("_b")[2])))


def arms(rows: Sequence[Row]) -> tuple[str, ...]:
    """The arms in the rows that can be drawn, main ones first; without the trunk and the baselines."""
    there = {row["arm"] for row in rows}
    return tuple(name for name in (*ARMS, *CONTROLS) if name in there and name != TRUNK)


def heading_of(info: CheckpointInfo, *, several_runs: bool = False) -> str:
    """What a checkpoint goes by: its arm, with the run where there are several; or where it is no step of a run, its
    own name.
    """
    if info.branch == MODEL_BRANCH:
        return info.run
    return (f"{info.run}: " if several_runs else "") + look(info.branch).label


def step_of(info: CheckpointInfo) -> str:
    """ "step 4 000", with narrow spaces; "" where it is no step of a run."""
    return "" if info.branch == MODEL_BRANCH else f"step {grouped(info.step)}"


def name_of(info: CheckpointInfo, *, several_runs: bool) -> str:
    """What a checkpoint is called among others: its run where there are several, its arm, its step."""
    return ", ".join(filter(None, (heading_of(info, several_runs=several_runs), step_of(info))))


def look(arm: str) -> Arm:
    """Name, colour and dashes of an arm or a control."""
    return ARMS[arm] if arm in ARMS else CONTROLS[arm]


def fork(rows: Sequence[Row]) -> int | None:
    """The last step of the trunk; None where there are no rows of it."""
    return max((row["step"] for row in rows if row["arm"] == TRUNK), default=None)


def sound_seeds(rows: Sequence[Row], arm: str) -> frozenset[int]:
    """Seeds of an arm that parted at the fork for certain: the trunk was measured there, and the arm only later."""
    start = fork(rows)
    own: dict[int, int] = {}
    for row in rows:
        if row["arm"] == arm:
            own[row["seed"]] = min(row["step"], own.get(row["seed"], row["step"]))
    there = {row["seed"] for row in rows if row["arm"] == TRUNK and row["step"] == start}
    return frozenset(seed for seed, first in own.items() if seed in there and first > (start or 0))


def since_fork(rows: Sequence[Row], arm: str, name: str) -> History:
    """The history of an arm for those sound seeds whose measure is known at the fork."""
    start, kept = fork(rows), sound_seeds(rows, arm)
    return {
        seed: values
        for seed, values in history(rows, arm, name).items()
        if seed in kept and start is not None and start in values
    }


def history(rows: Sequence[Row], arm: str, name: str) -> History:
    """A measure along an arm from the run's beginning: before the arm's own first step, what it parted from."""
    own: History = {}
    for row in rows:
        if row["arm"] == arm and name in row:
            own.setdefault(row["seed"], {})[row["step"]] = row[name]
    before = history(rows, PARENTS.get(arm, TRUNK), name) if arm != TRUNK else {}
    return {
        seed: dict(sorted({**_until(before.get(seed, {}), min(values)), **values}.items()))
        for seed, values in own.items()
    }


def _until(values: dict[int, float], step: int) -> dict[int, float]:
    return {at: value for at, value in values.items() if at < step}


def common_steps(*histories: History) -> tuple[int, ...]:
    """The steps at which every seed of all the histories was measured, in rising order."""
    measured = [set(values) for each in histories for values in each.values()]
    return tuple(sorted(set.intersection(*measured))) if measured else ()


@dataclass(frozen=True)
class Line:
    """Mean, lowest and highest over seeds, at the steps at which all of them were measured."""

    steps: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


def line(values: History, since: int = 0) -> Line | None:
    """A history as a line from step `since` on; None where the seeds have no step in common."""
    steps = tuple(step for step in common_steps(values) if step >= since)
    if not steps:
        return None
    columns = [[each[step] for each in values.values()] for step in steps]
    return Line(
        steps,
        tuple(sum(column) / len(column) for column in columns),
        tuple(map(min, columns)),
        tuple(map(max, columns)),
        len(values),
    )


def own_line(rows: Sequence[Row], arm: str, name: str) -> Line | None:
    """The line of an arm from the point at which it parts from the trunk, or from the arm that it continues."""
    values = history(rows, arm, name)
    first = min((row["step"] for row in rows if row["arm"] == arm and name in row), default=0)
    return line(values, max((step for step in common_steps(values) if step < first), default=0))


def baselines(rows: Sequence[Row], name: str) -> dict[str, float]:
    """What needs no network reaches on the same pictures: name of the baseline -> value."""
    found = (row for row in rows if row["arm"].startswith(BASELINE) and name in row)
    return {row["arm"].removeprefix(BASELINE): row[name] for row in found}


def far_off(rows: Sequence[Row], name: str, value: float) -> bool:
    """Whether a level is so far from a measure's curves that drawing it would flatten them."""
    values = [row[name] for row in rows if name in row and "step" in row]
    room = (max(values) - min(values)) / 2 if values else 0.0
    return room > 0 and not min(values) - room <= value <= max(values) + room


def with_contrast(rows: Sequence[Row]) -> list[Row]:
    """The rows with near and far mean cosine, and their difference, as measures of their own where they were had."""
    return [{**row, **_contrast(row.get("locality") or ())} for row in rows]


def _contrast(locality: Sequence[float | None]) -> dict[str, float]:
    near, far = locality[0] if locality else None, locality[FAR - 1] if len(locality) >= FAR else None
    if near is None or far is None:
        return {}
    return {"locality_near": near, "locality_far": far, "locality_contrast": near - far}
