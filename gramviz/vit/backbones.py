"""Any timm vision transformer as a dense backbone: images in, CLS, registers and patch tokens out.

timm keeps the positions (learned embeddings or RoPE), the blocks and the norms; what is added is the choice
of layers and of the final norm, a mask token before the blocks (iBOT), own pixel statistics, and models
without a CLS token. This module knows no weight files and never downloads: every network starts from random
weights.

Letters: B images of H x W pixels, P patches in row-major order, R registers, d the width of a token.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from gramviz.errors import ConfigError, InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

# A dense backbone has no classifier and takes any image size; with both, plain timm reads the same weights.
_ALWAYS: Mapping[str, Any] = {"num_classes": 0, "dynamic_img_size": True}
# What would fetch weights, or change the grid of patches or the channels, has no place in a configuration.
_REFUSED = frozenset(
    {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "use_naflex",
     "patch_drop_rate", "dynamic_img_pad", "in_chans"}
)  # fmt: skip

Triple = tuple[float, float, float]


def _triple(name: str, values: Sequence[float]) -> Triple:
    """`values` as three floats, or a ConfigError that names them."""
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} must be three numbers, one a colour channel, not {values!r}.") from None
    return red, green, blue


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is, apart from its weights.

    architecture: a name in timm's registry, such as "vit_small_patch16_dinov3".
    options: exactly the keyword arguments of `timm.create_model(architecture, **options)`; `num_classes=0`
        and `dynamic_img_size=True` are filled in, so that plain timm with these options can
        read the same state dict.
    mean, std: statistics of the pixels in 0..1 by which the network's input is normalised, one a channel.

    Raises ConfigError for an unknown architecture, an option that would fetch weights, or bad statistics.
    """

    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD

    def __post_init__(self) -> None:
        if not isinstance(self.architecture, str) or not timm.is_model(self.architecture):
            raise ConfigError(f"{self.architecture!r} is not an architecture of timm {timm.__version__}.")
        for name in self.options:
            if name in _REFUSED or (name in _ALWAYS and self.options[name] != _ALWAYS[name]):
                raise ConfigError(f"Network option {name!r} cannot be set to {self.options[name]!r} here.")
        object.__setattr__(self, "options", {**self.options, **_ALWAYS})
        object.__setattr__(self, "mean", _triple("mean", self.mean))
        object.__setattr__(self, "std", _triple("std", self.std))
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise ConfigError(
                f"mean and std must be finite, std above zero in each channel, not {self.mean} and {self.std}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` is the inverse."""
        return {
            "architecture": self.architecture,
            "options": dict(self.options),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetworkConfig":
        """The configuration that `to_dict` wrote; ConfigError for missing or unknown keys or wrong kinds."""
        known = {"architecture", "options", "mean", "std"}
        if set(values) != known or not isinstance(values["options"], Mapping):
            raise ConfigError(f"A network configuration has exactly the keys {', '.join(sorted(known))}.")
        return cls(values["architecture"], values["options"], values["mean"], values["std"])


class Tokens(NamedTuple):
    """The tokens of one layer: cls (B, d), registers (B, R, d), patches (B, P, d) in row-major order."""

    cls: Tensor
    registers: Tensor
    patches: Tensor


class DenseBackbone(nn.Module):
    """A timm ViT that returns all its tokens, at any image size that is a multiple of the patch.

    network: the timm model; its state dict is what plain timm reads.
    patch_size: pixels a side; prefix_tokens: CLS and registers; register_tokens: R; width: d; depth: blocks.
    mean, std: pixel statistics, one a channel.
    cls_is_mean: True where the network has no CLS token, so that `cls` is the mean of the patches.
    has_final_norm: False where timm's model has no norm on its tokens, so that `norm` changes nothing.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, network: Eva | VisionTransformer, mean: Triple, std: Triple) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = mean, std
        self.register_buffer("pixel_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.patch_size: int = network.patch_embed.patch_size[0]
        self.cls_is_mean: bool = network.cls_token is None
        self.prefix_tokens: int = network.num_prefix_tokens
        self.register_tokens: int = self.prefix_tokens - (not self.cls_is_mean)
        self.width: int = network.embed_dim
        self.depth: int = len(network.blocks)
        self.has_final_norm: bool = not isinstance(network.norm, nn.Identity)

    def forward(
        self,
        images: Tensor,
        *,
        layers: Sequence[int] = (-1,),
        norm: bool = True,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> list[Tokens]:
        """The tokens after each of `layers`, in the order asked for.

        images: (B, 3, H, W) in 0..1, float; H and W are multiples of the patch size.
        layers: block indices, 0..depth-1, or negative ones from the end.
        norm: whether the final norm is applied, to inner layers too (as in timm's forward_intermediates).
        mask: (B, P) bool; where True, the embedded patch is replaced by mask_token (d,) before positions and
            blocks, as iBOT (arXiv 2111.07832) masks. Both or neither are given.
        Raises InputError for shapes or layers that do not fit.
        """
        wanted = [self.layer_index(layer) for layer in layers]
        self._check(images, mask, mask_token)
        pixels = (images - self.pixel_mean) / self.pixel_std
        embedded = self.network.patch_embed(pixels)  # (B, rows, columns, d)
        if mask is not None and mask_token is not None:
            replaced = mask.reshape(*embedded.shape[:3], 1)
            embedded = torch.where(replaced, mask_token.to(embedded.dtype), embedded)
        tokens, ropes = self._with_positions(embedded)  # (B, prefix + P, d)
        found: dict[int, Tokens] = {}
        for index in range(max(wanted, default=-1) + 1):
            block = self.network.blocks[index]
            tokens = block(tokens) if ropes is None else block(tokens, rope=ropes[index])
            if index in wanted:
                found[index] = self._split(self.network.norm(tokens) if norm else tokens)
        return [found[index] for index in wanted]

    def normed(self, tokens: Tokens) -> Tokens:
        """The final norm applied to tokens that were taken without it; the same values as `norm=True` gives."""
        norm = self.network.norm
        patches = norm(tokens.patches)
        cls = patches.mean(dim=1) if self.cls_is_mean else norm(tokens.cls)
        return Tokens(cls, norm(tokens.registers), patches)

    def _with_positions(self, embedded: Tensor) -> tuple[Tensor, Sequence[Tensor] | None]:
        """Tokens with prefix and positions (B, prefix + P, d), and each block's rotary embedding or None."""
        positioned = self.network._pos_embed(embedded)
        if not isinstance(positioned, tuple):
            return self.network.norm_pre(positioned), None
        tokens, rope = positioned
        tokens = self.network.norm_pre(tokens)
        if rope is None or self.network.rope_mixed:
            return tokens, rope
        return tokens, [rope] * self.depth

    def _split(self, tokens: Tensor) -> Tokens:
        """(B, prefix + P, d) taken apart; the mean patch stands in for a CLS token that is not there."""
        patches = tokens[:, self.prefix_tokens :]
        cls = patches.mean(dim=1) if self.cls_is_mean else tokens[:, 0]
        return Tokens(cls, tokens[:, self.prefix_tokens - self.register_tokens : self.prefix_tokens], patches)

    def layer_index(self, layer: int) -> int:
        """`layer` counted from the start, 0..depth-1; InputError where there is no such block."""
        if not -self.depth <= layer < self.depth:
            raise InputError(f"Layer {layer} does not exist; this network has layers 0 to {self.depth - 1}.")
        return layer % self.depth

    def _check(self, images: Tensor, mask: Tensor | None, mask_token: Tensor | None) -> None:
        shape, patch = tuple(images.shape), self.patch_size
        if len(shape) != 4 or shape[1] != 3 or not images.is_floating_point():
            raise InputError(
                f"Images must be a float tensor (B, 3, H, W), not {images.dtype} of shape {shape}."
            )
        if shape[2] % patch or shape[3] % patch or not min(shape[2:]):
            raise InputError(
                f"An image of {shape[2]} x {shape[3]} pixels does not divide into {patch}-pixel patches."
            )
        if (mask is None) != (mask_token is None):
            raise InputError("A mask and a mask token are given together or not at all.")
        expected = (shape[0], (shape[2] // patch) * (shape[3] // patch))
        if mask is not None and (tuple(mask.shape) != expected or mask.dtype != torch.bool):
            raise InputError(
                f"The mask must be bool of shape {expected}, not {mask.dtype} of {tuple(mask.shape)}."
            )
        if mask_token is not None and tuple(mask_token.shape) != (self.width,):
            raise InputError(
                f"The mask token must have shape ({self.width},), not {tuple(mask_token.shape)}."
            )


def depth_of(config: NetworkConfig) -> int:
    """How many blocks the network has; builds it without memory for its weights."""
    with torch.device("meta"):
        return create_backbone(config).depth


def backbone_of(config: NetworkConfig, weights: Mapping[str, Tensor]) -> DenseBackbone:
    """The network with these weights (names of plain timm), to look at pictures: evaluation mode, float32, no
    gradients. Raises ConfigError where they do not fit.
    """
    backbone = create_backbone(config)
    try:
        backbone.network.load_state_dict({name: value.float() for name, value in weights.items()})
    except RuntimeError as error:
        raise ConfigError(f"The weights do not fit {config.architecture}.") from error
    return backbone.eval().requires_grad_(False)


def create_backbone(config: NetworkConfig, *, fused_attention: bool = True) -> DenseBackbone:
    """A network with random weights (torch's global generator), in training mode.

    fused_attention: True uses torch's scaled_dot_product_attention (less memory, faster inference at high
        resolution); False uses plain matrix products, whose backward pass is faster on CPUs for short
        sequences. Same weights, same result within rounding.
    Raises ConfigError where timm refuses the options or the architecture is no plain ViT.
    """
    try:
        network = timm.create_model(config.architecture, **config.options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"timm cannot build {config.architecture} with {dict(config.options)}: {error}"
        ) from error
    if not isinstance(network, Eva | VisionTransformer):
        raise ConfigError(
            f"{config.architecture} is a {type(network).__name__}, not a plain vision transformer."
        )
    height, width = network.patch_embed.patch_size
    if height != width:
        raise ConfigError(f"Patches must be square, not {height} x {width}.")
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            cast(Any, module).fused_attn = fused_attention
    return DenseBackbone(network, config.mean, config.std)


@dataclass(frozen=True)
class SupportedFamily:
    """A family of networks that the tests hold equal to timm, with one network that stands for it."""

    name: str
    description: str
    config: NetworkConfig


SUPPORTED: tuple[SupportedFamily, ...] = (
    SupportedFamily(
        "DINOv3",
        "RoPE, CLS and 4 registers, patch 16",
        NetworkConfig("vit_small_patch16_dinov3"),
    ),
    SupportedFamily(
        "DINOv2",
        "learned positions, CLS, patch 14",
        NetworkConfig("vit_small_patch14_dinov2"),
    ),
    SupportedFamily(
        "DINOv2 with registers",
        "learned positions, CLS and 4 registers, patch 14",
        NetworkConfig("vit_small_patch14_reg4_dinov2"),
    ),
    SupportedFamily("DINO", "learned positions, CLS, patch 16", NetworkConfig("vit_small_patch16_224")),
    SupportedFamily("MAE", "learned positions, CLS, patch 16", NetworkConfig("vit_base_patch16_224")),
    SupportedFamily(
        "augreg",
        "supervised ViT of 'How to train your ViT': learned positions, CLS, patch 16",
        NetworkConfig("vit_small_patch16_224", mean=HALF, std=HALF),
    ),
    SupportedFamily(
        "SigLIP",
        "learned positions, no CLS token (the mean patch stands in), patch 16",
        NetworkConfig("vit_base_patch16_siglip_224", mean=HALF, std=HALF),
    ),
    SupportedFamily(
        "gramviz",
        "our own small networks in DINOv3's style: RoPE, CLS and 4 registers, patch 8",
        NetworkConfig(
            "vit_small_patch16_dinov3",
            {"patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 2, "img_size": 64},
        ),
    ),
)
