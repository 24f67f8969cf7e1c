"""Castings, each of which several images show: names, labels, weights."""

from collections.abc import Sequence

import numpy as np


def mostly_defective(defects: np.ndarray | int, images: np.ndarray | int) -> np.ndarray | bool:
    """Whether a casting counts as defective: at least half of its images have a defect's label.

    Args:
        defects: how many of its images do, for one casting or for many, (G,).
        images: how many it has.
    """
    return 2 * defects >= images


def casting_names(castings: Sequence[str]) -> np.ndarray:
    """Names (N,) of the castings of images; an image of unknown casting ('') is its own."""
    return np.array([name or f"image {index}" for index, name in enumerate(castings)])


def casting_weights(castings: Sequence[str]) -> np.ndarray:
    """Weights (N,) that sum to 1 and give each casting the same; an unnamed image is its own."""
    _, inverse, sizes = np.unique(casting_names(castings), return_inverse=True, return_counts=True)
    return 1 / sizes[inverse] / len(sizes)


def class_weights(castings: Sequence[str], is_defect: np.ndarray) -> np.ndarray:
    """Weights (N,) that sum to 1: good parts and defects the same, castings of a class the same."""
    weights = np.zeros(len(is_defect))
    kinds = np.unique(is_defect)
    for kind in kinds:
        members = np.flatnonzero(is_defect == kind)
        weights[members] = casting_weights([castings[i] for i in members]) / len(kinds)
    return weights


def equally(castings: Sequence[str], count: int) -> list[int]:
    """Indices of `count` images, sorted: equally many of each casting where it has them."""
    random = np.random.default_rng(0)
    by_casting: dict[str, list[int]] = {}
    for index in random.permutation(len(castings)).tolist():
        by_casting.setdefault(castings[index], []).append(index)
    chosen: list[int] = []
    while len(chosen) < count and any(by_casting.values()):
        for images in by_casting.values():
            if images and len(chosen) < count:
                chosen.append(images.pop())
    return sorted(chosen)
