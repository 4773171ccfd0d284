"""Rows of measurements come back as they were written; a damaged line is named."""

import json

import pytest

from gramviz.checkpoints.curves import read_metrics
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
        (json.dumps({key: value for key, value in ROW.items() if key != "arm"}), "has arm 'None'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, message):
    write(tmp_path, json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(CheckpointError, match=message):
        read_metrics(tmp_path, "small")
