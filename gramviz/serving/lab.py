"""The theory lab: which results of the post there are, what can be moved in each, and what each is checked on.

Brings features, networks and heads to the functions of `gram` and `metrics`. Knows no page.

Letters: P patches, d feature width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.anchoring import eq6, eq7
from gramviz.gram.directions import eq1, stretched
from gramviz.gram.finding import Finding
from gramviz.gram.lemmas import lemma1, lemma2
from gramviz.gram.recovery import prop2
from gramviz.gram.similarity import in_float64
from gramviz.gram.telling import numbers
from gramviz.metrics.geometry import outliers
from gramviz.serving.controls import Choice, Slider, start
from gramviz.serving.global_step import PUSHES, eq34, eq34_blackboard
from gramviz.serving.local_step import eq2, eq2_blackboard
from gramviz.serving.material import Material, blackboard

THEORY_PATCHES = 16  # on the long side: at most 256 patches
DIRECTION_SEED = 0

__all__ = [
    "CARDS",
    "THEORY_PATCHES",
    "Card",
    "Choice",
    "Material",
    "Slider",
    "Values",
    "blackboard",
    "card",
    "check",
]

Values = Mapping[str, float | str]


@dataclass(frozen=True)
class Card:
    """One result of the post. name: as in "lemma2". check: material and checked values of the controls -> Finding."""

    name: str
    controls: tuple[Slider | Choice, ...]
    check: Callable[[Material, Mapping[str, Any]], Finding]

    def checked(self, values: Values) -> dict[str, Any]:
        """A value for every control, its start where none is given. InputError for one that cannot be."""
        known = {control.name: control for control in self.controls}
        for name in values:
            if name not in known:
                raise InputError(
                    f"{self.name} has no control {str(name)[:40]!r}; it has {', '.join(known) or 'none'}."
                )
        return {name: control.checked(values.get(name, start(control))) for name, control in known.items()}


def card(name: str) -> Card:
    """The card of that name; InputError names those that there are."""
    for one in CARDS:
        if one.name == name:
            return one
    raise InputError(
        f"There is no card {str(name)[:40]!r}; there are {', '.join(one.name for one in CARDS)}."
    )


def check(name: str, material: Material, values: Values) -> Finding:
    """What a card finds on the material, at these values of its controls (the start where none is given).

    Raises InputError for an unknown card or control, or a value out of its range.
    """
    chosen = card(name)
    return chosen.check(material, chosen.checked(values))


def _eq1(material: Material, values: Mapping[str, Any]) -> Finding:
    found = eq1(material.patches, values["stretch"])
    lengths = stretched(material.patches, values["stretch"]).norm(dim=-1)
    return replace(
        found,
        numbers=found.numbers
        + numbers(
            ("outliers by length", int(outliers(lengths).sum()), "patches of H, modified z-score above 3.5"),
            (
                "outliers before the final norm",
                int(outliers(material.lengths).sum()),
                "the same of the tokens, without the stretch",
            ),
        ),
    )


def _lemma1(material: Material, values: Mapping[str, Any]) -> Finding:
    if material.other is None:
        return _NO_OTHER
    return _of_other(material, lemma1(material.patches, material.other, values["rank"], values["size"]))


def _lemma2(material: Material, values: Mapping[str, Any]) -> Finding:
    patches, cls, kind = material.patches, material.cls, values["direction"]
    if kind == "drift":
        if material.other is None:
            return _NO_OTHER
        along = (material.other - patches).mean(0)
        return _of_other(material, lemma2(patches, along, values["size"]))
    if kind == "gradient":
        return _lemma2_along_gradient(material, values["size"])
    mean = patches.mean(0)
    along = {"mean": mean, "opposite": -mean, "cls": cls, "random": _random_direction(len(cls))}[kind]
    return lemma2(patches, along, values["size"])


def _lemma2_along_gradient(material: Material, size: float) -> Finding:
    """With a descent step on the DINO loss as direction, at the last block, where H are the tokens that go in."""
    if material.blackboard:
        return lemma2(material.patches, -torch.tensor(PUSHES[-1], dtype=torch.float64).mean(0), size)
    if material.training is None:
        return _no_heads(material)
    push = material.training.global_pushes[-1]
    tokens, gradient = (in_float64(each[0]).cpu() for each in (push.tokens, push.gradient))
    found = lemma2(tokens, -gradient.mean(0), size)
    return replace(found, because=f"{found.because} H are the tokens of a crop that go into the last block.")


def _eq6(material: Material, values: Mapping[str, Any]) -> Finding:
    return eq6(material.patches, values["map"], values["amount"])


def _eq7(material: Material, values: Mapping[str, Any]) -> Finding:
    if material.other is None:
        return _NO_OTHER
    return _of_other(material, eq7(material.patches, material.other, values["epsilon"]))


def _prop2(material: Material, values: Mapping[str, Any]) -> Finding:
    return prop2(material.patches, material.grid, values["size"], values["steps"])


def _eq2(material: Material, values: Mapping[str, Any]) -> Finding:
    if material.blackboard:
        return eq2_blackboard(material.patches, values["rate"])
    return _no_heads(material) if material.training is None else eq2(material.training, values["rate"])


def _eq34(material: Material, values: Mapping[str, Any]) -> Finding:
    if material.blackboard:
        return eq34_blackboard(values["block"])
    if material.training is None:
        return _no_heads(material)
    return eq34(material.training, values["block"], material.rows)


def _no_heads(material: Material) -> Finding:
    *first, last = material.with_heads or ("",)
    of_run = f"{', '.join(first)} and {last} have" if first else f"{last} has"
    others = f" Of its run, {of_run} some." if last else ""
    return Finding(None, f"This checkpoint has no projection heads, which this result needs.{others}")


_NO_OTHER = Finding(
    None, "This result compares two checkpoints of one run, and the run of this one has no other that fits."
)


def _of_other(material: Material, found: Finding) -> Finding:
    of = material.other_name if material.blackboard else f"those of {material.other_name}"
    return replace(found, because=f"{found.because} The other features are {of}.")


def _random_direction(width: int) -> Tensor:
    return torch.randn(width, dtype=torch.float64, generator=torch.Generator().manual_seed(DIRECTION_SEED))


CARDS: tuple[Card, ...] = (
    Card("eq1", (Slider("stretch", "Length of the longest patch, times its own", 0, 100, 0.5, 1),), _eq1),
    Card("eq2", (Slider("rate", "Learning rate", -4, 1, 0.25, -2, log=True),), _eq2),
    Card("eq34", (Slider("block", "Blocks before the last", 0, 5, 1, 0),), _eq34),
    Card(
        "lemma1",
        (
            Slider("rank", "Rank r of the change", 1, 32, 1, 2),
            Slider("size", "Size of the change", -2, 0, 0.1, -1, log=True),
        ),
        _lemma1,
    ),
    Card(
        "lemma2",
        (
            Choice(
                "direction",
                "Direction of the drift",
                (
                    ("mean", "the mean feature"),
                    ("opposite", "its opposite"),
                    ("random", "at random"),
                    ("cls", "the CLS feature"),
                    ("gradient", "a step on the DINO loss"),
                    ("drift", "towards the other checkpoint"),
                ),
            ),
            Slider("size", "Size |a| / |mean(h)|", 0, 2, 0.05, 0.1),
        ),
        _lemma2,
    ),
    Card(
        "eq6",
        (
            Choice(
                "map",
                "Map of the features",
                (
                    ("rotation", "rotation"),
                    ("scaling", "scaling of each patch"),
                    ("permutation", "swap of patches"),
                    ("stretch", "stretch along one direction"),
                ),
            ),
            Slider("amount", "Amount (rotation: 1 is 180 degrees)", 0, 1, 0.05, 0.25),
        ),
        _eq6,
    ),
    Card("eq7", (Slider("epsilon", "Step of the finite differences", -12, -1, 0.5, -5, log=True),), _eq7),
    Card(
        "prop2",
        (
            Slider("size", "Size of the drift, times |mean(h)|", 0, 2, 0.05, 0.5),
            Slider("steps", "Steps of descent", 0, 100, 1, 6),
        ),
        _prop2,
    ),
)
