"""Health, metrics and the limit on bodies, over a small Starlette app; logs."""

import io
import json
import logging

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gramviz.serving.monitoring import Monitor
from gramviz.ui.logs import JsonLines
from gramviz.ui.operations import BodyLimit, routes


class Service:
    """As much of an engine as is asked here."""

    notice = ""

    def __init__(self):
        self.monitor, self.well = Monitor(), True
        self.monitor.watch("jobs", lambda: 3)
        self.monitor.watch("broken", lambda: 1 / 0)

    def healthy(self, timeout):
        return self.well

    def status(self):
        return {"jobs": 3}


@pytest.fixture
def service():
    return Service()


def client(*found, limit=1000):
    async def length(request: Request):
        return PlainTextResponse(str(len(await request.body())))

    return TestClient(
        Starlette(
            routes=[*found, *(Route(path, length, methods=["POST"]) for path in ("/length", "/x/upload"))],
            middleware=[Middleware(BodyLimit, limit=limit, uploads=2 * limit)],
        )
    )


def test_health_is_said_with_a_status_code(service):
    page = client(*routes(service, metrics=True))
    answer = page.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "notice": "", "jobs": 3})
    service.well = False
    answer = page.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unwell")


def test_metrics_count_what_happened(service):
    for seconds in (0.003, 0.3):
        service.monitor.observe("view", seconds)
    service.monitor.refused("BusyError")
    service.monitor.count("finetune_steps", 7)
    page = client(*routes(service, metrics=True))
    lines = page.get("/metrics").text.splitlines()
    for line in (
        'gramviz_seconds_count{kind="view"} 2.0',
        'gramviz_seconds_bucket{kind="view",le="0.005"} 1.0',
        'gramviz_refused_total{reason="BusyError"} 1.0',
        'gramviz_events_total{kind="finetune_steps"} 7.0',
        "gramviz_jobs 3.0",
    ):
        assert line in lines
    assert not any("broken" in line for line in lines)  # a gauge that fails is left out and spoils nothing
    resident = next(line for line in lines if line.startswith("gramviz_process_resident_bytes"))
    assert float(resident.split()[1]) > 2**20
    assert client(*routes(service, metrics=False)).get("/metrics").status_code == 404


def test_too_large_a_body_is_refused_by_its_head_or_as_it_comes():
    page = client()
    assert page.post("/length", content=b"x" * 1000).text == "1000"
    answer = page.post("/length", content=b"x" * 1001)
    assert answer.status_code == 413
    assert "at most 0 MiB" in answer.text
    chunks = page.post("/length", content=(b"x" * 400 for _ in range(3)))
    assert chunks.status_code == 413
    assert page.post("/length", content=(b"x" * 400 for _ in range(2))).text == "800"
    assert page.post("/length", content=b"x", headers={"Content-Length": "many"}).status_code == 413
    assert page.post("/x/upload", content=b"x" * 2000).text == "2000"
    assert page.post("/x/upload", content=b"x" * 2001).status_code == 413


def test_a_log_line_is_one_json_object():
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(JsonLines())
    logger = logging.Logger("gramviz.test")
    logger.addHandler(handler)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("it %s", "broke")
    told = json.loads(stream.getvalue())
    assert (told["level"], told["logger"], told["message"]) == ("error", "gramviz.test", "it broke")
    assert "ValueError" in told["traceback"]
    assert stream.getvalue().count("\n") == 1
