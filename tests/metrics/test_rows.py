"""Files of rows: added to by several processes, broken off, or of another protocol."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gramviz.errors import ConfigError
from gramviz.metrics.rows import append_row, protocol, read_rows, row_key, row_line

OURS = protocol(3, 20, 2000, None)


def test_rows_are_added_whole_and_read_back(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    assert read_rows(path, OURS) == []
    rows = [{"run": "a", "seed": 1, "arm": "plain", "step": step, **OURS} for step in range(3)]
    for row in rows:
        append_row(path, row)
    assert read_rows(path, OURS) == rows
    assert path.read_text() == "".join(json.dumps(row) + "\n" for row in rows)
    assert [one.name for one in path.parent.iterdir()] == ["metrics.jsonl"]
    assert row_key(rows[2]) == ("a", 1, "plain", 2)


def test_several_add_to_one_file_and_no_row_is_lost(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": step, "locality": [0.125] * step} for step in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: append_row(path, row), rows))
    assert sorted(read_rows(path, {}), key=lambda row: row["step"]) == rows


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_cut_off_in_writing_is_no_row_and_is_taken_away(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    rows = [{"run": "a", "step": step} for step in range(3)]
    for row in rows:
        append_row(path, row)
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_rows(path, {}) == rows[:2]
    append_row(path, rows[2])
    assert read_rows(path, {}) == rows
    path.write_text('{"run": ')
    assert read_rows(path, {}) == []


@pytest.mark.parametrize("text", ["no JSON\n", "3\n", "[]\n", '{"run": "a"}\nnull\n', '{"a"\n{}\n', "a note"])
def test_what_is_no_file_of_rows_is_told(tmp_path, text):
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"'metrics\.jsonl' is not a file of measured rows"):
        read_rows(path, OURS)


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (protocol(4, 20, 2000, None), "pictures 4, not 3"),
        (protocol(3, 10, 2000, None), "patches 10, not 20"),
        (protocol(3, 20, 100, None), "held_out 100, not 2000"),
        (protocol(3, 20, 2000, torch.bfloat16), "knn_dtype bfloat16, not float32"),
    ],
)
def test_rows_of_another_protocol_are_not_mixed_with(tmp_path, theirs, told):
    path = tmp_path / "metrics.jsonl"
    older = [{"run": "a"}, {"run": "a", "pictures": 3}]  # which told less, or nothing
    for row in (*older, protocol(3, 20, None, None)):  # the last without classes
        append_row(path, row)
    assert read_rows(path, OURS)[:2] == older
    append_row(path, theirs)
    with pytest.raises(ConfigError, match=f"was measured with {told}"):
        read_rows(path, OURS)


def test_a_number_that_is_not_finite_is_absent_and_null_in_a_list():
    row = {
        "run": "a",
        "seed": 0,
        "auc": 0.5,
        "knn": math.nan,
        "b": -math.inf,
        "locality": [1.0, math.nan, None],
    }
    assert json.loads(row_line(row)) == {"run": "a", "seed": 0, "auc": 0.5, "locality": [1.0, None, None]}
