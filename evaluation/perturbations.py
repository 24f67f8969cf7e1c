"""Changes to a held-out image that should not, or should, change what a model predicts.

Each takes an image uint8 (H, W), those of place also the hub's ellipse in its pixels.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from dataset.hubs import SIZE_PX, find_hubs
from imaging.framing import framed

# In half axes of the hub's ellipse. The flange ends at about 1.8, its burrs mostly below 2.1, and
# its shadow at 2.2; at 2.15 the remains of 4 % of the real set's defective parts (feeders, large
# burrs) still stick out. Larger, and hardly any background would be left.
HUB_EDGE, PART_EDGE = 1.0, 2.15
SOFT = 0.06  # half axes (4 px of 300) over which the blur sets in
BLUR_PX = 6.0  # standard deviation, at 300 px
BACKGROUND_GREY = 160  # about that of the real set's ground


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """All grey levels times the factor, clipped at white."""
    return _clipped(np.arange(256) * factor)[image]


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """All distances from the image's mean grey times the factor, clipped."""
    mean = image.mean()
    return _clipped(mean + factor * (np.arange(256) - mean))[image]


def equalised(image: np.ndarray) -> np.ndarray:
    """All grey levels equally frequent."""
    return np.asarray(ImageOps.equalize(Image.fromarray(image)))


def ring_blurred(image: np.ndarray, hub: np.ndarray) -> np.ndarray:
    """The ring, from the hub's edge to behind the part's, blurred; hub and background as they are.

    Pores, scratches and burrs vanish, light and shape stay.
    """
    distance = hub_distance(image.shape, hub)
    sigma_px = BLUR_PX * image.size**0.5 / SIZE_PX
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma_px)))
    depth = np.minimum(distance - HUB_EDGE, PART_EDGE - distance)
    weight = np.clip(depth / SOFT, 0, 1)
    return _clipped(image + weight * (blurred.astype(np.float32) - image))


def ring_gone(image: np.ndarray, hub: np.ndarray) -> np.ndarray:
    """The whole part, ring and hub, painted over with its own mean grey: background only.

    Not quite only: the mean still tells how bright the part was, relative to the background too.
    That is meant: a model that lives on such a difference in light takes a shortcut as well. On the
    other hand large dark defects lower the mean a little. 'background replaced' and the brightness
    probes help to tell these apart.
    """
    inside = hub_distance(image.shape, hub) <= PART_EDGE
    return np.where(inside, np.uint8(round(float(image[inside].mean()))), image)


def background_replaced(image: np.ndarray, hub: np.ndarray) -> np.ndarray:
    """All that `ring_gone` leaves, and nothing else, painted over with one grey for all images."""
    inside = hub_distance(image.shape, hub) <= PART_EDGE
    return np.where(inside, image, np.uint8(BACKGROUND_GREY))


def _clipped(grey: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


UNMODIFIED, RING_GONE = "unmodified", "ring gone"
OF_LIGHT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{f"brightness x{x}": partial(brightness, factor=x) for x in (0.6, 0.8, 1.2, 1.4)},
    **{f"contrast x{x}": partial(contrast, factor=x) for x in (0.6, 1.4)},
    "histogram equalised": equalised,
}
OF_PLACE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ring blurred": ring_blurred,
    RING_GONE: ring_gone,
    "background replaced": background_replaced,
}
PROBES = (UNMODIFIED, *OF_LIGHT, *OF_PLACE)


def hub_of(image: np.ndarray) -> np.ndarray | None:
    """The hub's ellipse as `recognition.find_hubs` gives it, (3, 2), in pixels of this image.

    None without a hub. Row 0 is the centre (x, y), rows 1 and 2 map the unit circle to the edge:
    edge = centre + unit vector @ rows.
    """
    hub = find_hubs(np.array(framed(Image.fromarray(image), SIZE_PX))[None])[0]
    if hub is None:
        return None
    scale = np.array(image.shape[::-1]) / SIZE_PX
    return np.vstack([(hub[:1] + 0.5) * scale - 0.5, hub[1:] * scale])


def hub_distance(shape: tuple[int, ...], hub: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the hub's centre in units of its half axes, float32 (H, W)."""
    y, x = (np.arange(length, dtype=np.float32) for length in shape)
    x, y = x - np.float32(hub[0, 0]), (y - np.float32(hub[0, 1]))[:, None]
    (a, b), (c, d) = np.linalg.inv(hub[1:]).astype(np.float32)
    return np.hypot(a * x + c * y, b * x + d * y)


def versions(image: np.ndarray) -> dict[str, np.ndarray]:
    """The image as it is and under every perturbation; without a hub those of place are missing."""
    changed = {UNMODIFIED: image} | {name: do(image) for name, do in OF_LIGHT.items()}
    hub = hub_of(image)
    if hub is not None:
        changed |= {name: do(image, hub) for name, do in OF_PLACE.items()}
    return changed
