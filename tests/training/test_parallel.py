"""Processes that share a batch take the steps of one process, up to rounding; alone, nothing is changed."""

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from gramviz.errors import ConfigError
from gramviz.training.config import GramConfig, LossConfig
from gramviz.training.loop import train
from gramviz.training.parallel import ALONE, Peers, joined
from gramviz.training.runs import LOG, STATE, read_state, run
from gramviz.training.state import new_state, to_tensors

CPU = torch.device("cpu")


def together(work, count, folder: Path, *arguments):
    """`work(peers, *arguments)` in `count` gloo processes: what each returned."""
    mp.spawn(_one_of_them, (work, count, folder, arguments), nprocs=count)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]


def _one_of_them(rank, work, count, folder, arguments):
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=timedelta(seconds=300))
    torch.save(work(Peers(rank, count), *arguments), folder / f"{rank}.pt")
    dist.destroy_process_group()


def trained(peers, config, source):
    """Each step's numbers, the gradients of the first step, and the whole state at the end."""
    state, numbers, gradients = new_state(config, CPU), [], {}
    for report in train(state, config, source, peers=peers):
        numbers.append({**report.losses, "total": report.total, "norm": report.gradient_norm})
        if report.step == 1:
            gradients = {k: p.grad.clone() for k, p in state.student.named_parameters() if p.grad is not None}
    return numbers, gradients, to_tensors(state)


def everything_on(config, targets, resolution, masked_views):
    """A configuration of eight images a batch in which every term weighs, and the Gram term from step 2 on."""
    return dataclasses.replace(
        config,
        batch_size=8,
        loss=LossConfig(dino=1.0, ibot=2.0, koleo=0.1, targets=targets, masked_views=masked_views),
        gram=GramConfig(weight=15.0, teacher_step=1, start=2, resolution=resolution),
    )


# the last: one view of sixteen is masked, so one of the processes has no masked patch at all
CASES = (("sinkhorn", 1, 0.5), ("softmax", 2, 0.5), ("sinkhorn", 1, 0.06))


def two_at_work(peers, folder, config, source):
    """Every case; a run in a folder; and one that goes on from what a single process left."""
    cases = [trained(peers, everything_on(config, *case), source) for case in CASES]
    wish = torch.bfloat16 if peers.rank else None  # the processes disagree
    options = {"device": CPU, "autocast": wish, "peers": peers, "checkpoints_at": (0, 6), "save_every": 2}
    runs = [
        [report.total for report in run(folder / name, config, source, **options)]
        for name in ("fresh", "begun")
    ]
    return cases, runs


def test_two_processes_take_the_steps_of_one(tmp_path, config, source):
    for report in run(tmp_path / "begun", config, source, device=CPU):
        if report.step == 2:
            break
    first, second = together(two_at_work, 2, tmp_path, tmp_path, config, source)
    for case, here, there in zip(CASES, first[0], second[0], strict=True):
        same_config = everything_on(config, *case)
        start, wanted = to_tensors(new_state(same_config, CPU)), trained(ALONE, same_config, source)
        check_equal_up_to_rounding(here, wanted, start)
        assert here[0] == there[0], case
        assert all(torch.equal(here[2][name], there[2][name]) for name in here[2]), case

    assert first[1] == second[1]
    fresh, begun = first[1]
    assert (len(fresh), len(begun)) == (6, 4)
    assert begun == pytest.approx(fresh[2:], rel=2e-3)
    for name in ("fresh", "begun"):
        lines = (tmp_path / name / LOG).read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
        state, _, autocast = read_state(tmp_path / name / STATE, CPU)
        assert (state.step, autocast) == (6, None)


def check_equal_up_to_rounding(found, wanted, start):
    """Numbers, first gradients and final state of two processes against those of one.

    Adam divides by the size of a gradient and so magnifies rounding: weights that begin half a float32 step apart
    end up to 3e-5 apart here, while training moves them by 4e-3. The first gradients have no such excuse.
    """
    assert len(found[0]) == 6
    assert {"dino", "ibot", "koleo", "gram", "total", "norm"} == found[0][-1].keys()
    for one, other in zip(found[0], wanted[0], strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in found[1].items():
        largest = float(wanted[1][name].abs().max())
        assert float((gradient - wanted[1][name]).abs().max()) <= 1e-3 * largest, name
    moved = max(float((wanted[2][k] - start[k]).abs().max()) for k in start if k.startswith("student."))
    for name, value in found[2].items():
        if not name.startswith("optimizer."):
            assert float((value - wanted[2][name]).abs().max()) < 0.03 * moved, name


def parts(peers):
    """What three processes with unequal rows make of one another's values, in float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    upstream = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    rows = [(0, 4), (4, 4), (4, 9)][peers.rank]  # the second has none
    mine = x[slice(*rows)].clone().requires_grad_()
    whole, own = peers.gather(mine)
    # each process's loss takes all rows, with a weight of its own
    ((peers.rank + 1) * whole * upstream).sum().backward()

    layer = nn.BatchNorm1d(5, track_running_stats=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2, 5))
        layer.bias.copy_(torch.linspace(-1, 1, 5))
    share = peers.share(x, 9).clone().requires_grad_()
    normed = peers.batch_norm(share, layer)
    (normed.tanh() * peers.share(upstream, 9)).sum().backward()
    peers.average_gradients(layer.parameters())
    return {
        "whole": whole.detach(),
        "own": own,
        "rows": rows,
        "gathered": mine.grad,
        "normed": normed.detach(),
        "through norm": share.grad,
        "weight": layer.weight.grad,
        "bias": layer.bias.grad,
        "views": peers.share(torch.arange(12), 6),
        "mean": peers.mean(torch.tensor([1.0 + peers.rank])),
        "half": peers.total(torch.tensor([1.0], dtype=torch.bfloat16)),
        "told": peers.from_first(f"from {peers.rank}"),
    }


def test_what_processes_tell_each_other_is_exact_and_has_the_right_gradient(tmp_path):
    found = together(parts, 3, tmp_path)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    upstream = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    layer = nn.BatchNorm1d(5, track_running_stats=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2, 5))
        layer.bias.copy_(torch.linspace(-1, 1, 5))
    whole = x.clone().requires_grad_()
    normed = layer(whole)
    (normed.tanh() * upstream).sum().backward()
    for rank, one in enumerate(found):
        assert torch.equal(one["whole"], x)
        assert (one["own"].start, one["own"].stop) == one["rows"]
        assert torch.allclose(one["gathered"], 6 * upstream[slice(*one["rows"])], atol=1e-12)  # 1 + 2 + 3
        third = slice(3 * rank, 3 * rank + 3)
        assert torch.allclose(one["normed"], normed[third], atol=1e-12)
        assert torch.allclose(one["through norm"], whole.grad[third], atol=1e-12)
        assert torch.allclose(one["weight"], layer.weight.grad / 3, atol=1e-12)
        assert torch.allclose(one["bias"], layer.bias.grad / 3, atol=1e-12)
        assert one["views"].tolist() == [2 * rank, 2 * rank + 1, 6 + 2 * rank, 7 + 2 * rank]
        assert float(one["mean"]) == 2.0
        assert (one["half"].dtype, float(one["half"])) == (torch.float32, 3.0)
        assert one["told"] == "from 0"


def test_a_batch_that_cannot_be_shared_equally_is_refused(config, source):
    with pytest.raises(ConfigError, match="batch_size is 4; it must be a multiple of the 3 processes"):
        next(train(new_state(config, CPU), config, source, peers=Peers(0, 3)))


def test_outside_of_torchrun_one_is_alone():
    with joined(CPU) as (peers, device):
        assert (peers, device) == (ALONE, CPU)


def test_a_device_on_which_processes_cannot_speak_is_named(monkeypatch):
    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: True)
    with pytest.raises(ConfigError, match="not on mps"), joined(torch.device("mps")):
        pass
