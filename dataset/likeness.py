"""Which photographs of any product show the same part: those that are alike but for the light.

Castings are recognised by the skin of their ring (recognition.py). Of other products nothing is
known but that two photographs of one part in one position have the same texture, whatever the lamp:
small images, from each pixel the mean around it taken away and what is left divided by its
deviation there, are correlated, in all eight positions of the square. Photographs from another side
or of another section are not found: a table of parts (--castings) knows more.
"""

from collections.abc import Sequence

import numpy as np

SIDE_PX = 64
WINDOW_PX = 9  # over which light is taken to be even
NOISE = 4.0  # grey levels: even surface
LARGEST = 3.0  # deviations
# Magnetic tiles that were photographed up to six times (docs/experiments.md, 2026-11-27): above
# lie two in five of the pairs of one tile, and one in ten thousand of the others
SAME_PART = 0.65
AT_ONCE = 512


def groups_alike(images: np.ndarray) -> np.ndarray:
    """The part of each image, int (N,), numbered in order of first appearance.

    Parts are the connected components of 'alike'.

    Args:
        images: uint8 (N, S, S), S = SIDE_PX.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(images)
    own = texture(images)
    pairs = [np.zeros((2, 0), int)]
    for start in range(0, count, AT_ONCE):
        best = np.full((min(AT_ONCE, count - start), count), -1, np.float32)
        for position in positions(images[start : start + AT_ONCE]):
            np.maximum(best, texture(position) @ own.T, out=best)
        first, second = np.nonzero(best >= SAME_PART)
        pairs.append(np.stack([first + start, second]))
    first, second = np.concatenate(pairs, axis=1)
    links = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(count, count))
    _, labels = connected_components(links, directed=False)
    _, earliest, labels = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(earliest))[labels]


def positions(images: np.ndarray) -> Sequence[np.ndarray]:
    """Images (N, S, S) in the eight positions of a square."""
    both = (images, images[:, :, ::-1])
    return [np.rot90(one, quarter, (1, 2)) for one in both for quarter in range(4)]


def texture(images: np.ndarray) -> np.ndarray:
    """What is left of images uint8 (N, S, S) without light, as vectors (N, S * S) of length 1."""
    from scipy.ndimage import uniform_filter

    window = (0, WINDOW_PX, WINDOW_PX)
    values = images.astype(np.float32)
    values -= uniform_filter(values, window)
    deviation = np.sqrt(uniform_filter(values * values, window))
    values = np.clip(values / (deviation + NOISE), -LARGEST, LARGEST).reshape(len(images), -1)
    values -= values.mean(axis=1, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
