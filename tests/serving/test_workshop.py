"""What a group of tasks is, and that features made together are those of each alone."""

import numpy as np
import pytest
import torch

from gramviz.serving.cache import ByteCache
from gramviz.serving.tasks import view_task
from gramviz.serving.views import Ask
from gramviz.serving.workshop import Workshop, grouped
from gramviz.vit.features import extract
from gramviz.vit.images import picture_from_array
from tests.stores import ROWS, make_store

IDS = [f"tiny-{branch}-{step}" for branch, step in ROWS]
CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def workshop(store):
    return Workshop(store, CPU, ByteCache(2**24), ByteCache(2**24))


def picture(seed, shape=(64, 64, 3)):
    return picture_from_array(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def ask(store, key, seed=0, patches=8, layer=-1):
    return Ask(picture(seed), store.get(key), patches, layer)


def spied(monkeypatch, workshop):
    """What is asked of the forwards: ("together" | "stacked", how many)."""
    calls, forwards = [], workshop._forwards
    together, stacked = forwards.features, forwards.stacked

    def counted(network, pictures, *rest):
        calls.append(("together", len(pictures)))
        return together(network, pictures, *rest)

    def piled(networks, *rest):
        calls.append(("stacked", len(networks)))
        return stacked(networks, *rest)

    monkeypatch.setattr(forwards, "features", counted)
    monkeypatch.setattr(forwards, "stacked", piled)
    return calls


def test_pictures_of_one_network_go_together_and_networks_of_one_picture_are_stacked(
    workshop, store, monkeypatch
):
    asks = [ask(store, IDS[0], seed) for seed in (1, 2, 3)] + [ask(store, key, 4) for key in IDS[1:]]
    calls = spied(monkeypatch, workshop)
    workshop.prepare([view_task(one) for one in asks])
    # on a CPU a stack is made one by one, which the first spy sees too
    assert calls == [("together", 3), ("stacked", 3), *[("together", 1)] * 3]
    for one in asks:
        wanted = extract(store.load(one.info.id, CPU), one.picture, one.patches)
        found = workshop._results.get(one.key("features"))
        assert torch.allclose(found.patches, wanted.patches, atol=1e-5)
        assert torch.allclose(found.cls, wanted.cls, atol=1e-5)
    calls.clear()
    workshop.prepare([view_task(one) for one in asks])
    assert calls == []


def test_a_group_is_a_network_on_a_cpu_and_an_architecture_elsewhere(workshop, store):
    def groups(*asks):
        return [workshop.group(view_task(one)) for one in asks]

    first, same, other = ask(store, IDS[0], 1), ask(store, IDS[0], 2), ask(store, IDS[1], 1)
    one, two, three = groups(first, same, other)
    assert one == two != three
    workshop._forwards.device = workshop.device = torch.device("cuda")  # nothing is computed on it
    one, two, three = groups(first, same, other)
    assert one == two == three
    finer, deeper = ask(store, IDS[0], 1, patches=6), ask(store, IDS[0], 1, layer=-2)
    assert len({one, *groups(finer, deeper)}) == 3


def test_grouped_keeps_the_order(store):
    asks = [ask(store, key, seed) for key, seed in ((IDS[1], 1), (IDS[0], 1), (IDS[1], 2))]
    found = grouped(asks, lambda one: one.info.id)
    assert [[(one.info.id, one.picture.digest) for one in each] for each in found] == [
        [(asks[0].info.id, asks[0].picture.digest), (asks[2].info.id, asks[2].picture.digest)],
        [(asks[1].info.id, asks[1].picture.digest)],
    ]
