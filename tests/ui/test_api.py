import ast
import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.vit.images import grid_for, read_picture
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine, features
from tests.ui.live import serving


@pytest.fixture(scope="module")
def engine():
    return FakeEngine()


@pytest.fixture(scope="module")
def client(engine, tmp_path_factory):
    with serving(engine, tmp_path_factory.mktemp("served")) as address:
        yield Client(address, verbose=False, analytics_enabled=False)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "noise.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(path)
    return path


def test_checkpoints(client):
    rows = client.predict(api_name="/checkpoints")
    assert [row["id"] for row in rows] == [info.id for info in CHECKPOINTS]
    assert set(rows[0]) == {"id", "run", "branch", "step", "parent", "licence", "title", "images_seen"}


def test_similarity(client, image):
    info = CHECKPOINTS[-1]
    answer = client.predict(
        image=handle_file(image), checkpoint=info.id, row=2, column=3, patches=14, api_name="/similarity"
    )
    picture = read_picture(image)
    rows, columns = grid_for(picture.size, 14)
    x = features(picture, info, 14)[:-1]
    assert answer["grid"] == [rows, columns]
    assert np.allclose(answer["map"], (x @ x[2 * columns + 3]).reshape(rows, columns), atol=1e-12)


def test_spectrum(client, image):
    info = CHECKPOINTS[0]
    answer = client.predict(image=handle_file(image), checkpoint=info.id, patches=14, api_name="/spectrum")
    x = features(read_picture(image), info, 14)[:-1]
    wanted = np.linalg.eigvalsh(x @ x.T)[::-1]
    assert np.allclose(answer["eigenvalues"], wanted[: len(answer["eigenvalues"])], atol=1e-9)


def test_theory(client, engine, image):
    info = CHECKPOINTS[-1]
    call = {"image": handle_file(image), "checkpoint": info.id, "api_name": "/theory"}
    answer = client.predict(**call, card="lemma2", values={"size": 0.2})
    wanted = engine.theory(read_picture(image), info.id, "lemma2", {"size": 0.2})
    assert (answer["holds"], answer["because"]) == (wanted.holds, wanted.because)
    assert [number["value"] for number in answer["numbers"]] == [number.value for number in wanted.numbers]
    with pytest.raises(AppError, match="values must be an object"):
        client.predict(**call, card="lemma2", values=[1])
    with pytest.raises(AppError, match="nocard"):
        client.predict(**call, card="nocard", values={})


async def over_mcp(address, image):
    """What the tools are, and what one says, by the protocol's own client."""
    async with (
        streamable_http_client(f"{address}gradio_api/mcp/") as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = (await session.list_tools()).tools
        name = next(tool.name for tool in tools if tool.name.endswith("similarity"))
        given = {"image": image, "checkpoint": CHECKPOINTS[-1].id, "row": 2, "column": 3, "patches": 14}
        return tools, await session.call_tool(name, given)


def test_the_endpoints_are_tools_of_the_model_context_protocol(engine, image, tmp_path):
    with serving(engine, tmp_path, mcp_server=True) as address, ThreadPoolExecutor(1) as apart:
        data = f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"
        # in a thread of its own, where no other test has left a loop running
        tools, said = apart.submit(asyncio.run, over_mcp(address, data)).result()
    named = {tool.name.rpartition("_")[2]: tool for tool in tools}
    assert set(named) == {"checkpoints", "similarity", "spectrum", "theory"}
    assert "Cosine of one patch" in named["similarity"].description
    fields = named["similarity"].inputSchema["properties"]
    assert set(fields) == {"image", "checkpoint", "row", "column", "patches"}
    assert not said.isError, said
    rows = ast.literal_eval(said.content[0].text)["map"]  # Gradio writes what it tells as Python does
    picture = read_picture(image)
    x = features(picture, CHECKPOINTS[-1], 14)[:-1]
    columns = grid_for(picture.size, 14)[1]
    assert np.allclose(np.ravel(rows), x @ x[2 * columns + 3], atol=1e-12)


def test_documentation_names_the_parameters(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/checkpoints", "/similarity", "/spectrum", "/theory"}
    names = [parameter["parameter_name"] for parameter in endpoints["/similarity"]["parameters"]]
    assert names == ["image", "checkpoint", "row", "column", "patches"]
    assert "Cosine of one patch" in endpoints["/similarity"]["description"]


def test_an_error_is_one_sentence(client, image, tmp_path):
    with pytest.raises(AppError, match="There is no checkpoint 'none'"):
        client.predict(
            image=handle_file(image), checkpoint="none", row=0, column=0, patches=14, api_name="/similarity"
        )
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(AppError) as caught:
        client.predict(image=handle_file(text), checkpoint="none", patches=14, api_name="/spectrum")
    assert "no image" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_call_without_an_image_says_so(client):
    with pytest.raises(AppError, match="There is no image; please upload one"):
        client.predict(image=None, checkpoint="x", patches=14, api_name="/spectrum")


def test_the_unexpected_is_not_shown(client, engine, image, monkeypatch):
    def broken(*_args):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(engine, "spectrum", broken)
    with pytest.raises(AppError, match=UNEXPECTED):
        client.predict(image=handle_file(image), checkpoint="x", patches=14, api_name="/spectrum")


def test_only_uploaded_files_are_read(client, image):
    """A path on the server, named by a stranger, is refused before it is opened."""
    stolen = {"path": str(image), "meta": {"_type": "gradio.FileData"}}
    start = httpx.post(
        f"{client.src}gradio_api/call/spectrum", json={"data": [stolen, CHECKPOINTS[0].id, 14]}
    )
    events = httpx.get(f"{client.src}gradio_api/call/spectrum/{start.json()['event_id']}").text
    assert "event: error" in events
    assert str(image) not in events
    assert "eigenvalues" not in events
