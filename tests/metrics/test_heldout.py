"""Held-out measures against finite differences and numpy's SVD, on a network of double precision."""

import numpy as np
import pytest
import torch
from torch import nn

from gramviz.errors import InputError
from gramviz.metrics.heldout import Pupil, heldout_measures
from gramviz.metrics.watching import watched_inputs, watched_outputs
from gramviz.vit.backbones import NetworkConfig, create_backbone

NETWORK = NetworkConfig(
    "vit_small_patch16_dinov3",
    {"patch_size": 8, "embed_dim": 8, "depth": 4, "num_heads": 2, "img_size": 16, "init_values": 1.0},
)
MASK = torch.tensor(
    [[True, False, True, False], [False] * 4, [False, True, True, True], [True, False, False, False]]
)


@pytest.fixture
def student():
    torch.manual_seed(0)
    return create_backbone(NETWORK).double()


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    return [torch.tensor(rng.integers(0, 256, (2, 3, 16, 16)), dtype=torch.uint8) for _ in range(2)]


def pupil_of(student):
    """Two views an image, the second mirrored; then local views, as training does."""
    torch.manual_seed(1)
    heads = [nn.Linear(8, 5).double() for _ in range(2)]
    read = torch.randn(8, dtype=torch.float64)

    def losses(images, number):
        views = torch.cat([images, images.flip(-1)]).double() / 255 / (number + 1)
        (tokens,) = student(views)
        (local,) = student(views[:, :, :8, :8])
        for head in heads:
            head(tokens.patches[MASK])
        joined = tokens.cls - tokens.cls.mean(0)  # images of a batch touch each other
        return {"dino": (joined @ read).square().sum() + local.cls.sum(), "koleo": tokens.cls.sum()}

    return Pupil(student, *heads, losses, lambda logits: torch.softmax(logits, -1), 0.1)


def gradients_by_differences(student, pupil, images, number, block):
    """dL/dH at the input of a block, entry by entry, by central differences: [2 B, P, d]."""
    found = np.zeros((4, 4, 8))
    step = 1e-5
    for index in np.ndindex(found.shape):
        values = []
        for sign in (1, -1):

            def push(_module, inputs, sign=sign, index=index):
                tokens = inputs[0]
                if tokens.shape[1] != 5 + 4:  # the local views have one patch
                    return inputs
                moved = tokens.clone()
                moved[index[0], 5 + index[1], index[2]] += sign * step
                return (moved, *inputs[1:])

            handle = student.network.blocks[block].register_forward_pre_hook(push)
            with torch.no_grad():
                values.append(float(pupil.losses(images, number)["dino"]))
            handle.remove()
        found[index] = (values[0] - values[1]) / (2 * step)
    return found


def test_gradients_at_the_input_of_blocks(student, batches):
    pupil = pupil_of(student)
    row = heldout_measures(pupil, batches[:1])
    assert {name for name in row if name.startswith("global_top1") and not name.endswith("error")} == {
        f"global_top1_b{block}" for block in (1, 2, 3)
    }
    for block in (1, 3):
        d = gradients_by_differences(student, pupil, batches[0], 0, block)
        shares = np.linalg.svd(d, compute_uv=False) ** 2
        tops = shares[:, 0] / shares.sum(1)
        commons = 4 * (d.mean(1) ** 2).sum(1) / (d**2).sum((1, 2))
        tops, commons = (one.reshape(2, 2).mean(0) for one in (tops, commons))  # views are two rows apart
        assert row[f"global_top1_b{block}"] == pytest.approx(np.mean(tops), rel=1e-4)
        assert row[f"global_common_b{block}"] == pytest.approx(np.mean(commons), rel=1e-4)
        assert row[f"global_top1_b{block}_error"] == pytest.approx(np.std(tops, ddof=1) / 2**0.5, rel=1e-3)


def test_losses_are_means_and_residuals_are_of_all_batches(student, batches):
    pupil = pupil_of(student)
    row = heldout_measures(pupil, batches)
    rows, dino = [], []
    for number, images in enumerate(batches):
        with torch.no_grad(), watched_outputs([pupil.student_head, pupil.teacher_head]) as seen:
            dino.append(float(pupil.losses(images, number)["dino"]))
        mine, theirs = (calls[0].numpy() for calls in seen)
        p, t = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True) for logits in (mine / 0.1, theirs))
        rows.append(p - t)
    shares = np.linalg.svd(np.concatenate(rows), compute_uv=False) ** 2
    assert len(np.concatenate(rows)) == 2 * int(MASK.sum())
    assert row["residual_top1"] == pytest.approx(shares[0] / shares.sum(), rel=1e-5)
    assert row["heldout_dino"] == pytest.approx(np.mean(dino), rel=1e-5)
    assert "heldout_koleo" in row
    assert "heldout_gram" not in row


def test_nothing_is_left_behind(student, batches):
    before = {name: value.clone() for name, value in student.state_dict().items()}
    heldout_measures(pupil_of(student), batches)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in student.modules()]
    assert sum(hooks) == 0


def test_a_shallow_network_has_fewer_blocks(batches):
    torch.manual_seed(0)
    shallow = create_backbone(NetworkConfig(NETWORK.architecture, {**NETWORK.options, "depth": 1})).double()
    row = heldout_measures(pupil_of(shallow), batches)
    assert {name for name in row if "top1_b" in name} == {"global_top1_b0", "global_top1_b0_error"}


def test_no_batch_is_refused(student):
    with pytest.raises(InputError, match="no held-out batch"):
        heldout_measures(pupil_of(student), [])


def test_watching_ends_with_the_block_even_after_an_error():
    layer = nn.Linear(2, 2)
    with watched_inputs([layer]) as seen, watched_outputs([layer]) as out:
        first = layer(torch.ones(1, 2))
    layer(torch.zeros(1, 2))
    assert [len(calls) for calls in (*seen, *out)] == [1, 1]
    assert torch.equal(seen[0][0], torch.ones(1, 2))
    assert out[0][0] is first
    with pytest.raises(RuntimeError), watched_inputs([layer]), watched_outputs([layer]):
        layer(torch.ones(1, 3))
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
