"""Adding a model without a browser: what the dialog is given, and what is refused."""

import json

import pytest
import safetensors.torch

from gramviz.checkpoints.zoo import ZOO
from gramviz.ui.adder import INCOMPLETE, LONGEST, adder
from gramviz.ui.panels.adding import adding
from gramviz.ui.panels.explore import UNEXPECTED
from gramviz.vit.backbones import NetworkConfig, create_backbone
from tests.checkpoints.stub_hub import SMALL
from tests.ui.fake_engine import FakeEngine


@pytest.fixture
def engine():
    return FakeEngine()


def asked(engine, files, **data):
    return list(adding(engine, {"token": 7, **data}, files, "ann"))


def uploaded(files, name, content):
    path = files.uploads / "x" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"path": str(path)}


def weights():
    state = create_backbone(NetworkConfig("vit_tiny_patch16_224", SMALL)).network.state_dict()
    return safetensors.torch.save(state)


def test_a_model_is_looked_up_then_fetched_then_forgotten(engine, files):
    name = ZOO[0].name
    (value,) = asked(engine, files, action="look", name=name)
    assert value["offer"] == {
        "name": name,
        "repository": f"timm/{name}",
        "size": 10 * 2**20,
        "licence": "mit",
        "title": f"{ZOO[0].title}. {ZOO[0].training}",
    }
    told = asked(engine, files, action="fetch", name=name)
    assert [value["done"] / value["total"] for value in told[:-1]] == [0.1, 0.2, 0.3]
    assert (told[-1]["stage"], told[-1]["name"]) == ("added", name)
    assert [own["id"] for own in told[-1]["own"]] == ["yours/1"]
    engine.forget = lambda visitor, key: engine.own[visitor].pop(key)
    (value,) = asked(engine, files, action="forget", name="yours/1")
    assert (value["stage"], value["own"]) == ("forgotten", [])


@pytest.mark.parametrize("with_config", [True, False])
def test_a_file_is_taken_and_not_kept(engine, files, with_config):
    told = json.dumps({"architecture": "vit_tiny_patch16_224", "model_args": SMALL}).encode()
    data = {"weights": uploaded(files, "My net.safetensors", weights()), "name": "My net.safetensors"}
    if with_config:
        data["config"] = uploaded(files, "config.json", told)
    else:
        data["architecture"] = "vit_tiny_patch16_224"
    (value,) = asked(engine, files, action="file", **data)
    if with_config:
        assert (value["stage"], value["name"]) == ("added", "My net")
    else:
        assert "My net" in value["error"]  # the small network is no plain vit_tiny
    assert [path for path in files.uploads.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, INCOMPLETE),
        ({"action": "eat", "name": "x"}, INCOMPLETE),
        ({"action": "look", "name": 3}, INCOMPLETE),
        ({"action": "look", "name": ""}, "The name has 0 characters"),
        ({"action": "look", "name": "x" * (LONGEST + 1)}, "must have 1 to 200"),
        ({"action": "file", "name": "x"}, "There is no file"),
        (
            {"action": "file", "name": "x", "weights": {"path": "/etc/passwd"}},
            "Only files that were uploaded",
        ),
        ({"action": "file", "name": "x", "weights": {"path": "a\0b"}}, "Only files that were uploaded"),
        ({"action": "file", "name": "x", "weights": {"path": 3}}, "Only files that were uploaded"),
        ({"action": "look", "name": "x", "token": "7"}, INCOMPLETE),
    ],
)
def test_what_the_dialog_does_not_send_is_refused(engine, files, data, said):
    (value,) = asked(engine, files, **data)
    assert said in value["error"]


def test_files_that_are_not_what_they_say(engine, files):
    for name, content, said in (
        ("w.safetensors", b"x", "no config.json"),
        ("w.zip", b"PK", "not a readable zip"),
        ("w.pt", b"\x80", "never opened"),
    ):
        (value,) = asked(engine, files, action="file", name=name, weights=uploaded(files, name, content))
        assert said in value["error"]
        assert str(files.uploads) not in value["error"]
    data = {
        "weights": uploaded(files, "w.safetensors", b"x"),
        "config": uploaded(files, "c.json", b"[" * 9999),
    }
    (value,) = asked(engine, files, action="file", name="w.safetensors", **data)
    assert "not readable JSON" in value["error"]


def test_a_fault_of_ours_is_told_without_a_trace(engine, files):
    engine.offer = lambda _: 1 / 0
    assert asked(engine, files, action="look", name="x") == [{"token": 7, "error": UNEXPECTED}]


def test_the_dialog_knows_the_list_and_what_may_be(engine):
    import gradio as gr

    with gr.Blocks(analytics_enabled=False):
        script = adder("listed", 400).js_on_load
    assert '"fetch": "listed", "mostMiB": 400' in script
    assert all(model.name in script for model in ZOO)
