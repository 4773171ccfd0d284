"""The theory panel: a card's request becomes a verdict, a figure and numbers, or one sentence on what went wrong."""

import logging

import pytest

from gramviz.data.samples import load
from gramviz.errors import BusyError
from gramviz.serving import lab
from gramviz.ui.findings import details, verdict
from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.ui.panels.theory import checked
from gramviz.ui.theory import INCOMPLETE
from tests.ui.fake_engine import FakeEngine, checkpoint, material

CHOICE = {"token": 3, "sample": "coffee", "file": None, "patches": 14, "ids": []}
HEAD = {"checkpoint": "small-plain-8000", "source": "photograph"}
BOARD = {**HEAD, "source": "blackboard"}
DATA = {"token": 9, "values": {}, "columns": 2}


@pytest.fixture
def engine():
    return FakeEngine()


def ask(engine, card, files, data=DATA, head=HEAD, choice=CHOICE):
    return checked(engine, card, choice, head, data, files)


@pytest.mark.parametrize("head", [HEAD, BOARD], ids=["photograph", "blackboard"])
@pytest.mark.parametrize("card", lab.CARDS, ids=lambda card: card.name)
def test_a_card_shows_what_the_lab_finds(engine, files, card, head):
    value, said, plot, numbers = ask(engine, card.name, files, head=head)
    what = lab.blackboard() if head is BOARD else material(load("coffee"), checkpoint("plain", 8000))
    finding = lab.check(card.name, what, {})
    assert value["error"] is None
    assert (value["token"], value["height"]) == (9, plot.layout.height if plot else 0)
    assert value["spoken"].endswith(finding.because)
    assert (said, numbers) == (verdict(finding), details(finding, 2))


def test_a_moved_control_moves_the_finding(engine, files):
    data = {**DATA, "values": {"direction": "opposite", "size": 0.5}}
    _, said, _, _ = ask(engine, "lemma2", files, data)
    assert "fails" in said
    assert engine.theories == [("lemma2", {"direction": "opposite", "size": 0.5})]


def test_a_checkpoint_without_heads_says_so(engine, files):
    for card in ("eq2", "eq34"):
        value, said, plot, _ = ask(engine, card, files)
        assert value["error"] is None
        assert "cannot be decided" in said
        assert "head" in said
        assert plot is None


@pytest.mark.parametrize(
    ("card", "change", "sentence"),
    [
        ("eq1", {"data": None}, INCOMPLETE),
        ("eq1", {"data": {**DATA, "token": "9"}}, INCOMPLETE),
        ("eq1", {"data": {**DATA, "columns": 9}}, INCOMPLETE),
        ("eq1", {"data": {**DATA, "values": [1]}}, INCOMPLETE),
        ("eq1", {"data": {**DATA, "values": {"stretch": None}}}, INCOMPLETE),
        ("eq1", {"data": {**DATA, "values": {"stretch": True}}}, INCOMPLETE),
        ("eq1", {"data": {**DATA, "values": {"stretch": float("nan")}}}, INCOMPLETE),
        ("eq1", {"data": {**DATA, "values": {"stretch": float("inf")}}}, INCOMPLETE),
        ("eq1", {"data": {**DATA, "values": {str(n): n for n in range(99)}}}, INCOMPLETE),
        ("eq1", {"head": None}, INCOMPLETE),
        ("eq1", {"head": {**HEAD, "source": "web"}}, INCOMPLETE),
        ("eq1", {"head": {**HEAD, "checkpoint": 3}}, INCOMPLETE),
        ("eq1", {"head": {**HEAD, "checkpoint": "none"}}, "There is no checkpoint 'none'"),
        ("eq1", {"data": {**DATA, "values": {"stretch": 101}}}, "stretch"),
        ("eq1", {"data": {**DATA, "values": {"stretch": "long"}}}, "stretch"),
        ("eq1", {"data": {**DATA, "values": {"length": 1}}}, "no control 'length'"),
        ("lemma1", {"data": {**DATA, "values": {"rank": 1.5}}}, "whole number"),
        ("lemma2", {"data": {**DATA, "values": {"direction": "up"}}}, "must be one of"),
        ("eq9", {}, "There is no card 'eq9'"),
        ("eq1", {"choice": {**CHOICE, "sample": "dog"}}, "There is no sample 'dog'"),
        ("eq1", {"choice": None}, "incomplete"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence_and_what_was_shown_stays(
    engine, files, card, change, sentence
):
    value, *rest = ask(engine, card, files, **change)
    assert sentence in value["error"]
    assert str(files.uploads) not in value["error"]
    assert all(part == {"__type__": "update"} for part in rest)


def test_the_blackboard_needs_no_picture(engine, files):
    value, *_ = ask(engine, "eq1", files, head=BOARD, choice=None)
    assert value["error"] is None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(BusyError("Please try again in a moment."), "Please try again in a moment."), (RuntimeError("/p"), UNEXPECTED)],
)  # fmt: skip
def test_trouble_is_told_in_a_sentence_and_the_unexpected_logged(
    engine, files, monkeypatch, caplog, error, sentence
):
    def broken(*_args, **_options):
        raise error

    monkeypatch.setattr(engine, "theory", broken)
    with caplog.at_level(logging.ERROR):
        value, *_ = ask(engine, "eq7", files)
    assert value["error"] == sentence
    assert value["token"] == 9
    assert ("the card eq7 could not be checked" in caplog.text) == (sentence == UNEXPECTED)
