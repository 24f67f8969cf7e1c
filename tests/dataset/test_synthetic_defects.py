"""Synthetic defects are where their marks say, small, on the part, and only on chosen images."""

import pytest
import torch

from dataset.batches import seeded
from dataset.synthetic_defects import LEAST_PIXELS, VISIBLE, shown, with_synthetic_defects

SIDE = 96


@pytest.fixture(scope="module")
def parts():
    """200 images of a grey disc on darker ground, a little noise on both."""
    axis = torch.linspace(-1, 1, SIDE)
    disc = (axis**2 + axis[:, None] ** 2 < 0.9**2).float() * 0.3 + 0.4
    noise = torch.rand(200, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return disc + 0.02 * noise


@pytest.fixture(scope="module")
def drawn(parts):
    chosen = torch.arange(200) < 150
    return (*with_synthetic_defects(parts, chosen, seeded(7)), chosen)


def test_images_that_are_not_chosen_stay_as_they_are(parts, drawn):
    images, marks, chosen = drawn
    assert torch.equal(images[~chosen], parts[~chosen])
    assert not marks[~chosen].any()


def test_marks_are_where_something_is_to_be_seen(parts, drawn):
    images, marks, _ = drawn
    visible = (images - parts).abs() > VISIBLE
    assert torch.equal(visible, marks.bool())
    assert set(marks.unique().tolist()) == {0, 1}


def test_most_chosen_images_get_a_defect_and_the_others_are_untouched(parts, drawn):
    images, marks, chosen = drawn
    sizes = marks.sum((1, 2, 3))
    assert (sizes[chosen] > 0).float().mean() > 0.8
    assert ((sizes == 0) | (sizes >= LEAST_PIXELS)).all()
    empty = sizes == 0
    assert torch.equal(images[empty], parts[empty])


def test_defects_are_small_and_lie_on_the_part(drawn):
    _, marks, _ = drawn
    sizes = marks.sum((1, 2, 3))
    assert sizes.max() < 0.06 * SIDE**2
    assert sizes[sizes > 0].median() < 0.01 * SIDE**2
    axis = torch.linspace(-1, 1, SIDE)
    radius = torch.hypot(axis, axis[:, None])
    where = radius.expand_as(marks[:, 0])[marks[:, 0] > 0]
    assert ((where > 0.3) & (where < 1.1)).float().mean() > 0.98


def test_some_are_darker_some_brighter_than_the_part(parts, drawn):
    images, marks, _ = drawn
    changes = (images - parts)[marks > 0]
    assert (changes < -0.1).float().mean() > 0.3
    assert (changes > 0.1).float().mean() > 0.05


def test_the_generator_decides(parts):
    chosen = torch.ones(8, dtype=torch.bool)
    first, again, other = (
        with_synthetic_defects(parts[:8], chosen, seeded(s))[0] for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_may_be_chosen(parts, count):
    images, marks = with_synthetic_defects(parts[:4], torch.arange(4) < count, seeded(1))
    assert torch.equal(images[count:], parts[count:4])
    assert marks.flatten(1).any(1).tolist() == [True] * count + [False] * (4 - count)


# --- on any product ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plates():
    """200 textured images with bars of one grey above and below."""
    noise = torch.rand(200, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    plates = 0.35 + 0.3 * noise
    plates[:, :, :20] = plates[:, :, -20:] = 0.5
    return plates


@pytest.fixture(scope="module")
def drawn_anywhere(plates):
    return with_synthetic_defects(plates, torch.ones(200, dtype=torch.bool), seeded(7), "anywhere")


def test_bars_are_no_place_for_a_defect(plates, drawn_anywhere):
    images, marks = drawn_anywhere
    assert torch.equal(shown(plates)[0, 0].nonzero()[:, 0].unique(), torch.arange(20, SIDE - 20))
    assert torch.equal(images[:, :, :20], plates[:, :, :20])
    assert not marks[:, :, -20:].any()


def test_defects_lie_in_every_place_and_are_of_any_size(drawn_anywhere):
    _, marks = drawn_anywhere
    sizes = marks.sum((1, 2, 3))
    assert (sizes > 0).float().mean() > 0.6
    assert sizes[sizes > 0].min() < 20
    assert sizes.max() > 0.15 * SIDE**2
    places = marks[:, 0, 20:-20].mean(0)
    thirds = [part for row in places.tensor_split(3) for part in row.tensor_split(3, 1)]
    assert min(part.mean() for part in thirds) > 0.3 * max(part.mean() for part in thirds)


def test_equal_seeds_draw_equal_defects_anywhere(plates, drawn_anywhere):
    again = with_synthetic_defects(plates, torch.ones(200, dtype=torch.bool), seeded(7), "anywhere")
    assert all(map(torch.equal, again, drawn_anywhere))
