"""Views a second: pictures one by one, together, and checkpoints stacked in one forward.

    python -m tests.benchmarks.bench_forwards [--device cuda]

Every number is features of one picture by one checkpoint, a second; the baseline of each ratio is one picture and one
checkpoint at a time on the same grid:
  together  1, 2, 4 ... pictures in one forward of one checkpoint, in the type that `serving.forwards` chooses
  stacked   4 and 8 checkpoints of one picture in one forward by torch.func, in float32
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial

from gramviz.serving.settings import choose_device, share_processors, shipped_models

share_processors()

import torch

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.forwards import Forwards, seconds
from gramviz.vit.features import extract_all, extract_stacked
from gramviz.vit.images import read_picture
from tests.load.lecture import own_picture


def main() -> None:
    """Time all and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = choose_device(options.device)
    store, forwards = CheckpointStore.open(shipped_models()), Forwards(device)
    run = store.all()[0].run
    ids = [info.id for info in store.all() if info.run == run][:8]
    networks = [store.load(key, device) for key in ids]
    sizes = (1, 2, 4, 8) if device.type == "cpu" else (1, 2, 4, 8, 16, 32, 64)
    pictures = [read_picture(own_picture(seed)) for seed in range(max(sizes))]

    def rate(work: Callable[[], object], count: int) -> float:
        """Features a second."""
        return count / seconds(work, device)

    print(f"{run}, {device.type}, {torch.get_num_threads()} threads of {os.cpu_count()}")
    for patches in (14, 28):
        alone = rate(partial(extract_all, networks[0], pictures[:1], patches, device=device), 1)
        print(f"  {patches} x {patches} patches, one by one in float32: {alone:.1f} a second")
        for size in sizes:
            found = rate(partial(forwards.features, networks[0], pictures[:size], patches), size)
            print(f"    {size:3} pictures together: {found:8.1f}, {found / alone:.2f}x")
        for count in (4, 8):
            stacked = rate(partial(extract_stacked, networks[:count], pictures[0], patches), count)
            print(f"    {count:3} checkpoints stacked: {stacked:6.1f}, {stacked / alone:.2f}x")


if __name__ == "__main__":
    main()
