"""Curves and spectra as files: whole, the same for the same numbers, and of what these hold."""

import io
import xml.etree.ElementTree as ET

import pytest
import torch
from PIL import Image

from gramviz.errors import InputError
from gramviz.metrics.spectra import spectra_of
from gramviz.ui.pictures.curves import curves_picture
from gramviz.ui.pictures.files import FORMATS
from gramviz.ui.pictures.spectra import spectra_picture
from tests.metrics.test_spectra import made, random
from tests.stores import make_store

ROWS = [
    {"run": "r", "seed": seed, "arm": arm, "step": step, "knn": 0.2 + 0.01 * seed + step / 1e4, "auc": 0.7}
    for seed in (0, 1)
    for arm, step in (("trunk", 0), ("trunk", 100), ("plain", 200), ("gram", 200), ("gram_w2", 200))
] + [{"arm": "baseline:colour", "auc": 0.65}]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_of_each_kind_opens_and_is_the_same_again(kind):
    data = curves_picture(ROWS, ("knn", "auc"), kind)
    if kind == "png":
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.width == 1950
    else:
        assert data.startswith({"svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert curves_picture(ROWS, ("knn", "auc"), kind) == data


def texts(svg):
    """Words of an SVG whose letters are shapes stand in its comments."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    return [node.text.strip() for node in ET.fromstring(svg, parser).iter() if node.tag is ET.Comment]


def test_measures_arms_and_baselines_are_named():
    words = texts(curves_picture(ROWS, ("knn", "auc", "heldout_ibot"), "svg"))
    for word in (
        "k-NN, Caltech-101",
        "AUC, photographs",
        "with Gram",
        "without Gram",
        "weight 2",
        "colour alone",
    ):
        assert word in words, word
    assert "iBOT loss" not in words  # no row has it


def test_guessing_is_named_as_such():
    rows = [*ROWS, {"arm": "baseline:chance", "auc": 0.5}]
    words = texts(curves_picture(rows, ("auc",), "svg"))
    assert "chance" in words
    assert "chance alone" not in words


def test_a_band_is_drawn_for_more_than_one_seed_alone():
    both = curves_picture(ROWS, ("knn",), "svg").count(b"FillBetween")
    one = curves_picture([row for row in ROWS if row.get("seed") != 1], ("knn",), "svg").count(b"FillBetween")
    assert both > 0
    assert one == 0


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="png, svg, pdf"):
        curves_picture(ROWS, ("knn",), "gif")
    with pytest.raises(InputError, match="No row has any"):
        curves_picture(ROWS, ("heldout_dino",))


@pytest.fixture
def checkpoints(tmp_path):
    """Two steps of the trunk, one of each arm."""
    return make_store(tmp_path).all()


@pytest.mark.parametrize("kind", FORMATS)
def test_spectra_become_a_file_of_each_kind_that_is_the_same_again(kind, checkpoints):
    found = [(info, spectra_of(random(6, 7, 9, seed))) for seed, info in enumerate(checkpoints)]
    data = spectra_picture(found, kind)
    if kind == "png":
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.width == 1950
    else:
        assert data.startswith({"svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert spectra_picture(found, kind) == data


def test_spectra_are_named_with_their_axes_and_the_random_reference(checkpoints):
    found = [
        (info, spectra_of(random(6, 7, width)))
        for info, width in zip(checkpoints, (9, 9, 9, 12), strict=True)
    ]
    words = texts(spectra_picture(found, "svg"))
    for word in (
        "trunk, step 0",
        "trunk, step 300",
        "without Gram, step 2\u202f000",
        "with Gram, step 2\u202f000",
        "random features, d = 9",
        "random features, d = 12",
        "eigenvalues of G",
        "cumulative energy",
        "spatial frequency, cycles a patch (0: the constant mode)",
        "distance on the grid, patches",
    ):
        assert word in words, word


@pytest.mark.parametrize("patches", [torch.zeros(3, 4, 5), torch.ones(3, 4, 5), torch.eye(2)[None]])
def test_degenerate_spectra_can_be_drawn(patches, checkpoints):
    assert spectra_picture([(checkpoints[0], spectra_of(made(patches)))])


def test_spectra_that_cannot_be_drawn_are_refused(checkpoints):
    with pytest.raises(InputError, match="no spectra to draw"):
        spectra_picture([])
    with pytest.raises(InputError, match="png, svg, pdf"):
        spectra_picture([(checkpoints[0], spectra_of(random(3, 3, 4)))], "gif")
