"""The hub of a part, dark in the middle of its photograph, and the rings around it.

The hub's ellipse says where a part lies, how large it is and from how far aside it is seen. Rings
around it are unwrapped to polar coordinates in which shear and zoom vanish.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample

SIZE_PX = 300  # images come in this size; all lengths below are pixels at it
DARK, REACH_PX = 60, 90  # the hub is the largest blob darker than this, this near to the centre
FIRST, LAST = SIZE_PX // 2 - REACH_PX - 1, SIZE_PX // 2 + REACH_PX + 1  # what is looked at
BLUR_PX = 3  # as far as the blur reaches, so much more is read
LEAST_HUB_PX = 400  # area; a smaller blob is no hub
FACE, GROUND = (1.3, 1.8), (2.1, 2.3)
ANGLES = 512  # at which the greys of a ring are read


class NoHubError(ValueError):
    """Images without the dark hub that tells where the ring is; `indices` says which."""

    def __init__(self, indices: list[int]):
        super().__init__(f"{len(indices)} images show no hub")
        self.indices = indices


def find_hubs(images: np.ndarray) -> list[np.ndarray | None]:
    """The hub's ellipse in each image uint8 (B, 300, 300): centre and half axes, float32 (3, 2).

    Row 0 is the centre (x, y); rows 1 and 2 are the columns of the symmetric matrix that makes
    the unit circle the ellipse. None where no blob is dark and large enough.
    """
    taps = torch.exp(-0.5 * torch.arange(-float(BLUR_PX), BLUR_PX + 1) ** 2)
    taps = (taps / taps.sum()).view(1, 1, 1, -1)
    grey = torch.from_numpy(np.ascontiguousarray(_around_the_centre(images))).float().unsqueeze(1)
    blurred = conv2d(conv2d(grey, taps), taps.mT)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_hub_in, blurred[:, 0].numpy()))


def find_hub(image: np.ndarray) -> np.ndarray | None:
    """The same for one image uint8 (300, 300), up to rounding; in the caller's thread alone.

    PyTorch would give each thread that asks threads of its own.
    """
    around = _around_the_centre(image).astype(np.float32)
    blurred = ndimage.gaussian_filter(around, sigma=1, radius=BLUR_PX)
    return _hub_in(blurred[BLUR_PX:-BLUR_PX, BLUR_PX:-BLUR_PX])


def _around_the_centre(images: np.ndarray) -> np.ndarray:
    read = slice(FIRST - BLUR_PX, LAST + BLUR_PX)
    return images[..., read, read]


@cache
def _near_the_centre() -> np.ndarray:
    side = np.arange(FIRST, LAST) - (SIZE_PX - 1) / 2
    return np.hypot(side[:, None], side) < REACH_PX


def _hub_in(blurred: np.ndarray) -> np.ndarray | None:
    """The hub in the blurred middle of an image."""
    hub = _ellipse_of_largest_blob((blurred < DARK) & _near_the_centre())
    if hub is not None:
        hub[0] += FIRST
    return hub


def _ellipse_of_largest_blob(dark: np.ndarray) -> np.ndarray | None:
    labels, _ = ndimage.label(dark)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    if areas.max() < LEAST_HUB_PX:
        return None
    blob = areas.argmax()
    rows, columns = ndimage.find_objects(labels)[blob - 1]
    top, left = rows.start - 1, columns.start - 1  # nothing near the centre touches the border
    others = labels[top : rows.stop + 1, left : columns.stop + 1] != blob
    # Vanes and bore are bright islands in the hub: fill all that the outside does not reach.
    outside, _ = ndimage.label(others)
    centre, covariance = _moments(outside != outside[0, 0])
    # For a filled ellipse the covariance is a quarter of the squared half axes.
    variances, axes = np.linalg.eigh(covariance)
    half_axes = axes * (2 * np.sqrt(variances)) @ axes.T
    return np.vstack([centre + np.array([left, top]), half_axes]).astype(np.float32)


def _moments(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (x, y) and covariance (2, 2) of the pixels inside, bool (H, W), as np.cov has it."""
    height, width = inside.shape
    weights = inside.astype(np.float64)
    columns, rows = weights.sum(axis=0), weights.sum(axis=1)
    count = rows.sum()
    x = np.arange(width) - columns @ np.arange(width) / count
    y = np.arange(height) - rows @ np.arange(height) / count
    mixed = y @ weights @ x
    covariance = np.array([[columns @ x**2, mixed], [mixed, rows @ y**2]]) / (count - 1)
    return np.array([-x[0], -y[0]]), covariance


def contrast(images: np.ndarray, hubs: Tensor) -> Tensor:
    """Grey of the face minus that of the ground around the part, medians, 0 to 255: (B,)."""
    medians = []
    for ring in (FACE, GROUND):
        grey, inside = unwrapped(images, hubs, ring, (6, ANGLES))
        medians.append(grey.masked_fill(~inside, torch.nan).flatten(1).nanmedian(1).values)
    # A part that fills the picture leaves no ground to be seen
    return (255 * (medians[0] - medians[1])).nan_to_num()


def unwrapped(
    images: np.ndarray, hubs: Tensor, ring: tuple[float, float], shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Grey (B, R, A) in 0..1 of a ring, and which of it lies in the image.

    Args:
        images: uint8 (B, S, S).
        hubs: float32 (B, 3, 2), as `find_hubs` gives them.
        ring: its inner and outer edge, in half axes of the hub.
        shape: radii and angles, (R, A).
    """
    radii, angles = shape
    radius = torch.linspace(*ring, radii)
    angle = torch.arange(angles) * (2 * np.pi / angles)
    circle = torch.stack([torch.cos(angle), torch.sin(angle)])  # (2, A)
    on_hub = (hubs[:, 1:] @ circle).mT  # (B, A, 2)
    points = hubs[:, None, None, 0] + radius.view(1, -1, 1, 1) * on_hub[:, None]  # (B, R, A, 2)
    grid = (points + 0.5) * (2 / SIZE_PX) - 1
    grey = torch.from_numpy(np.ascontiguousarray(images)).float().unsqueeze(1) / 255
    found = grid_sample(grey, grid, padding_mode="border", align_corners=False)
    return found[:, 0], (grid.abs() <= 1).all(dim=3)
