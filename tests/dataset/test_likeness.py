"""Photographs of one part are joined whatever the light and the position; others are not."""

import numpy as np
from builders import plate

from dataset.likeness import AT_ONCE, SIDE_PX, groups_alike, positions
from imaging.framing import framed


def small(number: int, defect: str = "") -> np.ndarray:
    return framed(plate(number, defect), SIDE_PX)


def relit(image: np.ndarray) -> np.ndarray:
    """Half as bright, with a shadow on one side, and noise."""
    slope = np.linspace(0.5, 1.0, SIDE_PX)[:, None]
    noise = np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(0.6 * slope * image + 10 + noise, 0, 255).astype(np.uint8)


def test_the_same_part_in_other_light_and_in_all_positions_is_one():
    images = [
        small(1),
        relit(small(1)),
        *positions(small(1)[None])[3],
        *positions(relit(small(1))[None])[6],
    ]
    assert groups_alike(np.stack([*images, small(2)])).tolist() == [0, 0, 0, 0, 1]


def test_different_parts_of_one_product_stay_apart():
    images = np.stack([small(number) for number in range(40)])
    assert groups_alike(images).tolist() == list(range(40))


def test_more_than_are_compared_at_once():
    images = np.stack([small(number) for number in range(8)])
    many = np.concatenate([images] * (AT_ONCE // 8 + 2))
    assert groups_alike(many).tolist() == list(range(8)) * (AT_ONCE // 8 + 2)


def test_images_of_nothing_are_like_none():
    black = np.zeros((3, SIDE_PX, SIDE_PX), np.uint8)
    assert groups_alike(black).tolist() == [0, 1, 2]
