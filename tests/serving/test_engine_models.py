"""Models that visitors bring: theirs alone, bounded, and the very features of plain timm."""

import json
import threading
from contextlib import closing

import numpy as np
import pytest
import safetensors.torch
import torch

from gramviz.checkpoints.added import Source
from gramviz.checkpoints.manifest import MODEL_BRANCH, CheckpointInfo
from gramviz.checkpoints.zoo import ZOO
from gramviz.data.samples import load
from gramviz.errors import BusyError, CheckpointError, InputError
from gramviz.serving.engine import Engine, free_name
from gramviz.serving.fetching import fetched
from gramviz.serving.plans import Plan
from gramviz.serving.settings import Settings
from gramviz.serving.tuning import Finished, TuneRequest
from gramviz.vit.backbones import NetworkConfig, create_backbone
from tests.checkpoints.stub_hub import SMALL, timm_repository
from tests.stores import make_store

CONFIG = NetworkConfig("vit_tiny_patch16_224", SMALL)
LISTED = ZOO[9].name


@pytest.fixture
def make(tmp_path):
    """Engines with settings of one's own over a small store."""
    made = []
    make_store(tmp_path / "models")

    def engine(**settings):
        told = Settings(device="cpu", models=tmp_path / "models", added=tmp_path / "added", **settings)
        made.append(Engine.from_settings(told))
        return made[-1]

    yield engine
    for one in made:
        one.close()


def source(name="mine", config=CONFIG, seed=0):
    torch.manual_seed(seed)
    return Source(name, config, safetensors.torch.save(create_backbone(config).network.state_dict()))


def add(engine, visitor="ann", told=None):
    return engine.add_model(visitor, told or source(), licence="MIT", title="Mine.")


def test_a_model_is_its_owners_alone_and_goes_with_them(make):
    engine = make()
    info = add(engine)
    assert (info.id, info.run, info.branch, info.licence) == ("yours/1", "mine", MODEL_BRANCH, "MIT")
    assert engine.checkpoints("ann")[-1] == info
    assert info not in engine.checkpoints("ben")
    picture = load("coffee")
    with pytest.raises(CheckpointError, match="no checkpoint 'yours/1'"):
        engine.features(picture, "yours/1", 6, visitor="ben")
    assert engine.features(picture, "yours/1", 6, visitor="ann").patches.shape[-1] == 48
    with pytest.raises(CheckpointError, match="came from you"):
        engine.download("ann", "yours/1")
    with pytest.raises(InputError, match="need an open page"):
        add(engine, "")
    engine.forget("ann", "yours/1")
    add(engine)
    engine.leave("ann")
    assert engine.checkpoints("ann") == engine.checkpoints("")


def test_equal_weights_under_other_pixels_are_another_model(make):
    """Nobody can put features of their own making into the cache under the weights of others."""
    engine = make()
    plain = add(engine, "ann", source("a"))
    again = add(engine, "ben", source("b"))
    other = add(engine, "cay", source("c", NetworkConfig(CONFIG.architecture, SMALL, (0.0, 0.0, 0.0))))
    assert plain.sha256 == again.sha256 != other.sha256
    picture = load("coffee")
    one, two, three = (
        engine.features(picture, "yours/1", 6, visitor=who).patches for who in ("ann", "ben", "cay")
    )
    assert torch.equal(one, two)
    assert not torch.allclose(one, three, atol=1e-3)
    heads = NetworkConfig(CONFIG.architecture, {**SMALL, "num_heads": 2})
    assert add(engine, "dan", source("d", heads)).sha256 not in (plain.sha256, other.sha256)


def test_names_that_are_taken_get_a_number(make):
    engine = make()
    assert [add(engine, told=source(name)).run for name in ("mine", "mine", "tiny")] == [
        "mine",
        "mine 2",
        "tiny 2",
    ]
    assert free_name("a", {"a", "a 2"}) == "a 3"


def test_places_and_bytes_are_bounded(make):
    engine = make()
    for _ in range(4):
        add(engine)
    with pytest.raises(InputError, match="You can have 4 checkpoints"):
        add(engine)
    small = make(own_mib=0)
    with pytest.raises(BusyError, match="no room"):
        add(small)
    with pytest.raises(CheckpointError, match="at most 0 MiB are taken here"):
        add(make(model_mib=0))


def test_a_refused_model_leaves_its_place_to_others(make):
    engine = make()
    for _ in range(6):
        with pytest.raises(CheckpointError):
            add(engine, told=Source("broken", CONFIG, b"nothing"))
    assert add(engine).id == "yours/1"


def test_a_model_can_be_the_start_of_a_fine_tune(make):
    engine = make()
    info = add(engine)
    other = add(engine, told=source("other", seed=1))
    plan = Plan(start=info.id, teacher=other.id, dino=0.0, ibot=0.0, koleo=0.0, gram=1.0, steps=2, batch=2)
    *_, last = engine.finetune(TuneRequest(load("coffee"), plan, 6, 0, ()), "ann")
    assert isinstance(last, Finished)
    (made,) = last.own
    assert (made.run, made.branch, made.step, made.licence) == ("mine", "own1", 2, "MIT")
    name, content = engine.download("ann", made.id)
    assert name.endswith(".zip")
    assert content[:2] == b"PK"


# ---- from the Hub


def test_what_may_be_fetched_is_the_services_choice(make, hub):
    hub.repositories["me/mine"] = timm_repository()[0]
    hub.repositories[f"timm/{LISTED}"] = timm_repository()[0]
    with pytest.raises(InputError, match="Nothing is fetched"):
        make(fetch="none").offer(LISTED)
    listed = make(fetch="listed")
    with pytest.raises(InputError, match="not among the listed models"):
        listed.offer("hf-hub:me/mine")
    assert hub.asked == []
    assert listed.offer(LISTED).repository == f"timm/{LISTED}"
    assert make(fetch="any").offer("hf-hub:me/mine").licence == "apache-2.0"
    with pytest.raises(CheckpointError, match="at most 0 MiB are taken here"):
        make(fetch="any", model_mib=0).offer("hf-hub:me/mine")
    assert all("/resolve/" not in line for line in hub.asked)


def test_a_fetched_model_has_the_features_of_plain_timm(make, hub, tmp_path):
    repository, network = timm_repository()
    hub.repositories[f"timm/{LISTED}"] = repository
    engine = make()
    found = list(engine.fetch_model("ann", LISTED))
    info = found[-1]
    assert isinstance(info, CheckpointInfo)
    assert (info.run, info.licence) == (LISTED, "apache-2.0")
    assert ZOO[9].training in info.title
    size = len(repository.files["config.json"]) + len(repository.files["model.safetensors"])
    assert all(done <= total == size for done, total in found[:-1])
    assert found[-2] == (size, size)
    picture = load("coffee")
    mine = engine.features(picture, info.id, 8, visitor="ann").patches
    config = NetworkConfig(CONFIG.architecture, SMALL, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("head")}
    theirs = add(engine, "ben", Source("same", config, safetensors.torch.save(state)))
    again = engine.features(picture, theirs.id, 8, visitor="ben").patches
    np.testing.assert_allclose(mine.numpy(), again.numpy(), atol=2e-5)


def test_nothing_is_fetched_for_who_has_no_place_left(make, hub):
    hub.repositories[f"timm/{LISTED}"] = timm_repository()[0]
    engine = make()
    for _ in range(4):
        add(engine)
    with pytest.raises(InputError, match="You can have 4 checkpoints"):
        list(engine.fetch_model("ann", LISTED))
    assert all("/resolve/" not in line for line in hub.asked)


def test_a_visitor_who_goes_breaks_the_download_off(monkeypatch):
    began, ended = threading.Event(), threading.Event()

    def download(_, *, token, told):
        assert token is False  # nobody's login
        try:
            for done in range(10**9):
                told(done)
                began.set()
        finally:
            ended.set()

    monkeypatch.setattr("gramviz.serving.fetching.PATIENCE", 0.01)
    with closing(fetched(None, download)) as progress:
        assert isinstance(next(progress), int)
        assert began.wait(10)
    assert ended.wait(10)


def test_refusals_of_the_hub_reach_the_visitor(make, hub):
    repository = timm_repository()[0]
    repository.files["config.json"] = json.dumps({"architecture": "resnet18"}).encode()
    repository.gated = True
    hub.repositories[f"timm/{LISTED}"] = repository
    with pytest.raises(CheckpointError, match=r"is gated: .* add it where this service runs"):
        list(make().fetch_model("ann", LISTED))
    repository.gated = False
    with pytest.raises(CheckpointError, match="cannot be shown"):
        list(make().fetch_model("ann", LISTED))
