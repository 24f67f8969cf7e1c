"""Fit a gate: what training images span, and how far validation images are from them.

Limits lie beyond what these show by margins that were chosen on the published set's castings
(docs/experiments.md, 2026-11-27): other castings, other light and other framing of the same kind
pass, and what is no photograph of the part does not.
"""

from collections.abc import Sequence

import numpy as np
import torch

from gate.limits import REASONS, Interval, Limits
from gate.measures import HUB

IMAGES = 500  # of training, and as many of validation: more change the limits by a few percent
SPAN = (0.5, 99.5)  # percentiles; what lies outside may be a mishap
HUB_FOUND = 0.99  # of the training images, where parts have one
VALIDATION_SHARE = 99.0  # percentile of the distance
# Of that distance. Other castings of the session reach 1.4 of it, those of another one 1.6 to 4.5.
REVIEW, REFUSE = 1.4, 6.0
FAR = 1e6  # no limit at all; JSON knows no infinity
LEAST_VARIANCE = 1e-6  # of the mean one, in every direction
FLOOR = 0.1  # of the mean deviation is added to each: a channel that never varied is no proof


def fit_distance(features: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (D,) and whitening (D, D) of training images' features (N, D), for `Distance`.

    The covariance is shrunk after Ledoit and Wolf (A well-conditioned estimator for large-
    dimensional covariance matrices, 2004), so that a few dozen images are enough.
    """
    from sklearn.covariance import LedoitWolf

    features = features.astype(float)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.hypot(deviation, FLOOR * deviation.mean() + 1e-9)
    fitted = LedoitWolf(assume_centered=True).fit((features - mean) / scale)
    covariance = fitted.covariance_
    # Of very few images alike it has no inverse
    covariance += LEAST_VARIANCE * np.trace(covariance) / len(scale) * np.eye(len(scale))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance)) / scale[:, None]
    return torch.from_numpy(mean).float(), torch.from_numpy(whitening).float()


def fit_limits(training: Sequence[dict[str, float]], distances: np.ndarray) -> Limits:
    """The limits from training images' measures, and validation images' distances (M,)."""
    with_hub = np.mean([HUB[0] in one for one in training]) >= HUB_FOUND
    measures = {}
    for name in REASONS:
        if with_hub or name not in HUB:
            low, high = np.percentile([one[name] for one in training if name in one], SPAN)
            measures[name] = Interval(float(low), float(high), *_margins(name, low, high))
    known = float(np.percentile(distances, VALIDATION_SHARE))
    return Limits(measures, known, REVIEW * known, REFUSE * known)


def _margins(name: str, low: float, high: float) -> tuple[float, float]:
    """The lowest and the highest value of a measure that pass."""
    if name in ("white", "black"):
        return 0.0, float(high + 0.15)
    if name in ("hub_x", "hub_y"):
        return float(low - 0.06), float(high + 0.06)
    below, above = {
        "contrast": (0.5, FAR),
        "detail": (0.7, 1.3),
        "aspect": (1 / 1.15, 1.15),
        "side_px": (0.5, FAR),
        "hub_size": (0.8, 1.2),
        "hub_roundness": (0.8, FAR),
    }[name]
    return float(below * low), float(above * high)
