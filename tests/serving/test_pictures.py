"""Pictures in use are bounded in bytes: whoever comes then waits until one is dropped, and no longer than that."""

import gc
import io
import threading

import numpy as np
import pytest
from PIL import Image

from gramviz.errors import BusyError, InputError
from gramviz.serving import pictures
from gramviz.serving.pictures import LARGEST, Pictures
from gramviz.vit.images import read_picture


def png(seed, side=64):
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def test_what_is_read_counts_as_long_as_it_is_used():
    found = Pictures(10 * LARGEST, 1.0)
    first, second = found.read(png(1)), found.read(png(2))
    assert first.digest == read_picture(png(1)).digest
    assert found.used == 2 * 64 * 64 * 3
    del first
    gc.collect()
    assert found.used == 64 * 64 * 3
    del second
    gc.collect()
    assert found.used == 0


def test_whoever_finds_no_room_waits_for_it_or_is_told_to_come_back():
    found = Pictures(LARGEST, 20.0)  # room for one to be read
    held, read = [found.read(png(1))], []
    waiting = threading.Thread(target=lambda: read.append(found.read(png(2)).digest))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    held.clear()
    gc.collect()
    waiting.join(20)
    assert read == [read_picture(png(2)).digest]
    kept = found.read(png(3))
    found._patience = 0.05
    with pytest.raises(BusyError, match="Very many pictures"):
        found.read(png(4))
    assert found.used == kept.pixels.nbytes


def test_a_broken_file_leaves_nothing_behind():
    found = Pictures(LARGEST, 1.0)
    for _ in range(3):
        with pytest.raises(InputError):
            found.read(b"no image")
    assert found.used == 0


def test_only_a_few_are_decoded_side_by_side(monkeypatch):
    running, most, gate = [0], [0], threading.Event()
    lock = threading.Lock()

    def slow(source):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        gate.wait(20)
        with lock:
            running[0] -= 1
        return read_picture(source)

    monkeypatch.setattr(pictures, "read_picture", slow)
    found = Pictures(100 * LARGEST, 20.0)
    threads = [threading.Thread(target=found.read, args=(png(seed),)) for seed in range(6)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(20)
    gc.collect()
    assert (most[0] <= pictures.AT_ONCE, found.used) == (True, 0)
