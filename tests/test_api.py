"""The public names: as documented, no more, and free until they are used."""

import doctest
import subprocess
import sys

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
