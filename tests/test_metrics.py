"""Counts, rates and intervals against hand counts and published figures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import (
    DecisionCounts,
    confusion_matrix,
    count_decisions,
    decision_rates,
    format_rate,
    rate,
    roc_auc,
    wilson_interval,
)

DEFECT = np.array([1, 1, 1, 1, 0, 0, 0], bool)
PROBABILITY = np.array([0.9, 0.8, 0.5, 0.1, 0.7, 0.5, 0.2])


@pytest.mark.parametrize(
    ("threshold", "missed", "false_alarms"),
    [(0.0, 0, 3), (0.2, 1, 3), (0.5, 1, 2), (0.51, 2, 1), (0.75, 2, 0), (1.0, 4, 0)],
)
def test_decisions_are_counted_as_by_hand(threshold, missed, false_alarms):
    counts = count_decisions(DEFECT, PROBABILITY, threshold)
    assert counts == DecisionCounts(defects=4, missed=missed, good=3, false_alarms=false_alarms)
    assert counts.images == 7
    assert counts.caught == 4 - missed
    assert counts.right == 7 - missed - false_alarms


def test_probability_equal_to_the_threshold_rejects():
    assert count_decisions([True], [0.3], 0.3).missed == 0
    assert count_decisions([False], [0.3], 0.3).false_alarms == 1
    assert count_decisions([True], [np.nextafter(0.3, 0)], 0.3).missed == 1


def test_counts_are_plain_numbers_and_accept_lists_and_nothing():
    counts = count_decisions([1, 0], [0.2, 0.1], 0.5)
    assert counts == DecisionCounts(defects=1, missed=1, good=1, false_alarms=0)
    assert type(counts.missed) is int
    assert count_decisions([], [], 0.5).images == 0


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_the_published_one(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_its_formula_and_contains_the_rate(numbers):
    k, n = numbers
    z = 1.959963984540054
    middle = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    low, high = wilson_interval(k, n)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-9)
    assert 0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1


def test_higher_level_gives_a_wider_interval():
    low, high = wilson_interval(239, 241)
    lower, higher = wilson_interval(239, 241, level=0.99)
    assert lower < low < 239 / 241 < high < higher


def test_rate_holds_counts_value_and_interval():
    value = rate(239, 241)
    assert (value["count"], value["of"]) == (239, 241)
    assert value["rate"] == pytest.approx(0.991701, abs=1e-6)
    assert (value["low"], value["high"]) == pytest.approx((0.970252, 0.997721), abs=1e-6)


def test_rate_of_nothing_has_no_value():
    assert rate(0, 0) == {"count": 0, "of": 0, "rate": None, "low": None, "high": None}
    assert all(math.isnan(bound) for bound in wilson_interval(0, 0))


def test_rates_have_their_own_denominators_in_the_engineers_order():
    rates = decision_rates(DecisionCounts(defects=10, missed=1, good=5, false_alarms=3))
    assert {name: (value["count"], value["of"]) for name, value in rates.items()} == {
        "missed_defects": (1, 10),
        "false_alarms": (3, 5),
        "accuracy": (11, 15),
        "precision": (9, 12),
        "recall": (9, 10),
    }
    assert list(rates)[:2] == ["missed_defects", "false_alarms"]


def test_rates_of_a_set_without_good_parts_have_no_false_alarm_rate():
    rates = decision_rates(DecisionCounts(defects=2, missed=2, good=0, false_alarms=0))
    assert rates["false_alarms"]["rate"] is None
    assert rates["precision"]["rate"] is None
    assert rates["recall"]["rate"] == 0


def test_roc_auc_is_the_share_of_pairs_in_the_right_order():
    # 12 pairs: 0.9 and 0.8 beat all three, 0.5 beats 0.2 and ties 0.5, 0.1 beats none
    assert roc_auc(DEFECT, PROBABILITY) == pytest.approx(7.5 / 12)
    assert roc_auc([0, 1], [0.1, 0.9]) == 1.0
    assert roc_auc([1, 0], [0.1, 0.9]) == 0.0


@pytest.mark.parametrize("labels", [[True, True], [False], []])
def test_roc_auc_needs_both_classes(labels):
    assert roc_auc(labels, [0.5] * len(labels)) is None


def test_confusion_matrix_has_true_classes_in_rows():
    labels = ["burr", "burr", "ok", "ok", "ok", "hole"]
    predicted = ["burr", "ok", "ok", "ok", "burr", "ok"]
    matrix = confusion_matrix(labels, predicted, ["hole", "burr", "ok"])
    assert matrix.tolist() == [[0, 0, 1], [0, 1, 1], [0, 1, 2]]


def test_confusion_matrix_refuses_unequal_lengths_and_unknown_classes():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        confusion_matrix(["ok", "ok"], ["ok"], ["ok"])
    with pytest.raises(KeyError, match="burr"):
        confusion_matrix(["burr"], ["ok"], ["ok"])


def test_rates_read_as_counts_first():
    assert format_rate(rate(2, 241)) == "2/241 = 0.83 % (0.23 % to 2.97 %)"
    assert format_rate(rate(0, 0)) == "none to count"
