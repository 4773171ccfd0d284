"""How a finding's parts are made: numbers in words, lines without gaps, matrices only where they are small."""

import math

import pytest
import torch

from gramviz.gram.finding import Chart, Line, Matrix, Number
from gramviz.gram.telling import drawn, line, numbers, share, told, written


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.12345, "0.123"),
        (-2.5, "\u22122.5"),
        (999.4, "999"),
        (999.6, "1,000"),
        (18213.6, "18,214"),
        (2e6, "2e6"),
        (4.5678e-7, "4.57e-7"),
        (1e-10, "1e-10"),
        (-1e-10, "\u22121e-10"),
        (0.00123, "0.00123"),
    ],
)
def test_numbers_in_sentences(value, text):
    assert told(value) == text


def test_shares_never_read_as_all_of_it_where_they_are_not():
    assert share(0.1234) == "12.3 %"
    assert share(0.99999) == "over 99.9 %"
    assert share(1) == "100 %"
    assert share(0) == "0 %"


def test_what_does_not_exist_is_left_out():
    found = numbers(
        ("a", 1, "one"), ("b", None, "none"), ("c", math.nan, "no number"), ("d", math.inf, "too much")
    )
    assert found == (Number("a", 1, "one"),)
    assert line("x", [1, 2, 3], [1.0, math.nan, 0.0]) == Line("x", (1, 3), (1, 0))
    assert line("x", [1, 2, 3], [1.0, -1.0, 0.0], "other", positive=True) == Line("x", (1,), (1,), "other")
    chart = Chart("t", "x", "y", (line("a", [1], [1]), line("b", [], [])), "about")
    empty = Chart("t", "x", "y", (line("b", [], []),), "about")
    assert [len(each.lines) for each in drawn(chart, empty)] == [1]


def test_matrices_are_written_out_together_or_not_at_all():
    small, large = torch.tensor([[1.0, 2], [3, 4]]), torch.ones(5, 2)
    assert written(("H", small)) == (Matrix("H", ((1, 2), (3, 4))),)
    assert written(("H", small), ("G", large)) == ()
