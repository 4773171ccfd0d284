"""Scenes: the same everywhere, exact masks, and a kind that outlines tell and colours do not."""

import hashlib

import numpy as np
import pytest

from gramviz.data import scenes
from gramviz.data.scenes import KINDS, MAX_OBJECTS, MIN_OBJECTS, TEXTURES, scene
from gramviz.errors import InputError


def test_a_seed_is_a_scene_to_the_byte():
    one, other = scene(3, 96), scene(3, 96)
    assert one.pixels.tobytes() == other.pixels.tobytes()
    assert one.labels.tobytes() == other.labels.tobytes()
    assert scene(4, 96).pixels.tobytes() != one.pixels.tobytes()
    digest = hashlib.sha256(one.pixels.tobytes() + one.labels.tobytes()).hexdigest()
    assert digest == "6bf677978bbaace0dd76cd28cdceccf830909550c55173636ec85630ba634643"


def test_shapes_and_types():
    made = scene(0, 50)
    assert (made.pixels.shape, made.pixels.dtype) == ((50, 50, 3), np.uint8)
    assert (made.labels.shape, made.labels.dtype) == ((50, 50), np.uint8)
    assert 0 <= made.kind < len(KINDS)


def test_size_is_only_how_finely_a_scene_is_looked_at():
    coarse, fine = scene(11, 64), scene(11, 192)
    assert coarse.kind == fine.kind
    assert (coarse.labels == fine.labels[1::3, 1::3]).mean() > 0.999
    assert (np.abs(coarse.pixels.astype(int) - fine.pixels[1::3, 1::3]) <= 1).mean() > 0.999


def test_every_object_can_be_seen():
    for seed in range(200):
        areas = np.bincount(scene(seed, 48).labels.ravel())
        assert MIN_OBJECTS <= len(areas) - 1 <= MAX_OBJECTS
        assert areas.min() >= 0.01 * 48 * 48
        assert areas[0] > 0.4 * 48 * 48


def off_plane(pixels: np.ndarray, labels: np.ndarray) -> float:
    """How far, at most, a pixel lies off the plane through the origin that fits its region's colours best."""
    distances = [0.0]
    for label in range(labels.max() + 1):
        colours = pixels[labels == label] / 255
        colours = colours[(colours < 1).all(axis=1)]  # light can clip the brightest
        normal = np.linalg.svd(colours, full_matrices=False)[2][2]
        distances.append(np.abs(colours @ normal).max())
    return max(distances)


def test_masks_are_exact_to_the_pixel():
    # A region mixes its base colour with black or white and adds grey grain: all in a plane through black.
    for seed in range(20):
        made = scene(seed, 96)
        assert off_plane(made.pixels, made.labels) < 1 / 255
        assert off_plane(made.pixels[:, 1:], made.labels[:, :-1]) > 10 / 255


def test_regions_of_a_scene_never_share_a_texture():
    assert len(TEXTURES) > MAX_OBJECTS
    assert len(set(TEXTURES)) == len(TEXTURES)
    for seed in range(50):
        made = scene(seed, 32)
        assert len(set(made.textures)) == len(made.textures) == made.labels.max() + 1


def test_the_texture_map_names_what_is_painted_where(monkeypatch):
    painted = {}
    real = scenes._painted

    def watched(rng, texture, x, y):
        pixels = np.stack([np.floor(y * 48), np.floor(x * 48)]).astype(int)
        painted[TEXTURES.index(texture)] = set(map(tuple, pixels.T))
        return real(rng, texture, x, y)

    monkeypatch.setattr(scenes, "_painted", watched)
    made = scene(5, 48)
    assert made.texture_map.dtype == np.uint8
    assert made.texture_map.shape == (48, 48)
    for texture, pixels in painted.items():
        assert set(map(tuple, np.argwhere(made.texture_map == texture))) == pixels
    assert sum(map(len, painted.values())) == 48 * 48
    assert tuple(painted) == made.textures


def nearest_neighbour_accuracy(descriptors: np.ndarray, kinds: np.ndarray) -> float:
    """Leave-one-out: how often the nearest other scene is of the same kind."""
    scaled = (descriptors - descriptors.mean(0)) / descriptors.std(0)
    distances = ((scaled[:, None] - scaled[None]) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    return float((kinds[distances.argmin(1)] == kinds).mean())


def test_kind_is_told_by_outlines_and_not_by_colour():
    scenes = [scene(seed, 64) for seed in range(400)]
    kinds = np.array([made.kind for made in scenes])
    assert np.bincount(kinds, minlength=len(KINDS)).min() > 400 / len(KINDS) / 2
    colours = np.array([[*made.pixels.mean((0, 1)), *made.pixels.std((0, 1))] for made in scenes])
    chance = 1 / len(KINDS)
    assert nearest_neighbour_accuracy(colours, kinds) < chance + 3 * (chance * (1 - chance) / 400) ** 0.5
    outlines = []
    for made in scenes:
        ratios = []
        for label in range(1, made.labels.max() + 1):
            mask = made.labels == label
            rows, columns = np.nonzero(mask)
            spread = np.sqrt(
                np.linalg.det(np.cov(rows, columns))
            )  # area of the equal ellipse, up to a factor
            inside = np.pad(mask, 1)
            border = mask & ~(inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:])
            ratios.append((mask.sum() / spread, border.sum() / np.sqrt(mask.sum())))
        outlines.append(np.median(ratios, axis=0))
    assert nearest_neighbour_accuracy(np.array(outlines), kinds) > 3 * chance


@pytest.mark.parametrize(("seed", "size"), [(-1, 64), (0, 15), (0, 5000)])
def test_impossible_scenes_are_refused(seed, size):
    with pytest.raises(InputError, match=f"not seed {seed} and {size} pixels"):
        scene(seed, size)
