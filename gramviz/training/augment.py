"""Views of a batch of images, as batched tensor code on the device that holds them.

Each crop is first drawn as a rectangle a sample (`sample_boxes`), then resampled (`crop`), then distorted
(`distort`); so a second network can see the same region undistorted or at another size. All randomness comes from
the generator that is passed in. Knows nothing of networks or losses.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# ITU-R BT.601 luma, and the YIQ basis in which a rotation of (I, Q) turns the hue
_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(count, device=generator.device).uniform_(low, high, generator=generator)


def sample_boxes(count: int, scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Random crop rectangles for square images: [count, 5] = centre x, centre y, half width, half height, flip.

    Centres and halves are in the [-1, 1] coordinates of `affine_grid`, with every rectangle inside the image; area
    is uniform in `scale` (share of the image), aspect ratio log-uniform in [3/4, 4/3]; flip is -1 or 1.
    """
    area = _uniform(count, *scale, generator=generator)
    ratio = _uniform(count, math.log(3 / 4), math.log(4 / 3), generator).exp()
    half_w, half_h = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x = (1 - half_w) * _uniform(count, -1, 1, generator)
    y = (1 - half_h) * _uniform(count, -1, 1, generator)
    flip = (_uniform(count, 0, 1, generator) < 0.5).float() * 2 - 1
    return torch.stack([x, y, half_w, half_h, flip], dim=1)


def crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Resample each image's rectangle to `size` x `size`: [B, 3, S, S] float, [B, 5] -> [B, 3, size, size].

    Bilinear on an image that is first box-averaged by whole factors where a rectangle is more than twice as fine
    as the output, so that strong down-scaling does not alias.
    """
    factor = max(1, int(images.shape[-1] * float(boxes[:, 2:4].mean()) / size / 1.5))
    if factor > 1:
        images = F.avg_pool2d(images, factor)
    x, y, half_w, half_h, flip = boxes.unbind(1)
    zero = torch.zeros_like(x)
    theta = torch.stack([half_w * flip, zero, x, zero, half_h, y], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [len(boxes), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def distort(
    views: Tensor, generator: torch.Generator, strength: float = 1.0, solarize: float = 0.0
) -> Tensor:
    """Colour jitter, grey, blur and solarisation, each drawn a sample: [B, 3, h, w] in 0..1 -> the same.

    Ranges follow DINO (brightness, contrast 0.4; saturation 0.2; hue 0.1 of a turn with probability 0.8; grey 0.2;
    blur 0.5), times `strength`; `solarize` is its probability.
    """
    count = len(views)

    def chance(probability: float) -> Tensor:
        drawn = _uniform(count, 0, 1, generator) < probability
        return drawn.view(-1, 1, 1, 1).to(views.dtype)

    def amount(spread: float) -> Tensor:
        return _uniform(count, -spread, spread, generator).view(-1, 1, 1, 1) * strength

    jitter = chance(0.8)
    basis = torch.tensor(_TO_YIQ)
    # inverted on the CPU: a GPU would be waited for, a view at a time
    basis, inverse = (matrix.to(views.device) for matrix in (basis, torch.linalg.inv(basis)))
    yiq = torch.einsum("ij,bjhw->bihw", basis, views)
    luma, chroma = yiq[:, :1], yiq[:, 1:]
    luma = luma * (1 + jitter * amount(0.4))
    centre = luma.mean(dim=(2, 3), keepdim=True)
    luma = centre + (luma - centre) * (1 + jitter * amount(0.4))
    chroma = chroma * (1 + jitter * amount(0.2)) * (1 - chance(0.2))
    angle = 2 * math.pi * jitter * amount(0.1)
    i, q = chroma[:, :1], chroma[:, 1:]
    turned = torch.cat([luma, i * angle.cos() - q * angle.sin(), i * angle.sin() + q * angle.cos()], dim=1)
    views = torch.einsum("ij,bjhw->bihw", inverse, turned)
    views = torch.lerp(
        views, _blur(views, _uniform(count, 0.1, 1.2, generator)), chance(0.5) * min(strength, 1)
    )
    flip = chance(solarize)
    views = views + flip * (views > 0.5).to(views.dtype) * (1 - 2 * views)
    return views.clamp(0, 1)


def _blur(views: Tensor, sigma: Tensor) -> Tensor:
    """Separable Gaussian blur of 5 taps with a sigma a sample (in pixels)."""
    offsets = torch.arange(-2, 3, device=views.device, dtype=views.dtype)
    taps = torch.exp(-(offsets**2) / (2 * sigma.view(-1, 1) ** 2))
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(3, dim=0)
    count, _, height, width = views.shape
    flat = F.pad(views, (2, 2, 2, 2), mode="reflect").reshape(1, count * 3, height + 4, width + 4)
    flat = F.conv2d(flat, taps.view(-1, 1, 1, 5), groups=count * 3)
    flat = F.conv2d(flat, taps.view(-1, 1, 5, 1), groups=count * 3)
    return flat.view(count, 3, height, width)


def block_masks(
    views: int,
    rows: int,
    columns: int,
    share: tuple[float, float],
    masked_views: float,
    generator: torch.Generator,
    attempts: int = 12,
) -> Tensor:
    """Masks of random rectangles for iBOT (arXiv 2111.07832, after BEiT): [views, rows * columns] bool.

    The first round(`masked_views` * views) of a random order get a mask; each draws its target share uniformly
    from `share` and takes those of `attempts` random rectangles that keep it at or below the target (at least one
    patch is always masked).
    """
    device = generator.device
    wanted = _uniform(views, *share, generator=generator) * rows * columns
    chosen = torch.rand(views, generator=generator, device=device).argsort() < max(
        1, round(masked_views * views)
    )
    y = torch.arange(rows, device=device).view(1, -1, 1)
    x = torch.arange(columns, device=device).view(1, 1, -1)
    mask = torch.zeros(views, rows, columns, dtype=torch.bool, device=device)
    for _ in range(attempts):
        area = wanted * _uniform(views, 0.2, 1.0, generator)
        ratio = _uniform(views, math.log(0.3), math.log(1 / 0.3), generator).exp()
        height = (area * ratio).sqrt().round().clamp(1, rows)
        width = (area / ratio).sqrt().round().clamp(1, columns)
        top = ((rows - height + 1) * torch.rand(views, generator=generator, device=device)).floor()
        left = ((columns - width + 1) * torch.rand(views, generator=generator, device=device)).floor()
        top, left, height, width = (v.view(-1, 1, 1) for v in (top, left, height, width))
        block = (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
        union = mask | block
        fits = union.sum(dim=(1, 2)) <= wanted.clamp(min=1)
        mask = torch.where(fits.view(-1, 1, 1), union, mask)
    mask = mask.flatten(1)
    spare = F.one_hot(
        (torch.rand(views, generator=generator, device=device) * rows * columns).long(), rows * columns
    )
    mask = torch.where(mask.any(1, keepdim=True), mask, spare.bool())
    return mask & chosen.view(-1, 1)
