"""Every sample opens without the network and says where it is from."""

import socket

import numpy as np
import pytest

from gramviz.data.samples import SAMPLES, load
from gramviz.data.scenes import scene
from gramviz.errors import InputError

SIZES = {"chelsea": (451, 300), "astronaut": (512, 512), "coffee": (600, 400), "rocket": (640, 427),
         "coins": (384, 303), "tissue": (512, 512), "galaxies": (1000, 872), "scene": (512, 512)}  # fmt: skip


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a sample asked the network")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_samples_open(sample):
    picture = load(sample.id)
    assert picture.size == picture.source_size == SIZES[sample.id]
    assert picture.pixels.std() > 10
    assert sample.title
    assert sample.source
    assert sample.licence


def test_there_are_enough_and_each_is_one_of_its_kind():
    assert len({sample.id for sample in SAMPLES}) == len(SAMPLES)
    assert len({load(sample.id).digest for sample in SAMPLES}) == len(SAMPLES)
    photographs = [sample for sample in SAMPLES if sample.file is not None]
    assert len(photographs) >= 6
    assert len(SAMPLES) - len(photographs) == 1


def test_pixels_are_those_that_scikit_image_shows():
    data = pytest.importorskip("skimage.data")
    np.testing.assert_array_equal(load("astronaut").pixels, data.astronaut())
    np.testing.assert_array_equal(load("coffee").pixels, data.coffee())
    np.testing.assert_array_equal(load("coins").pixels[..., 1], data.coins())


def test_the_scene_is_a_scene():
    np.testing.assert_array_equal(load("scene").pixels, scene(8, 512).pixels)


@pytest.mark.parametrize("sample_id", ["", "Chelsea", "../../etc/passwd", "chelsea.png"])
def test_unknown_samples_are_refused_with_the_known_ones(sample_id):
    with pytest.raises(InputError, match="the samples are astronaut, chelsea"):
        load(sample_id)
