"""A Space in small: the page over the real package `spaces`, whose device API answers on loopback.

What the stand-in of `test_zero.py` cannot know is shown here: torch as `spaces` patches it, processes that are lent
again, and that the quota asked for is that of whoever pressed the button.
"""

import asyncio
import contextlib
import io
import json
import os
import signal
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import safetensors.torch
import torch

from gramviz.data.samples import load
from gramviz.serving import lab
from gramviz.serving.engine import Engine
from gramviz.serving.plans import Plan
from gramviz.serving.settings import Settings
from gramviz.serving.tuning import TuneRequest
from gramviz.ui.tuner import plan_values
from tests.load.http import Pages, Visitor
from tests.load.lecture import own_picture
from tests.load.service import started
from tests.stores import add_heads, make_store

pytestmark = [
    pytest.mark.skipif(find_spec("spaces") is None, reason="spaces is not installed (pip install spaces)"),
    pytest.mark.skipif(not Path("/proc/self/cgroup").is_file(), reason="spaces runs on Linux alone"),
]
PLAN = Plan(start="tiny-plain-2000", teacher="tiny-trunk-300", images="picture", steps=5, batch=2, rate=1e-3)
PATCHES = 14


def token(name):
    """A visitor's, as the Hub sends it with a request: head, content {} and signature of a JWT."""
    return f"head.e30.{name}"


class DeviceApi:
    """Who lends GPUs; the visitor "poor" has no quota left. calls: (path, what it was asked with) of each."""

    def __init__(self):
        self.calls = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                url = urlsplit(self.path)
                told = {name: values[0] for name, values in parse_qs(url.query).items()}
                api.calls.append((url.path, told))
                code, answer = api.answer(url.path, told)
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, path, told):
        """Status and body."""
        if path != "/schedule":
            return 200, {}
        if told["token"] == token("poor"):
            return 429, {"left": 5, "wait": 3600}
        return 200, {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "none", "allowToken": "one"}

    def asked(self, path):
        """What came to a path."""
        return [told for called, told in self.calls if called == path]

    @contextlib.contextmanager
    def listening(self):
        """As long as this is entered; then the processes that were lent, which outlive the page's, are ended."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
            for told in self.asked("/allow"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(told["pid"]), signal.SIGKILL)


async def tuned(pages, name):
    """How a fine-tune ended, in words, and the weights that a visitor of that name downloads then."""
    async with Visitor(pages) as visitor:
        visitor.client.headers["x-ip-token"] = token(name)
        choice = visitor.choice([PLAN.start], sample="coffee", patches=PATCHES)
        *_, last = [value async for value in visitor.tune(choice, plan_values(PLAN))]
        assert last["error"] is None, last["error"]
        answer = await visitor.ask("download", id="yours/1")
        return last["finished"]["sentence"], weights(await visitor.fetch(answer["file"]))


async def looked(pages):
    """What a visitor sees who asks for no GPU: checkpoints that are compared, and what the cards find."""
    (theory,) = [one["id"] for one in pages.functions.values() if one["api_name"] == "theory"]
    async with Visitor(pages) as visitor:
        picture = await visitor.upload(own_picture(1))
        choice = visitor.choice([PLAN.start, PLAN.teacher], file=picture, patches=PATCHES)
        *_, compared = [value async for value in visitor.events(pages.compare, [choice])]
        findings = {}
        for card in lab.CARDS:
            async for found in visitor.events(theory, [picture, PLAN.start, card.name, {}]):
                findings[card.name] = found
        return set(compared["views"]), findings


def weights(archive):
    return safetensors.torch.load(zipfile.ZipFile(io.BytesIO(archive)).read("model.safetensors"))


def locally(folder):
    """The weights that a process makes which knows nothing of ZeroGPU."""
    make_store(folder)
    engine = Engine(add_heads(folder, PLAN.start), Settings(device="cpu", threads=1, models=folder))
    try:
        list(engine.finetune(TuneRequest(load("coffee"), PLAN, PATCHES), "ann"))
        return weights(engine.download("ann", "yours/1")[1])
    finally:
        engine.close()


def test_fine_tunes_on_a_space_are_the_local_ones_whether_a_gpu_is_lent_or_not(tmp_path):
    (tmp_path / "models").mkdir()
    reference = locally(tmp_path / "models")
    with DeviceApi().listening() as api:
        environment = {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": api.address,
            "GRAMVIZ_MODELS": str(tmp_path / "models"),
            "GRAMVIZ_THREADS": "1",
            "GRADIO_TEMP_DIR": str(tmp_path / "cache"),
        }
        with started(tmp_path, ["tests.serving.zero_space"], **environment) as service:
            pages = Pages.read(service.address)
            with ThreadPoolExecutor(1) as apart:  # where no other test has left a loop running
                asked = {
                    name: apart.submit(asyncio.run, tuned(pages, name)) for name in ("ann", "ben", "poor")
                }
                ends = {name: one.result() for name, one in asked.items()}
                lent = len(api.calls)
                views, findings = apart.submit(asyncio.run, looked(pages)).result()
            health = httpx.get(f"{service.address}healthz", timeout=30).json()
            numbers = service.numbers()
            log = service.log.read_text(encoding="utf-8")
    for sentence, found in ends.values():
        assert sentence.startswith("Finished all 5 steps.")
        assert found.keys() == reference.keys()
        assert all(torch.equal(value, reference[key]) for key, value in found.items())
    assert ends["ann"][0] == ends["ben"][0] == "Finished all 5 steps."
    assert ends["poor"][0].endswith("from the start on it was computed on a CPU.")
    assert len(api.asked("/startup-report")) == 1
    scheduled = api.asked("/schedule")
    names = ["ann"] * PLAN.steps + ["ben"] * PLAN.steps + ["poor"]
    assert [told["token"] for told in scheduled] == [token(name) for name in names]
    assert {told["durationSeconds"] for told in scheduled} == {"15"}
    assert len(api.asked("/allow")) == 1, "all slices have the process of the first"
    assert [told["fail"] for told in api.asked("/release")] == ["false"] * 2 * PLAN.steps
    # torch as it is patched there still computes everything else, with gradients where a card needs them
    assert views == {PLAN.start, PLAN.teacher}
    assert all(findings[card.name]["because"] for card in lab.CARDS)
    assert len(api.calls) == lent
    assert health["status"] == "ok"
    assert numbers["gramviz_device_bytes"] == 0
    assert "Low-level CUDA init" not in log
