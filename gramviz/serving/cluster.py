"""Ray: joining or starting it, what is deployed there, and how its CPUs and GPUs are shared out.

Ray is imported only where it is asked for: without `--engine ray` it need not be installed.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.errors import ConfigError
from gramviz.serving.settings import Settings

APP = "gramviz"
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
EVERYONE = 10_000  # replicas that a full one's tasks may go to instead
SMALLEST = 64  # a CPU or GPU is cut into so many parts at most
# Seconds: the load is watched for so long before replicas are added or taken away.
GROWING, SHRINKING = 3.0, 120.0

PATIENCE = 5.0  # seconds that a cluster has to answer in
LATEST = Path("/tmp/ray/ray_current_cluster")  # where Ray notes the last one that was started on this machine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """One machine of the cluster: what Ray may give away of it."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Layout:
    """How a cluster is shared out. cpus, gpus: of each replica and each fine-tune, parts of one allowed.

    least, most: replicas; equal where their number is fixed. ongoing: tasks that one replica holds at once.
    """

    cpus: float
    gpus: float
    least: int
    most: int
    ongoing: int

    @property
    def threads(self) -> int:
        """Threads of torch that a process with these CPUs has."""
        return max(1, int(self.cpus))


def layout(settings: Settings, nodes: Sequence[Node]) -> Layout:
    """The largest equal parts of which there are enough for all replicas and fine-tunes.

    Raises ConfigError for a device that a cluster cannot be asked for, or for more processes than it can hold.
    """
    if settings.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"the device is {settings.device!r}; on a Ray cluster it must be auto, cpu or cuda")
    gpus = int(sum(node.gpus for node in nodes)) if settings.device != "cpu" else 0
    if settings.device == "cuda" and not gpus:
        raise ConfigError("the device is 'cuda', but no machine of the Ray cluster has a GPU")
    want = max(settings.threads, 1)
    wanted = (settings.replicas or max(gpus, 1)) + settings.finetunes
    cpus, places = parts([node.cpus for node in nodes], want, wanted)
    share, held = (0.0, places) if not gpus else parts([1.0] * gpus, 1.0, wanted)
    most = settings.replicas or min(places, held) - settings.finetunes
    # a GPU takes the next batch while it is at one; on a CPU a short queue leaves more to the other replicas
    ongoing = 2 * settings.batch if gpus else max(2, settings.batch // 2)
    return Layout(cpus, share, settings.replicas or 1, most, ongoing)


def parts(holders: Sequence[float], want: float, wanted: int) -> tuple[float, int]:
    """The largest of want, want / 2, want / 3, ... of which `wanted` fit into the holders, none across two of them,
    and how many fit. Raises ConfigError where even the smallest are too few.
    """
    for pieces in range(1, SMALLEST + 1):
        part = want / pieces
        fit = sum(int(holder / part + 1e-6) for holder in holders)
        if fit >= wanted:
            # rounded down, since Ray counts in parts of ten thousand
            return (part if pieces == 1 else int(part * 10_000) / 10_000), fit
    raise ConfigError(
        f"the Ray cluster is too small for {wanted} replicas and fine-tunes at once; ask for fewer of them"
    )


def deployment_options(settings: Settings, plan: Layout) -> dict[str, Any]:
    """What Ray Serve is told of the replicas."""
    options: dict[str, Any] = {
        "name": "replica",
        "max_ongoing_requests": plan.ongoing,
        "ray_actor_options": {"num_cpus": plan.cpus, "num_gpus": plan.gpus},
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "graceful_shutdown_timeout_s": 20,
        # what is asked again goes where the features are
        "request_router_config": {
            "request_router_class": ROUTER,
            "request_router_kwargs": {"num_fallback_replicas": EVERYONE},
        },
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
    }
    if settings.replicas:
        options["num_replicas"] = settings.replicas
    else:
        options["autoscaling_config"] = {
            "min_replicas": plan.least,
            "max_replicas": plan.most,
            "target_ongoing_requests": max(1, plan.ongoing // 2),
            "upscale_delay_s": GROWING,
            "downscale_delay_s": SHRINKING,
        }
    return options


class Cluster:
    """A Ray cluster with the replicas deployed. Joins the one of RAY_ADDRESS or of this machine, else starts one."""

    def __init__(self, store: CheckpointStore, settings: Settings) -> None:
        import ray
        from ray import serve

        from gramviz.serving.replica import Bench, Replica, replica_settings

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._joined = not ray.is_initialized()
        if self._joined:
            where = address(os.environ, LATEST)
            try:
                ray.init(where, include_dashboard=False, log_to_driver=False, logging_level="WARNING")
            except (ConnectionError, RuntimeError) as error:
                raise ConfigError(f"the Ray cluster could not be joined: {first_line(error)}") from error
        self.plan = plan = layout(settings, nodes())
        serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        deployed = serve.deployment(Replica).options(**deployment_options(settings, plan))
        bound = deployed.bind(store, replica_settings(settings, plan.threads))
        try:
            self.handle = serve.run(bound, name=APP, route_prefix=None)
        except RuntimeError as error:
            raise ConfigError(
                "the replicas could not be started; is this gramviz installed on all machines of the Ray cluster? "
                f"{first_line(error)}"
            ) from error
        self._bench = ray.remote(Bench).options(
            num_cpus=plan.cpus, num_gpus=plan.gpus, max_concurrency=2, max_restarts=0
        )
        self._device = settings.device
        self._closed = False
        log.info("on Ray: %s", plan)

    def bench(self) -> Any:
        """A new actor for one fine-tune."""
        return self._bench.remote(self._device, self.plan.threads)

    def replicas(self) -> int:
        """How many run now. Asks Serve's controller, which takes some milliseconds."""
        from ray import serve

        app = serve.status().applications.get(APP)
        if app is None:
            return 0
        return sum(one.replica_states.get("RUNNING", 0) for one in app.deployments.values())

    def close(self) -> None:
        """Take the replicas away, and leave the cluster, where it was joined for this."""
        import ray
        from ray import serve

        if self._closed:
            return
        self._closed = True
        serve.delete(APP)
        if not serve.status().applications:  # others may have theirs there
            serve.shutdown()
        if self._joined:
            ray.shutdown()


def address(environment: Mapping[str, str], latest: Path) -> str:
    """Where to join: the cluster of RAY_ADDRESS, or the latest of this machine; "local" to start one.

    Ray itself looks in the same places, but waits for minutes where nobody answers. Raises ConfigError where nobody
    does at RAY_ADDRESS; the latest cluster of this machine may have ended without a farewell.
    """
    named = environment.get("RAY_ADDRESS", "")
    if named and not answers(named):
        raise ConfigError(
            f"no Ray cluster answers at {named!r} (RAY_ADDRESS); start one there with ray start --head"
        )
    if named:
        return named
    found = latest.read_text(encoding="utf-8").strip() if latest.is_file() else ""
    return found if found and answers(found) else "local"


def answers(where: str) -> bool:
    """Whether someone listens at host:port; any other form of address is taken on trust."""
    host, _, port = where.rpartition(":")
    if not port.isdigit() or "/" in host:
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except OSError:
        return False
    return True


def nodes() -> list[Node]:
    """The machines that Ray has now."""
    import ray

    found = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    return [Node(one.get("CPU", 0.0), one.get("GPU", 0.0)) for one in found]


def first_line(error: BaseException) -> str:
    """What an error of many lines begins with."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
