"""From the bytes of a photograph to all maps of six checkpoints: the engine against bare forwards and a notebook.

    python -m tests.benchmarks.bench_compare [--patches 32] [--repeats 5] [--threads 2] [--device cpu]

Baselines of the same run, on the same six networks, loaded beforehand in every case:
  forwards   the six float32 forward passes alone, on a tensor that is already there
  notebook   what one would write in a cell: decode, six float32 forwards one after another, the whole P x P Gram
             matrix of each, and a matplotlib figure of one row of each, saved as PNG
The engine decodes, resizes, extracts, factors, measures and colours (own and common basis), for every patch.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.data.samples import load
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings, choose_device, shipped_models
from gramviz.vit.images import grid_for, read_picture, to_jpeg, to_tensor

mpl.use("Agg")


def photographs(count: int) -> list[bytes]:
    """Different JPEGs of one size, so that no cache helps."""
    pixels = np.array(Image.open(io.BytesIO(to_jpeg(load("astronaut")))).convert("RGB"))
    files = []
    for shift in range(count):
        file = io.BytesIO()
        Image.fromarray(np.roll(pixels, 7 * shift, axis=1)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def seconds(work: Callable[[bytes], object], files: list[bytes], device: torch.device) -> float:
    """Median wall time over the files; the first one warms up."""
    times = []
    for file in files:
        started = time.perf_counter()
        work(file)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    models = options.models or shipped_models()
    store = CheckpointStore.open(models)
    ids = [info.id for info in store.all()][-6:]
    networks = [store.load(checkpoint, device) for checkpoint in ids]
    engine = Engine(store, Settings(device=options.device, models=models))
    files = photographs(options.repeats + 1)
    inputs = {
        file: to_tensor(p, grid_for(p.size, options.patches), networks[0].patch_size)[None].to(device)
        for file, p in ((file, read_picture(file)) for file in files)
    }

    def ours(file: bytes) -> None:
        picture = read_picture(file)
        list(engine.compare(picture, ids, options.patches))
        engine.common_colours(picture, ids, options.patches)

    @torch.inference_mode()
    def forwards(file: bytes) -> None:
        for network in networks:
            network(inputs[file])[0].patches.cpu()

    @torch.inference_mode()
    def notebook(file: bytes) -> None:
        import matplotlib.pyplot as plt

        image = Image.open(io.BytesIO(file)).convert("RGB")
        side = options.patches * networks[0].patch_size
        tensor = torch.from_numpy(np.array(image.resize((side, side)))).permute(2, 0, 1)[None].float() / 255
        figure, axes = plt.subplots(1, len(networks), figsize=(3 * len(networks), 3))
        for axis, network in zip(axes, networks, strict=True):
            (tokens,) = network(tensor.to(device))
            unit = torch.nn.functional.normalize(tokens.patches[0], dim=1)
            gram = (unit @ unit.T).cpu()
            middle = len(gram) // 2 + options.patches // 2
            axis.imshow(gram[middle].view(options.patches, options.patches), vmin=0, vmax=1)
        figure.savefig(io.BytesIO(), format="png")
        plt.close(figure)

    found = {work.__name__: seconds(work, files, device) for work in (ours, forwards, notebook)}
    engine.close()
    mine, bare, cell = (found[work.__name__] for work in (ours, forwards, notebook))
    print(
        f"six checkpoints, {options.patches} x {options.patches} patches, {device}, {options.threads} threads"
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
