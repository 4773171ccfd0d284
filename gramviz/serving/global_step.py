"""Equations 3 and 4 of the post "Why Patch Features Go Global" (Hernandez, 2025): a step on the DINO loss.

On a checkpoint with heads, or on the blackboard.

Letters: P patches, d feature width, D [P, d] the gradient at the patch tokens, a its mean row, 1 the vector of ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gramviz.gram.finding import Chart, Finding, Line
from gramviz.gram.telling import line, numbers, share, written
from gramviz.metrics.pushes import Commonness, commonness
from gramviz.serving.rehearsal import Training

COMMON = 0.5  # share of 1 a^T in the gradient

# two blocks of the blackboard: all patches pushed alike, and one of them pushed back
PUSHES = (
    ((1.0, 0.0), (2.0, 0.0), (1.0, 1.0), (1.0, 0.0)),
    ((1.0, 0.0), (2.0, 0.0), (1.0, 1.0), (-1.0, 0.0)),
)
MEASURED = {"plain": "without Gram", "gram": "with Gram"}  # arms of "along training"


def eq34(training: Training, back: int, rows: Sequence[Mapping[str, Any]]) -> Finding:
    """Equations 3 and 4: is the gradient of the DINO loss one push for all patch tokens, at the input of a block?

    back: how many blocks before the last, the first one where there are not so many. rows: what was measured along
    the run. Holds if 1 a^T explains at least half of the squared gradient. Assumption 1, J_i ~ J, leads to that; but
    that J_i^T W^T r is common for one r does not prove J_i ~ J for all. Nor is it what patches do
    after a step on the weights: the gradient at the tokens is measured.
    """
    pushes = training.global_pushes
    shares = [commonness(push.gradient) for push in pushes]
    block = max(0, len(pushes) - 1 - back)
    patches = pushes[block].gradient.shape[-2]
    found = _common_finding(
        shares[block], patches, f"At the input of block {block} (of 0 to {len(pushes) - 1})"
    )
    charts = [_block_chart(shares, block, patches)]
    along = _along_training(rows, block)
    return Finding(found.holds, found.because, found.numbers, (*charts, *along))


def eq34_blackboard(back: int) -> Finding:
    """The same on the pushes of two blocks that are written out; in the last one a patch is pushed back."""
    block = max(0, len(PUSHES) - 1 - back)
    pushes = torch.tensor(PUSHES[block], dtype=torch.float64)
    found = _common_finding(
        commonness(pushes[None]), len(pushes), f"With the pushes of block {block} (of 0 to 1)"
    )
    mean = pushes.mean(0, keepdim=True)
    matrices = written(("D", pushes), ("a, the mean push", mean), ("1 a^T", mean.expand_as(pushes)))
    return Finding(found.holds, found.because, found.numbers, matrices=matrices)


def _common_finding(found: Commonness, patches: int, where: str) -> Finding:
    holds = found.common >= COMMON
    because = (
        f"Claim: one push for all patches. {where}, 1 a^T explains {share(found.common)} of the squared gradient "
        f"({share(COMMON)} asked for)"
    )
    if holds:
        because += ": patches are mostly pushed alike, for this picture and its loss."
    elif found.top >= COMMON:
        because += (
            f". The first singular value has {share(found.top)}: much of the push lies along one direction, "
            "but patches get different amounts of it, or opposite ones, and that is not 1 a^T."
        )
    else:
        because += (
            f". The first singular value has {share(found.top)}: patches are pushed in different directions."
        )
    return Finding(
        holds=holds,
        because=because,
        numbers=numbers(
            ("common share", found.common, "share of 1 a^T, a the mean push, in the squared gradient"),
            ("top share", found.top, "share of the first squared singular value: any rank 1"),
            ("cosine to the mean push", found.cosine, "mean over patches"),
            (
                "common share by chance",
                1 / patches,
                "1 / P, what independent pushes of mean 0 give on average",
            ),
            ("patches", patches, "P, of a crop"),
        ),
    )


def _block_chart(shares: Sequence[Commonness], block: int, patches: int) -> Chart:
    blocks = [float(index) for index in range(len(shares))]
    return Chart(
        title="Is the push common, block by block?",
        x_axis="block at whose input the gradient is taken",
        y_axis="share of the squared gradient",
        lines=(
            line("1 a^T", blocks, [each.common for each in shares]),
            line("first singular value", blocks, [each.top for each in shares], "other"),
            line("1 a^T by chance", blocks, [1 / patches for _ in shares], "reference"),
        ),
        about="Of the DINO loss over two crops of this picture, in a batch with the sample pictures, which BatchNorm "
        "and the targets need.",
        mark=float(block),
    )


def _along_training(rows: Sequence[Mapping[str, Any]], block: int) -> tuple[Chart, ...]:
    """The common share as it was measured along the run at that block, mean over seeds; none where it was not."""
    name = f"global_common_b{block}"
    of_arm: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if name in row and math.isfinite(row[name]):
            of_arm.setdefault(row["arm"], {}).setdefault(row["step"], []).append(row[name])
    lines: list[Line] = []
    for arm, label in MEASURED.items():
        if arm in of_arm:
            steps = sorted({**of_arm.get("trunk", {}), **of_arm[arm]}.items())
            means = [sum(values) / len(values) for _, values in steps]
            role = "other" if lines else "main"
            lines.append(line(label, [float(step) for step, _ in steps], means, role))
    if not lines:
        return ()
    return (
        Chart(
            title=f"Common share at block {block} along training",
            x_axis="step",
            y_axis="share of 1 a^T in the squared gradient",
            lines=tuple(lines),
            about="Measured on held-out images in training's own batches, mean over images and seeds.",
        ),
    )
