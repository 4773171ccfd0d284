"""Tiny networks with strong random weights: as timm makes them, DINOv3's blocks are near the identity."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from gramviz.vit.backbones import DenseBackbone, NetworkConfig, SupportedFamily, create_backbone

TINY: Mapping[str, Any] = {"embed_dim": 32, "depth": 3, "num_heads": 2}

Build = Callable[..., DenseBackbone]


@pytest.fixture
def build() -> Build:
    """build(family, **options) -> a tiny backbone of that family in evaluation mode."""

    def make(family: SupportedFamily, *, fused_attention: bool = True, **options: Any) -> DenseBackbone:
        like = family.config
        options = {**like.options, **TINY, "img_size": 4 * _patch_size(family), **options}
        config = NetworkConfig(like.architecture, options, like.mean, like.std)
        backbone = create_backbone(config, fused_attention=fused_attention).eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        return backbone

    return make


def _patch_size(family: SupportedFamily) -> int:
    return family.config.options.get("patch_size", 14 if "patch14" in family.config.architecture else 16)
