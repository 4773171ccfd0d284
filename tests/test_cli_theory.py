"""`gramviz theory`: the engine's numbers, in blocks or as JSON, and sentences for what does not go together."""

import json

import numpy as np
import pytest
from PIL import Image

from gramviz.__main__ import main
from gramviz.serving.engine import Engine
from gramviz.serving.lab import CARDS, blackboard, check
from gramviz.serving.settings import Settings
from gramviz.vit.images import read_picture
from tests.stores import add_heads, make_store

PLAIN = "tiny-plain-2000"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_store(folder)
    add_heads(folder, PLAIN)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return path


def call(models, *arguments):
    return main(["theory", *map(str, arguments), "--models", str(models), "--device", "cpu"])


def test_json_holds_the_numbers_of_the_engine(models, image, capsys):
    arguments = ("--card", "lemma2", "--set", "direction=opposite", "--set", "size=0.5", "--json")
    assert call(models, image, "--checkpoint", PLAIN, *arguments) == 0
    (row,) = json.loads(capsys.readouterr().out)
    engine = Engine.from_settings(Settings(device="cpu", models=models))
    found = engine.theory(read_picture(image), PLAIN, "lemma2", {"direction": "opposite", "size": 0.5})
    engine.close()
    assert row["card"] == "lemma2"
    assert row["values"] == {"direction": "opposite", "size": 0.5}
    assert row["holds"] is found.holds is False
    assert row["because"] == found.because
    assert [(n["name"], n["value"]) for n in row["numbers"]] == [(n.name, n.value) for n in found.numbers]
    assert row["charts"][0]["lines"][0]["y"] == list(found.charts[0].lines[0].y)


def test_all_cards_in_blocks(models, image, capsys):
    assert call(models, image, "--checkpoint", PLAIN) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [block.split(" ")[0] for block in blocks] == [card.name for card in CARDS]
    for block in blocks:
        head, because, *rest = block.split("\n")
        assert head.split(": ")[-1] in ("holds", "fails", "cannot be decided")
        assert because.endswith(".")
        assert len(rest) >= 4
    assert "direction = mean, size = 0.1" in blocks[4]


def test_a_card_is_drawn_as_the_page_exports_it(models, image, tmp_path):
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        file = tmp_path / f"card.{kind}"
        assert call(models, image, "--checkpoint", PLAIN, "--card", "lemma2", "--png", file) == 0
        assert file.read_bytes().startswith(start)
    drawn = (tmp_path / "card.svg").read_text(encoding="utf-8")
    assert f"{PLAIN}. noise.png." in drawn
    assert "Lemma 2" in drawn


def test_the_blackboard_needs_neither_image_nor_checkpoint(models, capsys):
    assert call(models, "--blackboard", "--card", "eq1", "--set", "stretch=0") == 0
    out = capsys.readouterr().out
    assert out.startswith("eq1 (stretch = 0.0): fails\nOne patch has length 0")
    assert "H = [2  0; 0  0; 0  1; 1  2]" in out
    assert call(models, "--blackboard", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["holds"] for row in rows] == [check(card.name, blackboard(), {}).holds for card in CARDS]
    assert rows[0]["matrices"][0] == {"name": "H", "rows": [[2, 0], [2, 1], [0, 1], [1, 2]]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--checkpoint", PLAIN), "name an image and a --checkpoint"),
        (("IMAGE",), "name an image and a --checkpoint"),
        (("IMAGE", "--blackboard"), "name an image, or ask for the --blackboard"),
        (("--blackboard", "--checkpoint", PLAIN), "--checkpoint can be given without --blackboard only"),
        (("--blackboard", "--set", "size=1"), "name it with --card"),
        (("--blackboard", "--png", "x.png"), "--png draws one card"),
        (("--blackboard", "--card", "eq9"), "There is no card 'eq9'"),
        (("--blackboard", "--card", "eq7", "--set", "epsilon"), "is not NAME=VALUE"),
        (("--blackboard", "--card", "eq7", "--set", "epsilon=small"), "it must be a number"),
        (("--blackboard", "--card", "eq7", "--set", "epsilon=5"), "from 1e-12 to 0.1"),
        (("--blackboard", "--card", "eq7", "--set", "step=5"), "has no control 'step'"),
        (("--blackboard", "--card", "eq6", "--set", "map=shear"), "must be one of rotation"),
        (("IMAGE", "--checkpoint", "nobody"), "There is no checkpoint 'nobody'"),
        (("missing.png", "--checkpoint", PLAIN), "could not be read"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(models, image, capsys, arguments, message):
    given = (str(image) if each == "IMAGE" else each for each in arguments)
    assert call(models, *given) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
