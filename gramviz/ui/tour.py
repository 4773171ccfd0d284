"""The guided tour: what each of its steps says and asks, the state of the page it leads to, and what it "
"points at.

A question with `right` has that answer everywhere; one with `judge` is answered by the page from what it shows of the
visitor's own picture (`web/guide_judges.js`), so that no answer is claimed that the picture does not bear out. In
texts, TeX stands between dollar signs. States are as in the page's address. No number of any picture is known here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step. state: where the page is led; look: CSS selector of what is pointed at.

    ask: the question; options: possible answers, none where the page is to be brought into a state that `judge`
    checks. right: number of the right one, or None where `judge` finds it.
    reveal: why. after: where the page is led once it is answered; "" where it stays.
    """

    title: str
    text: str
    state: str
    look: str
    ask: str
    options: tuple[str, ...]
    reveal: str
    right: int | None = None
    judge: str = ""
    after: str = ""


STEPS: tuple[Step, ...] = (
    Step(
        "A photograph becomes patches",
        "The network cuts a photograph into $P$ squares, the patches, and gives each a feature vector "
        "$h_i$. Point at "
        "one: the frame is a patch, and every map shows how much all others resemble it.",
        "patches=14",
        ".gv-explorer .gv-photo",
        "There is one cosine for every pair of patches. How many is that?",
        ("$P$", "$2P$", "$P^2$"),
        "Every patch with every patch, itself included: $P^2$ numbers, in one matrix $G$.",
        right=2,
        judge="pairs",
    ),
    Step(
        "Similarity is an angle",
        "$x_i = h_i / \\lVert h_i \\rVert$ has length 1, so $G_{ij} = x_i \\cdot x_j$ is the cosine of "
        "the angle between two "
        "features: 1 in one direction, 0 at right angles. A map is one row of $G$, laid over the photograph.",
        "pins=0.5,0.5",
        ".gv-explorer .gv-maps",
        "A patch is pinned. Which cosine has it with itself?",
        ("0", "1", "That depends on the checkpoint"),
        "Always 1: the diagonal of $G$ holds no news. Everything else does.",
        right=1,
    ),
    Step(
        "The spectrum of G",
        "$G = X X^\\top$ is symmetric and has eigenvalues $\\lambda_k \\ge 0$ that add up to $P$. Many "
        "alike: the patches "
        "point many ways. One that towers: they point one way.",
        "tab=spectra",
        ".gv-spectrum",
        "If all patches pointed the same way, how many eigenvalues would not be 0?",
        ("1", "half of them", "all $P$"),
        "One, of size $P$: a matrix of ones has rank 1. How close a checkpoint is to that, its top-1 "
        "share says.",
        right=0,
    ),
    Step(
        "What training does",
        "Both arms begin with the same 200 steps. Here is step 200, the last they share. Then one goes "
        "on without an "
        "anchor.",
        "tab=story&at=200",
        ".gv-player .gv-timeline",
        "From here to the last step without Gram: where does the mean cosine of two patches of your "
        "picture end?",
        ("higher", "lower", "within 0.02 of where it was"),
        "More similar everywhere is what the post calls going global. It need not happen at every step: "
        "press play, "
        "and watch it on the way.",
        judge="mean_similarity",
        after="tab=story",
    ),
    Step(
        "The same with an anchor",
        "The other arm has the same images, crops and masks, and one term more: the Gram loss, from step "
        "200 on.",
        "tab=story",
        ".gv-player .gv-screens",
        "Which arm ends with the higher effective rank on your picture, so with features that point more ways?",
        ("with Gram", "without Gram"),
        "Effective rank is $\\exp(-\\sum_k p_k \\log p_k)$ with $p_k = \\lambda_k / P$: the number of "
        "directions that matter. On one "
        "picture, of one small network; the curves below say what held over pictures and seeds.",
        judge="effective_rank",
    ),
    Step(
        "Why: one push for all",
        "DINO\u2019s loss looks at the CLS token only. If CLS answers to all patches alike, its gradient "
        "pushes all by one "
        "vector $a$: $\\Delta H \\approx -\\eta\\, \\mathbf{1} a^\\top$.",
        "tab=theory&card=eq34",
        "#gv-card-eq34",
        "Which rank has $\\mathbf{1} a^\\top$, the same row $P$ times?",
        ("1", "$d$, the width of the features", "$P$"),
        "Rank 1. Whether the true gradient is like that is measured on the card: its verdict is about "
        "your picture.",
        right=0,
        judge="card:eq34",
    ),
    Step(
        "A small cause, a small change",
        "A change of features $\\Delta H$ changes $G_H = H H^\\top$ by $\\Delta H\\, H^\\top + H\\, "
        "\\Delta H^\\top$, to first order.",
        "tab=theory&card=lemma1&lemma1.rank=1",
        "#gv-card-lemma1",
        "If $\\Delta H$ has rank 1, which rank can the change of $G_H$ have at most?",
        ("1", "2", "$P$"),
        "Two: $\\Delta H\\, H^\\top$ has rank 1, and so has its transpose (Lemma 1). The cosine matrix "
        "$G$ divides by lengths "
        "and is not bound by this.",
        right=1,
        judge="card:lemma1",
    ),
    Step(
        "Lemma 2, and its condition",
        "A common drift $a$ feeds the constant map: $\\mathcal{R} = \\mathbf{1}^\\top G_H \\mathbf{1} / "
        "P$ changes by $2P\\, (\\bar h \\cdot a) + "
        "P \\lVert a \\rVert^2$. Here $a$ points along the mean feature $\\bar h$, and $\\mathcal{R}$ grows.",
        "tab=theory&card=lemma2",
        "#gv-card-lemma2",
        "Now turn $a$ around, so that it points against $\\bar h$. What does $\\mathcal{R}$ do?",
        ("grows all the same", "stays", "falls"),
        "It falls: the post\u2019s claim needs $\\bar h \\cdot a > 0$, which it does not say. For the "
        "real gradient that is true "
        "on some pictures and not on others.",
        right=2,
        judge="card:lemma2",
        after="tab=theory&card=lemma2&lemma2.direction=opposite",
    ),
    Step(
        "Gram anchoring",
        "The Gram loss $\\lVert X X^\\top - X_G X_G^\\top \\rVert_F^2$ pulls the cosines of all pairs "
        "back to those of an earlier, more local "
        "teacher. A is the last checkpoint with it, B the last without.",
        "view=difference&pins=0.5,0.5",
        ".gv-pair",
        "Whose patches are, on average, more similar to the pinned one?",
        ("A, with Gram", "B, without Gram"),
        "The difference beside them has a sign at every patch. Try other patches: it need not be the "
        "same everywhere.",
        judge="pinned_mean",
    ),
    Step(
        "Relations, not coordinates",
        "The loss knows $X X^\\top$ only. Turn all features by one rotation $Q$: $X Q Q^\\top X^\\top = "
        "X X^\\top$.",
        "tab=theory&card=eq6",
        "#gv-card-eq6",
        "All features have turned by 45 degrees. How large is the Gram loss?",
        ("0, to rounding", "half of what it can be", "as large as it can be"),
        "0. The student may go on to turn its features as the global loss wants; only their angles are held.",
        right=0,
        judge="card:eq6",
    ),
    Step(
        "Repair it, live",
        "Take the last checkpoint without Gram and train it on with the Gram loss alone, to the Gram "
        "matrices of step "
        "200. Predict, then start the fine-tune: it takes some seconds, more on a slow machine.",
        "tab=finetune",
        ".gv-tuner .gv-start",
        "By how much will the Gram distance on your picture have fallen when it ends?",
        ("by less than a tenth", "by a tenth to a half", "by more than half"),
        "The maps move back within seconds, since the relations are still cheap to mend. Whether the "
        "dense and the "
        "global task gain takes labels to say.",
        judge="repair",
    ),
    Step(
        "What to measure",
        "Mean similarity, effective rank and the top-1 share need no labels; but a network that was "
        "never trained is "
        "very local, too. So ask a task: does the cosine of two near patches predict whether they are "
        "one object?",
        "tab=story",
        ".gv-curves",
        "Which of these needs labels?",
        ("effective rank", "near AUC", "CLS-patch alignment"),
        "Near AUC: it needs segments. The curves here have both kinds, several seeds, and baselines "
        "beside them: an "
        "untrained network, and the mean colour of a patch.",
        right=1,
    ),
)
