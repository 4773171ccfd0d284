"""The whole Spectra tab for six checkpoints against a notebook: G and its eigenvectors in float64, and Matplotlib.

    python -m tests.benchmarks.bench_spectra [--patches 32] [--repeats 5] [--threads 2] [--device cpu]

Each in a process of its own, on the same six shipped checkpoints, loaded beforehand:
  tab        what the panel does for one request: eigenvalues, eigenvectors, frequencies, distances, groups and the
             factor of G of each checkpoint by the engine, packed for the page, and all its Plotly figures
  notebook   for each checkpoint the whole P x P matrix G in float64, numpy.linalg.eigh of it, and one Matplotlib
             figure as PNG with the same plots: spectrum log-log, linear, cumulative and counted, energy by frequency,
             cosine by distance, G as an image, the first eigenvector and the lengths. It looks for no groups, and has
             no reference and no maps of further eigenvectors. That both come to the same numbers is checked.
  engine     the engine's part of the tab, without packing and figures
Each is timed twice: with features that are there already, and with the forward passes. Last, the memory of a request
at 64 x 64 patches: the peak resident size of a fresh process, and its rise above that with the networks loaded.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # before pyplot
import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go
import scipy.fft
import torch

from gramviz.data.samples import load
from gramviz.metrics.spectra import spectra_of
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.ui.drawings import Drawings
from gramviz.ui.panels.spectra import portraits
from gramviz.vit.features import PatchFeatures
from gramviz.vit.images import read_picture
from tests.benchmarks.bench_compare import photographs

COUNT = 6
LARGEST = 64  # patches on the long side
WIDE = 1024  # width of a ViT-L
MEMORY_AIM, TIME_AIM = 1.5e9, 10  # bytes; how many times as fast as the notebook

Work = Callable[[Path], None]


def tab(engine: Engine, ids: list[str], patches: int, cache: Path) -> Work:
    """What the page is sent for an uploaded photograph; what is drawn along runs is drawn once, as on the page."""
    drawings: Drawings[Any] = Drawings()

    def work(photo: Path) -> None:
        value = {"token": 1, "file": {"path": str(photo)}, "patches": patches, "ids": ids}
        answers = list(portraits(engine, value, {"token": 1, "columns": 2}, cache, drawings))
        figures = [part for answer in answers for part in answer if isinstance(part, go.Figure)]
        assert len(figures) >= 2
        for figure in figures:
            figure.to_json()

    return work


def numbers(engine: Engine, ids: list[str], patches: int) -> Work:
    """What the page asks the engine for."""

    def work(photo: Path) -> None:
        picture = read_picture(photo)
        list(engine.spectra(picture, ids, patches))
        list(engine.compare(picture, ids, patches))

    return work


def notebook(engine: Engine, ids: list[str], patches: int) -> Work:
    """One figure a checkpoint, the way of a notebook cell; only its features come from the engine."""

    def work(photo: Path) -> None:
        picture = read_picture(photo)
        for checkpoint in ids:
            notebook_figure(engine.features(picture, checkpoint, patches))

    return work


def notebook_numbers(features: PatchFeatures) -> dict[str, Any]:
    """All that is drawn of one checkpoint, from the whole of G."""
    rows, columns, width = features.patches.shape
    h = features.patches.reshape(-1, width).double().numpy()
    x = h / np.linalg.norm(h, axis=1, keepdims=True)
    gram = x @ x.T
    values, vectors = np.linalg.eigh(gram)
    spots = np.stack(np.divmod(np.arange(len(x)), columns), 1)
    ring = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1)).round().astype(int)
    energy = (scipy.fft.dctn(x.reshape(rows, columns, -1), axes=(0, 1), norm="ortho") ** 2).sum(-1)
    radius = np.hypot(np.arange(rows)[:, None] / rows, np.arange(columns) / columns) / 2
    bins = np.histogram(radius, 12, weights=energy)[0]
    return {
        "gram": gram,
        "values": values[::-1].clip(1e-12),
        "vector": vectors[:, -1].reshape(rows, columns),
        "by_distance": np.bincount(ring.ravel(), gram.ravel()) / np.bincount(ring.ravel()),
        "by_frequency": bins / bins.sum(),
        "lengths": features.token_lengths.numpy(),
    }


def check_agreement(engine: Engine, checkpoint: str, photo: Path, patches: int) -> None:
    """Both ways must come to the same eigenvalues and the same cosines by distance."""
    picture = read_picture(photo)
    expected = notebook_numbers(engine.features(picture, checkpoint, patches))
    (view,) = engine.spectra(picture, [checkpoint], patches)
    assert view.spectra is not None
    values = view.spectra.eigenvalues.numpy()
    np.testing.assert_allclose(values, expected["values"][: len(values)], atol=1e-9 * values[0])
    np.testing.assert_allclose(view.spectra.by_distance.numpy(), expected["by_distance"][1:], atol=1e-12)


def notebook_figure(features: PatchFeatures) -> None:
    """The plots as one PNG."""
    found = notebook_numbers(features)
    values = found["values"]
    figure, axes = plt.subplots(3, 3, figsize=(12, 10))
    axes[0, 0].loglog(values)
    axes[0, 1].plot(values)
    axes[0, 2].plot(values.cumsum() / values.sum())
    axes[1, 0].hist(np.log10(values), bins=24)
    axes[1, 1].semilogy(found["by_frequency"])
    axes[1, 2].plot(found["by_distance"][1:])
    axes[2, 0].imshow(found["gram"])
    axes[2, 1].imshow(found["vector"])
    axes[2, 2].imshow(found["lengths"])
    figure.savefig(io.BytesIO(), format="png")
    plt.close(figure)


def started(options: argparse.Namespace, width: int = COUNT) -> tuple[Engine, list[str]]:
    """An engine whose networks are loaded, and the checkpoints."""
    engine = Engine.from_settings(Settings(device=options.device))
    ids = [info.id for info in engine.checkpoints()][-width:]
    for checkpoint in ids:
        engine.features(load("coffee"), checkpoint, 4)
    return engine, ids


def timed(name: str, options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Median seconds with features that are there, and with the forward passes; every photograph is another one."""
    engine, ids = started(options)
    kinds = {
        "tab": tab(engine, ids, options.patches, folder),
        "notebook": notebook(engine, ids, options.patches),
        "engine": numbers(engine, ids, options.patches),
    }
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number, content in enumerate(photographs(2 * options.repeats + 2)):
        photo = folder / f"{number}.jpg"
        photo.write_bytes(content)
        there = number % 2 == 0
        if there:
            for checkpoint in ids:
                engine.features(read_picture(photo), checkpoint, options.patches)
        begun = time.perf_counter()
        kinds[name](photo)
        seconds[there].append(time.perf_counter() - begun)
    check_agreement(engine, ids[0], photo, options.patches)
    return statistics.median(seconds[True][1:]), statistics.median(seconds[False][1:])  # the first warms up


def peak() -> int:
    """Bytes of this process at its largest (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def request_memory(options: argparse.Namespace, folder: Path) -> tuple[int, int]:
    """Bytes before and at the peak of one request at 64 x 64 patches."""
    engine, ids = started(options)
    photo = folder / "photo.jpg"
    photo.write_bytes(photographs(1)[0])
    before = peak()
    tab(engine, ids, LARGEST, folder)(photo)
    return before, peak()


def wide_memory() -> tuple[int, int]:
    """The same of `spectra_of` alone, for the width of a ViT-L."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(LARGEST, LARGEST, WIDE, generator=generator) + 0.1
    features = PatchFeatures(
        patches, patches.mean((0, 1)), torch.randn(4, WIDE), (512, 512), 8, 0, True, False,
        patches.norm(dim=-1), torch.ones(4),
    )  # fmt: skip
    before = peak()
    spectra_of(features)
    return before, peak()


def alone(name: str, options: argparse.Namespace) -> list[float]:
    """The numbers of one contender in a process of its own."""
    call = [sys.executable, "-m", "tests.benchmarks.bench_spectra", *sys.argv[1:], "--only", name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return [float(word) for word in done.stdout.split()]


def report(options: argparse.Namespace) -> None:
    """All contenders, each in a process of its own, as a table."""
    mine, cell, part = (alone(name, options) for name in ("tab", "notebook", "engine"))
    print(
        f"Spectra tab, {COUNT} checkpoints, {options.patches} x {options.patches} patches, {options.device}"
    )
    print("| features | engine alone ms | notebook ms | tab ms | ratio | aim |")
    print("| --- | --- | --- | --- | --- | --- |")
    for index, name in enumerate(("there already", "with the forwards")):
        slow, fast = cell[index], mine[index]
        aim = f"{TIME_AIM}x" if index == 0 else ""
        print(
            f"| {name} | {1e3 * part[index]:.0f} | {1e3 * slow:.0f} | {1e3 * fast:.0f} | {slow / fast:.1f}x | {aim} |"
        )
    for name, what in (("request", "a request"), ("wide", f"spectra_of for d = {WIDE}")):
        before, most = alone(name, options)
        told = "met" if most <= MEMORY_AIM else "MISSED"
        print(
            f"peak memory of {what} at {LARGEST} x {LARGEST}: {most / 1e6:.0f} MB in all, "
            f"{(most - before) / 1e6:.0f} MB above what was held (aim at most {MEMORY_AIM / 1e9} GB in all, {told})"
        )


def main() -> None:
    """Print one contender's numbers, or the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--only",
        choices=("tab", "notebook", "engine", "request", "wide"),
        default=None,
        help=argparse.SUPPRESS,
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only is None:
        report(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.only in ("tab", "notebook", "engine"):
            print(*timed(options.only, options, Path(folder)), flush=True)
        else:
            found = wide_memory() if options.only == "wide" else request_memory(options, Path(folder))
            print(*found, flush=True)
    os._exit(0)  # the engine's thread need not be waited for


if __name__ == "__main__":
    main()
