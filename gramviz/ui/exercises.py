"""Exercises for a lab hour: what is to be found, where the page is led for it, and what a found answer shows.

The page itself judges the state it is in (`web/guide_exercises.js`), so that every answer is that of the visitor's
own picture. In texts, TeX stands between dollar signs. {trunk}, {plain} and {gram} in a state stand for the last
checkpoints of the first run that a new visitor sees; see `named`. No number of any picture is known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gramviz.checkpoints.manifest import CheckpointInfo
from gramviz.ui.tour import Step

EXERCISES: tuple[Step, ...] = (
    Step(
        "The patch that changes most",
        "Between the last shared step and the last step without Gram, some patches keep their map and some lose it. "
        "The third map is the difference of the two.",
        "patches=20&ids={trunk},{plain}&view=difference&a={trunk}&b={plain}",
        ".gv-pair",
        "Pin the patch whose map changes most: whose mean $|\\Delta \\cos|$ over all patches is among the "
        "highest tenth.",
        (),
        "A patch that was unlike the rest has most to lose when all features lean one way.",
        judge="most_changed",
    ),
    Step(
        "The patch nearest to CLS",
        "The maps show the cosine of every patch to the CLS token.",
        "patches=20&ids={trunk},{plain}&cls=1",
        ".gv-tree",
        "Pin one of the five patches that are nearest to CLS in the last step without Gram.",
        (),
        "The DINO loss pulls at CLS alone. Which patches come with it, this map tells.",
        judge="nearest_to_cls",
    ),
    Step(
        "How many directions matter",
        "The eigenvalues of $G$ over their sum are shares of its energy.",
        "patches=20&tab=spectra&ids={plain}&k=1",
        ".gv-counter",
        "Set the eigenvector to the number $k$ at which the shares of the first $k$ first add up to 90 %.",
        (),
        "Effective rank says the same in one number, without a threshold.",
        judge="energy",
    ),
    Step(
        "When it was worst",
        "Training need not make features more alike at every step.",
        "tab=story&at=0",
        ".gv-player .gv-timeline",
        "Move to the saved step at which the mean similarity of your picture is highest in the arm without Gram.",
        (),
        "Which step it is depends on the picture; the curves below average over many.",
        judge="peak",
    ),
    Step(
        "A drift that lowers R",
        "Lemma 2 says how a common drift $a$ changes the Rayleigh quotient $\\mathcal{R}$ along the constant map.",
        "tab=theory&card=lemma2",
        "#gv-card-lemma2",
        "Choose a direction and a size of at least 0.2 with which $\\mathcal{R}$ falls.",
        (),
        "The first order, $2P\\, \\bar h \\cdot a$, must be negative, and outweigh $P \\lVert a \\rVert^2$.",
        judge="lowers",
    ),
    Step(
        "What the Gram loss does not see",
        "The map now stretches the features, and the Gram loss sees it.",
        "tab=theory&card=eq6&eq6.map=stretch&eq6.amount=0.5",
        "#gv-card-eq6",
        "Find a map that turns features by 30 degrees or more in the mean, with no entry of $G$ moved.",
        (),
        "$X Q Q^\\top X^\\top = X X^\\top$ for every rotation $Q$: the student stays free to turn.",
        judge="unseen",
    ),
    Step(
        "Enough Gram, and not too much",
        "Here the DINO loss trains on from the last step without Gram, beside a control with Gram weight 0. The Gram "
        "weight is now too low. Each try keeps two of the four checkpoints that you can have: forget those of one "
        "that failed.",
        "tab=finetune&plan.dino=1&plan.gram=0.5&plan.control=on&plan.steps=40",
        ".gv-tuner .gv-plan",
        "Find a Gram weight with which the Gram distance ends at no more than half the control\u2019s, and the DINO "
        "loss of the last ten steps within 5 % of it.",
        (),
        "Both hold over a range of weights. The DINO loss of a few crops is no probe of the global task; that takes "
        "labels.",
        judge="anchor",
    ),
)


def named(state: str, ids: Mapping[str, str]) -> str:
    """A state with its placeholders filled from `last_ids`; where one is missing, what names it is left out."""
    parts = state.split("&")
    for name in ("trunk", "plain", "gram"):
        if name in ids:
            parts = [part.replace(f"{{{name}}}", ids[name]) for part in parts]
    return "&".join(part for part in parts if "{" not in part)


def last_ids(checkpoints: Sequence[CheckpointInfo]) -> dict[str, str]:
    """Branch -> id of its last checkpoint among those of the first run that a new visitor sees."""
    shown = [info for info in checkpoints if info.shown]
    first = [info for info in shown if info.run == shown[0].run]
    return {info.branch: info.id for info in sorted(first, key=lambda info: info.step)}
