"""The hub is found wherever it lies near the middle; the light on the part tells sessions apart."""

import numpy as np
import pytest
import torch

from dataset.hubs import SIZE_PX, contrast, find_hub, find_hubs
from dataset.sessions import DARKER
from rendering.casting import render_casting
from rendering.data_set import make_castings
from rendering.options import RenderOptions


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """Six rendered castings, uint8 (6, 300, 300)."""
    castings = make_castings(RenderOptions(), 0, 6)
    canvases = np.stack([render_casting(casting, 0, SIZE_PX)[0] for casting in castings])
    edge = (canvases.shape[1] - SIZE_PX) // 2
    return canvases[:, edge : edge + SIZE_PX, edge : edge + SIZE_PX]


def hub_image(x, y, half_axes, angle):
    """A dark ellipse with a bright bore on bright ground."""
    down, right = np.mgrid[:SIZE_PX, :SIZE_PX].astype(float)
    along = (right - x) * np.cos(angle) + (down - y) * np.sin(angle)
    across = (down - y) * np.cos(angle) - (right - x) * np.sin(angle)
    distance = np.hypot(along / half_axes[0], across / half_axes[1])
    image = np.full((SIZE_PX, SIZE_PX), 180, np.uint8)
    image[distance < 1] = 15
    image[distance < 0.5] = 200
    return image


@pytest.mark.parametrize(
    ("x", "y", "half_axes", "angle"),
    [(150, 150, (70, 70), 0), (139.5, 162.3, (75, 66), 0.4), (160, 140, (60, 72), 1.2)],
)
def test_hub_is_the_filled_dark_ellipse(x, y, half_axes, angle):
    (found,) = find_hubs(hub_image(x, y, half_axes, angle)[None])
    along, across = np.array([np.cos(angle), np.sin(angle)]), [-np.sin(angle), np.cos(angle)]
    centre, matrix = found[0], found[1:].T
    assert centre == pytest.approx([x, y], abs=0.3)
    assert matrix == pytest.approx(matrix.T, abs=1e-4)
    # The blur that finds it takes about a pixel off its edge, alike all around.
    assert np.linalg.norm(matrix @ along) == pytest.approx(half_axes[0], abs=2)
    assert np.linalg.norm(matrix @ across) == pytest.approx(half_axes[1], abs=2)


@pytest.mark.parametrize("hub", [(150, 150, (9, 9), 0), (20, 20, (14, 14), 0)])
def test_small_or_far_dark_spots_are_no_hub(hub):
    assert find_hubs(hub_image(*hub)[None]) == [None]


def test_a_hub_is_the_same_alone_as_among_others(photographs):
    for image, among in zip(photographs, find_hubs(photographs), strict=True):
        np.testing.assert_allclose(find_hub(image), among, rtol=0, atol=1e-3 * abs(among).max())
    assert find_hub(np.full((SIZE_PX, SIZE_PX), 180, np.uint8)) is None


def darkened_part(image):
    """The same part with a face of 80 to 102 levels, lighter than its hub; ground as it was."""
    y, x = np.indices(image.shape) - (SIZE_PX - 1) / 2
    face = (np.hypot(x, y) < 125) & (image > 80)
    return np.where(face, 80 + (image - 80.0) / 8, image).astype(np.uint8)


def contrast_of(images):
    return contrast(images, torch.from_numpy(np.stack(find_hubs(images))))


def test_a_part_darker_than_its_ground_is_told_from_the_usual_one(photographs):
    darkened = np.stack([darkened_part(image) for image in photographs])
    assert (contrast_of(photographs) > DARKER).all()
    assert (contrast_of(darkened) < DARKER).all()
