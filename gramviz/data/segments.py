"""Photographs with what people marked as segments, in the folder layout of our BSDS500 copy.

    images/<id>.jpg            the photograph
    segments/<id>_<k>.png      the label map of person k (label = pixel value)

For measuring only. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from gramviz.errors import InputError
from gramviz.vit.images import Picture, read_picture


def annotated_pictures(
    folder: Path,
) -> Iterator[tuple[Picture, list[np.ndarray]]]:
    """Each photograph with its (H, W) integer label maps, in the order of the ids.

    Raises InputError where the folder has no photograph or a photograph no label map.
    """
    paths = sorted((folder / "images").glob("*.jpg"))
    if not paths:
        raise InputError(f"the folder {str(folder)!r} holds no images/<id>.jpg to measure on")
    for path in paths:
        maps = sorted((folder / "segments").glob(f"{path.stem}_*.png"))
        if not maps:
            raise InputError(f"the photograph {path.name} has no segments/{path.stem}_<k>.png beside it")
        yield read_picture(path), [np.asarray(Image.open(one)) for one in maps]
