"""`pip install .` gives the library, the page's files, the shipped checkpoints and the command."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names of all files in the built wheel, and its entry points."""
    target = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, files):  # a copy, so that no build folder is left in the checkout
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            target,
            source,
        ],
        check=True,
    )
    (built,) = target.glob("gramviz-*.whl")
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        return names, archive.read(entry).decode()


def test_the_wheel_holds_every_module_and_page_file(wheel):
    names, _ = wheel
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "gramviz").rglob("*")
        if path.is_file() and path.suffix in (".py", ".js", ".css", ".html", ".json")
    }
    assert wanted <= names


def test_the_wheel_holds_the_shipped_checkpoints(wheel):
    names, _ = wheel
    shipped = {f"gramviz/{path.relative_to(ROOT)}" for path in (ROOT / "models").rglob("*") if path.is_file()}
    assert "gramviz/models/manifest.json" in shipped
    assert shipped <= names


def test_the_command_is_there(wheel):
    assert "gramviz = gramviz.__main__:main" in wheel[1]


def test_every_package_is_named():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "gramviz").rglob("__init__.py")
    }
    assert set(listed) == found | {"gramviz.models", "gramviz.training.recipes", "gramviz.ui.web"}
