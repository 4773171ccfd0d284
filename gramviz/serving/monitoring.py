"""What is counted and timed of a running service, in Prometheus' terms, with a registry of its own.

Nothing here tells one visitor from another: kinds of work, seconds and sums only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# From a cached view to a long fine-tune's wait.
BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120)

log = logging.getLogger(__name__)


class Monitor:
    """Thread-safe. Gauges are read when someone looks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "gramviz_seconds",
            "From asking to the answer, by kind; kinds of the device are wait, run and step.",
            ["kind"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._refused = Counter("gramviz_refused", "Requests refused.", ["reason"], registry=self._registry)
        self._events = Counter("gramviz_events", "What happened, by kind.", ["kind"], registry=self._registry)
        self._gauges = Gauges()
        self._registry.register(self._gauges)
        self.watch("process_resident_bytes", resident_bytes)
        self.watch("device_bytes", device_bytes)

    def observe(self, kind: str, seconds: float) -> None:
        """Book how long something of a kind took."""
        self._seconds.labels(kind).observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self._refused.labels(reason).inc()

    def count(self, kind: str, by: int = 1) -> None:
        """Count something that happened."""
        self._events.labels(kind).inc(by)

    def watch(self, name: str, value: Callable[[], float]) -> None:
        """Show the number that `value` gives as the gauge gramviz_<name>."""
        self._gauges.values[name] = value

    def text(self) -> bytes:
        """Everything in Prometheus' text format (CONTENT_TYPE)."""
        return generate_latest(self._registry)


class Gauges(Collector):
    """Gauges that are asked for their values when they are collected; one that fails is left out."""

    def __init__(self) -> None:
        self.values: dict[str, Callable[[], float]] = {}

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        for name, value in sorted(self.values.items()):
            try:
                yield GaugeMetricFamily(f"gramviz_{name}", name.replace("_", " "), value=float(value()))
            except Exception:
                log.exception("the gauge %s could not be read", name)


def resident_bytes() -> float:
    """Memory of this process, in bytes; 0 where the system does not tell it in Linux' way."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def device_bytes() -> float:
    """Memory that torch has on CUDA, in bytes; 0 where it has not begun to use one."""
    import torch

    return float(torch.cuda.memory_reserved()) if torch.cuda.is_initialized() else 0.0
