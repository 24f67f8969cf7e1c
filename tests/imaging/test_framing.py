"""A photograph becomes a square: stretched, or with its sides' ratio kept and bars of its grey."""

import numpy as np
import pytest
from PIL import Image

from imaging.framing import content, content_box, framed

GREY = Image.fromarray(np.random.default_rng(0).integers(40, 220, (30, 90)).astype(np.uint8))


def test_stretched_it_is_pillows_bilinear():
    expected = np.asarray(GREY.resize((48, 48), Image.Resampling.BILINEAR))
    assert np.array_equal(framed(GREY, 48), expected)
    assert np.array_equal(content(framed(GREY, 48), GREY.size, "stretch"), expected)


def test_in_a_letterbox_the_longer_side_fills_the_square_and_grey_the_rest():
    square = framed(GREY, 48, "letterbox")
    shown = content(square, GREY.size, "letterbox")
    assert shown.shape == (16, 48)
    assert np.array_equal(shown, np.asarray(GREY.resize((48, 16), Image.Resampling.BILINEAR)))
    bars = np.concatenate([square[:16], square[32:]])
    assert set(bars.ravel()) == {round(float(shown.mean()))}


def test_standing_and_lying_photographs_are_framed_alike():
    lying, standing = (
        framed(GREY, 48, "letterbox"),
        framed(GREY.rotate(90, expand=True), 48, "letterbox"),
    )
    assert np.array_equal(np.rot90(lying), standing)


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (3, 4), (7, 7), (299, 300)])
def test_whatever_the_ratio_something_is_shown_and_it_lies_in_the_square(size):
    left, top, right, bottom = content_box(size, 48, "letterbox")
    assert 0 <= left < right <= 48
    assert 0 <= top < bottom <= 48
    assert max(right - left, bottom - top) == 48
    assert framed(Image.new("L", size, 90), 48, "letterbox").tolist() == [[90] * 48] * 48


def test_a_square_photograph_is_framed_alike_in_both_ways():
    square = Image.fromarray(np.random.default_rng(1).integers(0, 256, (70, 70)).astype(np.uint8))
    assert np.array_equal(framed(square, 48), framed(square, 48, "letterbox"))
