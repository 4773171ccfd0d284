"""Who computes, by the settings: this process, or a Ray cluster, whose code is imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.errors import ConfigError
from gramviz.serving.cache import ByteCache
from gramviz.serving.compute import Compute, LocalCompute
from gramviz.serving.monitoring import Monitor
from gramviz.serving.settings import Settings


def compute_for(
    settings: Settings, store: CheckpointStore, results: ByteCache[Any], monitor: Monitor
) -> Compute:
    """Who computes, by the settings. Raises ConfigError where Ray is wanted and not installed, or does not fit."""
    makers: dict[str, Callable[..., Compute]] = {"local": LocalCompute, "ray": _over_ray}
    return makers[settings.engine](store, settings, results, monitor)


def _over_ray(
    store: CheckpointStore, settings: Settings, results: ByteCache[Any], monitor: Monitor
) -> Compute:
    try:
        from gramviz.serving.ray_compute import RayCompute
    except ImportError as error:
        raise ConfigError(
            "the engine is 'ray', but Ray is not installed; pip install 'ray[serve]' or use 'local'"
        ) from error
    return RayCompute(store, settings, results, monitor)
