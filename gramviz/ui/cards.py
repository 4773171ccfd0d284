"""What is said of each result of the theory lab: its statement in TeX, what the symbols mean, what to try.

In texts, TeX stands between dollar signs. It becomes MathML, which browsers draw by themselves: no script, no font
and no other host. Knows no number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from types import MappingProxyType

from latex2mathml.converter import convert

_FORMULA = re.compile(r"(\(?)\$([^$]*)\$([.,;:)]*)")
ONES = "\N{MATHEMATICAL BOLD DIGIT ONE}"  # browsers know no bold in MathML, so that of Unicode


@dataclass(frozen=True)
class Statement:
    """A result as it stands on its card. formulas: TeX, one a line. symbols: what the letters mean.

    condition: what the post does not say, or what the result is not about. to_try: what to move, and what to look at.
    """

    title: str
    formulas: tuple[str, ...]
    symbols: str
    to_try: str
    condition: str = ""


STATEMENTS: Mapping[str, Statement] = MappingProxyType(
    {
        "eq1": Statement(
            "Eq. 1: G compares directions, not lengths",
            (r"x_i = \frac{h_i}{\lVert h_i \rVert}, \quad G = X X^\top, \quad G_{ij} = x_i \cdot x_j",),
            "$H$ holds the feature $h_i$ of a patch in each of its $P$ rows, $X$ the same rows at length 1. So $G$ "
            "holds the cosine of every pair: 1 on its diagonal, no negative eigenvalue, trace $P$.",
            "Stretch the longest patch. $G$ stays as it is, while $G_H = H H^\\top$, which keeps lengths, is soon "
            "about this one patch alone. At 0 the patch has no direction left.",
        ),
        "eq2": Statement(
            "Eq. 2: a local step moves patches by their residuals",
            (
                r"p_i = \operatorname{softmax}(W h_i), \quad r_i = p_i - t_i",
                r"\Delta H = -\eta\, R\, W",
            ),
            "$W$ is the head as one linear map onto $K$ prototypes, $t_i$ the teacher\u2019s target for a masked "
            "patch, $\\eta$ the learning rate. $R$ has the residuals $r_i$ of the $M$ masked patches as rows; each "
            "sums to 0, so its rank is at most $\\min(M, K-1)$.",
            "Raise $\\eta$, and see where a true step leaves the formula.",
            "The formula moves features under a linear head. A training step moves weights, and the head of a "
            "checkpoint is not linear: how much that matters is measured here. The true step is plain gradient "
            "descent on the weights of the backbone, not the AdamW of the run, in float64. The run\u2019s $p_i$ has "
            "a temperature $T$, so that the gradient is $R\\, W / T$.",
        ),
        "eq34": Statement(
            "Eq. 3 and 4: a global step moves all patches alike",
            (
                r"\Delta h_i = -\eta\, J_i^\top W^\top r_g, \quad "
                r"J_i = \frac{\partial h_\mathrm{cls}}{\partial h_i}",
                rf"J_i \approx J \;\Rightarrow\; \Delta H \approx -\eta\, {ONES} a^\top, \quad a = J^\top W^\top r_g",
            ),
            "$r_g$ is the residual of the CLS token\u2019s prediction; $J_i$ tells how the CLS token answers to "
            "patch $i$. $W$ is the head as one linear map, $\\eta$ the learning rate. If the CLS token answers to "
            f"all patches alike (Assumption 1), all get one push $a$, and ${ONES} a^\\top$ has rank 1.",
            "Go from block to block: the gradient of the DINO loss at the patch tokens there, against one common "
            "push.",
            "What is checked is one push for all patches, which Assumption 1 leads to: that "
            "$J_i^\\top W^\\top r$ is common for the one $r$ of this picture does not prove $J_i \\approx J$. "
            "And it is the gradient at the tokens that is measured, not what patches do after a step on weights.",
        ),
        "lemma1": Statement(
            "Eq. 5 and Lemma 1: a change of low rank changes G by low rank",
            (
                r"\Delta G_H = \Delta H\, H^\top + H\, \Delta H^\top",
                r"\operatorname{rank}(\Delta G_H) \le 2 \operatorname{rank}(\Delta H)",
            ),
            "$\\Delta G_H$ is the change of $G_H = H H^\\top$ to first order in $\\Delta H$; the exact one has "
            "$\\Delta H\\, \\Delta H^\\top$ besides. Here $\\Delta H$ is the strongest part of rank $r$ of what lies "
            "between this checkpoint and a neighbour in its run, times a size.",
            "Choose $r$, and count the singular values that are left. Make the change small, and the second order "
            "fades.",
            "The lemma is about $G_H$. The cosine matrix $G$ divides by lengths, and its change is not bound by it.",
        ),
        "lemma2": Statement(
            "Lemma 2: a common drift raises R along 1, if it points the right way",
            (
                rf"\Delta H = {ONES} a^\top \;\Rightarrow\; \Delta G_H = {ONES} b^\top + b\, {ONES}^\top, "
                r"\quad b = H a",
                rf"\mathcal{{R}} = \frac{{{ONES}^\top G_H {ONES}}}{{P}}, \quad "
                r"\Delta \mathcal{R} = 2 P\, (\bar{h} \cdot a) + P\, \lVert a \rVert^2",
            ),
            "All patches get the same drift $a$; $\\bar{h}$ is their mean feature. $\\mathcal{R}$ is the Rayleigh "
            f"quotient of $G_H$ along the constant map ${ONES}$. It is $P \\lVert \\bar{{h}} \\rVert^2$, which grows "
            "as the mean feature gets longer: $H \\to 2 H$ quadruples it. How alike patches are, only that of the "
            "cosine matrix $G$ measures. "
            "$\\Delta G_H$ is to first order; $\\Delta \\mathcal{R}$ is exact, its second term the second order.",
            "Choose the opposite direction, and $\\mathcal{R}$ falls; then make the drift so large that the second "
            "order wins.",
            "The post does not say it: to first order $\\mathcal{R}$ grows only if $\\bar{h} \\cdot a > 0$. The "
            "second-order term $P\\, \\lVert a \\rVert^2$ always raises it.",
        ),
        "eq6": Statement(
            "Eq. 6: the Gram loss asks for relations, not for coordinates",
            (
                r"\mathcal{L}_\mathrm{Gram} = \lVert X X^\top - X_G X_G^\top \rVert_F^2",
                r"Q^\top Q = I \;\Rightarrow\; \mathcal{L}_\mathrm{Gram}(X Q) = \mathcal{L}_\mathrm{Gram}(X)",
            ),
            "$X$ holds the student\u2019s features at length 1, $X_G$ those of the Gram teacher, $Q$ is any rotation "
            "or reflection of the feature space. Here the teacher is the picture\u2019s own features before the map.",
            "Rotate: features turn, and the loss stays at 0 to rounding. Then swap patches, or stretch one "
            "direction.",
        ),
        "eq7": Statement(
            "Eq. 7: the gradient of the Gram loss",
            (
                r"\frac{\partial \mathcal{L}}{\partial X} = 4\, (X X^\top - X_G X_G^\top)\, X",
                r"\frac{\partial \mathcal{L}}{\partial h_i} = \frac{1}{\lVert h_i \rVert} "
                r"(I - x_i x_i^\top)\, \frac{\partial \mathcal{L}}{\partial x_i}",
            ),
            "$X_G$ is that of a neighbouring checkpoint. On the way from $x_i$ to $h_i$ the normalisation takes away "
            "the part along $x_i$: to first order, no patch is pushed to become longer or shorter.",
            "Move the step of the finite differences: if it is large, curvature spoils them; if it is small, "
            "rounding does.",
        ),
        "prop2": Statement(
            "Proposition 2: the Gram loss takes back a drift and leaves a rotation",
            (
                rf"H_1 = (H_0 + {ONES} a^\top)\, Q, \quad "
                r"H_{t+1} = H_t - \tau\, \frac{\partial \mathcal{L}_\mathrm{Gram}}{\partial H_t}",
                r"G_t \to G_0, \quad X_t \to X_0\, Q'",
            ),
            "All patches drift along their mean feature and turn by 30 degrees ($Q$). Then follow steps of gradient "
            "descent on the Gram loss alone, whose target is $G_0$, as it was before. $Q'$ is orthogonal: relations "
            "come back, coordinates need not.",
            "Give it more steps, and see which part of the change goes first.",
            "Descent tends to $G_0$ but need not get there, so the verdict checks it: where all patches have "
            "collapsed onto one direction the gradient is 0, and nothing comes back.",
        ),
    }
)


@lru_cache(maxsize=256)
def mathml(tex: str, display: str = "inline") -> str:
    """TeX as MathML; display: "inline" or "block"."""
    return convert(tex, display=display)


def with_maths(text: str) -> str:
    """A text with TeX between dollar signs, as HTML; brackets and stops stay on the line of their formula."""
    parts = _FORMULA.split(text)  # text, bracket, TeX, stops, text, ...
    pieces = [escape(parts[0])]
    for opening, tex, closing, rest in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True):
        pieces += [f'<span class="gv-formula">{opening}{mathml(tex)}{closing}</span>', escape(rest)]
    return "".join(pieces)
