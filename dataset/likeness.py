"""Which photographs of any product show the same part: those that are alike but for the light.

Castings are recognised by the skin of their ring (recognition.py). Of other products nothing is
known but that two photographs of one part in one position have the same texture, whatever the lamp:
small images, from each pixel the mean around it taken away and what is left divided by its
deviation there, are correlated, in all eight positions of the square. Photographs from another side
or of another section are not found: a table of parts (--castings) knows more.
"""

from collections.abc import Sequence

import numpy as np

from common.errors import UserError

SIDE_PX = 64
WINDOW_PX = 9  # over which light is taken to be even
NOISE = 4.0  # grey levels: even surface
LARGEST = 3.0  # deviations
# Mean correlation within a part. Of magnetic tiles that were photographed up to six times it joins
# three in five of the pairs of one tile; links alone join no more, and twice as many others, by
# chains (docs/experiments.md, 2026-11-27).
SAME_PART = 0.55
AT_ONCE = 512
MOST = 15_000  # images: all pairs are held in memory, 1.3 GB


def groups_alike(images: np.ndarray) -> np.ndarray:
    """The part of each image, int (N,), numbered in order of first appearance.

    Parts are clusters by average linkage.

    Args:
        images: uint8 (N, S, S), S = SIDE_PX.

    Raises:
        UserError: too many.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(images) > MOST:
        raise UserError(
            f"{len(images):,} images are too many to compare all with one another: give a table "
            "with the columns path,casting: --castings FILE"
        )
    if len(images) < 2:
        return np.zeros(len(images), int)
    clusters = linkage(np.maximum(0, 1 - likeness_of_pairs(images)), "average")
    labels = fcluster(clusters, 1 - SAME_PART, "distance")
    _, earliest, labels = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(earliest))[labels]


def likeness_of_pairs(images: np.ndarray) -> np.ndarray:
    """The largest correlation of each pair in any position, float32 (N (N - 1) / 2,)."""
    count, own = len(images), texture(images)
    found = np.empty(count * (count - 1) // 2, np.float32)
    for start in range(0, count, AT_ONCE):
        some = images[start : start + AT_ONCE]
        best = np.full((len(some), count), -1, np.float32)
        for position in positions(some):
            np.maximum(best, texture(position) @ own.T, out=best)
        for row, line in enumerate(best, start):  # the pairs (row, later), as SciPy orders them
            first = row * count - row * (row + 1) // 2
            found[first : first + count - row - 1] = line[row + 1 :]
    return found


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
