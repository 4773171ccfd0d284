"""The device's thread: one job at a time, one run for equal keys, nothing kept for those who left."""

import threading

import pytest

from gramviz.errors import BusyError
from gramviz.serving.worker import DeviceWorker


@pytest.fixture
def gate():
    return threading.Event()


@pytest.fixture
def worker(gate):
    made = DeviceWorker(pending=3)
    yield made
    gate.set()
    made.close()


def test_equal_keys_share_one_future_until_it_is_done(worker, gate):
    runs = []
    first = worker.submit("a", lambda: (gate.wait(20), runs.append(1)))
    second = worker.submit("a", lambda: runs.append(2))
    assert first is second
    gate.set()
    first.result(20)
    worker.submit("a", lambda: runs.append(3)).result(20)
    assert runs == [1, 3]


def test_jobs_run_one_after_another_in_order(worker, gate):
    seen = []
    futures = [
        worker.submit(key, lambda k=key: (gate.wait(20), seen.append((k, threading.get_ident()))))
        for key in "abc"
    ]
    gate.set()
    for future in futures:
        future.result(20)
    assert [key for key, _ in seen] == ["a", "b", "c"]
    assert len({thread for _, thread in seen}) == 1


def test_a_job_is_dropped_only_when_the_last_who_wanted_it_leaves(worker, gate):
    runs = []
    worker.submit("busy", lambda: gate.wait(20))
    wanted = worker.submit("x", lambda: runs.append("x"))
    assert worker.submit("x", lambda: runs.append("again")) is wanted
    worker.release("x", wanted)
    assert not wanted.cancelled()
    worker.release("x", wanted)
    assert wanted.cancelled()
    afresh = worker.submit("x", lambda: runs.append("afresh"))
    worker.release("x", wanted)  # of an older future: no say in the new one
    gate.set()
    afresh.result(20)
    assert runs == ["afresh"]


def test_room_is_limited_and_comes_back(worker, gate):
    futures = [worker.submit(key, lambda: gate.wait(20)) for key in "abc"]
    with pytest.raises(BusyError, match="3 computations are waiting"):
        worker.submit("d", lambda: None)
    assert worker.submit("a", lambda: None) is futures[0]  # joining costs no room
    gate.set()
    for future in futures:
        future.result(20)
    worker.submit("d", lambda: None).result(20)


def test_a_failure_reaches_everyone_and_stays_with_its_job(worker, gate):
    def fail():
        gate.wait(20)
        raise ValueError("no")

    futures = [worker.submit("a", fail), worker.submit("a", fail)]
    gate.set()
    for future in futures:
        with pytest.raises(ValueError, match="no"):
            future.result(20)
    assert worker.submit("a", lambda: 5).result(20) == 5
