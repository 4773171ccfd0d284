"""Runs and fine-tunes to the Hub: real huggingface_hub code against a hub on loopback."""

import zipfile

import pytest

from gramviz.__main__ import main
from gramviz.checkpoints.push import licence_of, parcel_of, push
from gramviz.errors import CheckpointError
from tests.checkpoints.stub_hub import stub_hub

CARD = b"---\nlicense: other\nlicense_name: dinov3-license\n---\n\n# Mine\n"
FILES = {"README.md": CARD, "model.safetensors": b"weights", "config.json": b"{}"}


@pytest.fixture
def hub(monkeypatch):
    with stub_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_TOKEN", running.token)
        yield running


def folder_with(place, files=FILES):
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def zip_with(place, files=FILES):
    with zipfile.ZipFile(place, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return place


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_everything_arrives_in_one_commit(hub, tmp_path, capsys, kind):
    source = folder_with(tmp_path / "mine") if kind == "folder" else zip_with(tmp_path / "mine.zip")
    assert main(["push", str(source), "me/mine"]) == 0
    assert hub.repositories["me/mine"].files == FILES
    assert hub.private["me/mine"]
    assert len([line for line in hub.asked if "/commit/" in line]) == 1
    told = capsys.readouterr()
    assert "licence other" in told.err
    assert told.out.strip().startswith(hub.address)


def test_public_only_when_asked(hub, tmp_path):
    push(folder_with(tmp_path / "mine"), "me/open", private=False)
    assert not hub.private["me/open"]


def test_a_dry_run_asks_nobody(hub, tmp_path, capsys):
    assert main(["push", str(folder_with(tmp_path / "mine")), "me/mine", "--dry-run"]) == 0
    assert "3 files, licence other: README.md, config.json, model.safetensors" in capsys.readouterr().err
    assert hub.asked == []


def without(name):
    return {key: data for key, data in FILES.items() if key != name}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (without("README.md"), "no README.md; weights are passed on with their card only"),
        ({**FILES, "README.md": b"# Mine\n"}, "names no licence"),
        (without("model.safetensors"), "holds no safetensors file"),
        ({**FILES, "weights.bin": b"pickle"}, "'weights.bin' is not passed on"),
        ({**FILES, ".env.json": b"secret"}, "is not passed on"),
        ({**FILES, **{f"{i}.json": b"" for i in range(200)}}, "at most 200 are passed on"),
    ],
)
def test_what_is_not_complete_stays(hub, tmp_path, files, said):
    for source in (folder_with(tmp_path / "mine", files), zip_with(tmp_path / "mine.zip", files)):
        with pytest.raises(CheckpointError, match=said):
            push(source, "me/mine")
    assert hub.asked == []


def test_without_a_login_it_says_so(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert main(["push", str(folder_with(tmp_path / "mine")), "me/mine"]) == 1
    assert "hf auth login" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["", "alone", "a/b/c", "../x", "me/..", "https://x/y"])
def test_what_is_no_repository(tmp_path, name):
    with pytest.raises(CheckpointError, match="write owner/name"):
        push(folder_with(tmp_path / "mine"), name)


def test_a_broken_zip_and_what_is_neither(tmp_path):
    broken = tmp_path / "x.zip"
    broken.write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="not a readable zip"):
        parcel_of(broken)
    with pytest.raises(CheckpointError, match="neither a folder nor a zip"):
        parcel_of(tmp_path / "gone")


def test_the_licence_of_a_shipped_card():
    from gramviz.serving.settings import shipped_models

    files = {"README.md": shipped_models() / "caltech-d128" / "README.md"}
    assert licence_of(files)
