"""From the bytes of a photograph to all maps of six checkpoints: the engine against bare forwards and a notebook.

    python -m tests.benchmarks.bench_compare [--patches 32] [--repeats 5] [--threads 2] [--device cpu]

Each in a process of its own (thread pools of one would slow the other), on the same six networks, loaded beforehand:
  forwards   the six float32 forward passes alone, on a tensor that is already there
  notebook   what one would write in a cell: decode, six float32 forwards one after another, the whole P x P Gram
             matrix of each, and a matplotlib figure of one row of each, saved as PNG
The engine decodes, resizes, extracts, factors, measures and colours (own and common basis), for every patch.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import matplotlib as mpl

mpl.use("Agg")  # before pyplot
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.data.samples import load
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings, choose_device, shipped_models
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.images import grid_for, read_picture, to_jpeg, to_tensor


def photographs(count: int) -> list[bytes]:
    """Different JPEGs of one size, so that no cache helps."""
    pixels = np.array(Image.open(io.BytesIO(to_jpeg(load("astronaut")))).convert("RGB"))
    files = []
    for shift in range(count):
        file = io.BytesIO()
        Image.fromarray(np.roll(pixels, 7 * shift, axis=1)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def median_seconds(work: Callable[[bytes], object], files: list[bytes], device: torch.device) -> float:
    """Median wall time over the files; the first one warms up."""
    times = []
    for file in files:
        started = time.perf_counter()
        work(file)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def contender(name: str, store: CheckpointStore, options: argparse.Namespace) -> Callable[[bytes], object]:
    """What is timed, ready to take the bytes of a photograph."""
    device = choose_device(options.device)
    ids = [info.id for info in store.all()][-6:]
    if name == "engine":
        engine = Engine(store, Settings(device=options.device, models=store.folder))
        for checkpoint in ids:  # loads the network
            engine.features(load("coffee"), checkpoint, 4)
        return lambda file: engine_maps(engine, ids, options.patches, file)
    networks = [store.load(checkpoint, device) for checkpoint in ids]
    if name == "notebook":
        return lambda file: notebook_maps(networks, options.patches, device, file)
    picture = load("astronaut")
    image = to_tensor(picture, grid_for(picture.size, options.patches), networks[0].patch_size)[None].to(
        device
    )
    return lambda _: bare_forwards(networks, image)


def engine_maps(engine: Engine, ids: list[str], patches: int, file: bytes) -> None:
    """All that the page needs."""
    picture = read_picture(file)
    list(engine.compare(picture, ids, patches))
    engine.common_colours(picture, ids, patches)


@torch.inference_mode()
def bare_forwards(networks: list[DenseBackbone], image: torch.Tensor) -> None:
    """The forward passes and nothing else."""
    for network in networks:
        network(image)[0].patches.cpu()


@torch.inference_mode()
def notebook_maps(networks: list[DenseBackbone], patches: int, device: torch.device, file: bytes) -> None:
    """One map of each checkpoint, the way of a notebook cell."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    side = patches * networks[0].patch_size
    tensor = torch.from_numpy(np.array(image.resize((side, side)))).permute(2, 0, 1)[None].float() / 255
    figure, axes = plt.subplots(1, len(networks), figsize=(3 * len(networks), 3))
    for axis, network in zip(axes, networks, strict=True):
        (tokens,) = network(tensor.to(device))
        unit = torch.nn.functional.normalize(tokens.patches[0], dim=1)
        gram = (unit @ unit.T).cpu()
        axis.imshow(gram[len(gram) // 2 + patches // 2].view(patches, patches), vmin=0, vmax=1)
    figure.savefig(io.BytesIO(), format="png")
    plt.close(figure)


def main() -> None:
    """Time one contender, or each in a process of its own and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=("engine", "forwards", "notebook"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only:
        work = contender(options.only, CheckpointStore.open(shipped_models()), options)
        print(
            median_seconds(work, photographs(options.repeats + 1), choose_device(options.device)), flush=True
        )
        os._exit(0)  # the engine's thread need not be waited for
    found = {}
    for name in ("engine", "forwards", "notebook"):
        call = [sys.executable, "-m", "tests.benchmarks.bench_compare", *sys.argv[1:], "--only", name]
        found[name] = float(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    mine, bare, cell = found["engine"], found["forwards"], found["notebook"]
    print(
        f"six checkpoints, {options.patches} x {options.patches} patches, {options.device}, {options.threads} threads"
    )
    print(f"  engine, every map      {1e3 * mine:6.0f} ms")
    print(
        f"  bare forwards          {1e3 * bare:6.0f} ms   engine takes {mine / bare:.2f}x (aim at most 1.5x)"
    )
    print(
        f"  notebook, one map each {1e3 * cell:6.0f} ms   engine is {cell / mine:.2f}x faster (aim at least 3x)"
    )


if __name__ == "__main__":
    main()
