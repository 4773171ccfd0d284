"""How a cluster is shared out among replicas and fine-tunes; needs no Ray."""

import subprocess
import sys

import pytest

from gramviz.errors import ConfigError
from gramviz.serving.cache import ByteCache
from gramviz.serving.cluster import Node, compute_for, deployment_options, layout, parts
from gramviz.serving.compute import LocalCompute
from gramviz.serving.monitoring import Monitor
from gramviz.serving.settings import Settings
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


def test_without_the_engine_ray_nothing_of_ray_is_imported(tmp_path):
    script = (
        "import sys, app, gramviz.serving.engine, gramviz.serving.cluster, gramviz.serving.replica\n"
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
