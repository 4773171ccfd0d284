"""Image sources for training: folders, torchvision datasets and synthetic scenes, as uint8 tensors in memory.

Every image is scaled so that its short side is `size` and cropped to the middle square. Knows nothing of networks
or of crops drawn in training.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gramviz.data.scenes import scene
from gramviz.errors import ConfigError, InputError
from gramviz.vit.images import read_picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
Progress = Callable[[int, int], None]


class TensorSource:
    """Square images held in memory: [N, 3, S, S] uint8, with a name (its class, say) for each.

    files: where each came from, as "class/file"; None where that is not known.
    """

    def __init__(self, images: Tensor, names: tuple[str, ...], files: tuple[str, ...] | None = None) -> None:
        if images.ndim != 4 or images.dtype != torch.uint8 or len(images) != len(names):
            raise InputError(
                f"images have shape {tuple(images.shape)}, type {images.dtype} and {len(names)} names; "
                "they must be (N, 3, S, S) of uint8 with N names"
            )
        self.images = images
        self.names = names
        self.files = files

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> Tensor:
        """[B] int64 -> [B, 3, S, S] uint8 on the device of the images."""
        return self.images[indices.to(self.images.device)]

    def subset(self, keep: Tensor) -> TensorSource:
        """The images at the given [M] int64 indices."""
        chosen = keep.tolist()
        files = None if self.files is None else tuple(self.files[i] for i in chosen)
        return TensorSource(self.images[keep], tuple(self.names[i] for i in chosen), files)

    def to(self, device: torch.device) -> TensorSource:
        """The same images on another device."""
        return TensorSource(self.images.to(device), self.names, self.files)


class SceneSource:
    """Synthetic scenes drawn when asked for: image i of a source is the scene of seed `first_seed` + i."""

    def __init__(self, count: int, size: int, first_seed: int = 0) -> None:
        self.count, self.size, self.first_seed = count, size, first_seed

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Tensor) -> Tensor:
        """[B] int64 -> [B, 3, S, S] uint8 on the CPU."""
        drawn = [scene(self.first_seed + i, self.size).pixels for i in indices.tolist()]
        return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()


def split(count: int, held_out: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices (training, held out) of a seeded random split: [count - held_out], [held_out] int64, sorted."""
    if not 0 <= held_out < count:
        raise ConfigError(f"cannot hold out {held_out} of {count} images; hold out at most {count - 1}")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    return order[held_out:].sort().values, order[:held_out].sort().values


def held_out_data(source: TensorSource, held_out: int) -> dict[str, int | str]:
    """What tells whether two sources hold out the same images: images (of both parts), held_out, image_size, and
    held_out_sha256 of the names of their files where those are known.

    `split` goes by position, so that another copy of a data set, larger by one image, holds out quite others.
    """
    counts = {"images": len(source), "held_out": held_out, "image_size": source.images.shape[-1]}
    if source.files is None:
        return {**counts}
    _, test = split(len(source), held_out)
    names = "\n".join(source.files[i] for i in test.tolist())
    return {**counts, "held_out_sha256": hashlib.sha256(names.encode()).hexdigest()}


def folder_source(folder: Path, size: int, progress: Progress | None = None) -> TensorSource:
    """Every image below a folder, in the order of its path; the name of an image is its parent folder's.

    Raises InputError where the folder is missing, empty, or an image in it cannot be read (the file is named).
    """
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder; name a folder of images")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"the folder {str(folder)!r} holds no image ({', '.join(SUFFIXES)})")

    def squares() -> Iterator[np.ndarray]:
        for path in paths:
            try:
                yield _square(Image.fromarray(read_picture(path).pixels), size)
            except InputError as error:
                raise InputError(f"{path.name}: {error}") from error

    images = _stack(squares(), len(paths), size, progress)
    files = tuple("/".join(p.relative_to(folder).parts[-2:]) for p in paths)
    return TensorSource(images, tuple(p.parent.name for p in paths), files)


def torchvision_source(
    name: str, root: Path, size: int, *, download: bool = False, progress: Progress | None = None
) -> TensorSource:
    """A torchvision image dataset by class name ("Caltech101", "CIFAR10", ...), downloaded only when asked."""
    from torchvision import datasets  # a second to import, and needed here alone

    kind: Any = getattr(datasets, name, None)
    known = inspect.isclass(kind) and issubclass(kind, datasets.VisionDataset)
    if not known:
        raise ConfigError(f"torchvision has no image dataset named {name!r}; try 'Caltech101' or 'CIFAR10'")
    try:
        dataset = kind(root=root, download=download)
        length = len(dataset)
    except (RuntimeError, TypeError, OSError) as error:
        raise InputError(
            f"torchvision's {name} is not to be had ({type(error).__name__}); pass --download, or see its docs"
        ) from error
    names: list[str] = []

    def squares() -> Iterator[np.ndarray]:
        for index in range(length):
            image, label = dataset[index]
            names.append(str(label))
            yield _square(image.convert("RGB"), size)

    images = _stack(squares(), length, size, progress)
    return TensorSource(images, tuple(names))


def _stack(squares: Iterator[np.ndarray], count: int, size: int, progress: Progress | None) -> Tensor:
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    for index, square in enumerate(squares):
        images[index] = torch.from_numpy(square).permute(2, 0, 1)
        if progress is not None:
            progress(index + 1, count)
    return images


def _square(image: Image.Image, size: int) -> np.ndarray:
    """Short side to `size`, middle square, (size, size, 3) uint8."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
