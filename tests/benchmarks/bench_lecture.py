"""A lecture over HTTP: the service against the plain route, which computes everything anew, and against the engine.

    python -m tests.benchmarks.bench_lecture [--viewers 100] [--uploaders 50] [--tuners 5] [--within 5] [--soak 0]

Each in a process of its own on loopback, the visitors in this one. Printed, with the named baseline of each ratio:
  first map   seconds from opening the page to the first map's data, p50 / p95, without and with fine-tunes beside
  throughput  views of different pictures a second over HTTP, against the engine asked for the same in a process
  memory      resident before and after; with --soak, along that many further requests
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.compute import MIB
from gramviz.serving.plans import presets
from gramviz.serving.settings import share_processors, shipped_models
from gramviz.ui.tuner import plan_values
from tests.load.http import Pages, Visitor
from tests.load.lecture import Plan, Report, attend, look, own_picture
from tests.load.service import Service, served, started

# The engine in a process of its own, asked for views of different pictures by as many threads as Gradio would use.
BARE = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from gramviz.serving.settings import Settings, share_processors
share_processors()
from gramviz.serving.engine import Engine
from gramviz.vit.images import read_picture
from tests.load.lecture import own_picture
count, patches, ids = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
engine = Engine.from_settings(Settings(device="cpu"))
def visit(seed):
    picture = read_picture(own_picture(seed))
    list(engine.compare(picture, ids, patches, visitor=f"v{seed}"))
    engine.common_colours(picture, ids, patches, visitor=f"v{seed}")
visit(10_000)
began = time.perf_counter()
with ThreadPoolExecutor(16) as pool:
    list(pool.map(visit, range(count)))
print(count * len(ids) / (time.perf_counter() - began))
engine.close()
"""


def told(seconds: list[float]) -> str:
    """Median and 95th percentile."""
    ordered = sorted(seconds)
    return f"p50 {ordered[len(ordered) // 2]:.2f} s, p95 {ordered[int(0.95 * len(ordered))]:.2f} s"


def show(name: str, report: Report) -> None:
    """First maps of viewers and uploaders, and how the fine-tunes ended."""
    for who, found in (("the sample", report.viewers), ("own pictures", report.uploaders)):
        if found:
            print(f"{name}, {len(found)} on {who}: first map {told([seen.first for seen in found])}")
    if report.tuners:
        ends = [values[-1]["finished"]["reason"] for values in report.tuners]
        print(f"{name}: {len(ends)} fine-tunes ended ({', '.join(ends)}) after {report.seconds:.0f} s in all")


def resident(service: Service) -> float:
    """MiB."""
    return service.numbers()["gramviz_process_resident_bytes"] / MIB


async def rate(pages: Pages, plan: Plan) -> float:
    """Views of different pictures a second, of visitors who all come at once."""
    began = time.perf_counter()
    await attend(pages, replace(plan, viewers=0, tuners=0, within=0.0))
    return plan.uploaders * len(plan.ids) / (time.perf_counter() - began)


async def plain(address: str, plan: Plan) -> tuple[list[float], list[float]]:
    """First maps of the plain route: everyone gets all at once."""
    from importlib.resources import files

    sample = files("skimage").joinpath("data", "coffee.png").read_bytes()
    query = {"ids": ",".join(plan.ids), "patches": plan.patches}

    async def visit(index: int, count: int, content: bytes) -> float:
        await asyncio.sleep(plan.within * index / count)
        began = time.perf_counter()
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=600) as client:
            answer = await client.post(f"{address}maps", params=query, content=content)
        answer.raise_for_status()
        return time.perf_counter() - began

    viewers = [visit(i, plan.viewers, sample) for i in range(plan.viewers)]
    uploaders = [visit(i, plan.uploaders, own_picture(i)) for i in range(plan.uploaders)]
    found = await asyncio.gather(*viewers, *uploaders)
    return list(found[: plan.viewers]), list(found[plan.viewers :])


async def soak(service: Service, pages: Pages, plan: Plan, count: int) -> None:
    """Requests of new visitors, ten at a time, every third with a picture of their own; memory along the way."""

    async def visit(index: int) -> None:
        async with Visitor(pages) as visitor:
            if index % 3:
                choice = visitor.choice(list(plan.ids[:1]), sample=plan.sample, patches=plan.patches)
            else:
                file = await visitor.upload(own_picture(20_000 + index))
                choice = visitor.choice(list(plan.ids[:1]), file=file, patches=plan.patches)
            await look(visitor, choice)

    began, tenth = time.perf_counter(), max(10, count // 10)
    for start in range(0, count, tenth):
        for first in range(start, min(start + tenth, count), 10):
            await asyncio.gather(*(visit(index) for index in range(first, first + 10)))
        seconds = time.perf_counter() - began
        print(
            f"  {start + tenth} requests, {seconds:.0f} s: {resident(service):.0f} MiB resident", flush=True
        )


def main() -> None:
    """Run all and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--uploaders", type=int, default=50)
    parser.add_argument("--tuners", type=int, default=5)
    parser.add_argument("--within", type=float, default=5.0)
    parser.add_argument("--patches", type=int, default=28)
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--soak", type=int, default=0)
    options = parser.parse_args()
    store = CheckpointStore.open(shipped_models())
    repair = presets(store.all())[0].plan
    shown = [info.id for info in store.all() if info.shown][: options.checkpoints]
    plan = Plan(
        shown,
        options.viewers,
        options.uploaders,
        0,
        options.patches,
        options.within,
        tuning=plan_values(replace(repair, steps=20)),
    )
    waiting: dict[str, str] = {}
    share_processors(waiting)  # the plain route waits as the service does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with started(folder, ["tests.load.plain"], **waiting) as baseline:
            viewers, uploaders = asyncio.run(plain(baseline.address, plan))
        print(f"plain route, {len(viewers)} on the sample: first map {told(viewers)}")
        print(f"plain route, {len(uploaders)} on own pictures: first map {told(uploaders)}")
        with served(folder, GRAMVIZ_FEATURE_CACHE="256", GRAMVIZ_PAGE_CACHE="128") as service:
            pages = Pages.read(service.address)
            before = resident(service)
            show("service", asyncio.run(attend(pages, plan)))
            if options.soak:
                asyncio.run(soak(service, pages, plan, options.soak))
            print(f"memory: {before:.0f} MiB before, {resident(service):.0f} MiB after")
        with served(folder) as service:
            pages = Pages.read(service.address)
            show(
                "service, fine-tunes beside", asyncio.run(attend(pages, replace(plan, tuners=options.tuners)))
            )
        with served(folder) as service:
            pages = Pages.read(service.address)
            asyncio.run(attend(pages, replace(plan, viewers=1, uploaders=0)))
            over_http = asyncio.run(rate(pages, plan))
        command = [sys.executable, "-c", BARE, str(plan.uploaders), str(plan.patches), *plan.ids]
        bare = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"throughput: {over_http:.1f} views/s over HTTP, engine {bare:.1f}: {over_http / bare:.2f}x")


if __name__ == "__main__":
    main()
