"""Every supported family against plain timm, our own against a forward pass written out in numpy."""

import json
import math
import socket

import numpy as np
import pytest
import timm
import torch
from torch import Tensor
from torch.testing import assert_close

from gramviz.errors import ConfigError, InputError
from gramviz.vit.backbones import (
    SUPPORTED,
    DenseBackbone,
    NetworkConfig,
    SupportedFamily,
    Tokens,
    create_backbone,
    depth_of,
)

FAMILIES = pytest.mark.parametrize("family", SUPPORTED, ids=lambda family: family.name)
PREFIX = {"DINOv3": 5, "DINOv2": 1, "DINOv2 with registers": 5, "DINO": 1, "MAE": 1, "augreg": 1, "SigLIP": 0,
          "gramviz": 5}  # fmt: skip
PUBLISHED = {
    "DINOv3": "vit_small_patch16_dinov3.lvd1689m",
    "DINOv2": "vit_small_patch14_dinov2.lvd142m",
    "DINOv2 with registers": "vit_small_patch14_reg4_dinov2.lvd142m",
    "DINO": "vit_small_patch16_224.dino",
    "MAE": "vit_base_patch16_224.mae",
    "augreg": "vit_small_patch16_224.augreg_in1k",
    "SigLIP": "vit_base_patch16_siglip_224.webli",
}


def images(backbone: DenseBackbone, rows: int, columns: int, seed: int = 1) -> Tensor:
    shape = (2, 3, rows * backbone.patch_size, columns * backbone.patch_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def plain_timm(backbone: DenseBackbone, family: SupportedFamily):
    """Timm's own model of the same options with the same weights, and the pixels it would be given."""
    options = {**family.config.options, "embed_dim": 32, "depth": 3, "num_heads": 2}
    options["img_size"] = 4 * backbone.patch_size
    model = timm.create_model(family.config.architecture, **options).eval()
    model.load_state_dict(backbone.network.state_dict())
    mean, std = np.array(family.config.mean), np.array(family.config.std)

    def normalised(pixels: Tensor) -> Tensor:
        array = (pixels.double().permute(0, 2, 3, 1).numpy() - mean) / std
        return torch.from_numpy(array).permute(0, 3, 1, 2).float()

    return model, normalised


def joined(tokens: Tokens, backbone: DenseBackbone) -> Tensor:
    prefix = [] if backbone.cls_is_mean else [tokens.cls[:, None], tokens.registers]
    return torch.cat([*prefix, tokens.patches], dim=1)


@FAMILIES
@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (6, 2), (1, 1)], ids=str)
def test_last_layer_is_timms_forward_features(build, family, grid):
    backbone = build(family)
    model, normalised = plain_timm(backbone, family)
    pixels = images(backbone, *grid)
    with torch.inference_mode():
        (tokens,) = backbone(pixels)
        expected = model.forward_features(normalised(pixels))
    assert tokens.patches.shape == (2, grid[0] * grid[1], 32)
    assert tokens.registers.shape == (2, max(PREFIX[family.name] - 1, 0), 32)
    assert backbone.prefix_tokens == PREFIX[family.name]
    assert_close(joined(tokens, backbone), expected, rtol=1e-4, atol=1e-5)
    if backbone.cls_is_mean:
        assert_close(tokens.cls, expected.mean(dim=1), rtol=1e-4, atol=1e-5)


@FAMILIES
@pytest.mark.parametrize("norm", [True, False])
def test_inner_layers_are_timms_forward_intermediates(build, family, norm):
    backbone = build(family)
    model, normalised = plain_timm(backbone, family)
    pixels = images(backbone, 2, 3)
    with torch.inference_mode():
        found = backbone(pixels, layers=(2, 0, -2), norm=norm)
        expected = model.forward_intermediates(
            normalised(pixels),
            indices=[0, 1, 2],
            return_prefix_tokens=PREFIX[family.name] > 0,
            norm=norm,
            output_fmt="NLC",
            intermediates_only=True,
        )
    assert len(found) == 3
    for tokens, layer in zip(found, (2, 0, 1), strict=True):
        if PREFIX[family.name]:
            patches, prefix = expected[layer]
            whole = torch.cat([prefix, patches], dim=1)
        else:
            whole = expected[layer]
        assert_close(joined(tokens, backbone), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [0, -1])
@FAMILIES
def test_the_final_norm_can_follow_later(build, family, layer):
    backbone = build(family)
    pixels = images(backbone, 3, 4)
    with torch.no_grad():
        (raw,) = backbone(pixels, layers=(layer,), norm=False)
        (normed,) = backbone(pixels, layers=(layer,), norm=True)
        found = backbone.normed(raw)
    assert all(torch.equal(one, other) for one, other in zip(found, normed, strict=True))
    assert not torch.equal(raw.patches, normed.patches)


def test_a_depth_is_told_without_memory_for_the_weights(build):
    small = build(SUPPORTED[-1])
    huge = NetworkConfig("vit_small_patch16_dinov3", {"embed_dim": 2**14, "num_heads": 128, "depth": 100})
    assert depth_of(SUPPORTED[-1].config) == 6
    assert depth_of(NetworkConfig("vit_small_patch16_dinov3")) == 12
    assert depth_of(huge) == 100  # 1.3 TB in float32
    assert small.depth == 3


@FAMILIES
def test_a_mask_replaces_embedded_patches_and_nothing_else(build, family):
    backbone = build(family)
    model, normalised = plain_timm(backbone, family)
    pixels = images(backbone, 3, 4)
    token = torch.randn(32, generator=torch.Generator().manual_seed(3))
    mask = torch.rand(2, 12, generator=torch.Generator().manual_seed(4)) < 0.4
    # the same replacement, made from outside in timm's own forward pass
    handle = model.patch_embed.register_forward_hook(
        lambda module, given, embedded: torch.where(mask.reshape(2, 3, 4, 1), token, embedded)
    )
    with torch.inference_mode():
        (masked,) = backbone(pixels, mask=mask, mask_token=token)
        expected = model.forward_features(normalised(pixels))
        (none,) = backbone(pixels, mask=torch.zeros_like(mask), mask_token=token)
        (plain,) = backbone(pixels)
    handle.remove()
    assert_close(joined(masked, backbone), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(none, plain, strict=True))
    assert not torch.allclose(masked.patches, plain.patches, atol=1e-2)


@FAMILIES
def test_gradients_reach_every_weight_and_the_mask_token(build, family):
    backbone = build(family, fused_attention=False).train()
    token = torch.zeros(32, requires_grad=True)
    mask = torch.tensor([[True, False] * 2] * 2)
    (tokens,) = backbone(images(backbone, 2, 2), mask=mask, mask_token=token)
    (tokens.cls.square().sum() + tokens.patches.square().sum()).backward()
    assert token.grad is not None
    assert token.grad.abs().max() > 0
    without = {name for name, weight in backbone.named_parameters() if weight.grad is None}
    assert all(name.startswith("network.attn_pool") for name in without)  # SigLIP's head, which pools patches


@FAMILIES
def test_plain_attention_gives_the_same_numbers(build, family):
    fused, plain = build(family), build(family, fused_attention=False)
    flags = [m.fused_attn for m in plain.network.modules() if hasattr(m, "fused_attn")]
    assert flags
    assert not any(flags)
    pixels = images(fused, 3, 2)
    with torch.inference_mode():
        for one, other in zip(fused(pixels)[0], plain(pixels)[0], strict=True):
            assert_close(one, other, rtol=1e-4, atol=1e-4)


@FAMILIES
def test_statistics_are_those_of_the_published_weights(family):
    published = timm.get_pretrained_cfg(PUBLISHED.get(family.name, PUBLISHED["DINOv3"]))
    assert family.config.mean == tuple(published.mean)
    assert family.config.std == tuple(published.std)


def numpy_forward(weights: dict[str, np.ndarray], image: np.ndarray, patch: int, heads: int) -> np.ndarray:
    """A ViT in the style of DINOv3 (arXiv 2508.10104) in float64; image (3, H, W) is already normalised."""
    width = weights["cls_token"].shape[-1]
    head = width // heads
    rows, columns = image.shape[1] // patch, image.shape[2] // patch
    cut = image.reshape(3, rows, patch, columns, patch).transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    x = cut @ weights["patch_embed.proj.weight"].reshape(width, -1).T + weights["patch_embed.proj.bias"]
    x = np.concatenate([weights["cls_token"][0], weights["reg_token"][0], x])
    # axial RoPE: patch centres in -1..1, periods 100 ** (4 j / head), each pair is (c, c + head / 2)
    place = [2 * (np.arange(count) + 0.5) / count - 1 for count in (rows, columns)]
    centres = np.stack(np.meshgrid(*place, indexing="ij"), -1).reshape(-1, 2)
    periods = 100.0 ** (4 * np.arange(head // 4) / head)
    angles = (2 * math.pi * centres[:, :, None] / periods).reshape(len(centres), head // 2)

    def rotated(t: np.ndarray) -> np.ndarray:  # (tokens, heads, head)
        first, second = t[5:, :, : head // 2], t[5:, :, head // 2 :]
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        return np.concatenate(
            [t[:5], np.concatenate([first * cos - second * sin, second * cos + first * sin], 2)]
        )

    def norm(t: np.ndarray, name: str) -> np.ndarray:
        centred = t - t.mean(-1, keepdims=True)
        return (
            centred / np.sqrt(t.var(-1, keepdims=True) + 1e-5) * weights[f"{name}.weight"]
            + weights[f"{name}.bias"]
        )

    def linear(t: np.ndarray, name: str, bias: bool = True) -> np.ndarray:
        return t @ weights[f"{name}.weight"].T + (weights[f"{name}.bias"] if bias else 0)

    for block in (f"blocks.{index}" for index in range(3)):
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv", bias=False).reshape(-1, 3, heads, head)
        q, k, v = rotated(qkv[:, 0]), rotated(qkv[:, 1]), qkv[:, 2]
        scores = np.einsum("ihc,jhc->hij", q, k) / math.sqrt(head)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("hij,jhc->ihc", scores / scores.sum(-1, keepdims=True), v).reshape(len(x), width)
        x = x + weights[f"{block}.gamma_1"] * linear(mixed, f"{block}.attn.proj")
        inner = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = x + weights[f"{block}.gamma_2"] * linear(inner, f"{block}.mlp.fc2")
    return norm(x, "norm")


@pytest.mark.parametrize("grid", [(3, 4), (5, 2)], ids=str)
def test_our_own_network_is_what_the_paper_says(build, grid):
    backbone = build(SUPPORTED[-1])
    assert (backbone.patch_size, backbone.prefix_tokens, backbone.register_tokens) == (8, 5, 4)
    pixels = images(backbone, *grid)
    with torch.inference_mode():
        (tokens,) = backbone(pixels)
    weights = {name: value.double().numpy() for name, value in backbone.network.state_dict().items()}
    centred = (pixels[1].double().numpy() - np.reshape(backbone.mean, (3, 1, 1))) / np.reshape(
        backbone.std, (3, 1, 1)
    )
    expected = numpy_forward(weights, centred, patch=8, heads=2)
    np.testing.assert_allclose(joined(tokens, backbone)[1].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_state_dict_is_timms_under_one_prefix(build):
    backbone = build(SUPPORTED[-1])
    assert set(backbone.state_dict()) == {f"network.{name}" for name in backbone.network.state_dict()}


def test_mixed_precision_keeps_the_mask_and_the_shapes(build):
    backbone = build(SUPPORTED[-1])
    mask = torch.ones(2, 4, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        (tokens,) = backbone(images(backbone, 2, 2), mask=mask, mask_token=torch.ones(32))
        (other,) = backbone(images(backbone, 2, 2, seed=9), mask=mask, mask_token=torch.ones(32))
    assert tokens.patches.shape == (2, 4, 32)
    assert torch.equal(tokens.patches, other.patches)  # nothing of the image is left


def test_nothing_is_fetched(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a network was fetched")

    monkeypatch.setattr(socket, "socket", refuse)
    create_backbone(SUPPORTED[-1].config)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3, 20, 16), "20 x 16 pixels does not divide into 8-pixel"),
        ((1, 3, 0, 8), "does not divide"),
        ((1, 1, 16, 16), "float tensor"),
        ((3, 16, 16), "float tensor"),
    ],
)
def test_images_of_a_wrong_shape_are_refused(build, shape, words):
    with pytest.raises(InputError, match=words):
        build(SUPPORTED[-1])(torch.zeros(shape))


def test_wrong_arguments_are_refused(build):
    backbone = build(SUPPORTED[-1])
    pixels, token, mask = images(backbone, 2, 2), torch.zeros(32), torch.zeros(2, 4, dtype=torch.bool)
    for layer in (3, -4):
        with pytest.raises(InputError, match=f"Layer {layer} does not exist; .* 0 to 2"):
            backbone(pixels, layers=(layer,))
    with pytest.raises(InputError, match="float tensor"):
        backbone((pixels * 255).byte())
    with pytest.raises(InputError, match="together"):
        backbone(pixels, mask=mask)
    with pytest.raises(InputError, match="together"):
        backbone(pixels, mask_token=token)
    with pytest.raises(InputError, match="bool of shape"):
        backbone(pixels, mask=mask[:, :3], mask_token=token)
    with pytest.raises(InputError, match="bool of shape"):
        backbone(pixels, mask=mask.float(), mask_token=token)
    with pytest.raises(InputError, match=r"shape \(32,\)"):
        backbone(pixels, mask=mask, mask_token=token[:5])


def test_configuration_survives_json():
    for family in SUPPORTED:
        assert NetworkConfig.from_dict(json.loads(json.dumps(family.config.to_dict()))) == family.config


def test_options_are_complete_for_plain_timm():
    assert NetworkConfig("vit_small_patch16_224", {"depth": 1}).options == {
        "depth": 1,
        "num_classes": 0,
        "dynamic_img_size": True,
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"architecture": "no_such_vit"}, "'no_such_vit' is not an architecture"),
        ({"architecture": "hf-hub:someone/model"}, "not an architecture"),
        ({"architecture": "local-dir:/etc"}, "not an architecture"),
        ({"architecture": None}, "not an architecture"),
        ({"options": {"pretrained": True}}, "'pretrained' cannot be set"),
        ({"options": {"checkpoint_path": "x"}}, "'checkpoint_path' cannot be set"),
        ({"options": {"num_classes": 10}}, "'num_classes' cannot be set to 10"),
        ({"options": {"patch_drop_rate": 0.5}}, "'patch_drop_rate' cannot be set"),
        ({"options": [1]}, "exactly the keys"),
        ({"mean": [0.5, 0.5]}, "mean must be three numbers"),
        ({"std": [0.5, 0.5, 0]}, "std above zero in each channel"),
        ({"mean": [0.5, float("nan"), 0]}, "must be finite"),
        ({"std": ["a", "b", "c"]}, "std must be three numbers"),
        ({"surplus": 1}, "exactly the keys"),
    ],
)
def test_bad_configurations_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        NetworkConfig.from_dict({**SUPPORTED[-1].config.to_dict(), **values})


@pytest.mark.parametrize(
    ("architecture", "options", "words"),
    [
        ("resnet18", {}, "cannot build resnet18"),
        ("swin_tiny_patch4_window7_224", {"depths": [1, 1, 1, 1]}, "is a SwinTransformer, not a plain"),
        ("vit_small_patch16_224", {"no_such_option": 1}, "cannot build .*no_such_option"),
        ("vit_small_patch16_224", {"embed_dim": 33}, "cannot build"),
        ("vit_small_patch16_224", {"patch_size": (8, 16), "depth": 1}, "Patches must be square, not 8 x 16"),
    ],
)
def test_networks_that_cannot_be_are_refused(architecture, options, words):
    with pytest.raises(ConfigError, match=words):
        create_backbone(NetworkConfig(architecture, options))


def test_any_two_calls_start_from_the_global_generator():
    config = NetworkConfig("vit_small_patch16_dinov3", {"embed_dim": 32, "depth": 1, "num_heads": 2})
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(create_backbone(config).network.patch_embed.proj.weight)
    assert torch.equal(networks[0], networks[1])
    assert not torch.equal(networks[0], networks[2])
    assert create_backbone(config).training
