"""Whatever anyone sends: a right answer or a clear sentence, and nothing else.

A slice of each kind runs with the other tests. `GRAMVIZ_HOSTILE=all pytest -s tests/hostile` makes them all and tells
the slowest and the peak of memory.
"""

import os
import re
import resource
import socket
import time
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image, ImageFile
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gramviz.checkpoints.added import Source, add_model, network_of, read_source
from gramviz.checkpoints.hub import repository_of
from gramviz.data.bundles import read_bundle
from gramviz.errors import GramvizError
from gramviz.ui.drawings import Drawings
from gramviz.ui.files import Files
from gramviz.ui.panels.adding import adding
from gramviz.ui.panels.explore import UNEXPECTED, comparisons
from gramviz.ui.panels.exporting import exported
from gramviz.ui.panels.finetune import handled, tuned
from gramviz.ui.panels.spectra import portraits
from gramviz.ui.panels.story import drawn, films
from gramviz.ui.panels.theory import checked
from gramviz.vit.backbones import NetworkConfig
from gramviz.vit.images import MAX_SIDE, read_picture
from tests.hostile.made import NAMES, archives, images, packed, values, weights
from tests.ui.fake_engine import FakeEngine
from tests.ui.live import serving

ALL = os.environ.get("GRAMVIZ_HOSTILE") == "all"
SEED = 20261127
# a path of this machine, or a trace of a program
TELLTALE = re.compile(r"/(?:usr|home|root|tmp|work|var|etc)/|Traceback|\.py\b|0x[0-9a-f]{6,}")
SLOWEST: list[tuple[float, str]] = []


def some(whole, part):
    return whole if ALL else part


def is_sentence(text, echoed=""):
    """Whether it is fit for a stranger; what they said themselves may come back, shortened."""
    for length in (len(echoed), 120, 80, 40):
        if len(echoed) > 3:
            text = text.replace(repr(echoed[:length])[1:-1], "")
    return (
        text.endswith((".", "metadata", "off", "object")) and len(text) < 1000 and not TELLTALE.search(text)
    )


def taken(name, work, echoed=""):
    """What came of it: a value, or the sentence of a deliberate error. Anything else fails the test with the name."""
    started = time.perf_counter()
    value = said = None
    try:
        value = work()
    except GramvizError as error:
        said = str(error)
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
    SLOWEST.append((time.perf_counter() - started, str(name)[:60]))
    assert said is None or is_sentence(said, echoed), (name, said)
    return value, said


@pytest.fixture(scope="module", autouse=True)
def told():
    yield
    if ALL:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        worst = ", ".join(f"{name}: {seconds:.2f} s" for seconds, name in sorted(SLOWEST, reverse=True)[:3])
        print(f"\n{len(SLOWEST)} inputs; slowest {worst}; peak memory {peak:,.0f} MiB")


def test_images():
    read = refused = 0
    for name, data in images(np.random.default_rng(SEED), some(1500, 260)):
        picture, _ = taken(name, lambda data=data: read_picture(data))
        if picture is None:
            refused += 1
            continue
        read += 1
        assert picture.pixels.dtype == np.uint8, name
        assert picture.pixels.shape == (picture.size[1], picture.size[0], 3), name
        assert 1 <= min(picture.size) <= max(picture.size) <= MAX_SIDE, name
        assert all(is_sentence(note) for note in picture.notes), (name, picture.notes)
    assert read > 20
    assert refused > 50


def test_the_same_seed_makes_the_same():
    first, again = (list(images(np.random.default_rng(SEED), 40)) for _ in range(2))
    assert first == again


def test_archives(tmp_path):
    target = tmp_path / "own.zip"
    for name, data in archives(np.random.default_rng(SEED), some(250, 40)):
        target.write_bytes(data)
        taken(name, lambda: read_bundle([target], 4, read_picture))
    assert list(tmp_path.rglob("*")) == [target]  # nothing was unpacked


def test_weights(tmp_path):
    target = tmp_path / "own.safetensors"
    config = NetworkConfig(
        "vit_tiny_patch16_224", {"embed_dim": 48, "depth": 1, "num_heads": 3, "img_size": 32}
    )
    for name, data in weights(np.random.default_rng(SEED), some(250, 40)):
        target.write_bytes(data)
        _, said = taken(
            name,
            lambda: add_model(tmp_path / "added", "own", Source("own", config, target), licence="", title=""),
        )
        assert said is not None, name
    assert not (tmp_path / "added" / "manifest.json").exists()


def test_archives_of_weights(tmp_path):
    target = tmp_path / "own.zip"
    made = [
        *archives(np.random.default_rng(SEED), some(250, 40)),
        ("a bomb of weights", packed({"model.safetensors": bytes(64 * 2**20)})),
        ("a bomb of a configuration", packed({"config.json": bytes(64 * 2**20), "model.safetensors": b""})),
    ]
    for name, data in made:
        target.write_bytes(data)
        _, said = taken(name, lambda: read_source(target, None, most=2**20))
        assert said is not None, name
    assert list(tmp_path.rglob("*")) == [target]


CONFIGURATIONS = (b"", b"{", b"[" * 100_000, b"3", b'{"architecture": 3}', b'{"network": {}}', b"\xff")


@pytest.mark.parametrize("content", CONFIGURATIONS, ids=lambda content: repr(content)[:30])
def test_configurations(content):
    assert taken(content[:20], lambda: network_of(content, "mine"))[1]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:30])
def test_names(name, tmp_path):
    assert taken(name, lambda: repository_of(name), name)[1]
    assert taken(name, lambda: repository_of(f"hf-hub:{name}"), name)[1]
    if "\0" not in name and len(name) < 200:
        assert taken(name, lambda: read_source(tmp_path / "none" / name.replace("/", "_")), name)[1]
    files = Files(tmp_path, 100)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", name):
        with pytest.raises(ValueError, match="no name for a file"):
            files.put(b"x", name)
    browser = TestClient(Starlette(routes=[files.route()]))
    for path in (f"/files/{quote(name)}/{quote(name)}", f"/files/x/{quote(name)}"):
        answer = browser.get(path, follow_redirects=False)
        assert answer.status_code in (404, 307)
        assert not TELLTALE.search(answer.text)
    assert not list(tmp_path.iterdir())


def told_of(value):
    """All sentences in an answer of the page."""
    if isinstance(value, dict):
        found = [value["error"]] if isinstance(value.get("error"), str) else []
        return [*found, *(text for part in value.values() for text in told_of(part))]
    if isinstance(value, list | tuple):
        return [text for part in value for text in told_of(part)]
    return [value] if isinstance(value, str) and value.startswith("<p>") else []


def test_values_of_the_page(tmp_path, caplog):
    """Every private event with every made value, in place of the chooser's and of its own."""
    engine, files = FakeEngine(), Files(tmp_path, 2**24)
    choice = {
        "token": 1,
        "sample": "coffee",
        "file": None,
        "patches": 14,
        "layer": -1,
        "ids": ["small-plain-8000"],
    }
    head = {"checkpoint": "small-plain-8000", "source": "photograph"}
    runs, question = ("small",), {"token": 1, "values": {}, "columns": 1}
    events = {
        "compare": lambda v: list(comparisons(engine, v, files)),
        "film": lambda v: list(films(engine, runs, choice, v, files)),
        "film's choice": lambda v: list(films(engine, runs, v, {"token": 1, "run": "small"}, files)),
        "curves": lambda v: drawn(engine, runs, v, Drawings()),
        "spectra": lambda v: list(portraits(engine, choice, v, files, Drawings())),
        "spectra's choice": lambda v: list(portraits(engine, v, question, files, Drawings())),
        "card": lambda v: checked(engine, "lemma2", choice, head, v, files),
        "card's head": lambda v: checked(engine, "lemma2", choice, v, question, files),
        "export": lambda v: exported(engine, choice, v, files),
        "export's choice": lambda v: exported(engine, v, {}, files),
        "fine-tune": lambda v: list(tuned(engine, choice, v, "", files)),
        "fine-tune's click": lambda v: handled(engine, v, "", files),
        "add a model": lambda v: list(adding(engine, v, files, "ann")),
    }
    for name, event in events.items():
        for value in values(np.random.default_rng(SEED), some(60, 12)):
            answer, said = taken(f"{name}: {str(value)[:200]}", lambda event=event, value=value: event(value))
            assert said is None, (name, said)  # told in the answer, never raised
            for text in told_of(answer):
                assert text != UNEXPECTED, (name, str(value)[:2000], caplog.text[-3000:])
                assert len(text) < 1000, (name, text[:2000])
                assert "Traceback" not in text
    assert not list(tmp_path.rglob("*.*"))


def test_no_setting_that_others_share_was_changed():
    assert Image.MAX_IMAGE_PIXELS == 1024 * 1024 * 1024 // 4 // 3
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


INSIDE = ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "2130706433")  # names of this machine


def test_addresses_on_this_network_and_files_of_this_machine_are_not_fetched(tmp_path):
    """Gradio fetches an image that a call names by a public address; nothing here, and no file by its path."""
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(0.01)
        port = inside.getsockname()[1]
        secret = tmp_path / "secret.png"
        secret.write_bytes(b"secret")
        addresses = [f"http://{host}:{port}/x.png" for host in INSIDE]
        addresses += [
            "http://169.254.169.254/latest/meta-data",
            f"file://{secret}",
            str(secret),
            "/etc/passwd",
        ]
        with serving(FakeEngine(), tmp_path / "served") as url:
            for address in addresses:
                file = {"path": address, "meta": {"_type": "gradio.FileData"}}
                for image in (file, {**file, "path": "x", "url": address}, address):
                    told = _called(url, image)
                    assert not told.startswith("event: complete"), (image, told)
                    assert "secret" not in told.replace(address, ""), (image, told)
                    assert not TELLTALE.search(told.replace(address, "")), (image, told)
        with pytest.raises(TimeoutError):  # nobody came
            inside.accept()


def _called(url, image):
    """What comes of a call of the API with an image."""
    call = {"data": [image, "small-plain-8000", 0, 0, 14]}
    begun = httpx.post(f"{url}gradio_api/call/similarity", json=call, timeout=60)
    if begun.status_code != 200:
        return begun.text
    return httpx.get(f"{url}gradio_api/call/similarity/{begun.json()['event_id']}", timeout=60).text
