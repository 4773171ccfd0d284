"""Makes a models folder of tiny random networks: a real store without trained weights."""

from pathlib import Path

import torch

from gramviz.checkpoints.files import save_tensors, sha256_of
from gramviz.checkpoints.manifest import CheckpointInfo, CheckpointStore, write_manifest
from gramviz.vit.backbones import NetworkConfig, create_backbone

TINY = NetworkConfig(
    "vit_small_patch16_dinov3",
    {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64, "init_values": 1.0},
)
ROWS = (("trunk", 0), ("trunk", 300), ("plain", 2000), ("gram", 2000))


def make_store(folder: Path) -> CheckpointStore:
    """Four checkpoints of one run: two of the trunk, one of each arm."""
    infos = []
    for seed, (branch, step) in enumerate(ROWS):
        torch.manual_seed(seed)
        file = f"tiny/{branch}_step_{step:06d}.safetensors"
        save_tensors(folder / file, create_backbone(TINY).network.state_dict(), {"step": step})
        infos.append(
            CheckpointInfo(
                id=f"tiny-{branch}-{step}",
                run="tiny",
                branch=branch,
                step=step,
                file=file,
                sha256=sha256_of(folder / file),
                bytes=(folder / file).stat().st_size,
                images_seen=step * 32,
                parent=None,
                licence="MIT",
                title="Tiny random networks",
                network=TINY,
            )
        )
    write_manifest(folder, infos)
    return CheckpointStore.open(folder)
