"""README keeps its word: the Space's front matter, the commands and the examples."""

import dataclasses
import re
import shlex
from pathlib import Path

from gramviz.__main__ import _parser
from gramviz.data.samples import load
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.vit.images import to_jpeg
from tests.ui.live import serving

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def front_matter():
    _, head, _ = README.split("---\n", 2)
    return dict(re.findall(r'^(\w+): *"?([^"\n]*?)"?$', head, re.MULTILINE))


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_front_matter_is_that_of_a_gradio_space():
    found = front_matter()
    assert found["sdk"] == "gradio"
    assert found["app_file"] == "app.py"
    assert found["license"] == "mit"
    assert {found["colorFrom"], found["colorTo"]} <= COLOURS
    assert len(found["short_description"]) <= 60
    assert found["python_version"] == "3.11"


def test_the_sdk_version_is_the_pinned_gradio():
    low, high = re.search(
        r"^gradio>=([\d.]+),<([\d.]+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    ).groups()
    wanted = front_matter()["sdk_version"]
    assert wanted == f"{low}.0" if low.count(".") == 1 else wanted == low
    import gradio

    major, minor = gradio.__version__.split(".")[:2]
    assert wanted.startswith(f"{major}.{minor}.")
    assert tuple(map(int, high.split("."))) == (int(major), int(minor) + 1)


def test_every_gramviz_command_in_it_is_one_that_the_parser_takes():
    shell = "\n".join(blocks("sh")).replace("\\\n", " ")
    commands = [
        shlex.split(line, comments=True) for line in shell.splitlines() if line.startswith("gramviz ")
    ]
    assert len(commands) >= 4
    for command in commands:
        _parser().parse_args(command[1:])


def test_make_has_the_two_commands():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"run", "test"} <= set(targets)
    assert all(f"make {name}" in README for name in ("run", "test"))


def test_files_that_it_names_exist():
    named = {
        path for path in re.findall(r"models/[\w/-]+\.\w+", README) if not path.startswith("models/mine/")
    }
    assert len(named) >= 2
    for path in named:
        assert (ROOT / path).is_file(), path


def test_the_library_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = [b for b in blocks("python") if "Engine" in b]
    (tmp_path / "photo.jpg").write_bytes(to_jpeg(load("chelsea")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAMVIZ_DEVICE", "cpu")
    exec(compile(example, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 4
    assert float(lines[-1]) > 1


def test_no_placeholder_is_left():
    assert not re.search(r"@[A-Z]+@", README)


def test_the_client_example_runs_against_the_page(tmp_path, monkeypatch, capsys):
    (example,) = [b for b in blocks("python") if "gradio_client" in b]
    (tmp_path / "photo.jpg").write_bytes(to_jpeg(load("chelsea")))
    monkeypatch.chdir(tmp_path)
    engine = Engine.from_settings(Settings(device="cpu"))
    with serving(engine, tmp_path / "served") as address:
        exec(compile(example.replace("http://127.0.0.1:7860", address), "README.md", "exec"), {})
    engine.close()
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("[19, 28] 1.0") or first.startswith("[19, 28] 0.99999")


def test_the_table_of_settings_is_what_the_settings_are():
    for one in dataclasses.fields(Settings):
        rows = [line for line in README.splitlines() if line.startswith(f"| `GRAMVIZ_{one.name.upper()}` |")]
        assert len(rows) == 1, one.name
        assert rows[0].endswith(f"| {one.metadata['help']} |")
        if "low" in one.metadata:
            assert f"| {one.default}" in rows[0]
