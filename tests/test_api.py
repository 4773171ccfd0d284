"""The public names: as documented, no more, and free until they are used."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gramviz


def test_the_example_says_what_comes_out():
    result = doctest.testmod(gramviz, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted >= 15
    assert result.failed == 0


def test_every_name_is_there_and_documented():
    names = [name for name in gramviz.__all__ if name != "__version__"]
    assert 10 <= len(names) <= 16
    for name in names:
        assert getattr(gramviz, name).__doc__, name
        assert name in dir(gramviz)


def test_a_name_that_there_is_not_names_those_that_there_are():
    with pytest.raises(AttributeError, match=r"gramviz has no 'Enigne'; it has Engine, Settings"):
        _ = gramviz.Enigne


def test_the_import_is_free():
    code = "import sys, gramviz; print([m for m in ('torch', 'timm', 'gradio', 'numpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_walk_through_runs_and_says_what_the_argument_says(tmp_path):
    script = Path(__file__).resolve().parents[1] / "docs" / "walkthrough.py"
    command = [sys.executable, str(script), str(tmp_path / "walk")]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    up, down = (tuple(map(int, found)) for found in re.findall(r"R from (\d+) to (\d+)", said))
    assert up[1] > up[0]  # Lemma 2 and its condition
    assert down[1] < down[0]
    before, after = map(float, re.search(r"Gram distance from ([\d.]+\d) to ([\d.]+\d)", said).groups())
    assert after < before
    assert float(re.search(r"after a rotation: (\S+)", said)[1]) < 1e-12
    assert (tmp_path / "walk" / "maps.html").read_bytes().startswith(b"<!doctype html>")
    assert (tmp_path / "walk" / "maps.png").read_bytes().startswith(b"\x89PNG")
