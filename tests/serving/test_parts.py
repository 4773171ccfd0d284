"""Settings and cache."""

from pathlib import Path
from unittest import mock

import pytest
import torch

from gramviz.errors import ConfigError
from gramviz.serving import compute
from gramviz.serving.cache import ByteCache
from gramviz.serving.compute import LocalCompute
from gramviz.serving.monitoring import Monitor
from gramviz.serving.settings import Settings, choose_device, processors, share_processors
from tests.stores import make_store


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
    cache.clear()
    assert (cache.get("a"), cache.used) == (None, 0)


def test_settings_come_from_the_environment_and_options_come_first():
    given = {"GRAMVIZ_DEVICE": "cpu", "GRAMVIZ_MODELS": "/tmp/m", "GRAMVIZ_PENDING": "7", "OTHER": "x"}
    assert Settings.read(given) == Settings(device="cpu", models=Path("/tmp/m"), pending=7)
    assert Settings.read({}) == Settings()
    options = {"pending": "9", "metrics": "off", "threads": None, "command": "serve"}
    assert Settings.read(given, options) == Settings(
        device="cpu", models=Path("/tmp/m"), pending=9, metrics=False
    )


@pytest.mark.parametrize(
    ("environment", "options", "words"),
    [
        ({"GRAMVIZ_PENDING": "many"}, {}, "GRAMVIZ_PENDING is 'many'; it must be a whole number"),
        ({}, {"finetune_queue": "1.5"}, "--finetune-queue is '1.5'"),
        ({"GRAMVIZ_FEATURE_CACHE": "0"}, {}, "feature_cache is 0; it must lie between 1 and"),
        ({}, {"metrics": "perhaps"}, "--metrics is 'perhaps'; it must be true or false"),
        ({"GRAMVIZ_ENGINE": "steam"}, {}, "engine is 'steam'; it must be one of auto, local, ray, zero"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(environment, options, words):
    with pytest.raises(ConfigError, match=words):
        Settings.read(environment, options)


def test_processors_are_shared_unless_someone_decided_otherwise():
    environment = {}
    share_processors(environment)
    assert environment == {"GOMP_SPINCOUNT": "2000"}
    environment = {"GOMP_SPINCOUNT": "7"}
    share_processors(environment)
    assert environment == {"GOMP_SPINCOUNT": "7"}


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


def test_a_processor_is_left_to_the_page(tmp_path):
    before = torch.get_num_threads()
    try:
        for wanted, there, found in ((0, 4, 3), (0, 1, 1), (3, 4, 3), (0, 8, 4)):
            torch.set_num_threads(4)
            with mock.patch.object(compute, "processors", lambda there=there: there):
                settings = Settings(device="cpu", threads=wanted)
                LocalCompute(make_store(tmp_path), settings, ByteCache(1), Monitor()).close()
            assert torch.get_num_threads() == found
    finally:
        torch.set_num_threads(before)
    assert processors() >= 1
