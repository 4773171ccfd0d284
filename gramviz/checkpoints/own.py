"""Checkpoints of a visitor's own, in memory: what came out of a fine-tune, which can be taken home as an archive, and
models that they brought.

Knows nothing of training; what was done comes in words.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import torch
from torch import Tensor

from gramviz.checkpoints.files import to_bytes
from gramviz.checkpoints.manifest import MODEL_BRANCH, OWN_BRANCHES, CheckpointInfo
from gramviz.errors import CheckpointError
from gramviz.vit.backbones import NetworkConfig

__all__ = ["OWN", "OWN_BRANCHES", "OwnCheckpoint", "archive", "own_checkpoint", "own_model"]

OWN = "yours/"  # what the ids of a visitor's own begin with

WEIGHTS, CARD, CONFIG = "model.safetensors", "README.md", "config.json"
# What a card's front matter calls a licence, by how its text begins; others are "other", with the name beside.
KNOWN_LICENCES = {"CC BY 4.0": "cc-by-4.0", "CC0": "cc0-1.0", "MIT": "mit", "Apache": "apache-2.0"}
DINOV3 = "DINOv3"
DINOV3_LINK = "https://ai.meta.com/resources/models-and-libraries/dinov3-license"


@dataclass(frozen=True, eq=False)
class OwnCheckpoint:
    """One of a visitor's. weights: under plain timm's names, float16 where a fine-tune made them, as they came where
    they were brought. card: the model card, Markdown; empty for what was brought.
    """

    info: CheckpointInfo
    weights: Mapping[str, Tensor]
    card: str

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""
        return sum(value.numel() * value.element_size() for value in self.weights.values())


def own_checkpoint(
    parent: CheckpointInfo,
    weights: Mapping[str, Tensor],
    *,
    number: int,
    branch: str,
    settings: Mapping[str, str],
    data: str,
    step: int,
    images_seen: int,
    when: datetime,
    about: str,
) -> OwnCheckpoint:
    """What a fine-tune of `step` steps made of `parent`.

    number: the visitor's own count, for its id "yours/<n>". branch: one of OWN_BRANCHES. settings, data: in words,
    for the card; about: what tells it from others, in a few words. It belongs to its parent's run, under its parent's
    licence, with as many more steps.
    """
    halves = {name: value.detach().cpu().to(torch.float16) for name, value in weights.items()}
    content = to_bytes(halves, {})
    info = replace(
        parent,
        id=f"{OWN}{number}",
        branch=branch,
        step=parent.step + step,
        file="",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        images_seen=parent.images_seen + images_seen,
        parent=parent.id,
        title=f"Your fine-tune {number}: {step} steps from {parent.id}, {about}",
        shown=False,
        metrics={},
        heads=None,
        heads_sha256=None,
    )
    return OwnCheckpoint(info, halves, card_of(info, parent, settings, data, step, when))


def own_model(
    name: str, network: NetworkConfig, weights: Mapping[str, Tensor], *, number: int, licence: str, title: str
) -> OwnCheckpoint:
    """A model that a visitor brought, under a name that none of the page's runs has; number as for `own_checkpoint`.

    It is known by what it computes: the same weights under another configuration are another model.
    """
    info = CheckpointInfo(
        id=f"{OWN}{number}",
        run=name,
        branch=MODEL_BRANCH,
        step=0,
        file="",
        sha256=digest_of(network, weights),
        bytes=sum(value.numel() * value.element_size() for value in weights.values()),
        images_seen=0,
        parent=None,
        licence=licence or "unknown",
        title=title,
        network=network,
        shown=False,
    )
    return OwnCheckpoint(info, dict(weights), "")


def digest_of(network: NetworkConfig, weights: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 of a network's configuration and weights."""
    digest = hashlib.sha256(json.dumps(network.to_dict(), sort_keys=True).encode())
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def card_of(
    info: CheckpointInfo,
    parent: CheckpointInfo,
    settings: Mapping[str, str],
    data: str,
    step: int,
    when: datetime,
) -> str:
    """The model card: what it is, where it is from, how it was made, and under which licence."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
    options = ", ".join(f'"{name}": {value!r}' for name, value in info.network.options.items())
    return f"""---
{licence_lines(parent.licence)}library_name: timm
tags: [vision-transformer, self-supervised-learning, gram-anchoring]
---

# A short fine-tune of {parent.id}

Made with gramviz on {when:%Y-%m-%d}, by a visitor of its page, in {step:,} steps. It is an experiment to look at,
not a published model: nothing was measured on it but what the page showed.

| | |
| --- | --- |
| Parent | {parent.id} (SHA-256 of its file {parent.sha256}) |
| Data | {data} |
| Steps done | {step:,} |
{rows}

```python
import timm
from safetensors.torch import load_file

options = {{{options}}}
model = timm.create_model("{info.network.architecture}", **options).eval()
model.load_state_dict(load_file("{WEIGHTS}"))
```

Inputs are RGB in 0..1, normalised with mean {info.network.mean} and standard deviation {info.network.std}.

## Licence

{licence_text(parent.licence)}
"""


def licence_lines(licence: str) -> str:
    """The licence in a card's front matter."""
    if DINOV3.lower() in licence.lower():
        return f"license: other\nlicense_name: dinov3-license\nlicense_link: {DINOV3_LINK}\n"
    known = next((code for start, code in KNOWN_LICENCES.items() if licence.startswith(start)), None)
    return f"license: {known}\n" if known else f"license: other\nlicense_name: {json.dumps(licence[:80])}\n"


def licence_text(licence: str) -> str:
    """The licence in words: these weights are derived from the parent's and stay under it."""
    text = f"These weights are derived from the parent's and come under its licence: {licence}."
    if DINOV3.lower() in licence.lower():
        text += (
            f" The DINOv3 License applies to them as to the parent ({DINOV3_LINK}): whoever passes them on passes it "
            "on with them and says that they were built with DINOv3."
        )
    return text


def archive(own: OwnCheckpoint) -> bytes:
    """A zip of the weights (safetensors), the card and the network's configuration; equal content is equal bytes.

    Raises CheckpointError for a model that was brought, which its owner has.
    """
    info = own.info
    if info.branch == MODEL_BRANCH:
        raise CheckpointError(f"{info.run} came from you; only what a fine-tune made can be taken home.")
    config = {
        "network": info.network.to_dict(),
        "parent": info.parent,
        "step": info.step,
        "licence": info.licence,
    }
    files = {
        WEIGHTS: to_bytes(own.weights, {"parent": info.parent, "step": info.step, "licence": info.licence}),
        CARD: own.card.encode(),
        CONFIG: (json.dumps(config, indent=2) + "\n").encode(),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return packed.getvalue()
