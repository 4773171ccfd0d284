"""The sample pictures of the page: photographs out of the scikit-image package and a synthetic scene.

Only files that the scikit-image wheel itself carries are used, so nothing is downloaded; sources and
licences are what scikit-image's documentation of each file states. This module knows nothing of networks.
"""

import functools
from dataclasses import dataclass
from importlib.resources import files

from gramviz.data.scenes import scene
from gramviz.errors import InputError
from gramviz.vit.images import Picture, picture_from_array, read_picture

SCENE_SEED = 8
SCENE_SIZE = 512


@dataclass(frozen=True)
class Sample:
    """A picture to start from. file: its name in `skimage/data`, None for the synthetic scene."""

    id: str
    title: str
    source: str
    licence: str
    file: str | None


SAMPLES: tuple[Sample, ...] = (
    Sample(
        "astronaut",
        "Astronaut Eileen Collins",
        "NASA Great Images, from scikit-image (astronaut.png)",
        "public domain, no known copyright restrictions",
        "astronaut.png",
    ),
    Sample(
        "chelsea",
        "Chelsea the cat",
        "Stefan van der Walt, from scikit-image (chelsea.png)",
        "CC0",
        "chelsea.png",
    ),
    Sample(
        "coffee",
        "Cup of coffee",
        "Rachel Michetti, courtesy of Pikolo Espresso Bar, from scikit-image (coffee.png)",
        "CC0",
        "coffee.png",
    ),
    Sample(
        "rocket",
        "Falcon 9 on the launch pad",
        "SpaceX Photos, from scikit-image (rocket.jpg)",
        "public domain",
        "rocket.jpg",
    ),
    Sample(
        "coins",
        "Greek coins from Pompeii (grey)",
        "Brooklyn Museum Collection, from scikit-image (coins.png)",
        "no known copyright restrictions",
        "coins.png",
    ),
    Sample(
        "tissue",
        "Colonic glands under the microscope",
        "Center for Microscopy and Molecular Imaging, from scikit-image (ihc.png)",
        "no known copyright restrictions",
        "ihc.png",
    ),
    Sample(
        "galaxies",
        "Hubble eXtreme Deep Field",
        "NASA, HubbleSite, from scikit-image (hubble_deep_field.jpg)",
        "public domain",
        "hubble_deep_field.jpg",
    ),
    Sample(
        "scene",
        "Synthetic scene of textured shapes",
        f"made by gramviz from seed {SCENE_SEED}",
        "CC0",
        None,
    ),
)


@functools.cache
def load(sample_id: str) -> Picture:
    """The picture of a sample, read once; InputError names the samples where there is none of that id."""
    for sample in SAMPLES:
        if sample.id == sample_id:
            if sample.file is None:
                return picture_from_array(scene(SCENE_SEED, SCENE_SIZE).pixels)
            return read_picture(files("skimage").joinpath("data", sample.file).read_bytes())
    names = ", ".join(sample.id for sample in SAMPLES)
    raise InputError(f"There is no sample {sample_id!r}; the samples are {names}.")
