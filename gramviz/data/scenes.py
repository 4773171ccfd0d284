"""Synthetic scenes: textured shapes on a textured ground, with exact masks, made from a seed on the fly.

Every region of a scene (the ground and each object) has a family of textures of its own, and colours drawn
without regard to anything else. All objects of a scene have one family of shapes, the scene's `kind`: a
global label that has to be read from outlines, for colours and textures say nothing about it. This module
knows no networks and no training.

Coordinates run over the unit square, so one seed is the same scene at every size. Only `Generator.random` and
arithmetic are used for each pixel, so that a seed gives the same bytes on every platform.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gramviz.errors import InputError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_OBJECTS, MAX_OBJECTS = 3, 5
MIN_SIZE, MAX_SIZE = 16, 2048


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene and what is known of it.

    pixels: uint8 (size, size, 3); labels: uint8 (size, size), 0 the ground, 1.. the objects;
    kind: index in KINDS; textures: for each label, the index in TEXTURES of what its region is painted with.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    kind: int
    textures: tuple[int, ...]

    @property
    def texture_map(self) -> NDArray[np.uint8]:
        """The index in TEXTURES of each pixel's texture: uint8 (size, size)."""
        return np.array(self.textures, np.uint8)[self.labels]


def scene(seed: int, size: int = 256) -> Scene:
    """The scene of a seed (0 or more), `size` pixels a side; InputError outside MIN_SIZE..MAX_SIZE."""
    if seed < 0 or not MIN_SIZE <= size <= MAX_SIZE:
        bounds = f"a seed of 0 or more and {MIN_SIZE} to {MAX_SIZE} pixels a side"
        raise InputError(f"A scene needs {bounds}, not seed {seed} and {size} pixels.")
    rng = np.random.default_rng(seed)
    kind = _choice(rng, len(KINDS))
    objects = MIN_OBJECTS + _choice(rng, MAX_OBJECTS - MIN_OBJECTS + 1)
    ticks = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(ticks, ticks)
    labels = np.zeros((size, size), np.uint8)
    for label, cell in enumerate(_order(rng, 9)[:objects], start=1):
        labels[_object_mask(rng, SHAPES[KINDS[kind]], x, y, cell)] = label
    pixels = np.empty((size, size, 3))
    textures = tuple(_order(rng, len(TEXTURES))[: objects + 1])
    for label, texture in enumerate(textures):
        region = labels == label
        pixels[region] = _painted(rng, TEXTURES[texture], x[region], y[region])
    light = 1 + 0.3 * (rng.random() - 0.5) * (x - 0.5) + 0.3 * (rng.random() - 0.5) * (y - 0.5)
    shown = np.rint(np.clip(pixels * light[..., None], 0, 1) * 255).astype(np.uint8)
    return Scene(shown, labels, kind, textures)


def _choice(rng: np.random.Generator, count: int) -> int:
    """One of 0..count-1."""
    return int(rng.random() * count)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _order(rng: np.random.Generator, count: int) -> list[int]:
    """0..count-1 in random order."""
    return [int(index) for index in np.argsort(rng.random(count), kind="stable")]


def _turned(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """The coordinates in a frame turned by a random angle."""
    angle = _between(rng, 0, 2 * math.pi)
    return math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x


def _object_mask(
    rng: np.random.Generator, shape: Callable[[Array, Array], Mask], x: Array, y: Array, cell: int
) -> Mask:
    """Where one object lies: turned, stretched, near the middle of its cell of 3 x 3, so never all hidden."""
    row, column = divmod(cell, 3)
    centre_x = (column + 0.5) / 3 + _between(rng, -0.05, 0.05)
    centre_y = (row + 0.5) / 3 + _between(rng, -0.05, 0.05)
    radius, stretch = _between(rng, 0.14, 0.21), _between(rng, 0.85, 1.15)
    u, v = _turned(rng, (x - centre_x) / radius, (y - centre_y) / radius)
    return shape(u * stretch, v / stretch)


def _within(u: Array, v: Array, corners: int, distance: float) -> NDArray[np.int64]:
    """In how many of `corners` evenly turned half planes, `distance` from the origin, each point lies."""
    angles = [2 * math.pi * corner / corners for corner in range(corners)]
    return np.sum([math.cos(angle) * u + math.sin(angle) * v <= distance for angle in angles], axis=0)


# Shapes: (u, v) in the object's frame, about 1 from the centre to the rim -> inside or not.
SHAPES: dict[str, Callable[[Array, Array], Mask]] = {
    "discs": lambda u, v: u * u + v * v <= 0.8,
    "rings": lambda u, v: (u * u + v * v <= 1) & (u * u + v * v >= 0.3),
    "squares": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.8,
    "triangles": lambda u, v: _within(u, v, 3, 0.55) == 3,
    # A pentagram: outside of at most one of its five lines.
    "stars": lambda u, v: _within(u, v, 5, 0.36) >= 4,
    "crosses": lambda u, v: (np.minimum(abs(u), abs(v)) <= 0.32) & (np.maximum(abs(u), abs(v)) <= 1),
}
KINDS: tuple[str, ...] = tuple(SHAPES)


def _wave(t: Array) -> Array:
    """Triangle wave of period 1 in 0..1."""
    return abs(2 * (t - np.floor(t)) - 1)


def _noise(rng: np.random.Generator, x: Array, y: Array, cells: int) -> Array:
    """Value noise in 0..1: random numbers on a lattice of `cells` a side, interpolated bilinearly."""
    lattice = rng.random((cells + 2, cells + 2))
    column, row = np.floor(x * cells).astype(int), np.floor(y * cells).astype(int)
    right, down = x * cells - column, y * cells - row
    above = lattice[row, column] * (1 - right) + lattice[row, column + 1] * right
    below = lattice[row + 1, column] * (1 - right) + lattice[row + 1, column + 1] * right
    return above * (1 - down) + below * down


def _stripes(rng: np.random.Generator, x: Array, y: Array) -> Array:
    return _wave(_turned(rng, x, y)[0] * _between(rng, 10, 20))


def _checks(rng: np.random.Generator, x: Array, y: Array) -> Array:
    u, v = _turned(rng, x, y)
    count = _between(rng, 12, 20)
    return (np.floor(u * count) + np.floor(v * count)) % 2


def _dots(rng: np.random.Generator, x: Array, y: Array) -> Array:
    u, v = _turned(rng, x, y)
    count = _between(rng, 10, 16)
    return (np.square(_wave(u * count)) + np.square(_wave(v * count)) < 0.45).astype(float)


def _bricks(rng: np.random.Generator, x: Array, y: Array) -> Array:
    u, v = _turned(rng, x, y)
    course = v * _between(rng, 12, 18)
    along = u * _between(rng, 5, 9) + 0.5 * (np.floor(course) % 2)
    return ((_wave(along) < 0.85) & (_wave(course) < 0.7)).astype(float)


def _net(rng: np.random.Generator, x: Array, y: Array) -> Array:
    u, v = _turned(rng, x, y)
    count = _between(rng, 8, 14)
    return np.square(np.square(np.maximum(_wave(u * count), _wave(v * count))))


def _clouds(rng: np.random.Generator, x: Array, y: Array) -> Array:
    return (2 * _noise(rng, x, y, 8) + _noise(rng, x, y, 20)) / 3


def _grain(rng: np.random.Generator, x: Array, y: Array) -> Array:
    return _noise(rng, x, y, 48)


TEXTURES: tuple[Callable[[np.random.Generator, Array, Array], Array], ...] = (
    _stripes,
    _checks,
    _dots,
    _bricks,
    _net,
    _clouds,
    _grain,
)  # one more than the regions of the fullest scene, so that no two regions share one


def _painted(
    rng: np.random.Generator,
    texture: Callable[[np.random.Generator, Array, Array], Array],
    x: Array,
    y: Array,
) -> Array:
    """Colours (points, 3) in 0..1: the texture mixes a base colour with a clearly lighter or darker one."""
    base = 0.2 + 0.6 * rng.random(3)
    other = base * 0.35 if rng.random() < 0.5 else 1 - (1 - base) * 0.35
    grain = 0.04 * (_noise(rng, x, y, 96) - 0.5)
    return base + texture(rng, x, y)[:, None] * (other - base) + grain[:, None]
