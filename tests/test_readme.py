"""README keeps its word: the Space's front matter, the commands and the examples."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from PIL import Image

from gramviz.__main__ import _parser, main
from gramviz.data.samples import load
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.ui.exercises import EXERCISES
from gramviz.ui.teaching import PARTS, TABS
from gramviz.ui.tour import STEPS
from gramviz.vit.images import to_jpeg
from tests.load.service import wait_for
from tests.ui.live import free_port, serving

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
    assert found["python_version"] == "3.12"  # ZeroGPU has 3.10 and 3.12; this needs 3.11


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


def commands():
    """The lines of all shell examples as words, without what is said beside them."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


# What cannot be run as it stands, for want of data, hours, machines or a network, and the test that runs the same on
# a small scale (or, for other programs' commands, none).
ADDED = "tests/checkpoints/test_added.py::test_a_folder_a_file_and_a_file_whose_network_is_named"
ELSEWHERE = {
    "make run": "tests/test_readme.py::test_the_page_starts_as_a_space_starts_it",
    "make test": ".ci/run::exec make test",
    "gramviz train --recipe": "tests/test_cli.py::test_a_recipe_trains_its_arms_and_tells_its_speed",
    "gramviz collect": "tests/test_cli.py::test_train_fork_collect_list_and_measure",
    "gramviz measure": "tests/test_cli.py::test_measure_run_folders_and_go_on",
    "gramviz curves": "tests/test_cli.py::test_curves_draws_a_runs_measures",
    "gramviz push": "tests/checkpoints/test_push.py::test_everything_arrives_in_one_commit",
    "gramviz models --add": ADDED,
    "gramviz models --remove": ADDED,
    "gramviz serve --engine ray": "tests/serving/test_ray.py::test_the_engine_over_it_answers_the_page",
    "pip install": "tests/test_packaging.py::test_the_command_is_there",
    "ray start": "",
    "ray get-auth-token": "",
    "export RAY_AUTH_MODE=token": "",
}


def test_every_command_is_run_here_or_by_a_test_that_there_is(tmp_path, monkeypatch, capsys):
    (tmp_path / "photo.jpg").write_bytes(to_jpeg(load("chelsea")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAMVIZ_DEVICE", "cpu")
    run = []
    for words in commands():
        line = shlex.join(words)
        if words[0] == "gramviz":
            _parser().parse_args(words[1:])
        proof = [test for start, test in ELSEWHERE.items() if line.startswith(start)]
        if line.startswith("gramviz train --recipes"):
            proof = []
        if not proof:
            assert words[0] == "gramviz", line
            assert main(words[1:]) == 0, line
            run.append(line)
        elif proof[0]:
            file, test = proof[0].split("::")
            text = (ROOT / file).read_text(encoding="utf-8")
            assert (f"def {test}(" if file.endswith(".py") else test) in text, line
    assert len(run) == 10
    assert list((tmp_path / "tuned").glob("*.zip"))
    assert (tmp_path / "maps.html").read_bytes().startswith(b"<!doctype html>")
    assert (tmp_path / "spectrum.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    for word in ("caltech-d128", "effective_rank", "lemma1", "lemma2"):
        assert word in said


def test_the_page_starts_as_a_space_starts_it(tmp_path):
    port = free_port()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path)}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/", process, log, 120)
        finally:
            process.terminate()
            process.wait(30)


def test_its_pictures_are_there_and_move():
    (picture,) = re.findall(r"!\[[^]]{20,}\]\((docs/[\w.-]+)\)", README)
    with Image.open(ROOT / picture) as film:
        assert film.n_frames > 20
        assert (ROOT / picture).stat().st_size < 2_000_000


def test_addresses_in_it_name_what_there_is():
    named = re.findall(r"`#([^`]+)`", README)
    assert len(named) >= 5
    for text in named:
        parts = dict(part.split("=") for part in text.split("&"))
        assert set(parts) <= {"lecture", "tour", "exercise", "only", "hide", "sample", "patches"}
        assert set(parts.get("only", "explore").split(",")) <= set(TABS)
        assert set(parts.get("hide", "title").split(",")) <= set(PARTS)
        assert int(parts.get("tour", 1)) <= len(STEPS)
        assert int(parts.get("exercise", 1)) <= len(EXERCISES)


def test_it_says_what_a_first_screen_needs_in_that_order():
    lines = README.split("---\n", 2)[2].strip().splitlines()
    assert lines[0] == "# gramviz"
    assert [bool(line) for line in lines[1:5]] == [False, True, True, False]
    assert lines[5].startswith("![")
    assert [line.split("#")[0].strip() for line in lines[7:11]] == ["```sh", "make run", "make test", "```"]
    order = [
        "What you see",
        "How it works",
        "Checkpoints and results",
        "Benchmarks",
        "Teaching",
        "From a program",
    ]
    order += ["Serving a lecture hall", "Safety and limits", "Cite"]
    places = [README.index(f"\n## {title}\n") for title in order]
    assert places == sorted(places)


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
