"""A lecture at the engine's door, without HTTP: a burst on one sample, different uploads, fine-tunes meanwhile.

python -m tests.benchmarks.bench_serve. Baselines, in the same run: the bare forwards one after another, and a plain
route that computes every visitor's features anew under one lock.
"""

import statistics
import threading
import time

from gramviz.data.samples import load
from gramviz.serving.engine import Engine
from gramviz.serving.monitoring import resident_bytes
from gramviz.serving.settings import Settings
from gramviz.serving.tuning import TuneRequest
from gramviz.vit.features import extract
from gramviz.vit.images import read_picture
from tests.load.lecture import own_picture

VISITORS, UPLOADS, PATCHES = 100, 30, 28


def upload(seed):
    return read_picture(own_picture(seed))


def crowd(work, count):
    """Seconds that each of `count` visitors took, and all together."""
    seconds = [0.0] * count

    def visit(index):
        began = time.perf_counter()
        work(index)
        seconds[index] = time.perf_counter() - began

    threads = [threading.Thread(target=visit, args=(index,)) for index in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(seconds), time.perf_counter() - began


def told(seconds):
    return f"p50 {statistics.median(seconds):.2f} s, p95 {seconds[int(0.95 * len(seconds))]:.2f} s"


def main():
    engine = Engine.from_settings(Settings(device="cpu"))
    ids = engine.default_ids()[:4]
    sample = load("astronaut")
    network = engine._store.load(ids[0], engine._compute.workshop.device)
    extract(network, sample, PATCHES)
    began = time.perf_counter()
    for seed in range(10):
        extract(network, upload(1000 + seed), PATCHES)
    bare = 10 / (time.perf_counter() - began)
    before = resident_bytes()
    lock = threading.Lock()

    def plain(_):
        with lock:
            extract(network, sample, PATCHES)

    seconds, _ = crowd(plain, VISITORS)
    print(f"plain route, {VISITORS} visitors on one sample, first map: {told(seconds)}")
    seconds, _ = crowd(lambda i: next(engine.compare(sample, ids, PATCHES, visitor=f"v{i}")), VISITORS)
    print(f"engine, the same: {told(seconds)}")
    seconds, whole = crowd(
        lambda i: list(engine.compare(upload(i), ids[:1], PATCHES, visitor=f"u{i}")), UPLOADS
    )
    rate = UPLOADS / whole
    ratio = f"{rate:.1f} views/s, bare forwards {bare:.1f}/s: {rate / bare:.2f}x"
    print(f"{UPLOADS} different uploads: {told(seconds)}; {ratio}")

    def alone(start):
        found = []
        for seed in range(start, start + 20):
            began = time.perf_counter()
            list(engine.compare(upload(seed), ids[:1], PATCHES, visitor="one"))
            found.append(time.perf_counter() - began)
        return sorted(found)

    idle = alone(2000)
    plan = engine.presets()[0].plan
    run = engine.finetune(TuneRequest(sample, plan, PATCHES), "tuner")
    steps = []
    reader = threading.Thread(target=lambda: steps.extend(run))
    reader.start()
    time.sleep(2)
    beside = alone(3000)
    reader.join()
    print(f"one visitor, idle: {told(idle)}; beside a fine-tune: {told(beside)}")
    print(f"the fine-tune ended: {steps[-1].sentence}")
    print(f"resident before {before / 2**20:.0f} MiB, after {resident_bytes() / 2**20:.0f} MiB")
    engine.close()


if __name__ == "__main__":
    main()
