"""Calibration errors against their definitions; probabilities that rounding took above 1."""

import numpy as np
import pytest

from metrics.calibration import calibration_errors

IS_DEFECT = np.array([True, True, False, False])


def test_the_errors_are_those_of_their_definitions():
    found = calibration_errors(IS_DEFECT, np.array([0.9, 0.6, 0.2, 0.6]))
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.04 + 0.36) / 4)
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.6, 0.8, 0.4]).mean())
    # Bins of 0.9, of 0.6 twice, half of them defects, and of 0.2
    assert found["ece"] == pytest.approx((0.1 + 2 * 0.1 + 0.2) / 4)


def test_a_sum_of_probabilities_may_round_to_more_than_one():
    found = calibration_errors(IS_DEFECT, np.array([1 + 1e-7, 1.0, 0.0, 0.0]))
    assert found["brier"] == 0
    assert found["nll"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", [True, False])
def test_parts_of_one_class_have_errors_too(kind):
    found = calibration_errors(np.array([kind, kind]), np.array([0.5, 0.5]))
    assert found["brier"] == pytest.approx(0.25)
    assert found["nll"] == pytest.approx(np.log(2))
