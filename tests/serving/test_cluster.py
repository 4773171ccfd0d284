"""How a cluster is shared out among replicas and fine-tunes, and what a replica does; needs no Ray."""

import asyncio
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from gramviz.errors import ConfigError
from gramviz.serving.backends import compute_for
from gramviz.serving.cache import ByteCache
from gramviz.serving.cluster import Node, address, deployment_options, layout, parts
from gramviz.serving.compute import LocalCompute
from gramviz.serving.monitoring import Monitor
from gramviz.serving.replica import Replica, replica_settings
from gramviz.serving.settings import Settings
from gramviz.serving.tasks import view_task
from gramviz.serving.views import Ask
from gramviz.vit.images import picture_from_array
from tests.serving.held import hold, run_apart
from tests.stores import make_store


@pytest.mark.parametrize(
    ("holders", "wanted", "part", "fit"),
    [
        ([16.0], 3, 1.0, 16),
        ([2.0], 3, 0.5, 4),
        ([1.0, 1.0], 3, 0.5, 4),  # two thirds would fit into the sum, but not into either
        ([1.0], 3, 0.3333, 3),
        ([8.0, 3.0], 2, 4.0, 2),
    ],
)
def test_parts_are_the_largest_that_fit(holders, wanted, part, fit):
    want = 4.0 if part == 4.0 else 1.0
    assert parts(holders, want, wanted) == (part, fit)
    assert sum(int(holder / part + 1e-6) for holder in holders) >= wanted


def test_parts_that_would_be_too_small_are_refused():
    with pytest.raises(ConfigError, match="too small for 65 replicas and fine-tunes"):
        parts([1.0], 1.0, 65)


def test_one_machine_with_a_gpu_gives_a_third_of_it_to_one_replica_and_two_fine_tunes():
    plan = layout(Settings(finetunes=2), [Node(16, 1)])
    assert (plan.gpus, plan.least, plan.most, plan.cpus, plan.threads) == (0.3333, 1, 1, 1.0, 1)


def test_replicas_share_gpus_where_more_are_asked_for():
    plan = layout(Settings(replicas=4, finetunes=0), [Node(16, 1), Node(16, 1)])
    assert (plan.gpus, plan.least, plan.most) == (0.5, 4, 4)
    options = deployment_options(Settings(replicas=4, finetunes=0), plan)
    assert options["num_replicas"] == 4
    assert options["ray_actor_options"] == {"num_cpus": 1.0, "num_gpus": 0.5}
    assert "autoscaling_config" not in options


def test_their_number_follows_the_load_up_to_what_fits_beside_the_fine_tunes():
    settings = Settings(finetunes=2, threads=4)
    plan = layout(settings, [Node(16, 0), Node(16, 0)])
    assert (plan.gpus, plan.least, plan.most, plan.threads) == (0.0, 1, 6, 4)
    scaling = deployment_options(settings, plan)["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (1, 6)
    # so that the number can grow: full replicas must look overloaded
    assert scaling["target_ongoing_requests"] < plan.ongoing


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_single_devices_are_refused(device):
    with pytest.raises(ConfigError, match=f"the device is '{device}'; on a Ray cluster"):
        layout(Settings(device=device), [Node(4, 1)])


def test_cuda_where_there_is_none_is_refused_and_a_cpu_leaves_gpus_alone():
    with pytest.raises(ConfigError, match="no machine of the Ray cluster has a GPU"):
        layout(Settings(device="cuda"), [Node(4, 0)])
    assert layout(Settings(device="cpu"), [Node(4, 2)]).gpus == 0


def test_a_cluster_is_joined_where_one_answers_and_else_started(tmp_path):
    latest = tmp_path / "ray_current_cluster"
    assert address({}, latest) == "local"
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        latest.write_text(here)
        assert address({}, latest) == here
        assert address({"RAY_ADDRESS": here}, tmp_path / "none") == here
    # it has ended, and left its note
    assert address({}, latest) == "local"
    with pytest.raises(ConfigError, match=f"no Ray cluster answers at '{here}'"):
        address({"RAY_ADDRESS": here}, latest)
    assert address({"RAY_ADDRESS": "ray://head:10001"}, latest) == "ray://head:10001"


def test_without_the_engine_ray_nothing_of_ray_is_imported(tmp_path):
    script = (
        "import sys, app, gramviz.serving.engine, gramviz.serving.backends\n"
        "import gramviz.serving.cluster, gramviz.serving.replica\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_who_computes_follows_the_settings(tmp_path, monkeypatch):
    store, settings = make_store(tmp_path), Settings(device="cpu", models=tmp_path)
    local = compute_for(settings, store, ByteCache(1), Monitor())
    assert isinstance(local, LocalCompute)
    local.close()
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "gramviz.serving.ray_compute", raising=False)
    with pytest.raises(ConfigError, match="the engine is 'ray', but Ray is not installed"):
        compute_for(Settings(engine="ray"), store, ByteCache(1), Monitor())


@pytest.fixture
def replica(tmp_path):
    made = Replica(make_store(tmp_path), replica_settings(Settings(device="cpu", models=tmp_path), 1))
    yield made
    made._local.close()


def view_of(replica, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    store = replica._local.workshop._store
    return view_task(Ask(picture_from_array(pixels), store.get("tiny-plain-2000"), 8, -1))


def test_what_arrives_together_is_one_forward(replica, monkeypatch):
    forwards, sizes = replica._local.workshop._forwards, []
    features = forwards.features
    monkeypatch.setattr(
        forwards,
        "features",
        lambda network, pictures, *rest: sizes.append(len(pictures)) or features(network, pictures, *rest),
    )
    gate = threading.Event()
    held = hold(replica._local._scheduler, gate)

    async def several():
        calls = [
            asyncio.ensure_future(replica.compute(view_of(replica, seed), "", 60.0)) for seed in range(4)
        ]
        while replica._local.status()["jobs"] < 4:
            await asyncio.sleep(0.01)
        gate.set()
        return await asyncio.gather(*calls)

    found = run_apart(several())
    held.result(20)
    assert sizes == [4]
    for view, size in found:
        assert size > len(view.factor) + len(view.colours)


def test_a_call_that_is_called_off_leaves_the_replicas_queue(replica):
    gate = threading.Event()
    held = hold(replica._local._scheduler, gate)

    async def called_off():
        call = asyncio.ensure_future(replica.compute(view_of(replica, 0), "", 60.0))
        while replica._local.status()["jobs"] < 1:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return replica._local.status()["jobs"]

    try:
        assert run_apart(called_off()) == 0
    finally:
        gate.set()
    held.result(20)


def test_a_replica_whose_device_was_lost_asks_to_be_replaced(replica):
    run_apart(replica.check_health())
    replica._local.workshop.lost = "The device cuda was lost."
    with pytest.raises(RuntimeError, match="cuda was lost"):
        run_apart(replica.check_health())
