"""Cold start: from `python app.py` to the page and to its first map, against what the libraries alone take to import.

Run: python -m tests.benchmarks.bench_start
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM_OPTIONS, SYSTEM_CHROMIUM
from tests.load.service import ROOT
from tests.ui.live import free_port

RUNS = 3
BASELINE = "import torch, timm, gradio, plotly.graph_objects"
FIRST_MAP = "document.querySelectorAll('.gv-explorer .gv-tree .gv-cell:not(.gv-waiting)').length > 0"


def imports() -> float:
    """Seconds that the libraries take."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", BASELINE], check=True, cwd=ROOT)
    return time.perf_counter() - started


def start(page) -> tuple[float, float, float]:
    """Seconds to the page, from there to the first map; resident MiB of the service then."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": folder}
        started = time.perf_counter()
        service = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                try:
                    if httpx.get(address, timeout=5).status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.05)
            served = time.perf_counter()
            page.goto(address)
            page.wait_for_function(FIRST_MAP, timeout=60_000)
            seen = time.perf_counter()
            resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{service.pid}/status").read_text())
            page.goto("about:blank")
        finally:
            service.terminate()
            service.wait()
    return served - started, seen - served, int(resident[1]) / 1024 if resident else float("nan")


def main() -> None:
    """Print a line of each number."""
    with sync_playwright() as playwright:
        path = SYSTEM_CHROMIUM if SYSTEM_CHROMIUM.exists() else None
        page = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS).new_page()
        imports()  # the disk is warm from here on
        bare = statistics.median(imports() for _ in range(RUNS))
        found = [start(page) for _ in range(RUNS)]
    served, seen, resident = (statistics.median(each) for each in zip(*found, strict=True))
    print(
        f"page served after {served:.1f} s; the libraries' imports alone {bare:.1f} s: {served / bare:.2f}x"
    )
    print(f"first map {seen:.1f} s later; resident then {resident:,.0f} MiB")


if __name__ == "__main__":
    main()
