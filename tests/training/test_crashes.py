"""What really happens to a process: killed without a word, then a disk on which nothing more can be written.

The limit on the size of files is the kernel's own: a write stops half-way, as on a full disk.
"""

import contextlib
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from gramviz.checkpoints.files import load_tensors, sha256_of

STEPS = 203  # a state is saved every 200
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
LIMIT = 16_384  # bytes; the log's lines are fewer, a state is more


def command(folder, out):
    return [
        *(sys.executable, "-m", "gramviz", "train", "--config", str(folder / "config.json")),
        *("--data", "scenes:8", "--image-size", "24", "--device", "cpu", "--float32"),
        *("--checkpoints", str(STEPS), "--out", str(folder / out)),
    ]


def trained(folder, out, **options):
    return subprocess.run(
        command(folder, out), capture_output=True, text=True, timeout=120, env=ENVIRONMENT, **options
    )


@pytest.fixture
def folder(tmp_path, config):
    config = dataclasses.replace(config, steps=STEPS)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    return tmp_path


def full_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def test_killed_and_then_without_a_disk_a_run_ends_as_if_nothing_had_been(folder):
    state = folder / "broken" / "state.safetensors"
    with (folder / "output").open("wb") as output:
        running = subprocess.Popen(
            command(folder, "broken"), stdout=output, stderr=subprocess.STDOUT, env=ENVIRONMENT
        )
        with contextlib.ExitStack() as stack:
            stack.callback(running.kill)
            until = time.monotonic() + 120
            while not state.exists():
                assert running.poll() is None, (folder / "output").read_text()
                assert time.monotonic() < until, "no state was saved"
                time.sleep(0.01)
        assert running.wait(20) == -signal.SIGKILL
    saved = sha256_of(state)

    failed = trained(folder, "broken", preexec_fn=full_disk)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "File too large" in failed.stderr
    assert sha256_of(state) == saved
    files = sorted(path.name for path in (folder / "broken").iterdir())
    assert not [name for name in files if f"{STEPS:06d}" in name or name.startswith(".")], files

    assert trained(folder, "broken").returncode == 0
    assert trained(folder, "whole").returncode == 0
    lines = [json.loads(line) for line in (folder / "broken" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    for name in (f"step_{STEPS:06d}.safetensors", "state.safetensors"):
        (broken, _), (whole, _) = (load_tensors(folder / out / name) for out in ("broken", "whole"))
        assert broken.keys() == whole.keys()
        assert all(torch.equal(broken[key], whole[key]) for key in whole), name
