"""Features of a picture against plain timm on the same tensor."""

import numpy as np
import pytest
import timm
import torch
from torch.testing import assert_close

from gramviz.errors import InputError
from gramviz.vit.backbones import SUPPORTED
from gramviz.vit.features import extract
from gramviz.vit.images import picture_from_array, to_tensor

PICTURE = picture_from_array(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
OURS, SIGLIP = SUPPORTED[-1], SUPPORTED[-2]


def test_features_are_timms_and_lie_as_the_picture_does(build):
    backbone = build(OURS)
    features = extract(backbone, PICTURE, 6, layer=-2, norm=False)
    plain = timm.create_model(
        OURS.config.architecture,
        **{**OURS.config.options, "embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 32},
    ).eval()
    plain.load_state_dict(backbone.network.state_dict())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OURS.config.mean, OURS.config.std))
    with torch.no_grad():
        (patches, prefix), *_ = plain.forward_intermediates(
            (to_tensor(PICTURE, (4, 6), 8)[None] - mean) / std,
            indices=[1],
            return_prefix_tokens=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
    assert_close(features.patches, patches[0].permute(1, 2, 0), rtol=1e-4, atol=1e-5)  # row 0 is the top
    assert_close(features.cls, prefix[0, 0], rtol=1e-4, atol=1e-5)
    assert_close(features.registers, prefix[0, 1:], rtol=1e-4, atol=1e-5)


def test_what_was_done_is_told(build):
    features = extract(build(OURS), PICTURE, 6)
    assert features.patches.shape == (4, 6, 32)
    assert features.cls.shape == (32,)
    assert features.registers.shape == (4, 32)
    assert all(t.dtype == torch.float32 for t in (features.patches, features.cls, features.registers))
    assert features.source_size == (90, 60)
    assert (features.patch_size, features.layer, features.norm, features.cls_is_mean) == (8, 2, True, False)


@pytest.mark.parametrize("family", [OURS, SIGLIP], ids=lambda family: family.name)
@pytest.mark.parametrize("norm", [True, False])
def test_lengths_are_those_before_the_final_norm(build, family, norm):
    features = extract(build(family), PICTURE, 6, norm=norm)
    raw = extract(build(family), PICTURE, 6, norm=False)
    expected = np.linalg.norm(raw.patches.double().numpy(), axis=-1)
    np.testing.assert_allclose(features.token_lengths.numpy(), expected, rtol=1e-6)
    registers = np.linalg.norm(raw.registers.double().numpy(), axis=-1)
    np.testing.assert_allclose(features.register_lengths.numpy(), registers, rtol=1e-6)
    assert features.token_lengths.shape == (4, 6)
    assert features.register_lengths.shape == (len(raw.registers),)
    assert torch.equal(features.patches, raw.patches) is not norm


def test_a_network_without_cls_says_so(build):
    features = extract(build(SIGLIP), PICTURE, 3, layer=0)
    assert features.cls_is_mean
    assert features.registers.shape == (0, 32)
    assert features.layer == 0
    assert_close(features.cls, features.patches.mean(dim=(0, 1)))


def test_a_network_without_a_final_norm_says_so(build):
    backbone = build(OURS, use_post_transformer_norm=False)
    assert not backbone.has_final_norm
    assert not extract(backbone, PICTURE, 3, norm=True).norm


@pytest.mark.parametrize("training", [True, False])
def test_the_backbone_gets_its_mode_back_and_dropout_is_off(build, training):
    backbone = build(OURS, proj_drop_rate=0.5).train(training)
    first, second = (extract(backbone, PICTURE, 3) for _ in range(2))
    assert torch.equal(first.patches, second.patches)
    assert backbone.training is training
    with pytest.raises(InputError):
        extract(backbone, PICTURE, 3, layer=5)
    assert backbone.training is training


def test_features_can_be_used_for_gradients(build):
    patches = extract(build(OURS), PICTURE, 3).patches
    weight = torch.ones(32, requires_grad=True)
    (patches @ weight).sum().backward()
    assert_close(weight.grad, patches.sum(dim=(0, 1)))


def test_a_chosen_device_is_used(build):
    backbone = build(OURS)
    assert_close(extract(backbone, PICTURE, 3, device="cpu").patches, extract(backbone, PICTURE, 3).patches)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("family", SUPPORTED, ids=lambda family: family.name)
def test_cuda_agrees_with_the_cpu(build, family):
    backbone = build(family)
    here = extract(backbone, PICTURE, 4)
    there = extract(backbone, PICTURE, 4, device="cuda")
    assert there.patches.device.type == "cpu"
    assert_close(there.patches, here.patches, rtol=1e-2, atol=1e-2)
    assert_close(there.cls, here.cls, rtol=1e-2, atol=1e-2)
