"""Makes a models folder of tiny random networks: a real store without trained weights."""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from gramviz.checkpoints.files import load_tensors, save_tensors, sha256_of
from gramviz.checkpoints.manifest import CheckpointInfo, CheckpointStore, write_manifest
from gramviz.training.config import HeadConfig, LossConfig
from gramviz.training.heads import ProjectionHead
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


def make_wild(folder: Path, checkpoint_id: str) -> CheckpointStore:
    """The same store with one checkpoint's weights so large, though finite, that its features are not."""
    infos = []
    for info in CheckpointStore.open(folder).all():
        if info.id == checkpoint_id:
            file = folder / info.file
            tensors, metadata = load_tensors(file)
            save_tensors(file, {name: 1e30 * value for name, value in tensors.items()}, metadata)
            info = replace(info, sha256=sha256_of(file), bytes=file.stat().st_size)
        infos.append(info)
    write_manifest(folder, infos)
    return CheckpointStore.open(folder)


def add_heads(folder: Path, checkpoint_id: str, loss: LossConfig | None = None) -> CheckpointStore:
    """Random projection heads beside one checkpoint of `make_store`'s folder."""
    store, shape = CheckpointStore.open(folder), HeadConfig(hidden=24, bottleneck=12, prototypes=20)
    torch.manual_seed(7)
    tensors = {"mask_token": torch.randn(32)}
    for name in ("dino_head", "ibot_head"):
        head = ProjectionHead(32, shape, batch_norm=name == "dino_head")
        for key, value in head.state_dict().items():
            tensors[f"{name}.{key}"] = 0.5 * torch.randn_like(value) if key.endswith("weight") else value
    file = "tiny/heads.safetensors"
    sections = {"head": asdict(shape), "loss": asdict(loss or LossConfig())}
    save_tensors(folder / file, tensors, {"step": 2000, **sections})
    infos = [
        replace(info, heads=file, heads_sha256=sha256_of(folder / file)) if info.id == checkpoint_id else info
        for info in store.all()
    ]
    write_manifest(folder, infos)
    return CheckpointStore.open(folder)
