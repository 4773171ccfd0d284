"""The outbox: what is sent when, what is shared, and what is refused. Answers come when a test lets them."""

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from gramviz.errors import BusyError
from gramviz.serving.outbox import Outbox


class Elsewhere:
    """Answers a task with ("answer", task) once its gate is open; keeps who came and who was called off."""

    def __init__(self):
        self.came, self.called_off, self.left = [], [], {}
        self.gates = {}
        self.arrived = threading.Condition()

    async def send(self, task, left):
        gate = self.gates.setdefault(task, asyncio.Event())
        with self.arrived:
            self.came.append(task)
            self.left[task] = left
            self.arrived.notify_all()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.called_off.append(task)
            raise
        if task == "bad":
            raise ValueError("bad task")
        return "answer", task

    def open(self, outbox, *tasks):
        for task in tasks:
            outbox.loop.call_soon_threadsafe(lambda t=task: self.gates.setdefault(t, asyncio.Event()).set())

    def wait_for(self, *tasks):
        with self.arrived:
            assert self.arrived.wait_for(lambda: set(tasks) <= set(self.came), 20), self.came


@pytest.fixture
def elsewhere():
    return Elsewhere()


@pytest.fixture
def made(elsewhere):
    boxes = []

    def make(pending=100, room=1):
        boxes.append(Outbox(elsewhere.send, pending, room))
        return boxes[-1]

    yield make
    for box in boxes:
        if not box.loop.is_closed():
            elsewhere.open(box, *elsewhere.gates)
        box.close()


def ask(box, task, line="", deadline=60.0):
    return box.submit(task, task, line=line, deadline=deadline)


def test_equal_keys_share_one_call(made, elsewhere):
    box = made()
    first, second = ask(box, "a", "ann"), ask(box, "a", "bob")
    assert first is second
    elsewhere.open(box, "a")
    assert first.result(20) == ("answer", "a")
    assert elsewhere.came == ["a"]
    again = ask(box, "a")
    assert again is not first
    assert again.result(20) == ("answer", "a")


def test_no_more_are_out_than_there_is_room(made, elsewhere):
    box = made(room=2)
    futures = [ask(box, name) for name in "abcd"]
    elsewhere.wait_for("a", "b")
    assert (box.status()["jobs_out"], box.status()["jobs"]) == (2, 2)
    assert [box.position(future) for future in futures] == [0, 0, 0, 1]
    box.widen(3)
    elsewhere.wait_for("c")
    assert box.status()["jobs_out"] == 3
    elsewhere.open(box, *"abcd")
    assert [future.result(20)[1] for future in futures] == list("abcd")
    assert box.position(futures[0]) == -1


def test_lines_take_turns(made, elsewhere):
    box = made()
    held = ask(box, "hold")
    elsewhere.wait_for("hold")
    futures = [ask(box, f"ann {n}", "ann") for n in range(4)] + [ask(box, "bob 0", "bob")]
    elsewhere.open(box, "hold", *(f"ann {n}" for n in range(4)), "bob 0")
    for future in [held, *futures]:
        future.result(20)
    assert elsewhere.came.index("bob 0") <= 2


def test_too_many_are_refused_of_all_and_of_one_visitor(made, elsewhere):
    box = made(pending=40)
    for n in range(10):
        ask(box, n, "ann")
    with pytest.raises(BusyError, match="10 of your computations are waiting"):
        ask(box, "more", "ann")
    for n in range(30):
        ask(box, f"house {n}")
    with pytest.raises(BusyError, match="40 computations are waiting"):
        ask(box, "more", "bob")
    elsewhere.open(box, *range(10), *(f"house {n}" for n in range(30)))


def test_what_nobody_wants_is_dropped_or_called_off(made, elsewhere):
    box = made()
    out, waiting, other = ask(box, "out"), ask(box, "waiting"), ask(box, "other")
    elsewhere.wait_for("out")
    box.release("waiting", waiting)
    assert waiting.cancelled()
    box.release("out", out)
    with pytest.raises(BusyError, match="called off"):
        out.result(20)
    elsewhere.open(box, "other")
    assert other.result(20) == ("answer", "other")
    assert elsewhere.called_off == ["out"]
    assert "waiting" not in elsewhere.came


def test_what_two_want_stays_until_both_have_left(made, elsewhere):
    box = made()
    future = ask(box, "a", "ann")
    ask(box, "a", "bob")
    elsewhere.wait_for("a")
    box.release("a", future)
    elsewhere.open(box, "a")
    assert future.result(20) == ("answer", "a")


def test_an_error_goes_to_whoever_asked_and_to_nobody_else(made, elsewhere):
    box = made()
    bad, good = ask(box, "bad"), ask(box, "good")
    elsewhere.open(box, "bad", "good")
    with pytest.raises(ValueError, match="bad task"):
        bad.result(20)
    assert good.result(20) == ("answer", "good")


def test_what_waits_too_long_is_told_so(made, elsewhere):
    box = made()
    held = ask(box, "hold")
    elsewhere.wait_for("hold")
    assert 0 < elsewhere.left["hold"] <= 60
    late = ask(box, "late", deadline=0.05)
    with pytest.raises(BusyError, match="waited 0 s for its turn"):
        late.result(20)
    elsewhere.open(box, "hold")
    held.result(20)
    assert elsewhere.came == ["hold"]


def test_closing_finishes_what_is_out_and_drops_the_rest(made, elsewhere):
    box = made()
    out, waiting = ask(box, "out"), ask(box, "waiting")
    elsewhere.wait_for("out")
    opener = threading.Timer(0.05, elsewhere.open, (box, "out"))
    opener.start()
    box.close()
    opener.join()
    assert out.result(0) == ("answer", "out")
    with pytest.raises(CancelledError):
        waiting.result(0)
    with pytest.raises(BusyError, match="shutting down"):
        ask(box, "new")


def test_closing_does_not_wait_for_ever(made, elsewhere, monkeypatch):
    monkeypatch.setattr("gramviz.serving.outbox.PARTING", 0.05)
    box = made()
    out = ask(box, "out")
    elsewhere.wait_for("out")
    box.close()
    with pytest.raises(BusyError, match="called off"):
        out.result(0)
