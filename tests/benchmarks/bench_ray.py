"""What a hop to a replica costs, and how many views a second one replica gives: the engine `ray` against `local`.

    python -m tests.benchmarks.bench_ray [--patches 28] [--repeats 60] [--threads 1]

Each engine in a process of its own, with one checkpoint and its network loaded beforehand:
  hop       a view that is in the cache of whoever computes, but not in the page's: queue, way there and way back
  views/s   views of different pictures, all asked for at once
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
import torch

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.backends import compute_for
from gramviz.serving.cache import ByteCache
from gramviz.serving.compute import MIB
from gramviz.serving.monitoring import Monitor
from gramviz.serving.settings import Settings, shipped_models
from gramviz.serving.tasks import Task, view_task
from gramviz.serving.views import Ask
from gramviz.vit.images import picture_from_array

ENGINES = ("local", "ray")
HOPS = 200


def view(store: CheckpointStore, seed: int, patches: int) -> Task:
    """A view of noise by the last checkpoint; no two seeds share anything in a cache."""
    pixels = np.random.default_rng(seed).integers(0, 256, (448, 448, 3), dtype=np.uint8)
    return view_task(Ask(picture_from_array(pixels), store.all()[-1], patches, -1))


def measured(options: argparse.Namespace) -> dict[str, float]:
    """The numbers of one engine; hops in ms."""
    store = CheckpointStore.open(shipped_models())
    settings = Settings(
        engine=options.only, device="cpu", threads=options.threads, replicas=1, finetunes=0, pending=10_000
    )
    results: ByteCache[object] = ByteCache(512 * MIB)
    started = time.perf_counter()
    compute = compute_for(settings, store, results, Monitor())
    compute.submit(view(store, 0, options.patches), "", None).result()
    ready = time.perf_counter() - started
    kept = view(store, 0, options.patches)
    hops = []
    for _ in range(HOPS):
        if options.only == "ray":
            results.clear()  # the page's; the replica has its own
        started = time.perf_counter()
        compute.submit(kept, "", None).result()
        hops.append(1e3 * (time.perf_counter() - started))
    wanted = [view(store, seed, options.patches) for seed in range(1, options.repeats + 1)]
    started = time.perf_counter()
    for future in [compute.submit(task, "", 600.0) for task in wanted]:
        future.result()
    rate = options.repeats / (time.perf_counter() - started)
    compute.close()
    tail = statistics.quantiles(hops, n=20)[-1]
    return {"ready": ready, "hop": statistics.median(hops), "hop95": tail, "rate": rate}


def main() -> None:
    """Measure one engine, or each in a process of its own and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, default=28)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only:
        warnings.simplefilter("ignore")  # Ray's
        print(json.dumps(measured(options)), flush=True)
        os._exit(0)
    print(f"one checkpoint, {options.patches} x {options.patches} patches, CPU, {options.threads} threads")
    found = {}
    for name in ENGINES:
        call = [sys.executable, "-m", "tests.benchmarks.bench_ray", *sys.argv[1:], "--only", name]
        done = subprocess.run(call, check=True, capture_output=True, text=True)
        found[name] = one = json.loads([line for line in done.stdout.splitlines() if line[:1] == "{"][-1])
        print(
            f"  {name:<6} first view after {one['ready']:4.1f} s   hop {one['hop']:5.2f} ms "
            f"(95 %: {one['hop95']:5.2f})   {one['rate']:5.1f} views/s"
        )
    hop, rate = found["ray"]["hop"] - found["local"]["hop"], found["ray"]["rate"] / found["local"]["rate"]
    print(f"  a hop costs {hop:.1f} ms; one replica gives {rate:.2f}x the views a second of this process")


if __name__ == "__main__":
    main()
