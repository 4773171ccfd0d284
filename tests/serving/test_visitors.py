"""Visitors' rooms: bounded, theirs only, and gone with them."""

from types import SimpleNamespace

import pytest

from gramviz.errors import BusyError, CheckpointError, InputError
from gramviz.serving.visitors import FORGOTTEN_AFTER, MOST_OWN, Visitors


def own(name, branch="own1", nbytes=10):
    return SimpleNamespace(info=SimpleNamespace(id=name, branch=branch), nbytes=nbytes)


@pytest.fixture
def clock():
    return SimpleNamespace(now=0.0)


@pytest.fixture
def visitors(clock):
    return Visitors(100, lambda: clock.now)


def keep(visitors, visitor, *made):
    with visitors.places(visitor, len(made), sum(one.nbytes for one in made)) as store:
        store(list(made))


def test_nobody_finds_what_is_another_visitors(visitors):
    keep(visitors, "a", own("yours/1"))
    assert visitors.get("a", "yours/1") is not None
    assert visitors.get("b", "yours/1") is None
    assert visitors.own("b") == ()
    with pytest.raises(CheckpointError, match="no checkpoint 'yours/1'"):
        visitors.forget("b", "yours/1")
    assert visitors.get("a", "yours/1") is not None


def test_a_visitor_has_a_bounded_number(visitors):
    keep(visitors, "a", *(own(f"yours/{n}", f"own{n}", 1) for n in range(1, MOST_OWN + 1)))
    with pytest.raises(InputError, match="forget one"), visitors.places("a", 1, 1):
        pass
    visitors.forget("a", "yours/2")
    assert visitors.free_branch("a") == "own2"
    with visitors.places("a", 1, 1), pytest.raises(InputError), visitors.places("a", 1, 1):
        pass  # the place is promised to the first already


def test_all_together_have_bounded_bytes_with_those_that_are_promised(visitors):
    keep(visitors, "a", own("yours/1", nbytes=40))
    with visitors.places("b", 1, 40), pytest.raises(BusyError, match="no room"), visitors.places("c", 1, 40):
        pass
    with visitors.places("c", 1, 40):  # the promise ended with nothing kept
        assert visitors.used == 40


def test_leaving_drops_everything_and_names_what_runs(visitors):
    keep(visitors, "a", own("yours/1"))
    number = visitors.begin("a", "run")
    assert visitors.run("a", number) == "run"
    with pytest.raises(InputError, match="has ended"):
        visitors.run("b", number)
    with pytest.raises(InputError, match="has ended"):
        visitors.run("a", [number])
    with visitors.places("a", 1, 10) as late:
        assert visitors.leave("a") == ["run"]
        late([own("yours/9")])  # a fine-tune that ends after its visitor has gone
    assert visitors.own("a") == ()
    assert visitors.used == 0
    assert visitors.leave("a") == []


def test_those_who_go_without_a_word_are_forgotten_in_time(visitors, clock):
    keep(visitors, "a", own("yours/1", nbytes=60))
    keep(visitors, "b", own("yours/1", nbytes=10))
    running = visitors.begin("b", "run")
    clock.now = FORGOTTEN_AFTER + 1
    with visitors.places("c", 1, 60):
        assert visitors.own("a") == ()
        assert visitors.run("b", running) == "run"


def test_numbers_are_given_once(visitors):
    assert [visitors.number("a"), visitors.number("a"), visitors.number("b")] == [1, 2, 1]
