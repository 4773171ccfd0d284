"""The house rules: imports go downward only, and some packages have one door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gramviz"
LEVELS = {
    "__version__": 0,
    "errors": 0,
    "gram": 1,
    "vit": 2,
    "checkpoints": 3,
    "data": 4,
    "metrics": 4,
    "training": 4,
    "experiment": 5,
    "serving": 5,
    "ui": 6,
    "commands": 7,
    "app": 7,
    "__main__": 8,
}
DOORS = {
    "gradio": ("ui/", "app.py"),
    "safetensors": ("checkpoints/",),
    "huggingface_hub": ("checkpoints/",),
    "threading": ("serving/",),
    "concurrent": ("serving/",),
    "ray": ("serving/",),
    "spaces": ("serving/",),
    "plotly": ("ui/figures/",),
    "matplotlib": ("ui/pictures/",),
}
FILES = [*sorted(PACKAGE.rglob("*.py")), ROOT / "app.py"]


def imported(path: Path) -> list[str]:
    """Dotted names of all that a file imports, wherever in the file."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import; name the whole module"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room(path: Path) -> str:
    """The room a file stands in: gramviz/gram/losses.py -> gram."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if path.is_relative_to(PACKAGE) else "app"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward_and_through_the_doors(path):
    here = room(path)
    place = str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else path.name
    for name in imported(path):
        parts = name.split(".")
        if parts[0] in DOORS:
            assert place.startswith(DOORS[parts[0]]), f"{place} imports {name}"
        if parts[0] != "gramviz" or len(parts) == 1 or here == "__init__":
            continue
        there = parts[1]
        assert there in LEVELS, f"{place} imports {name}, a room without a level"
        assert there == here or LEVELS[there] < LEVELS[here], f"{place} imports upward or sideways: {name}"


def test_the_rule_reader_sees_nested_and_plain_imports(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("import gradio as gr\ndef f():\n    from plotly import graph_objects\n")
    assert imported(file) == ["gradio", "plotly.graph_objects"]


def test_the_top_level_holds_only_what_was_agreed():
    agreed = {
        "app.py",
        "docs",
        "gramviz",
        "models",
        "tests",
        "requirements.txt",
        "README.md",
        "Makefile",
        "pyproject.toml",
        "LICENSE",
    }
    found = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    unexpected = (
        found - agreed - {"build", "runs", "data", "screenshots"} - {p.name for p in ROOT.glob("*.egg-info")}
    )
    assert not unexpected
    assert agreed <= found


def test_app_is_short():
    assert len((ROOT / "app.py").read_text().splitlines()) < 40
