"""Settings and cache."""

from pathlib import Path

import pytest
import torch

from gramviz.errors import ConfigError
from gramviz.serving.cache import ByteCache
from gramviz.serving.settings import Settings, choose_device


def test_the_least_recently_used_value_goes_first():
    cache = ByteCache(10)
    cache.put("a", 1, 4)
    cache.put("b", 2, 4)
    assert cache.get("a") == 1
    cache.put("c", 3, 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert cache.used == 8
    cache.put("a", 5, 2)
    assert (cache.get("a"), cache.used, len(cache)) == (5, 6, 2)
    cache.put("huge", 9, 11)
    assert cache.get("huge") is None
    assert cache.used == 6


def test_settings_come_from_the_environment():
    given = {"GRAMVIZ_DEVICE": "cpu", "GRAMVIZ_MODELS": "/tmp/m", "GRAMVIZ_PENDING": "7", "OTHER": "x"}
    assert Settings.from_environment(given) == Settings(device="cpu", models=Path("/tmp/m"), pending=7)
    assert Settings.from_environment({}) == Settings()
    with pytest.raises(ConfigError, match="GRAMVIZ_PENDING is 'many'"):
        Settings.from_environment({"GRAMVIZ_PENDING": "many"})
    with pytest.raises(ConfigError, match="feature_cache is 0"):
        Settings.from_environment({"GRAMVIZ_FEATURE_CACHE": "0"})


def test_the_device_is_cuda_then_mps_then_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device().type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device().type == "cpu"
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="'warp9' is not available"):
        choose_device("warp9")
