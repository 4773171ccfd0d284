"""The engine over a real Ray of two machines, both in this one: the same results, and what survives which loss.

The cluster stays for the whole module; tests that lose something wait until it is whole again.
"""

import asyncio
import os
import re
import secrets
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gramviz.errors import BusyError, InputError
from gramviz.serving import lab, tasks
from gramviz.serving.backends import compute_for
from gramviz.serving.cache import ByteCache
from gramviz.serving.cluster import APP
from gramviz.serving.compute import MIB, LocalCompute
from gramviz.serving.engine import Engine
from gramviz.serving.jobs import make_job, start_of
from gramviz.serving.monitoring import Monitor
from gramviz.serving.plans import Plan
from gramviz.serving.settings import Settings
from gramviz.serving.tuning import TuneRequest
from gramviz.serving.views import Ask
from gramviz.serving.watching import Sight
from gramviz.training.finetune import TUNED, Ended, Stepped
from gramviz.vit.images import picture_from_array
from tests.stores import make_store

# Ray's ports are open to the network as long as it runs; it looks for the mode as it is imported
GUARDED = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
with warnings.catch_warnings(), pytest.MonkeyPatch.context() as before:
    for name, value in GUARDED.items():
        before.setenv(name, value)
    warnings.simplefilter("ignore")
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install '.[ray]')")

# Ray's own: pydantic's old ways, and files and sockets that its shutting down leaves to the collector
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
IDS = ("tiny-trunk-0", "tiny-plain-2000", "tiny-gram-2000")
PLACES = {"object_store_memory": 128 * MIB}
WAIT = 60  # seconds for anything that must come
# a machine that does not answer for so long counts as lost
FAST = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}


def picture(seed=0, shape=(64, 80)):
    return picture_from_array(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def machines():
    """A head that computes nothing and two machines with two CPUs each; torn down at the end."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        for name, value in GUARDED.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": FAST, **PLACES}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=2, **PLACES)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def settings(store):
    return Settings(
        device="cpu", models=store.folder, threads=1, engine="ray", replicas=2, finetunes=1, finetune_queue=1
    )


@pytest.fixture(scope="module")
def monitor():
    return Monitor()


@pytest.fixture(scope="module")
def compute(machines, store, settings, monitor):
    made = compute_for(settings, store, ByteCache(64 * MIB), monitor)
    yield made
    made.close()


@pytest.fixture(scope="module")
def local(store, settings):
    made = LocalCompute(store, settings, ByteCache(64 * MIB), Monitor())
    yield made
    made.close()


def ask(store, checkpoint=IDS[0], seed=0, **more):
    return Ask(picture(seed), store.get(checkpoint), 8, -1, **more)


def result(compute, task, line="ann"):
    future = compute.submit(task, line, None)
    assert isinstance(future, Future)
    return future.result(WAIT)


def equal(one, other):
    """Whether two results are the same bit for bit, however deep the tensors lie; times aside."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if hasattr(one, "__dataclass_fields__"):
        names = [name for name in one.__dataclass_fields__ if name != "seconds"]
        return type(one) is type(other) and all(equal(getattr(one, n), getattr(other, n)) for n in names)
    return bool(one == other)


def replica_names():
    return {
        one["name"]
        for one in ray.util.list_named_actors(all_namespaces=True)
        if f"{APP}#replica" in one["name"]
    }


def kill_replica(name):
    """As a crash would: without a farewell, and Ray does not bring it back by itself."""
    ray.kill(ray.get_actor(name, namespace="serve"), no_restart=True)


def machine_of(actor):
    """The id of the machine that an actor runs on."""
    return ray._private.state.actors(actor._actor_id.hex())["Address"]["NodeID"]


def until(condition):
    """Wait for something that is told by no event."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def whole(compute):
    until(lambda: compute._cluster.replicas() == 2)


KINDS = {
    "view": tasks.view_task,
    "spectral": tasks.spectral_task,
    "features": tasks.features_task,
    "spectrum": tasks.spectrum_task,
    "similarity": partial(tasks.similarity_task, row=1, column=2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_bit_identical_to_those_of_one_machine(compute, local, store, kind):
    for checkpoint in IDS:
        task = KINDS[kind](ask(store, checkpoint))
        assert equal(result(compute, task), result(local, task))


def test_colours_and_findings_are_bit_identical(compute, local, store):
    asks = [ask(store, checkpoint, seed=1) for checkpoint in IDS]
    theory = [tasks.theory_task(asks[0], store, card.name, card.checked({})) for card in lab.CARDS]
    board = [tasks.blackboard_task(card.name, card.checked({})) for card in lab.CARDS]
    for task in (tasks.colours_task(asks), *theory, *board):
        assert equal(result(compute, task), result(local, task)), task.key


def test_own_checkpoints_travel(compute, local, store):
    weights = {name: value + 0.01 for name, value in store.weights(IDS[0]).items()}
    own = ask(store, weights=weights)
    own = replace(own, info=replace(own.info, id="own", sha256="own of ann", branch="own1"))
    for task in (tasks.view_task(own), tasks.colours_task([own, ask(store)])):
        found = result(compute, task)
        assert equal(found, result(local, task))
    assert not equal(
        result(compute, tasks.features_task(own)), result(compute, tasks.features_task(ask(store)))
    )


def test_errors_are_those_of_one_machine(compute, local, store):
    task = tasks.similarity_task(ask(store), 99, 0)
    for one in (compute, local):
        with pytest.raises(InputError, match="There is no patch at row 99"):
            result(one, task)


def test_the_same_in_flight_is_one_call_and_the_result_is_kept_here(compute, store):
    task = tasks.view_task(ask(store, seed=2))
    first, second = compute.submit(task, "ann", None), compute.submit(task, "bob", None)
    assert first is second
    made = first.result(WAIT)
    assert compute._results.get(task.key) is made
    compute.release(task, first)


def test_the_engine_over_it_answers_the_page(compute, store, settings):
    engine = Engine(store, settings, compute)
    views = list(engine.compare(picture(5), IDS, 8, visitor="ann"))
    assert {view.checkpoint.id for view in views} == set(IDS)
    assert set(engine.common_colours(picture(5), IDS, 8, visitor="ann")) == set(IDS)
    # as the service asks: from a thread of its own, without an event loop, which Serve would refuse
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(engine.healthy, 20).result()
    assert engine.notice == ""
    assert engine.status()["replicas"] == 2


def counted(monitor, kind):
    found = re.search(rf'gramviz_events_total{{kind="{kind}"}} ([\d.]+)', monitor.text().decode())
    return float(found[1]) if found else 0.0


def load(compute, store, seeds):
    """Work of some seconds from three visitors: tasks with their futures, once the first of them is done."""
    wanted = [
        tasks.spectral_task(replace(ask(store, checkpoint, seed), patches=32))
        for seed in seeds
        for checkpoint in IDS
    ]
    asked = [(task, compute.submit(task, f"visitor {n % 3}", None)) for n, task in enumerate(wanted)]
    asked[0][1].result(WAIT)
    return asked


def all_answered(asked, local):
    found = [(task, future.result(WAIT)) for task, future in asked]
    for task, view in found[::9]:
        assert equal(view, result(local, task))


def test_a_replica_killed_under_load_loses_no_request(compute, local, store, monitor):
    whole(compute)
    before = replica_names()
    asked = load(compute, store, range(10, 22))
    kill_replica(sorted(before)[0])
    all_answered(asked, local)
    assert counted(monitor, "replica_lost") >= 1
    until(lambda: len(replica_names()) == 2)
    assert replica_names() != before
    whole(compute)
    assert compute.notice == ""


# ---- fine-tunes


def job_of(store, steps=16, **more):
    plan = Plan(
        start="tiny-plain-2000", teacher="tiny-trunk-300", images="picture", steps=steps, batch=2, rate=1e-3
    )
    start = start_of(
        plan, store.get(plan.start), store.weights(plan.start), store.weights(plan.teacher), store
    )
    job = make_job(TuneRequest(picture(), plan, 8), start, 600.0)
    return replace(job, save_steps=4, look_seconds=1e9, **more)


def follow(run, until_step=None):
    """The events up to a step, or to the end."""
    events, end = [], time.monotonic() + WAIT
    while not run.ended and time.monotonic() < end:
        event = run.next(0.5)
        if event is not None:
            events.append(event)
        if isinstance(event, Stepped) and event.report.step == until_step:
            return events
    assert until_step is None, f"step {until_step} did not come"
    return events


def steps_of(events):
    return [event.report.step for event in events if isinstance(event, Stepped)]


@pytest.fixture
def slowly(monkeypatch):
    """Little is read ahead, so that a run is not over before a test interferes."""
    monkeypatch.setattr("gramviz.serving.streams.BACKLOG", 2)


@pytest.fixture(scope="module")
def reference(local, store):
    """The events of the same job on one machine."""
    local_two = LocalCompute(
        store, Settings(device="cpu", models=store.folder, threads=1), ByteCache(MIB), Monitor()
    )
    try:
        return follow(local_two.finetune(job_of(store), "ann"))
    finally:
        local_two.close()


def same_weights(events, reference):
    assert equal(events[-1].weights[TUNED], reference[-1].weights[TUNED])


def test_a_fine_tune_is_bit_identical_and_pausing_stops_it(compute, store, reference, slowly):
    run = compute.finetune(job_of(store), "ann")
    events = follow(run, 2)
    run.pause()
    while (event := run.next(1.0)) is not None:  # what was made already
        events.append(event)
    rested = steps_of(events)[-1]
    assert rested <= 2 + 2 + 3  # kept here, kept there, and the ones at work
    assert not run.ended
    run.resume()
    events += follow(run)
    assert run.ended
    assert steps_of(events) == list(range(1, 17))
    assert [type(event) for event in events] == [type(event) for event in reference]
    for one, other in zip(events, reference, strict=True):
        if isinstance(one, Sight):
            assert equal(one, other)
    same_weights(events, reference)
    assert events[-1].sentence == "Finished all 16 steps."


def test_a_killed_fine_tune_goes_on_from_its_last_saved_state_and_says_so(compute, store, reference, slowly):
    run = compute.finetune(job_of(store), "ann")
    events = follow(run, 6)
    ray.kill(run._remote.bench)
    events += follow(run)
    assert steps_of(events) == list(range(1, 17))
    assert isinstance(events[-1], Ended)
    same_weights(events, reference)
    sentence = events[-1].sentence
    assert sentence.startswith(
        "Finished all 16 steps. A machine was lost on the way, and another went on from "
    )
    assert sentence.endswith(("step 4.", "step 8."))


def test_stopping_keeps_the_weights_of_the_step_and_the_next_one_waits_its_turn(compute, store, slowly):
    run = compute.finetune(job_of(store, steps=200), "ann")
    follow(run, 1)
    second = compute.finetune(job_of(store), "bob")
    assert (run.position, second.position) == (0, 1)
    with pytest.raises(BusyError, match="waiting already"):
        compute.finetune(job_of(store), "cal")
    run.stop()
    end = follow(run)[-1]
    assert isinstance(end, Ended)
    assert end.reason == "stopped"
    assert 1 <= end.step < 200
    until(lambda: second.position == 0)
    second.close()
    assert second.next(5) is None
    assert second.ended


def test_one_that_is_lost_again_and_again_ends_with_a_sentence(compute, store, slowly):
    run = compute.finetune(replace(job_of(store, steps=200), save_steps=1000), "ann")
    for step in (1, 2, 3):
        follow(run, step)
        ray.kill(run._remote.bench)
    with pytest.raises(
        BusyError, match="The machine of this fine-tune was lost 3 times, and it cannot go on"
    ):
        follow(run)
    assert run.ended


def test_a_machine_killed_under_load_loses_neither_requests_nor_a_fine_tune(
    machines, compute, local, store, monitor, reference, slowly
):
    whole(compute)
    run = compute.finetune(job_of(store), "ann")
    events = follow(run, 5)
    lost = machine_of(run._remote.bench)
    replicas = [ray.get_actor(name, namespace="serve") for name in replica_names()]
    with_replica = lost in map(machine_of, replicas)  # so it is unless both happen to be on the other one
    lost_before, moved_before = counted(monitor, "replica_lost"), counted(monitor, "finetune_moved")
    machines.add_node(num_cpus=2, **PLACES)
    asked = load(compute, store, range(40, 52))
    machines.remove_node(
        next(one for one in machines.worker_nodes if one.node_id == lost), allow_graceful=False
    )
    all_answered(asked, local)
    assert (counted(monitor, "replica_lost") > lost_before) == with_replica
    events += follow(run)
    assert counted(monitor, "finetune_moved") == moved_before + 1
    assert steps_of(events) == list(range(1, 17))
    same_weights(events, reference)
    whole(compute)


class Silent:
    """A handle to replicas of which none is there to answer."""

    def options(self, **_):
        return self

    def remote(self, *_):
        return asyncio.get_running_loop().create_future()


def test_without_any_replica_a_request_is_refused_when_its_time_is_up(compute, store, monkeypatch):
    monkeypatch.setattr(compute, "_compute", Silent())
    monkeypatch.setattr(compute._cluster, "replicas", lambda: 0)
    task = tasks.view_task(ask(store, seed=98))
    with pytest.raises(BusyError, match="No machine of the cluster can compute"):
        compute.submit(task, "ann", 0.5).result(WAIT)


def test_closing_frees_the_cluster(compute, store):
    """The last test: what it closes is everyone's."""
    run = compute.finetune(job_of(store, steps=200), "ann")
    follow(run, 1)
    compute.close()
    assert run.ended
    with pytest.raises(BusyError, match="shutting down"):
        compute.submit(tasks.view_task(ask(store, seed=99)), "ann", None)
    until(lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])
    assert replica_names() == set()
    assert os.environ.get("RAY_ADDRESS") is None
