"""A curated list of public backbones to look at beside the shipped ones: what each is, how large, under which
licence, and what is known of its training.

Names are timm's. Parameters are those of the network without a classifier. Knows no weights and no network.
"""

from __future__ import annotations

from dataclasses import dataclass

DISTILLED = (
    "Distilled from DINOv3's 7B teacher on LVD-1689M. The teacher was Gram-anchored; the distillation has no Gram "
    "term, so this network itself is not Gram-trained."
)


@dataclass(frozen=True)
class ZooModel:
    """name: in timm's registry, with the tag of the weights. millions: of parameters. training: what is known."""

    name: str
    title: str
    millions: float
    licence: str
    training: str


ZOO: tuple[ZooModel, ...] = (
    ZooModel("vit_small_patch16_dinov3.lvd1689m", "DINOv3 ViT-S/16", 21.6, "DINOv3 License", DISTILLED),
    ZooModel("vit_small_plus_patch16_dinov3.lvd1689m", "DINOv3 ViT-S+/16", 28.7, "DINOv3 License", DISTILLED),
    ZooModel("vit_base_patch16_dinov3.lvd1689m", "DINOv3 ViT-B/16", 85.6, "DINOv3 License", DISTILLED),
    ZooModel("vit_large_patch16_dinov3.lvd1689m", "DINOv3 ViT-L/16", 303.1, "DINOv3 License", DISTILLED),
    ZooModel("vit_huge_plus_patch16_dinov3.lvd1689m", "DINOv3 ViT-H+/16", 840.5, "DINOv3 License", DISTILLED),
    ZooModel(
        "vit_small_patch14_dinov2.lvd142m",
        "DINOv2 ViT-S/14",
        22.1,
        "Apache-2.0",
        "DINO and iBOT losses with KoLeo, distilled from a ViT-g/14; LVD-142M. No registers.",
    ),
    ZooModel(
        "vit_base_patch14_dinov2.lvd142m",
        "DINOv2 ViT-B/14",
        86.6,
        "Apache-2.0",
        "DINO and iBOT losses with KoLeo, distilled from a ViT-g/14; LVD-142M. No registers.",
    ),
    ZooModel(
        "vit_small_patch14_reg4_dinov2.lvd142m",
        "DINOv2 ViT-S/14, registers",
        22.1,
        "Apache-2.0",
        "As DINOv2, with four register tokens.",
    ),
    ZooModel(
        "vit_base_patch14_reg4_dinov2.lvd142m",
        "DINOv2 ViT-B/14, registers",
        86.6,
        "Apache-2.0",
        "As DINOv2, with four register tokens.",
    ),
    ZooModel(
        "vit_small_patch16_224.dino",
        "DINO ViT-S/16",
        21.7,
        "Apache-2.0",
        "Self-distillation on CLS alone, no masked patches; ImageNet-1k.",
    ),
    ZooModel(
        "vit_small_patch8_224.dino",
        "DINO ViT-S/8",
        21.7,
        "Apache-2.0",
        "Self-distillation on CLS alone, no masked patches; ImageNet-1k, patches of 8 pixels.",
    ),
    ZooModel(
        "vit_base_patch16_224.mae",
        "MAE ViT-B/16",
        85.8,
        "CC-BY-NC-4.0",
        "Masked autoencoder: pixels of masked patches are predicted; ImageNet-1k. Not for commercial use.",
    ),
    ZooModel(
        "vit_base_patch16_siglip_224.v2_webli",
        "SigLIP 2 ViT-B/16",
        92.9,
        "Apache-2.0",
        "Image and text pairs with a sigmoid loss, captioning and self-distillation; WebLI. No CLS token.",
    ),
    ZooModel(
        "vit_base_patch16_clip_224.openai",
        "CLIP ViT-B/16",
        85.8,
        "Apache-2.0",
        "Image and text pairs with a contrastive loss; 400 M pairs of OpenAI's.",
    ),
    ZooModel(
        "vit_small_patch16_224.augreg_in21k_ft_in1k",
        "supervised ViT-S/16",
        21.7,
        "Apache-2.0",
        "Labels of ImageNet-21k, then of ImageNet-1k.",
    ),
)


def told_of(name: str, repository: str, licence: str) -> tuple[str, str]:
    """The licence and a sentence about a model of the Hub; licence: as its card has it, "" where it has none."""
    known = zoo_model(name)
    if known is None:
        return licence, f"From {repository}."
    return licence or known.licence, f"{known.title}. {known.training}"


def zoo_model(name: str) -> ZooModel | None:
    """The entry of that name, None where it is not in the list."""
    return next((model for model in ZOO if model.name == name), None)
