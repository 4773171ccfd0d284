"""Rows of measurements come back as they were written; a damaged line is named."""

import json

import pytest

from gramviz.checkpoints.curves import MOST_BYTES, metrics_stamp, read_metrics
from gramviz.errors import CheckpointError

ROW = {"run": "small", "seed": 0, "arm": "plain", "step": 600, "near_auc": 0.75, "locality": [0.9, None]}


def write(folder, text):
    (folder / "small").mkdir()
    (folder / "small" / "metrics.jsonl").write_text(text, encoding="utf-8")


def test_rows_keep_their_order_and_values(tmp_path):
    rows = [ROW, {**ROW, "seed": 1}, {**ROW, "arm": "gram"}, {"arm": "baseline:colour", "near_auc": 0.7}]
    write(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n")
    assert read_metrics(tmp_path, "small") == tuple(rows)


def test_a_run_without_measurements_has_no_rows(tmp_path):
    assert read_metrics(tmp_path, "small") == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 of the measurements of small is not JSON"),
        ("[1]", "line 2 .* is no JSON object"),
        (json.dumps({**ROW, "step": "600"}), "has step '600'; it must be of type int"),
        (json.dumps({**ROW, "seed": True}), "has seed 'True'"),
        (json.dumps({**ROW, "knn": None}), "has knn 'None'; it must be a string, a finite number, or a list"),
        (json.dumps({**ROW, "knn": True}), "has knn 'True'"),
        (json.dumps({**ROW, "knn": {"a": 1}}), "has knn"),
        (json.dumps({**ROW, "knn": float("nan")}), "has knn 'nan'"),
        (json.dumps({**ROW, "knn": float("-inf")}), "has knn '-inf'"),
        (json.dumps({**ROW, "knn": 10**400}), "has knn '1000"),
        (json.dumps({**ROW, "locality": [0.9, float("inf")]}), "has locality"),
        (json.dumps({**ROW, "locality": [0.9, "0.8"]}), "has locality"),
        (json.dumps({**ROW, "locality": [[0.9]]}), "has locality"),
        (json.dumps({"arm": "baseline:colour", "auc": float("nan")}), "line 2 .* has auc 'nan'"),
        ("9" * 5000, "line 2 of the measurements of small is not JSON"),
        ("[" * 100_000, "line 2 of the measurements of small is not JSON"),
        (json.dumps({key: value for key, value in ROW.items() if key != "arm"}), "has arm 'None'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, message):
    write(tmp_path, json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(CheckpointError, match=message):
        read_metrics(tmp_path, "small")


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "small").mkdir()
    path = tmp_path / "small" / "metrics.jsonl"
    path.write_bytes(b'{"arm": "\xff"}\n')
    with pytest.raises(CheckpointError, match="measurements of small are not UTF-8 text"):
        read_metrics(tmp_path, "small")
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="measurements of small cannot be read: Is a directory"):
        read_metrics(tmp_path, "small")


def test_a_file_is_read_up_to_a_size(tmp_path):
    line = json.dumps(ROW)
    write(tmp_path, line + " " * (MOST_BYTES - len(line)))
    assert read_metrics(tmp_path, "small") == (ROW,)
    with (tmp_path / "small" / "metrics.jsonl").open("a") as file:
        file.write(" ")
    with pytest.raises(CheckpointError, match="measurements of small are too many; 8,388,608 bytes"):
        read_metrics(tmp_path, "small")


def test_a_stamp_tells_of_a_change(tmp_path):
    assert metrics_stamp(tmp_path, "small") is None
    write(tmp_path, json.dumps(ROW))
    before = metrics_stamp(tmp_path, "small")
    assert metrics_stamp(tmp_path, "small") == before
    with (tmp_path / "small" / "metrics.jsonl").open("a") as file:
        file.write("\n")
    assert metrics_stamp(tmp_path, "small") != before
