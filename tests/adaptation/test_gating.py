"""The gate of an adapted model: both lines are near, everything else as far as before."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptation.gating import covariance_of, pooled, wider
from gate.fitting import fit_distance
from gate.limits import Interval
from networks.features import Distance


def features_of(count, middle, seed, dimensions=12):
    random = np.random.default_rng(seed)
    return random.normal(middle, 1, (count, dimensions)) @ np.diag(np.linspace(0.5, 2, dimensions))


def gate_of(features):
    mean, whitening = fit_distance(features)
    return {"mean": mean, "whitening": whitening}


def distances(gate, features):
    return Distance(*gate)(torch.from_numpy(features).float()).numpy()


def test_the_covariance_is_that_of_the_whitening():
    features = features_of(400, 0, 0)
    _, whitening = fit_distance(features)
    covariance = covariance_of(whitening.double().numpy())
    assert np.abs(covariance - np.cov(features.T)).max() < 0.2 * np.abs(covariance).max()


def test_both_lines_are_near_and_another_is_not():
    old, new = features_of(200, 0, 0), features_of(200, 3, 1)
    other = features_of(200, np.tile([4, -4], 6), 2)  # as far as the new line, but elsewhere
    before = gate_of(old)
    assert np.median(distances(before.values(), new)) > 2
    both = pooled(before, new[:80].reshape(10, 8, -1))
    assert np.median(distances(both, old)) < 1.3
    assert np.median(distances(both, new[80:])) < 1.3
    assert np.median(distances(both, other)) > 2 * np.median(distances(both, new))


@given(*[st.floats(-5, 5)] * 4)
def test_limits_only_grow(low, high, lowest, highest):
    one = Interval(low, high, lowest, highest)
    other = Interval(0, 1, -1, 2)
    both = wider(other, one)
    assert both.lowest <= min(lowest, -1)
    assert both.highest >= max(highest, 2)
    assert wider(other, None) == other
