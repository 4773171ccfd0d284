"""Streams: step by step on the device's thread, beside jobs and each other, at their readers' pace."""

import gc
import itertools
import threading
import weakref

import pytest

from gramviz.errors import BusyError
from gramviz.serving.scheduler import Scheduler
from gramviz.serving.streams import BACKLOG, OF_A_LINE
from tests.serving.held import Clock, hold, results


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gate():
    return threading.Event()


@pytest.fixture
def made(clock, gate):
    """Makes schedulers, and closes them when the gate is open."""
    schedulers = []

    def make(*args, **kwargs):
        schedulers.append(Scheduler(*args, clock=clock, **kwargs))
        return schedulers[-1]

    yield make
    gate.set()
    for scheduler in schedulers:
        scheduler.close()


def forever(log=None, name=""):
    for n in itertools.count():
        if log is not None:
            log.append(name)
        yield n


def test_items_come_in_order_and_end(made):
    scheduler, threads = made(), []

    def factory():
        threads.append(threading.current_thread().name)
        yield from range(200)  # more than one backlog

    stream = scheduler.stream(factory)
    assert list(stream) == list(range(200))
    assert threads == ["gramviz-device"]
    assert stream.ended
    assert stream.next(0.01) is None
    assert list(stream) == []
    assert scheduler.status()["streams_running"] == 0


def test_an_exception_reaches_the_reader_after_the_items_made(made):
    def factory():
        yield 1
        big = Big()
        seen.append(weakref.ref(big))
        raise SystemExit("stop")

    class Big:
        pass

    scheduler, seen = made(), []
    stream, got = scheduler.stream(factory), []
    with pytest.raises(SystemExit, match="stop") as caught:
        got.extend(stream)
    assert got == [1]
    gc.collect()
    assert caught.value is not None
    assert seen[0]() is None  # the exception lives, what its frames held does not
    assert scheduler.submit("a", lambda: 5).result(20) == 5
    assert list(scheduler.stream(lambda: iter("ab"))) == ["a", "b"]


def test_a_factory_may_fail(made):
    stream = made().stream(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stream.next(20)


def test_a_reader_that_does_not_read_is_not_worked_for(made):
    scheduler, log = made(), []
    stream = scheduler.stream(lambda: forever(log))
    full, other = threading.Event(), scheduler.stream(lambda: iter(range(3 * BACKLOG)))
    assert list(other) == list(range(3 * BACKLOG))  # turns are equal: the first has had its backlog by now
    scheduler.submit("a", full.set).result(20)
    assert len(log) == BACKLOG
    assert [stream.next(20) for _ in range(2 * BACKLOG)] == list(range(2 * BACKLOG))
    stream.close()


def test_streams_take_turns_by_time(made, gate, clock):
    scheduler, log = made(), []
    hold(scheduler, gate)

    def factory(name, seconds, count):
        for _ in range(count):
            clock.now += seconds
            log.append(name)
            yield name

    streams = [scheduler.stream(lambda: factory("a", 3, 4)), scheduler.stream(lambda: factory("b", 1, 12))]
    gate.set()
    for stream in streams:
        list(stream)
    assert "".join(log) == "abbb" * 4


def test_jobs_get_their_share_beside_streams(made, gate, clock):
    scheduler, log = made(share=0.25), []
    hold(scheduler, gate)

    def factory():
        for _ in range(10):
            clock.now += 1
            log.append("s")
            yield 0

    stream = scheduler.stream(factory)
    futures = [scheduler.submit(n, clock.spend(1, lambda: log.append("j"))) for n in range(20)]
    gate.set()
    list(stream)
    results(futures)
    together = "".join(log)[: len(log) - 3]  # after the last job the stream has all to itself
    for start in range(len(together) - 8):
        if "j" in together[start + 8 :]:
            assert together[start : start + 8].count("s") == 2
    assert log.count("j") == 20
    assert log.count("s") == 10


def test_a_stream_alone_and_jobs_alone_get_everything(made, clock):
    scheduler = made(share=0.25)
    stream = scheduler.stream(forever)
    assert [stream.next(20) for _ in range(5)] == [0, 1, 2, 3, 4]
    stream.pause()
    assert results([scheduler.submit(n, clock.spend(9, lambda n=n: n)) for n in range(5)]) == list(range(5))
    stream.close()


def test_a_job_waits_for_one_step_of_a_stream_at_most(made, clock, gate):
    scheduler, log, begun = made(), [], threading.Event()

    def factory():
        for n in itertools.count():
            clock.now += 1
            log.append("s")
            yield n
            if n == 9:
                begun.set()
                gate.wait(20)

    stream = scheduler.stream(factory)
    assert begun.wait(20)
    future = scheduler.submit("j", clock.spend(1, lambda: log.append("j")))
    gate.set()
    future.result(20)
    assert "".join(log)[: log.index("j") + 1] in ("s" * 10 + "j", "s" * 11 + "j")
    stream.close()


def test_places_are_few_and_go_round_the_visitors(made, gate):
    scheduler, order = made(streams=1), []
    hold(scheduler, gate)

    def factory(name):
        order.append(name)
        yield name

    names = ["a0", "a1", "a2", "b0", "c0", "b1"]
    streams = {name: scheduler.stream(lambda name=name: factory(name), line=name[0]) for name in names}
    assert [streams[name].position for name in names] == [0, 3, 5, 1, 2, 4]
    assert scheduler.status()["streams_waiting"] == 5
    streams["b0"].close()  # never begun
    assert streams["b0"].ended
    assert list(streams["b0"]) == []
    assert [streams[name].position for name in ("c0", "a1", "b1", "a2")] == [1, 2, 3, 4]
    gate.set()
    for name in ("a0", "c0", "a1", "b1", "a2"):
        assert list(streams[name]) == [name]
    assert order == ["a0", "c0", "a1", "b1", "a2"]


def test_a_visitor_may_have_a_few_streams(made, gate):
    scheduler = made(pending=6)
    hold(scheduler, gate)
    streams = [scheduler.stream(forever, line="a") for _ in range(OF_A_LINE)]
    with pytest.raises(BusyError, match="4 long computations already"):
        scheduler.stream(forever, line="a")
    streams += [scheduler.stream(forever) for _ in range(4)]
    with pytest.raises(BusyError, match="6 long computations are waiting"):
        scheduler.stream(forever, line="b")
    for stream in streams:
        stream.close()
    scheduler.stream(forever, line="a").close()


def test_pause_and_resume(made):
    scheduler, log = made(), []
    stream = scheduler.stream(lambda: forever(log))
    assert stream.next(20) == 0
    stream.pause()
    assert stream.paused
    scheduler.submit("a", lambda: None).result(20)  # the step that it was in is over
    count = len(log)
    list(scheduler.stream(lambda: iter(range(100))))
    assert len(log) == count
    got = [stream.next(0.001) for _ in range(count)]
    assert got == [*range(1, count), None]
    assert not stream.ended
    stream.resume()
    assert stream.next(20) == count
    stream.close()


def test_closing_ends_the_iterator_on_the_devices_thread_and_frees_it(made, gate):
    class Big:
        pass

    scheduler, threads, seen, freed = made(streams=1), [], [], threading.Event()

    def factory():
        big = Big()
        seen.append(weakref.ref(big))
        try:
            yield from itertools.count()
        finally:
            threads.append(threading.current_thread().name)
            freed.set()

    stream = scheduler.stream(factory)
    after = scheduler.stream(lambda: iter("x"))
    assert stream.next(20) == 0
    assert after.position == 1
    stream.close()
    assert stream.ended
    assert stream.next(20) is None
    assert freed.wait(20)
    assert list(after) == ["x"]
    assert threads == ["gramviz-device"]
    gc.collect()
    assert seen[0]() is None
    stream.close()


def test_a_reader_that_waits_is_told_of_the_close(made, gate):
    scheduler = made()
    hold(scheduler, gate)
    stream, got = scheduler.stream(forever), []
    reader = threading.Thread(target=lambda: got.extend(stream))
    reader.start()
    stream.close()  # the device is still occupied
    reader.join(20)
    assert not reader.is_alive()
    assert got == []


def test_close_of_the_scheduler_closes_streams(made):
    closed = []

    def factory():
        try:
            yield from itertools.count()
        finally:
            closed.append(threading.current_thread().name)

    scheduler = made(streams=1)
    streams = [scheduler.stream(factory) for _ in range(2)]
    assert streams[0].next(20) == 0
    scheduler.close()
    assert closed == ["gramviz-device"]
    assert all(stream.ended for stream in streams)
    with pytest.raises(BusyError, match="shutting down"):
        scheduler.stream(factory)


def test_a_failing_close_stops_nothing(made, caplog):
    def factory():
        try:
            yield from itertools.count()
        finally:
            raise OSError("cannot close")

    scheduler = made(streams=1)
    stream, after = scheduler.stream(factory), scheduler.stream(lambda: iter("x"))
    stream.next(20)
    stream.close()
    assert list(after) == ["x"]
    assert "cannot close" in caplog.text


def test_a_thread_that_dies_in_a_step_ends_that_stream_only(made, clock):
    scheduler = made()

    def factory():
        yield 1
        clock.broken.set()  # the scheduler fails when this step is over
        yield 2

    hit, other = scheduler.stream(factory), scheduler.stream(lambda: iter(range(100)))
    got = []
    with pytest.raises(BusyError, match="had a fault"):
        got.extend(hit)
    assert got[:1] == [1]
    assert list(other) == list(range(100))
    assert scheduler.status()["restarts"] == 1
