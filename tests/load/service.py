"""The service as one starts it, in a process of its own on a free loopback port."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.ui.live import free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Service:
    """A running one: where it is, who it is, and where its output goes."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def errors(self) -> list[str]:
        """What the package itself logged as an error; Gradio writes its own lines, in no such form."""
        lines = [line for line in self.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
        return [line for line in lines if json.loads(line)["level"] == "error"]

    def numbers(self) -> dict[str, float]:
        """The samples of /metrics without labels, by name."""
        found = {}
        for line in httpx.get(f"{self.address}metrics", timeout=30).text.splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#") and "{" not in name:
                found[name] = float(value)
        return found


def served(
    folder: Path, *options: str, start: float = 120.0, **environment: str
) -> contextlib.AbstractContextManager[Service]:
    """`gramviz serve` with options, ended at the end; uploads and its log go to `folder`."""
    return started(
        folder,
        ["gramviz", "serve", "--device", "cpu", *options, "--port"],
        start,
        GRADIO_TEMP_DIR=str(folder / "cache"),
        **environment,
    )


@contextlib.contextmanager
def started(folder: Path, module: list[str], start: float = 120.0, **environment: str) -> Iterator[Service]:
    """A Python module that serves on the port that is its last argument, in a process of its own."""
    port, log = free_port(), folder / "service.log"
    command = [sys.executable, "-m", *module, str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://127.0.0.1:{port}/"
            wait_for(address, process, log, start)
            yield Service(address, process, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Until the service answers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"the service ended: {log.read_text()[-2000:]}"
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{address}healthz", timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"the service did not answer in {seconds} s: {log.read_text()[-2000:]}")
