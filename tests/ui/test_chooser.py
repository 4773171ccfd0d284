import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from gramviz.data.samples import SAMPLES
from gramviz.errors import InputError
from gramviz.ui.chooser import PATCHES, Request, layers_of
from gramviz.vit.backbones import NetworkConfig
from gramviz.vit.images import read_picture
from tests.ui.fake_engine import CHECKPOINTS, NETWORK

GOOD = {"token": 3, "sample": "chelsea", "file": None, "patches": 28, "ids": ["a", "b"]}


def test_a_request_is_read(tmp_path):
    assert Request.from_value(GOOD, tmp_path) == Request(3, "chelsea", None, 28, ("a", "b"), layer=-1)
    assert Request.from_value({**GOOD, "layer": -4}, tmp_path).layer == -4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patches": 15}, "15 patches cannot be chosen; possible are 14, 20"),
        ({"patches": [28]}, "cannot be chosen"),
        ({"ids": []}, "choose at least one checkpoint"),
        ({"ids": "a"}, "list of checkpoints was damaged"),
        ({"ids": [1]}, "list of checkpoints was damaged"),
        ({"sample": None}, "incomplete"),
        ({"file": {"path": "/x"}}, "incomplete"),
        ({"sample": 7}, "incomplete"),
        ({"token": "3"}, "incomplete"),
        ({"layer": 0}, "There is no layer 0"),
        ({"layer": -65}, "There is no layer -65"),
        ({"layer": -1.0}, "There is no layer"),
        ({"layer": "last"}, "There is no layer last"),
        ({"layer": True}, "There is no layer True"),
    ],
)
def test_what_the_page_never_sends_is_refused(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        Request.from_value({**GOOD, **change}, tmp_path)


@pytest.mark.parametrize("value", [None, "x", 3, []])
def test_anything_but_a_request_is_refused(value, tmp_path):
    with pytest.raises(InputError, match="incomplete"):
        Request.from_value(value, tmp_path)


@pytest.mark.parametrize("path", ["other/x.png", "uploads/../other/x.png", "uploads/link.png"])
def test_a_file_from_elsewhere_is_refused(path, tmp_path):
    uploads, other = tmp_path / "uploads", tmp_path / "other"
    uploads.mkdir()
    other.mkdir()
    (other / "x.png").write_bytes(b"secret")
    (uploads / "link.png").symlink_to(other / "x.png")
    with pytest.raises(InputError, match="Only a picture that was uploaded here"):
        Request.from_value({**GOOD, "sample": None, "file": {"path": str(tmp_path / path)}}, uploads)


def test_every_sample_can_be_asked_for_and_is_credited():
    for sample in SAMPLES:
        picture, credit = Request(0, sample.id, None, PATCHES[0], ("a",)).picture(read_picture)
        assert min(picture.size) >= 64
        assert sample.title in credit
        assert credit.endswith(".")


def test_an_unknown_sample_is_refused():
    with pytest.raises(InputError, match="no sample 'dog'"):
        Request(0, "dog", None, 28, ("a",)).picture(read_picture)


def test_an_uploaded_file_is_read_without_credit(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    file = tmp_path / "own.png"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    file.write_bytes(buffer.getvalue())
    request = Request.from_value({**GOOD, "sample": None, "file": {"path": str(file)}}, tmp_path)
    picture, credit = request.picture(read_picture)
    assert credit == ""
    assert np.array_equal(picture.pixels, pixels)


def test_layers_are_those_of_the_shallowest_network():
    shallow = NetworkConfig(NETWORK.architecture, {"depth": 3}, NETWORK.mean, NETWORK.std)
    assert layers_of(CHECKPOINTS) == 12
    assert layers_of([*CHECKPOINTS, replace(CHECKPOINTS[0], network=shallow)]) == 3
    assert layers_of([]) == 1
