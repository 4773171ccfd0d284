"""A network and a source so small that a step takes milliseconds."""

import pytest
import torch

from gramviz.data.sources import TensorSource
from gramviz.training.config import GramConfig, HeadConfig, OptimizerConfig, TrainConfig, ViewConfig
from gramviz.vit.backbones import NetworkConfig

TINY = NetworkConfig(
    "vit_small_patch16_dinov3",
    {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": 16, "init_values": 1.0},
)


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig(
        TINY,
        steps=6,
        batch_size=4,
        seed=3,
        views=ViewConfig(global_size=16, local_size=8, locals=2),
        head=HeadConfig(hidden=12, bottleneck=8, prototypes=10),
        gram=GramConfig(weight=0.0, teacher_step=1, start=2),
        optimizer=OptimizerConfig(lr=1e-3, final_lr=1e-4, warmup=2),
    )


@pytest.fixture
def source() -> TensorSource:
    images = torch.randint(
        0, 256, (10, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return TensorSource(images, tuple("abcdefghij"))
