"""What strangers send straight over HTTP, past the page: nothing breaks, nothing hangs, nothing is given away."""

import asyncio
import json
import time

import httpx
import pytest

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.plans import presets
from gramviz.serving.settings import shipped_models
from gramviz.ui.tuner import plan_values
from tests.load.http import RefusedError, Visitor
from tests.load.lecture import look, own_picture
from tests.load.service import ROOT
from tests.serving.held import run_apart

REPAIR = presets(CheckpointStore.open(shipped_models()).all())[0].plan
SECRETS = (str(ROOT), "Traceback", "site-packages", "/root", "root:x")
STOLEN = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
CHOICE = {"token": 1, "sample": "coffee", "file": None, "patches": 14, "layer": -1, "ids": [REPAIR.start]}


def deep(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


JUNK = [
    None,
    True,
    -1,
    10**30,
    "x" * 20_000,
    "\u202e\ud800 ../../etc/passwd",
    [],
    {},
    deep(200),
    [STOLEN] * 3,
    STOLEN,
    {"token": {"a": []}},
    {"token": 1, "action": "download", "id": "../../etc/passwd"},
    {"token": 1, "action": ["pause"], "number": {}},
    {"token": 1, "plan": {"start": "x", "steps": 10**12}, "place": [0.5, None], "files": [STOLEN]},
    {"token": 1, "plan": plan_values(REPAIR), "place": [1e308, -1e308], "files": [STOLEN]},
    {"token": 1, "plan": {**plan_values(REPAIR), "images": "own"}, "place": [0, 0], "files": [STOLEN]},
    {**CHOICE, "sample": "../../etc/passwd"},
    {**CHOICE, "sample": None, "file": STOLEN},
    {**CHOICE, "patches": 10**9},
    {**CHOICE, "patches": "28; rm -rf /"},
    {**CHOICE, "layer": -(10**9)},
    {**CHOICE, "ids": [REPAIR.start] * 5000},
    {**CHOICE, "ids": [None, {}, "yours/1"]},
    {"card": "lemma2", "token": 1, "values": {"a": "nan"}, "columns": -5, "run": "../.."},
]


def given_away(service, text):
    return [secret for secret in (*SECRETS, str(service.log.parent)) if secret in text]


async def told(visitor, function, data, event_data=None):
    """Everything that comes back for one event, as text."""
    try:
        return json.dumps([value async for value in visitor.events(function, data, event_data)])
    except RefusedError as error:
        return json.dumps(error.args, default=str)


async def storm_of_junk(pages):
    answers = []
    for function in pages.functions.values():
        count = len(function["inputs"])
        async with Visitor(pages) as visitor:
            for junk in JUNK:
                for data, event_data in (([junk] * count, junk), ([CHOICE] * count, junk)):
                    answer = await asyncio.wait_for(told(visitor, function["id"], data, event_data), 30)
                    answers.append((function["id"], str(junk)[:60], answer))
            answers.append((function["id"], "too many", await told(visitor, function["id"], [1] * 50)))
    return answers


def test_junk_to_every_event_is_answered_and_tells_nothing(service, pages):
    answers = run_apart(storm_of_junk(pages))
    assert len(answers) > 20 * len(JUNK)
    for function, junk, answer in answers:
        assert not given_away(service, answer), (function, junk, answer[:500])
    still_well(service, pages)


BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"\xff\xfe\x00",
    b'{"data": "x", "fn_index": 0, "session_hash": "a"}',
    b'{"data": [], "fn_index": -7, "session_hash": "a"}',
    b'{"data": [], "fn_index": 1000000, "session_hash": "a"}',
    b'{"data": [], "fn_index": "x", "session_hash": "a"}',
    b'{"data": [1], "fn_index": 0}',
    b'{"data": [NaN], "fn_index": 0, "session_hash": "a"}',
    b'{"data": [1e999], "fn_index": 0, "session_hash": "a"}',
    b'{"data": [], "fn_index": 0, "session_hash": {"a": 1}}',
    b"[" * 100_000,
]
POSTED = [
    "gradio_api/queue/join",
    "gradio_api/cancel",
    "gradio_api/reset",
    "gradio_api/run/predict",
    "gradio_api/api/checkpoints",
    "gradio_api/call/similarity",
    "gradio_api/call/checkpoints",
    "gradio_api/component_server",
    "gradio_api/upload",
    "gradio_api/stream/a/b/c",
    "healthz",
    "metrics",
    "files/a/b",
    "login",
    "",
]
FETCHED = [
    "gradio_api/file=/etc/passwd",
    "gradio_api/file=../../../../etc/passwd",
    f"gradio_api/file={ROOT}/app.py",
    f"gradio_api/file={ROOT}/models/manifest.json",
    "gradio_api/proxy=http://169.254.169.254/latest/meta-data/",
    "gradio_api/queue/data?session_hash=nobody",
    "gradio_api/upload_progress?upload_id=x",
    "gradio_api/call/spectrum/none",
    "files/../../etc/passwd",
    "files/%2e%2e%2f/passwd",
    "static/../../../etc/passwd",
    "assets/..%2f..%2fetc/passwd",
    "theme.css?x=" + "a" * 20_000,
    "gradio_api/runs",
    "gradio_api/monitoring",
    "config?deep_link=../../etc/passwd",
    "?deep_link=../../etc/passwd",
]


def answered(client, method, address, **options):
    """What comes back; "" where the server hangs up on it, which is an answer too. Whatever hangs raises."""
    try:
        return client.request(method, address, **options).text
    except httpx.TimeoutException:
        raise
    except httpx.TransportError:
        return ""


def test_junk_to_every_address_is_answered_and_tells_nothing(service, pages):
    with httpx.Client(base_url=service.address, timeout=30) as client:
        for address in POSTED:
            found = [
                answered(client, "POST", address, content=body, headers={"Content-Type": "application/json"})
                for body in BODIES
            ]
            assert any(found), f"{address} never answers"
            assert not given_away(service, " ".join(found)), (address, found)
        for address in FETCHED:
            # an answer may name what was asked for
            text = answered(client, "GET", address).replace(address.partition("=")[2] or "-", "")
            assert not given_away(service, text), (address, text[:500])
            assert "ami-id" not in text
    still_well(service, pages)


def chunks(count):
    for _ in range(count):
        yield b"x" * 2**20


def test_too_much_is_refused_wherever_it_goes(service, pages):
    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    multipart = {"Content-Type": "multipart/form-data; boundary=b"}
    with httpx.Client(base_url=service.address, timeout=60) as client:
        for address in ("gradio_api/upload", "gradio_api/queue/join", "gradio_api/call/similarity"):
            assert client.post(address, content=b"x" * (6 * 2**20)).status_code == 413
        answer = client.post("gradio_api/upload", content=form + b"x" * (6 * 2**20), headers=multipart)
        assert answer.status_code == 413
        assert "at most 5 MiB" in answer.text
        # without a length in its head it is only known as it comes
        assert client.post("gradio_api/queue/join", content=chunks(8)).status_code in (400, 413)
        kept = client.post("gradio_api/upload", content=(form, *chunks(8)), headers=multipart)
        assert kept.status_code in (400, 413)
    still_well(service, pages)


async def leave_early(pages):
    """Sixty visitors who ask for maps or fine-tunes and hang up, some at once, some after a first answer."""

    async def visit(index):
        async with Visitor(pages) as visitor:
            if index % 6 == 0:
                choice = visitor.choice([REPAIR.start], sample="coffee", patches=14)
                wanted = visitor.tune(choice, plan_values(REPAIR))
            else:
                file = await visitor.upload(own_picture(500 + index))
                wanted = visitor.events(
                    pages.compare, [visitor.choice([REPAIR.start, REPAIR.teacher], file=file, patches=20)]
                )
            for _ in range(1 + index % 3):
                await anext(wanted, None)
            await wanted.aclose()

    await asyncio.gather(*(visit(index) for index in range(60)))


def test_a_storm_of_visitors_who_leave_is_forgotten(service, pages):
    run_apart(leave_early(pages))
    until = time.monotonic() + 60
    while time.monotonic() < until:
        numbers = service.numbers()
        left = {name: numbers[f"gramviz_{name}"] for name in ("jobs", "streams_running", "streams_waiting")}
        if not any(left.values()):
            break
        time.sleep(0.2)
    assert not any(left.values()), left
    still_well(service, pages)


def test_a_stranger_cannot_have_files_that_were_not_uploaded(service, pages):
    async def ask():
        async with Visitor(pages) as visitor:
            for path in ("/etc/passwd", str(ROOT / "app.py"), "../../etc/passwd", "", "a" * 5000):
                file = {"path": path, "meta": {"_type": "gradio.FileData"}}
                with pytest.raises(RefusedError) as refused:
                    await look(visitor, visitor.choice([REPAIR.start], file=file, patches=14))
                assert not given_away(service, str(refused.value).replace(path or "-", ""))

    run_apart(ask())


def still_well(service, pages):
    """After whatever was done to it, the service says it is well and serves the next visitor as ever."""
    health = httpx.get(f"{service.address}healthz", timeout=30)
    assert (health.status_code, health.json()["status"], health.json()["restarts"]) == (200, "ok", 0)
    assert service.errors() == []

    async def visit():
        async with Visitor(pages) as visitor:
            return await look(visitor, visitor.choice([REPAIR.start], sample="coffee", patches=14))

    assert run_apart(visit()).value["complete"]
