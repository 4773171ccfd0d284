"""Who computes, by the settings: this process, or what is imported only when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
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
    """Who computes, by the settings. Raises ConfigError where what is wanted is not installed, or does not fit."""
    makers: dict[str, Callable[..., Compute]] = {"local": LocalCompute, "ray": _over_ray, "zero": _lent}
    return makers[chosen(settings.engine, os.environ)](store, settings, results, monitor)


def chosen(engine: str, environment: Mapping[str, str]) -> str:
    """The engine of that name; for "auto", "zero" where a Space says that it runs on ZeroGPU, else "local"."""
    if engine != "auto":
        return engine
    return "zero" if on_zero_gpu(environment) else "local"


def on_zero_gpu(environment: Mapping[str, str]) -> bool:
    """Whether this is a ZeroGPU Space, as the package `spaces` reads it."""
    return environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


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


def _lent(store: CheckpointStore, settings: Settings, results: ByteCache[Any], monitor: Monitor) -> Compute:
    if not on_zero_gpu(os.environ):
        raise ConfigError(
            "the engine is 'zero', but this is no ZeroGPU Space: SPACES_ZERO_GPU is not true; use 'auto' or 'local'"
        )
    try:
        from gramviz.serving.zero_compute import ZeroCompute
    except ImportError as error:
        raise ConfigError(
            "the engine is 'zero', but spaces is not installed; pip install spaces or use 'local'"
        ) from error
    return ZeroCompute(store, settings, results, monitor)
