"""The two colour tables of the maps, as 256 sRGB triples each.

Both are safe for the common forms of colour blindness and change monotonically in lightness: the sequential one from
dark to light, the diverging one from its middle to either end. This module knows nothing of what is drawn with them.
"""

import numpy as np
from numpy.typing import NDArray

# viridis at ten equal steps (Smith and van der Walt 2015, CC0).
VIRIDIS = "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6dcd59 b4de2c fde725"
# RdBu at eleven equal steps, blue first (Brewer and Harrower, ColorBrewer 2.0, Apache 2.0).
BLUE_RED = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"


def sequential() -> NDArray[np.uint8]:
    """Colours for values from low to high: (256, 3) uint8, dark violet to yellow."""
    return _table(VIRIDIS)


def diverging() -> NDArray[np.uint8]:
    """Colours for signed values: (256, 3) uint8, blue below zero, near white at zero, red above."""
    return _table(BLUE_RED)


def as_hex(table: NDArray[np.uint8]) -> str:
    """Write a (256, 3) table as 1536 hexadecimal digits, the form in which the page's script takes it."""
    return table.tobytes().hex()


def _table(points: str) -> NDArray[np.uint8]:
    """Join control points, given as sRGB hexadecimal, by straight lines: (256, 3) uint8."""
    knots = np.array([list(bytes.fromhex(point)) for point in points.split()], dtype=np.float64)
    positions = np.linspace(0.0, 1.0, len(knots))
    samples = np.linspace(0.0, 1.0, 256)
    channels = [np.interp(samples, positions, knots[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)
