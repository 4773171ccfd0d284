"""Crops, distortions and masks against hand-made cases and bounds."""

import numpy as np
import pytest
import torch

from gramviz.training.augment import block_masks, crop, distort, sample_boxes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_boxes_lie_inside_the_image_and_cover_the_wanted_area():
    boxes = sample_boxes(4000, (0.3, 0.6), generator())
    x, y, half_w, half_h, flip = boxes.unbind(1)
    assert bool(((x.abs() + half_w) <= 1 + 1e-6).all() & ((y.abs() + half_h) <= 1 + 1e-6).all())
    area = half_w * half_h  # halves of a square of side 2: the product is the share of the area
    assert float(area.min()) >= 0.3 - 1e-5
    assert float(area.max()) <= 0.6 + 1e-5
    assert float(area.mean()) == pytest.approx(0.45, abs=0.01)
    ratio = half_w / half_h
    assert 0.74 < float(ratio.min()) < 0.8
    assert 1.25 < float(ratio.max()) < 1.34
    assert set(flip.tolist()) == {-1.0, 1.0}


def test_the_whole_image_is_a_crop_of_itself_and_a_flip_mirrors_it():
    images = torch.rand(2, 3, 8, 8, generator=generator())
    whole = torch.tensor([[0.0, 0, 1, 1, 1], [0, 0, 1, 1, -1]])
    out = crop(images, whole, 8)
    assert torch.allclose(out[0], images[0], atol=1e-6)
    assert torch.allclose(out[1], images[1].flip(-1), atol=1e-6)


def test_a_quarter_is_the_quarter():
    images = torch.rand(1, 3, 8, 8, generator=generator())
    upper_right = torch.tensor([[0.5, -0.5, 0.5, 0.5, 1]])
    assert torch.allclose(crop(images, upper_right, 4), images[:, :, :4, 4:], atol=1e-6)


def test_strong_shrinking_averages_instead_of_skipping():
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)
    out = crop(stripes, torch.tensor([[0.0, 0, 1, 1, 1]]), 8)
    assert torch.allclose(out, torch.full_like(out, 0.5), atol=0.05)


def test_distortion_stays_in_range_is_seeded_and_does_nothing_at_strength_zero_without_grey_or_blur():
    views = torch.rand(64, 3, 16, 16, generator=generator())
    a, b = distort(views, generator(1), solarize=0.5), distort(views, generator(1), solarize=0.5)
    assert torch.equal(a, b)
    assert float(a.min()) >= 0
    assert float(a.max()) <= 1
    assert not torch.equal(a, distort(views, generator(2), solarize=0.5))
    calm = distort(views, generator(1), strength=0.0)
    same = (calm - views).abs().amax(dim=(1, 2, 3)) < 1e-4
    grey = (calm - calm.mean(1, keepdim=True)).abs().amax(dim=(1, 2, 3)) < 0.02
    assert bool((same | grey).all())
    assert 0.6 < float(same.float().mean()) < 0.95


def test_distortion_keeps_grey_grey():
    views = torch.full((8, 3, 8, 8), 0.25)
    out = distort(views, generator())
    assert float((out - out.mean(1, keepdim=True)).abs().max()) < 1e-3


@pytest.mark.parametrize("share", [(0.1, 0.5), (0.3, 0.3)])
def test_masks_have_the_wanted_share_and_are_made_of_blocks(share):
    masks = block_masks(400, 6, 6, share, 0.5, generator())
    assert masks.shape == (400, 36)
    assert int(masks.any(1).sum()) == 200
    counts = masks.sum(1)[masks.any(1)]
    assert int(counts.min()) >= 1
    assert int(counts.max()) <= max(1, int(np.floor(share[1] * 36)))
    assert float(counts.float().mean()) > 0.7 * 36 * np.mean(share)
    grid = masks.view(-1, 6, 6)
    beside = (grid[:, :, 1:] & grid[:, :, :-1]).sum() + (grid[:, 1:] & grid[:, :-1]).sum()
    scattered = torch.rand(400, 36, generator=generator()).argsort(1) < masks.sum(1, keepdim=True)
    loose = scattered.view(-1, 6, 6)
    by_chance = (loose[:, :, 1:] & loose[:, :, :-1]).sum() + (loose[:, 1:] & loose[:, :-1]).sum()
    assert int(beside) > 1.5 * int(by_chance)


def test_a_mask_is_never_empty_where_it_is_wanted():
    assert bool(block_masks(50, 2, 2, (0.01, 0.02), 1.0, generator()).any(1).all())
