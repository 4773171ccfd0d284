"""Forwards: batched and stacked ones equal single ones, and running out of memory costs one request at most."""

import numpy as np
import pytest
import torch

from gramviz.errors import BusyError, InputError
from gramviz.serving.forwards import Forwards, halving, out_of_memory
from gramviz.vit.features import extract, extract_all, extract_stacked, nbytes
from gramviz.vit.images import picture_from_array
from tests.stores import make_store

CPU = torch.device("cpu")


def picture(seed, shape=(60, 80)):
    return picture_from_array(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


@pytest.fixture
def networks(tmp_path):
    store = make_store(tmp_path)
    return [store.load(info.id, CPU) for info in store.all()]


def close(a, b):
    names = ("patches", "cls", "registers", "token_lengths", "register_lengths")
    return all(torch.allclose(getattr(a, name), getattr(b, name), atol=2e-5) for name in names)


def test_a_batch_gives_each_picture_its_own_features(networks):
    pictures = [picture(seed) for seed in range(3)]
    for made in (extract_all(networks[0], pictures, 8), Forwards(CPU).features(networks[0], pictures, 8)):
        assert all(close(one, extract(networks[0], p, 8)) for one, p in zip(made, pictures, strict=True))
    assert not close(made[0], made[1])
    assert nbytes(made[0]) == 4 * (48 * 32 + 32 + 4 * 32 + 48 + 4)
    with pytest.raises(InputError, match="one grid"):
        extract_all(networks[0], [picture(0), picture(1, (80, 60))], 8)


def test_a_stacked_forward_gives_each_network_its_own_features(networks):
    for made in (extract_stacked(networks, picture(0), 8), Forwards(CPU).stacked(networks, picture(0), 8)):
        assert all(close(one, extract(n, picture(0), 8)) for one, n in zip(made, networks, strict=True))


def test_memory_that_runs_out_halves_the_batch_and_refuses_one_at_worst():
    calls = []

    def forward(part, most):
        calls.append(len(part))
        if len(part) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return list(part)

    assert halving(lambda part: forward(part, 2), list("abcdefg"), CPU) == list("abcdefg")
    assert max(size for size in calls if size <= 2) == 2
    with pytest.raises(BusyError, match="not enough memory"):
        halving(lambda part: forward(part, 0), ["a"], CPU)
    with pytest.raises(RuntimeError, match="other"):
        halving(lambda part: (_ for _ in ()).throw(RuntimeError("other")), ["a"], CPU)
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
