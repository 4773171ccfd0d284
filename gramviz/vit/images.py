"""Pictures: image files or arrays in, upright RGB pixels out, and from those the tensors that networks take.

Sizes are (width, height) where a picture is meant and (rows, columns) where a grid of patches is. This module
knows no network; what to do with the single file formats is known to `decoding` alone.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from gramviz.errors import InputError
from gramviz.vit.decoding import MAX_BYTES, MAX_PIXELS, check_size, decode

__all__ = [
    "MAX_PATCHES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MIN_PATCHES",
    "Picture",
    "grid_for",
    "patch_at",
    "picture_from_array",
    "read_picture",
    "to_jpeg",
    "to_tensor",
]

MAX_SIDE = 2048
MIN_PATCHES = 2
MAX_PATCHES = 128


@dataclass(frozen=True, eq=False)
class Picture:
    """What a visitor chose, ready to be looked at; two pictures are the same where their digests are.

    pixels: uint8 (height, width, 3), sRGB, upright, read-only, at most MAX_SIDE a side.
    source_size: (width, height) upright, before it was scaled down.
    notes: sentences for a visitor on what was done to the file.
    digest: sha256, hexadecimal, of shape and pixels.
    """

    pixels: NDArray[np.uint8]
    source_size: tuple[int, int]
    notes: tuple[str, ...]
    digest: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def read_picture(source: bytes | Path) -> Picture:
    """The picture in an image file, given as its bytes or its path; of an animation, the first frame.

    Raises InputError with one sentence, never a path, for anything that is not an image of bearable size: at
    most MAX_PIXELS (checked before decoding), at least 16 pixels a side, sides at most 32 : 1.
    """
    decoded = decode(source if isinstance(source, bytes) else _file_bytes(source))
    return _picture(decoded.image, decoded.notes)


def picture_from_array(pixels: NDArray[np.uint8]) -> Picture:
    """The picture of a uint8 array (height, width, 3) within the same bounds; InputError for any other."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(
            f"A picture is a uint8 array (height, width, 3), not {pixels.dtype} of shape {pixels.shape}."
        )
    check_size(pixels.shape[1], pixels.shape[0])
    return _picture(Image.fromarray(np.ascontiguousarray(pixels)), ())


def grid_for(picture_size: tuple[int, int], patches: int) -> tuple[int, int]:
    """(rows, columns) of patches for a picture of (width, height).

    The long side gets `patches` (MIN_PATCHES..MAX_PATCHES, else InputError), the short side as many as keep
    the picture's ratio best, at least 2.
    """
    if not MIN_PATCHES <= patches <= MAX_PATCHES:
        raise InputError(
            f"{patches} patches along the long side; {MIN_PATCHES} to {MAX_PATCHES} are possible."
        )
    width, height = picture_size
    short = max(round(min(width, height) / max(width, height) * patches), MIN_PATCHES)
    return (patches, short) if height > width else (short, patches)


def patch_at(x: float, y: float, grid: tuple[int, int]) -> int:
    """Number, row by row from 0, of the patch at a place given as fractions of the picture; the nearest where it is
    outside.
    """
    row, column = (
        min(max(int(part * count), 0), count - 1) for part, count in zip((y, x), grid, strict=True)
    )
    return row * grid[1] + column


def to_tensor(picture: Picture, grid: tuple[int, int], patch_size: int) -> Tensor:
    """The whole picture, nothing cropped, as float32 (3, rows * patch_size, columns * patch_size) in 0..1.

    Bicubic with antialiasing; the picture is stretched where the grid does not have its exact ratio.
    """
    pixels = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
    size = (grid[0] * patch_size, grid[1] * patch_size)
    resized = functional.interpolate(pixels, size=size, mode="bicubic", antialias=True)
    return resized[0].clamp(0, 1)  # bicubic filters overshoot at edges


def scaled_to_short_side(picture: Picture, most: int) -> Picture:
    """The picture with a short side of at most `most` pixels, in its own ratio; itself where it has no more."""
    width, height = picture.size
    if min(width, height) <= most:
        return picture
    scale = most / min(width, height)
    size = (round(width * scale), round(height * scale))
    image = Image.fromarray(picture.pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return replace(_picture(image, picture.notes), source_size=picture.source_size)


def to_jpeg(picture: Picture, max_side: int = 1024) -> bytes:
    """The picture as a JPEG file for display, scaled down where a side is longer than `max_side` pixels."""
    file = io.BytesIO()
    _fit(Image.fromarray(picture.pixels), max_side).save(file, "JPEG", quality=90)
    return file.getvalue()


def _file_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"This file has more than {MAX_BYTES // 2**20} MiB and is not read.")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no possible name of a file
        raise InputError("The file could not be read; please choose it again.") from error


def _picture(image: Image.Image, notes: Sequence[str]) -> Picture:
    fitted = _fit(image, MAX_SIDE)
    if fitted.size != image.size:
        sizes = (f"{width} x {height}" for width, height in (image.size, fitted.size))
        notes = (*notes, f"Scaled down from {' to '.join(sizes)} pixels.")
    pixels = np.array(fitted)
    pixels.setflags(write=False)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return Picture(pixels, image.size, tuple(notes), digest)


def _fit(image: Image.Image, max_side: int) -> Image.Image:
    """The image, scaled down in its own ratio to at most `max_side` pixels a side."""
    longest = max(image.size)
    if longest <= max_side:
        return image
    width, height = (max(round(side * max_side / longest), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
