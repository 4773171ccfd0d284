"""Jobs on one device: shared, fair, in batches, in time, and not to be stopped by a fault."""

import gc
import random
import threading
import weakref
from concurrent.futures import CancelledError, wait

import pytest

from gramviz.errors import BusyError
from gramviz.serving.lines import Turns
from gramviz.serving.scheduler import Scheduler
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


def test_equal_keys_share_one_future_until_it_is_done(made, gate):
    scheduler, runs = made(), []
    first = scheduler.submit("a", lambda: (gate.wait(20), runs.append(1)))
    assert scheduler.submit("a", lambda: runs.append(2)) is first
    gate.set()
    first.result(20)
    scheduler.submit("a", lambda: runs.append(3)).result(20)
    assert runs == [1, 3]


def test_one_line_is_served_in_order_by_one_thread(made, gate):
    scheduler, seen = made(), []
    hold(scheduler, gate)
    futures = [
        scheduler.submit(key, lambda k=key: seen.append((k, threading.get_ident()))) for key in "abcdefgh"
    ]
    assert [scheduler.position(future) for future in futures] == list(range(8))
    gate.set()
    results(futures)
    assert [key for key, _ in seen] == list("abcdefgh")
    assert len({thread for _, thread in seen}) == 1
    assert scheduler.position(futures[3]) == -1


def test_a_job_is_dropped_only_when_the_last_who_wanted_it_leaves(made, gate):
    scheduler, runs = made(), []
    hold(scheduler, gate)
    wanted = scheduler.submit("x", lambda: runs.append("x"), line="a")
    assert scheduler.submit("x", lambda: runs.append("again"), line="b") is wanted
    scheduler.release("x", wanted)
    assert not wanted.cancelled()
    scheduler.release("x", wanted)
    assert wanted.cancelled()
    assert scheduler.position(wanted) == -1
    afresh = scheduler.submit("x", lambda: runs.append("afresh"))
    scheduler.release("x", wanted)  # of an older future: no say in the new one
    gate.set()
    afresh.result(20)
    assert runs == ["afresh"]


def test_the_running_job_is_finished_though_nobody_wants_it(made, gate):
    scheduler = made()
    running = hold(scheduler, gate)
    scheduler.release("hold", running)
    gate.set()
    assert running.result(20) == (None, True)


def test_room_is_limited_and_comes_back(made, gate):
    scheduler = made(pending=3)
    futures = [scheduler.submit(key, lambda: gate.wait(20)) for key in "abc"]
    with pytest.raises(BusyError, match="3 computations are waiting"):
        scheduler.submit("d", lambda: None)
    assert scheduler.submit("a", lambda: None) is futures[0]  # joining costs no room
    gate.set()
    results(futures)
    scheduler.submit("d", lambda: None).result(20)


def test_one_visitor_cannot_have_all_places(made, gate):
    scheduler = made(pending=40)
    hold(scheduler, gate)
    futures = [scheduler.submit(("a", n), lambda: None, line="a") for n in range(10)]
    with pytest.raises(BusyError, match="10 of your computations"):
        scheduler.submit(("a", 10), lambda: None, line="a")
    futures += [scheduler.submit(("b", n), lambda: None, line="b") for n in range(10)]
    futures += [scheduler.submit(("house", n), lambda: None) for n in range(15)]
    assert scheduler.status() == {
        "jobs": 35,
        "lines": 3,
        "streams_running": 0,
        "streams_waiting": 0,
        "restarts": 0,
    }
    gate.set()
    results(futures)


def test_lines_take_turns(made, gate):
    scheduler, order = made(), []
    hold(scheduler, gate)
    futures = [scheduler.submit(("a", n), lambda n=n: order.append(f"a{n}"), line="a") for n in range(5)]
    futures += [
        scheduler.submit(name, lambda name=name: order.append(name), line=name[0])
        for name in ("b0", "b1", "c0")
    ]
    expected = ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]
    places = {future: place for future, place in zip(futures, map(scheduler.position, futures), strict=True)}
    names = dict(zip(futures, ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "c0"], strict=True))
    assert [names[future] for future in sorted(futures, key=places.get)] == expected
    gate.set()
    results(futures)
    assert order == expected


def test_turns_are_shared_by_time_and_not_by_number(made, gate, clock):
    scheduler, order = made(), []
    hold(scheduler, gate)
    futures = [
        scheduler.submit(("a", n), clock.spend(4, lambda: order.append("a")), line="a") for n in range(3)
    ]
    futures += [
        scheduler.submit(("b", n), clock.spend(1, lambda: order.append("b")), line="b") for n in range(9)
    ]
    gate.set()
    results(futures)
    # a has used 4 when b comes, so that b has 4 turns, and a the tie
    assert "".join(order) == "a" + "bbbb" + "a" + "bbbb" + "a" + "b"


def test_who_was_away_saved_nothing_up(made, gate, clock):
    scheduler, order = made(), []
    results([scheduler.submit(n, clock.spend(5), line="a") for n in range(3)])  # a alone uses 15 s
    hold(scheduler, gate)
    futures = [scheduler.submit((n, who), clock.spend(5, lambda who=who: order.append(who)), line=who)
               for n in range(4) for who in "ab"]  # fmt: skip
    gate.set()
    results(futures)
    assert "".join(order) in (
        "abababab",
        "babababa",
        "bbababaa",
    )  # b is not given the 15 s that it did not ask for


def test_a_shared_job_moves_up_with_whoever_has_waited_for_nothing_else(made, gate):
    scheduler, order = made(), []
    hold(scheduler, gate)
    futures = [scheduler.submit(n, lambda n=n: order.append(n), line="a") for n in range(6)]
    assert scheduler.position(futures[5]) == 5
    assert scheduler.submit(5, lambda: None, line="b") is futures[5]
    assert scheduler.position(futures[5]) == 1
    gate.set()
    results(futures)
    assert order == [0, 5, 1, 2, 3, 4]


def test_jobs_of_a_group_are_prepared_together(made, gate):
    log = []
    scheduler = made(batch=3, prepare=lambda items: log.append(list(items)))
    hold(scheduler, gate)
    futures = [
        scheduler.submit(
            ("a", n), lambda n=n: log.append(f"a{n}"), line="a", group="g" if n != 1 else None, item=n
        )
        for n in range(4)
    ]
    futures.append(scheduler.submit("b", lambda: log.append("b"), line="b", group="g", item="b"))
    futures.append(scheduler.submit("c", lambda: log.append("c"), line="c", group="other", item="c"))
    assert [scheduler.position(future) for future in futures] == [0, 4, 2, 5, 1, 3]
    gate.set()
    results(futures)
    # a0 brings b and a2 with it, three at most; a's line then has used most
    assert log == [[0, "b", 2], "a0", "b", "a2", ["c"], "c", "a1", [3], "a3"]


def test_a_failing_preparation_stops_no_job(made, gate, caplog):
    def prepare(items):
        raise SystemExit(f"cannot prepare {items}")

    scheduler = made(prepare=prepare)
    hold(scheduler, gate)
    futures = [scheduler.submit(n, lambda n=n: n, group="g", item=n) for n in range(3)]
    gate.set()
    assert results(futures) == [0, 1, 2]
    assert "Preparing 3 jobs failed" in caplog.text


def test_a_member_of_a_batch_can_still_leave(made, gate):
    preparing, go, runs = threading.Event(), threading.Event(), []
    scheduler = made(prepare=lambda items: (preparing.set(), go.wait(20)))
    futures = []
    hold(scheduler, gate)
    futures = [scheduler.submit(n, lambda n=n: runs.append(n), group="g", item=n) for n in range(3)]
    gate.set()
    assert preparing.wait(20)
    assert [scheduler.position(future) for future in futures] == [0, 1, 2]
    scheduler.release(1, futures[1])
    assert futures[1].cancelled()
    go.set()
    results([futures[0], futures[2]])
    assert runs == [0, 2]


def test_a_job_that_waited_too_long_fails_with_a_sentence(made, gate, clock):
    scheduler, runs = made(), []
    hold(scheduler, gate)
    late = scheduler.submit("late", lambda: runs.append("late"), deadline=10)
    patient = scheduler.submit("patient", lambda: runs.append("patient"), deadline=60)
    shared = scheduler.submit("shared", lambda: runs.append("shared"), deadline=10)
    assert scheduler.submit("shared", lambda: None, deadline=60) is shared
    clock.now = 30
    gate.set()
    with pytest.raises(BusyError, match=r"waited 30 s for its turn; please try again\.$"):
        late.result(20)
    results([patient, shared])
    assert runs == ["patient", "shared"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_failure_reaches_everyone_and_stays_with_its_job(made, gate, error):
    def fail():
        gate.wait(20)
        raise error

    scheduler = made()
    futures = [scheduler.submit("a", fail), scheduler.submit("a", fail)]
    gate.set()
    for future in futures:
        with pytest.raises(type(error)) as caught:
            future.result(20)
        assert caught.value is error
    assert scheduler.submit("a", lambda: 5).result(20) == 5
    assert scheduler.status()["restarts"] == 0


def test_a_dead_thread_costs_its_job_only(made, gate, clock, caplog):
    scheduler = made()

    def job():
        gate.wait(20)
        clock.broken.set()  # the scheduler's own code fails as the job returns

    hit = scheduler.submit("hit", job)
    waiting = [scheduler.submit(n, lambda n=n: n) for n in range(3)]
    gate.set()
    with pytest.raises(BusyError, match="had a fault during this computation; please try again"):
        hit.result(20)
    assert results(waiting) == [0, 1, 2]
    assert scheduler.submit("hit", lambda: "again").result(20) == "again"
    assert scheduler.status()["restarts"] == 1
    assert "SystemError: the clock is broken" in caplog.text


def test_a_thread_that_dies_at_nothing_is_started_by_the_next_who_comes(made, clock):
    scheduler = made()
    scheduler.submit("a", lambda: 1).result(20)
    thread = scheduler._thread
    clock.broken.set()
    first = scheduler.submit("b", lambda: 2)  # wakes the thread, which dies before it takes the job
    thread.join(20)
    assert not thread.is_alive()
    assert scheduler.submit("c", lambda: 3).result(20) == 3
    assert first.result(20) == 2
    assert scheduler.status()["restarts"] == 1


def test_close_finishes_the_running_and_drops_the_rest(made, gate):
    scheduler = made()
    running = hold(scheduler, gate)
    rest = [scheduler.submit(n, lambda: None) for n in range(3)]
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    for future in rest:
        with pytest.raises(CancelledError):
            future.result(20)
    gate.set()
    closing.join(20)
    assert running.result(0) == (None, True)
    with pytest.raises(BusyError, match="shutting down"):
        scheduler.submit("new", lambda: None)
    scheduler.close()


def test_nothing_is_kept_of_what_is_done(made, gate):
    class Big:
        pass

    scheduler, big = made(), Big()
    seen = weakref.ref(big)
    future = scheduler.submit("a", lambda big=big: str(big))
    del big
    assert "Big" in future.result(20)
    scheduler.submit("b", lambda: None).result(20)
    gc.collect()
    assert seen() is None


def test_a_storm_of_requests_and_cancellations_leaves_order(made, gate):
    """Twelve threads ask and leave; what is wanted gets done, one job at a time, and nothing is left."""
    scheduler = made(pending=10_000, prepare=lambda items: None)
    hold(scheduler, gate)
    inside, overlaps, kept = [], [], []

    def job():
        inside.append(1)
        overlaps.append(len(inside))
        inside.pop()

    def visitor(number):
        dice = random.Random(number)
        for _ in range(200):
            key = dice.randrange(300)
            future = scheduler.submit(
                key, job, line=str(number % 5), group=dice.choice((None, 1, 2)), item=key
            )
            if dice.random() < 0.6:
                scheduler.release(key, future)
            else:
                kept.append(future)  # never released: must end as done
            if dice.random() < 0.1:
                scheduler.position(future)

    visitors = [threading.Thread(target=visitor, args=(number,)) for number in range(12)]
    for thread in visitors[:6]:
        thread.start()
    gate.set()
    for thread in visitors[6:]:
        thread.start()
    for thread in visitors:
        thread.join(60)
    done, left = wait(kept, 60)
    assert not left
    assert not any(future.cancelled() for future in done)
    assert set(overlaps) == {1}
    assert scheduler.submit("last", lambda: "last").result(20) == "last"
    assert scheduler.status()["jobs"] == 0
    assert not scheduler._flights


def test_turns_against_counting():
    """Among those always ready, times used never differ by more than the largest turn, whatever turns cost."""
    turns, dice, used = Turns(), random.Random(0), dict.fromkeys("abcd", 0.0)
    for _ in range(500):
        chosen = turns.choose("abcd")
        cost = dice.uniform(0.1, 3)
        used[chosen] += cost
        turns.charge(chosen, cost)
        assert max(used.values()) - min(used.values()) <= 3
    # a newcomer begins where the last turn began: it owes nothing, and is owed no more than one turn
    assert min(used.values()) - 3 <= turns.standing("e") <= min(used.values())
