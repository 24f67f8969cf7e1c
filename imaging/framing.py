"""How a photograph becomes the network's square: stretched to it, or as it is, with bars.

Stretched, a part of two to one would be as wide as high, and its defects with it. With bars (a
letterbox) its longer side fills the square, and mean grey the rest: neither bright nor dark, it
stands out least.
"""

import numpy as np
from PIL import Image

from imaging.grey import to_grey


def framed(image: Image.Image, side_px: int, fit: str = "stretch") -> np.ndarray:
    """An image of any size and mode as uint8 (S, S), S = `side_px`; bilinear with antialiasing.

    Raises:
        UnreadableImageError: it has no grey, as of `to_grey`.
    """
    grey = to_grey(image)
    left, top, right, bottom = content_box(grey.size, side_px, fit)
    part = np.asarray(grey.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
    if part.shape == (side_px, side_px):
        return part
    square = np.full((side_px, side_px), round(float(part.mean())), np.uint8)
    square[top:bottom, left:right] = part
    return square


def content_box(size_px: tuple[int, int], side_px: int, fit: str) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the photograph, width and height `size_px`, in the square."""
    if fit == "stretch":
        return 0, 0, side_px, side_px
    width, height = (max(1, round(side_px * one / max(size_px))) for one in size_px)
    left, top = (side_px - width) // 2, (side_px - height) // 2
    return left, top, left + width, top + height


def content(values: np.ndarray, size_px: tuple[int, int], fit: str) -> np.ndarray:
    """The part of the square's values (S, S) that shows the photograph of this size."""
    left, top, right, bottom = content_box(size_px, len(values), fit)
    return values[top:bottom, left:right]
