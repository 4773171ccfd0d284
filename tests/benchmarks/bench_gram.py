"""Gram loss and spectrum against what a notebook would write, each as a ratio measured in one run.

    python -m tests.benchmarks.bench_gram [--device cuda] [--threads 2]

Both sides take turns, so that whatever else the machine does meets both; times are medians. The memory of a step
is the rise of a fresh process's peak resident size over its size just before the step (Linux), or of the CUDA
allocator's peak.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gramviz.gram.losses import gram_loss
from gramviz.gram.spectrum import eigenvalues

Work = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 384
# patches: (repeats, least ratio of times, least ratio of memory)
LOSS_AIMS = {196: (101, 0.95, 0.95), 1024: (21, 2.0, 2.0), 4096: (5, 8.0, 8.0)}
SPECTRUM_AIMS = {784: (11, 4.0), 4096: (3, 100.0)}


def plain_loss(student: Tensor, teacher: Tensor) -> Tensor:
    x, y = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    return (x @ x.mT - y @ y.mT).square().mean()


def plain_spectrum(features: Tensor) -> Tensor:
    x = F.normalize(features, dim=-1)
    return torch.linalg.eigvalsh(x @ x.mT)


LOSSES: dict[str, Work] = {"plain": plain_loss, "gramviz": gram_loss}


def features_like_a_networks(patches: int, device: str, seed: int = 0) -> Tensor:
    """[1, P, 384] with a common direction and a spectrum that falls off, as patch features have."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.arange(1, WIDTH + 1.0) ** -0.5
    return (torch.randn(1, patches, WIDTH, generator=generator) * scales + 0.1).to(device)


def pair(patches: int, device: str) -> tuple[Tensor, Tensor]:
    teacher = features_like_a_networks(patches, device)
    return (teacher + 0.3 * features_like_a_networks(patches, device, 1)).requires_grad_(), teacher


def median_times(works: Sequence[Work], inputs: tuple[Tensor, ...], repeats: int) -> list[float]:
    """Median seconds of each work on the same inputs; the works take turns."""
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, times in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work(*inputs)
            if inputs[0].is_cuda:
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def step(loss: Work, student: Tensor, teacher: Tensor) -> None:
    student.grad = None
    loss(student, teacher).backward()


def resident(field: str) -> int:
    """Bytes of this process: "VmRSS" now, "VmHWM" at its highest."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def step_memory(name: str, patches: int, device: str) -> int:
    """Bytes by which one step rises above what is held before it; to be called in a fresh process on the CPU."""
    step(LOSSES[name], *pair(8, device))
    student, teacher = pair(patches, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(LOSSES[name], student, teacher)
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    before = resident("VmRSS")
    step(LOSSES[name], student, teacher)
    return resident("VmHWM") - before


def measured_memory(name: str, patches: int, device: str, threads: int) -> int | None:
    if device == "cuda":
        return step_memory(name, patches, device)
    if platform.system() != "Linux":
        return None
    command = [sys.executable, "-m", "tests.benchmarks.bench_gram", "--threads", str(threads)]
    done = subprocess.run(
        [*command, "--memory-of", name, str(patches)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def told(ratio: float, aim: float) -> str:
    return f"{ratio:.2f}x (aim {aim:g}x, {'met' if ratio >= aim else 'MISSED'})"


def report_losses(device: str, threads: int) -> None:
    print("| P | plain ms | gramviz ms | time | plain MiB | gramviz MiB | memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for patches, (repeats, time_aim, memory_aim) in LOSS_AIMS.items():
        works = [partial(step, loss) for loss in LOSSES.values()]
        plain, ours = median_times(works, pair(patches, device), repeats)
        row = f"| {patches} | {plain * 1e3:.2f} | {ours * 1e3:.2f} | {told(plain / ours, time_aim)} "
        sizes = [measured_memory(name, patches, device, threads) for name in LOSSES]
        if sizes[0] is None or sizes[1] is None:
            print(row + "| - | - | not measured here |")
        else:
            mebibytes = [size / 2**20 for size in sizes if size is not None]
            memory = told(mebibytes[0] / mebibytes[1], memory_aim)
            print(row + f"| {mebibytes[0]:.1f} | {mebibytes[1]:.1f} | {memory} |", flush=True)


def report_spectra(device: str) -> None:
    print("| P | eigvalsh(G) ms | gramviz ms | time |")
    print("| --- | --- | --- | --- |")
    for patches, (repeats, aim) in SPECTRUM_AIMS.items():
        features = features_like_a_networks(patches, device)[0]
        plain, ours = median_times([plain_spectrum, eigenvalues], (features,), repeats)
        print(f"| {patches} | {plain * 1e3:.1f} | {ours * 1e3:.2f} | {told(plain / ours, aim)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-of", nargs=2, metavar=("LOSS", "P"), help="print one step's bytes and end")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(step_memory(options.memory_of[0], int(options.memory_of[1]), options.device))
        return
    print(f"d = {WIDTH}, {options.device}, {options.threads} threads, torch {torch.__version__}\n")
    print("Gram loss, forward and backward, against autograd of mean((X X^T - Y Y^T)^2) in float32\n")
    report_losses(options.device, options.threads)
    print("\nSpectrum, against torch.linalg.eigvalsh of G in float32\n")
    report_spectra(options.device)


if __name__ == "__main__":
    main()
