"""Pictures from files and arrays, grids, and tensors against Pillow's own resampling."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gramviz.errors import InputError
from gramviz.vit.images import (
    MAX_PATCHES,
    MAX_SIDE,
    grid_for,
    picture_from_array,
    read_picture,
    to_jpeg,
    to_tensor,
)

NOISE = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)


def png(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def test_bytes_path_and_array_give_the_same_picture(tmp_path):
    path = tmp_path / "noise.png"
    path.write_bytes(png(NOISE))
    for picture in (read_picture(png(NOISE)), read_picture(path), picture_from_array(NOISE)):
        np.testing.assert_array_equal(picture.pixels, NOISE)
        assert picture.source_size == picture.size == (80, 48)
        assert picture.notes == ()
        assert picture.digest == hashlib.sha256(b"(48, 80, 3)" + NOISE.tobytes()).hexdigest()


def test_digest_tells_shapes_apart():
    flat = np.zeros((20, 40, 3), np.uint8)
    assert picture_from_array(flat).digest != picture_from_array(flat.reshape(40, 20, 3)).digest


def test_a_picture_cannot_be_changed_nor_be_changed_from_outside():
    given_array = NOISE.copy()
    picture = picture_from_array(given_array)
    given_array[:] = 0
    np.testing.assert_array_equal(picture.pixels, NOISE)
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0, 0] = 1


def test_views_of_arrays_are_taken_as_they_look():
    np.testing.assert_array_equal(picture_from_array(NOISE[::-1, ::2]).pixels, NOISE[::-1, ::2])


@pytest.mark.parametrize(("width", "height"), [(3000, 1000), (700, 4200), (2049, 2049)])
def test_long_sides_are_scaled_down(width, height):
    picture = picture_from_array(np.full((height, width, 3), 90, np.uint8))
    scale = MAX_SIDE / max(width, height)
    assert picture.size == (round(width * scale), round(height * scale))
    assert picture.source_size == (width, height)
    assert picture.notes == (
        f"Scaled down from {width} x {height} to {picture.size[0]} x {picture.size[1]} pixels.",
    )
    assert (picture.pixels == 90).all()


def test_source_size_is_upright():
    exif = Image.Exif()
    exif[274] = 8
    picture = read_picture(png(NOISE, exif=exif))
    assert picture.source_size == picture.size == (48, 80)


def test_paths_never_show(tmp_path: Path, monkeypatch):
    (tmp_path / "secret.png").write_bytes(b"not an image")
    unreadable = tmp_path / "secret.fifo"
    unreadable.mkdir()
    for path in (tmp_path / "secret.png", tmp_path / "missing.png", unreadable, Path("a\0b")):
        with pytest.raises(InputError) as caught:
            read_picture(path)
        assert "secret" not in str(caught.value)
        assert os.sep not in str(caught.value)
    monkeypatch.setattr("gramviz.vit.images.MAX_BYTES", 2**20)
    large = tmp_path / "large.png"
    large.write_bytes(bytes(2**20 + 1))
    with pytest.raises(InputError, match="more than 1 MiB"):
        read_picture(large)


@pytest.mark.parametrize(
    "pixels",
    [
        NOISE.astype(float),
        NOISE[..., 0],
        np.dstack([NOISE, NOISE]),
        NOISE[:10],
        np.zeros((16, 600, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_picture_are_refused(pixels):
    with pytest.raises(InputError):
        picture_from_array(pixels)


@pytest.mark.parametrize(
    ("size", "patches", "grid"),
    [
        ((512, 512), 14, (14, 14)),
        ((600, 400), 32, (21, 32)),
        ((400, 600), 32, (32, 21)),
        ((451, 300), 64, (43, 64)),
        ((512, 16), 64, (2, 64)),
        ((16, 512), 14, (14, 2)),
        ((100, 100), 2, (2, 2)),
    ],
)
def test_grids(size, patches, grid):
    assert grid_for(size, patches) == grid


@given(st.integers(16, 2048), st.integers(16, 2048), st.integers(2, MAX_PATCHES))
def test_grids_keep_the_ratio_as_well_as_whole_patches_can(width, height, patches):
    rows, columns = grid_for((width, height), patches)
    assert max(rows, columns) == patches
    assert min(rows, columns) >= 2
    exact = min(width, height) / max(width, height) * patches
    assert abs(min(rows, columns) - max(exact, 2)) <= 0.5
    assert (rows >= columns) if height > width else (rows <= columns)


@pytest.mark.parametrize("patches", [1, 0, -3, MAX_PATCHES + 1])
def test_impossible_numbers_of_patches_are_refused(patches):
    with pytest.raises(InputError, match=f"^{patches} patches along the long side; 2 to {MAX_PATCHES}"):
        grid_for((100, 100), patches)


@pytest.mark.parametrize("grid", [(3, 5), (6, 10), (2, 2), (20, 30)])
def test_tensors_are_pillows_bicubic_of_the_whole_image(grid):
    tensor = to_tensor(picture_from_array(NOISE), grid, 8)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, grid[0] * 8, grid[1] * 8)
    size = (grid[1] * 8, grid[0] * 8)
    for channel in range(3):
        plane = Image.fromarray(NOISE[..., channel].astype(np.float32))
        expected = np.asarray(plane.resize(size, Image.Resampling.BICUBIC)) / 255
        np.testing.assert_allclose(tensor[channel].numpy(), expected.clip(0, 1), atol=2e-5)


def test_a_tensor_of_the_pictures_own_size_is_the_picture():
    tensor = to_tensor(picture_from_array(NOISE), (6, 10), 8)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), NOISE.astype(np.float32) / 255)


def test_jpeg_for_display():
    smooth = np.tile(np.linspace(0, 255, 1500).astype(np.uint8)[None, :, None], (300, 1, 3))
    with Image.open(io.BytesIO(to_jpeg(picture_from_array(smooth)))) as shown:
        assert (shown.format, shown.size) == ("JPEG", (1024, 205))
        reference = Image.fromarray(smooth).resize(shown.size)
        assert np.abs(np.asarray(shown).astype(int) - np.asarray(reference)).mean() < 2
    with Image.open(io.BytesIO(to_jpeg(picture_from_array(NOISE), max_side=4000))) as shown:
        assert shown.size == (80, 48)
