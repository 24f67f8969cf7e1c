"""Augmentation moves and relights; a mean over many shows by how much, images stay images."""

import numpy as np
import pytest
import torch

from dataset.augmentation import geometric_augmentation, photometric_augmentation
from dataset.batches import seeded


def augmented(images, kind, generator):
    return photometric_augmentation(
        geometric_augmentation(images, kind, generator), kind, generator
    )


def test_flip_gives_the_eight_symmetries_of_the_square_and_nothing_else():
    image = torch.from_numpy(np.random.default_rng(1).random((1, 1, 9, 9), np.float32))
    turned = [torch.rot90(image, k, (2, 3)) for k in range(4)]
    symmetries = torch.cat(turned + [t.transpose(2, 3) for t in turned])  # (8, 1, 9, 9)
    found = augmented(image.repeat(400, 1, 1, 1), "flip", seeded(0))
    matches = (found[:, None] == symmetries[None]).flatten(2).all(2)  # (400, 8)
    assert (matches.sum(1) == 1).all()
    assert (matches.sum(0) > 25).all()  # 50 expected of each; 25 is four standard deviations off


@pytest.mark.parametrize("kind", ["full", "strong"])
def test_shape_and_range_are_kept(kind):
    images = torch.from_numpy(np.random.default_rng(1).random((64, 1, 17, 17), np.float32))
    images[:2] = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    found = augmented(images, kind, seeded(0))
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_full_leaves_no_black_corners_and_changes_the_light():
    found = augmented(torch.full((200, 1, 24, 24), 0.8), "full", seeded(0))
    means = found.mean(dim=(1, 2, 3))
    corners = found[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners - means[:, None]).abs().max() < 0.12  # six times the strongest noise
    assert means.std() > 0.05
    assert means.max() - means.min() > 0.2


@pytest.mark.parametrize("kind", ["full", "strong"])
def test_parts_are_turned_by_any_angle(kind):
    half = torch.zeros(300, 1, 32, 32)
    half[:, :, :, 16:] = 1  # bright on the right: the direction of its centroid is the angle
    found = geometric_augmentation(half, kind, seeded(0))
    place = torch.linspace(-1, 1, 32)
    x, y = (found * place).mean(dim=(1, 2, 3)), (found * place[:, None]).mean(dim=(1, 2, 3))
    sectors = torch.histc(torch.atan2(y, x), bins=12, min=-np.pi, max=np.pi)
    assert (sectors > 7).all()  # 25 expected in each


def test_full_keeps_a_disc_round_and_near_its_place_and_size():
    axis = torch.arange(96.0) - 47.5
    disc = (axis**2 + axis[:, None] ** 2 < 10**2).float()  # so small that no corner reflects it
    found = augmented(disc.repeat(100, 1, 1, 1), "full", seeded(0))[:, 0]
    shape = (found > found.amax((1, 2), keepdim=True) / 2).float()
    area = shape.sum((1, 2))
    x, y = ((shape * place).sum((1, 2)) / area for place in (axis, axis[:, None]))
    assert ((area / disc.sum() > 0.75) & (area / disc.sum() < 1.3)).all()  # zoom 0.9 to 1.1
    assert torch.hypot(x, y).max() < 0.09 * 96  # both shifts at 5 %, zoomed by 1.1, are 7.8 %
    radius = torch.hypot(axis - x[:, None, None], (axis - y[:, None])[:, :, None])
    assert ((radius * shape).amax((1, 2)) < 1.15 * (area / np.pi).sqrt()).all()


@pytest.mark.parametrize("kind", ["full", "strong"])
def test_half_of_the_images_are_mirrored(kind):
    image = torch.zeros(48, 48)
    image[14:34, 16:20] = image[30:34, 16:28] = 1  # an L, which turning alone never mirrors
    found = geometric_augmentation(image.repeat(200, 1, 1, 1), kind, seeded(0))[:, 0]
    shape = (found > found.amax((1, 2), keepdim=True) / 2).double()
    axis = torch.arange(48, dtype=torch.float64)
    z = torch.complex(axis.expand(48, 48), axis[:, None].expand(48, 48)).expand(200, 48, 48)
    z = z - ((z * shape).sum((1, 2)) / shape.sum((1, 2)))[:, None, None]
    # Of the moments z z and z z conj(z), turning by a turns one by 2a and the other by a, so that
    # this product stays; mirroring conjugates it.
    second, third = ((m * shape).sum((1, 2)) for m in (z * z, z * z * z.conj()))
    left_handed = (second * third.conj() ** 2).imag > 0
    assert 70 < int(left_handed.sum()) < 130  # 100 expected, four standard deviations


def test_strong_stretches_a_disc_up_to_its_limit_and_no_further():
    axis = torch.arange(96.0) - 47.5
    disc = (axis**2 + axis[:, None] ** 2 < 20**2).float()
    found = geometric_augmentation(disc.repeat(200, 1, 1, 1), "strong", seeded(0))[:, 0].double()
    total = found.sum((1, 2))
    x, y = ((found * place).sum((1, 2)) / total for place in (axis, axis[:, None]))
    x, y = axis - x[:, None, None], axis[:, None] - y[:, None, None]
    xx, yy, xy = ((found * m).sum((1, 2)) / total for m in (x * x, y * y, x * y))
    middle, half = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)  # of the ellipse's moments
    ratio = ((middle + half) / (middle - half)).sqrt()
    assert ratio.max() < 1.25  # exp(0.2) = 1.22, and a little for the pixels
    assert ratio.max() > 1.17


def test_strong_light_has_a_direction_of_its_own_on_each_image():
    images = torch.full((200, 1, 32, 32), 0.5)
    found = photometric_augmentation(images, "strong", seeded(0))[:, 0]
    right_minus_left = found[:, :, 16:].mean((1, 2)) - found[:, :, :16].mean((1, 2))
    assert 60 < (right_minus_left > 0).sum() < 140
    assert right_minus_left.abs().median() > 0.01
    assert found.mean((1, 2)).std() > 0.05


def test_strong_puts_narrow_bright_sectors_on_most_parts():
    found = photometric_augmentation(torch.full((200, 1, 64, 64), 0.3), "strong", seeded(0))[:, 0]
    axis = torch.arange(64.0) - 31.5
    sector = torch.atan2(axis[:, None], axis).mul(18 / torch.pi).floor()  # of 10 degrees
    outer = torch.hypot(axis, axis[:, None]) > 16
    greys = [found[:, outer & (sector == number)].mean(1) for number in range(-18, 18)]
    greys = torch.stack(greys)  # (36, 200)
    glint = greys / ((greys.roll(4, 0) + greys.roll(-4, 0)) / 2)  # against 40 degrees aside
    assert 100 < int((glint.amax(0) > 1.3).sum()) < 190  # broad highlights alone: 37
    assert glint.median() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", ["none", "flip"])
def test_the_others_leave_the_light_alone(kind):
    images = torch.rand(8, 1, 16, 16)
    assert torch.equal(photometric_augmentation(images, kind, seeded(0)), images)
