"""Curves as files: whole, the same for the same rows, and of what the rows hold."""

import io
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from gramviz.errors import InputError
from gramviz.ui.pictures import FORMATS, curves_picture

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
