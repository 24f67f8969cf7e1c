"""Contradicted labels, counted by hand."""

import numpy as np
import pytest

from metrics.label_issues import (
    class_thresholds,
    contradicted_labels,
    find_label_issues,
    label_margins,
)

DEFECTS = [True, False]  # class 0 is a defect, class 1 good


def probabilities(*defect):
    return np.stack([np.array(defect), 1 - np.array(defect)], axis=1)


def test_a_label_is_contradicted_below_its_threshold_where_another_class_reaches_its_own():
    labels = np.array([0, 0, 0, 1, 1])
    scores = probabilities(0.9, 0.5, 0.1, 0.2, 0.4)
    assert class_thresholds(labels, scores) == pytest.approx([0.5, 0.7])
    # the second is not below 0.5; the last is below 0.7, but 0.4 does not reach 0.5
    assert contradicted_labels(labels, scores).tolist() == [False, False, True, False, False]
    assert label_margins(labels, scores) == pytest.approx([0.8, 0.0, -0.8, 0.6, 0.2])


def test_nothing_is_contradicted_in_favour_of_a_class_that_nobody_has():
    scores = np.array([[0.9, 0.1, 0.0], [0.0, 0.1, 0.9], [0.1, 0.9, 0.0]])
    assert not contradicted_labels(np.array([0, 0, 1]), scores)[1]
    assert label_margins(np.array([2, 2, 2]), scores) == pytest.approx([-0.9, 0.8, -0.9])


def test_castings_come_first_and_castings_with_both_labels_list_the_rarer_one():
    castings = ["single"] * 5 + ["wrong"] * 2 + ["both"] * 3 + ["good"] * 4
    labels = np.array([0] * 5 + [0] * 2 + [1, 1, 0] + [1] * 4)
    scores = probabilities(
        *(0.9, 0.9, 0.9, 0.9, 0.01), *(0.1, 0.05), *(0.1, 0.1, 0.8), *(0.1, 0.1, 0.1, 0.1)
    )
    found = find_label_issues(labels, scores, castings, DEFECTS)
    # wrong: all contradicted; both: the one defect, although the model agrees with it; and only
    # then the single image of an otherwise right casting, although its margin is the lowest
    assert found.order == [6, 5, 9, 4]
    first, second = found.castings
    assert (first.name, first.images, first.defects, first.contradicted) == ("wrong", 2, 2, 2)
    assert (second.name, second.both_labels, second.contradicted) == ("both", True, 0)


def test_right_labels_give_no_issue():
    found = find_label_issues(np.array([0, 1]), probabilities(0.9, 0.1), ["a", "b"], DEFECTS)
    assert (found.order, found.castings) == ([], [])
