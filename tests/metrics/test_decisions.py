"""Counts, rates and intervals against hand counts, scikit-learn and published figures."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from metrics.decisions import (
    CastingTable,
    DecisionCounts,
    Parts,
    count_decisions,
    exact_rates,
    format_rate,
    one_part_a_casting,
    ratio,
    summarise,
    weighted_auc,
)
from metrics.exact import exact_rate

DEFECT = np.array([1, 1, 1, 1, 0, 0, 0], bool)
PROBABILITY = np.array([0.9, 0.8, 0.5, 0.1, 0.7, 0.5, 0.2])


def parts_of(*images, threshold=0.5):
    """Parts from `casting label probability` a word each, as 'a d .9'; then fold and session."""
    lines = [[*(words := text.split()), *("0", "")[len(words) - 3 :]] for text in images]
    folds = np.array([int(line[3]) for line in lines])
    thresholds = threshold if isinstance(threshold, dict) else dict.fromkeys(folds, threshold)
    return Parts(
        is_defect=np.array([line[1] == "d" for line in lines], bool),
        prob_defect=np.array([float(line[2]) for line in lines]),
        threshold=np.array([thresholds[fold] for fold in folds]),
        castings=np.array([line[0] for line in lines]),
        folds=folds,
        sessions=np.array([line[4] for line in lines]),
    )


def counts_of(rates):
    return {name: (rate["count"], rate["of"]) for name, rate in rates.items()}


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


def test_each_part_may_have_its_own_threshold():
    thresholds = np.array([0.95, 0.8, 0.5, 0.05, 0.9, 0.5, 0.3])
    counts = count_decisions(DEFECT, PROBABILITY, thresholds)
    assert counts == DecisionCounts(defects=4, missed=1, good=3, false_alarms=1)


# --- area under the ROC curve --------------------------------------------------------------------


def test_auc_is_the_share_of_pairs_in_the_right_order():
    # 12 pairs: 0.9 and 0.8 beat all three, 0.5 beats 0.2 and ties 0.5, 0.1 beats none
    assert weighted_auc(DEFECT, PROBABILITY) == pytest.approx(7.5 / 12)
    assert weighted_auc(np.array([False, True]), np.array([0.1, 0.9])) == 1.0
    assert weighted_auc(np.array([True, False]), np.array([0.1, 0.9])) == 0.0


@st.composite
def scored(draw):
    """Parts of both classes with scores that tie, and whole-numbered weights, some 0."""
    count = draw(st.integers(2, 30))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    is_defect = random.random(count) < random.uniform(0.1, 0.9)
    is_defect[:2] = [True, False]
    scores = random.integers(0, draw(st.integers(1, 20)), count, endpoint=True) / 20
    weights = random.integers(0, 4, (5, count)).astype(float)
    weights[:, :2] += 1
    order = random.permutation(count)
    return is_defect[order], scores[order], weights[:, order]


@given(parts=scored())
def test_auc_is_that_of_scikit_learn_with_ties_and_weights(parts):
    is_defect, scores, weights = parts
    assert weighted_auc(is_defect, scores) == pytest.approx(roc_auc_score(is_defect, scores))
    expected = [roc_auc_score(is_defect, scores, sample_weight=row) for row in weights]
    assert weighted_auc(is_defect, scores, weights[0]) == pytest.approx(expected[0])
    assert weighted_auc(is_defect, scores, weights) == pytest.approx(expected)


def test_auc_of_a_weighting_without_one_class_is_not_a_number():
    weights = np.array([[1.0, 1, 1], [1, 1, 0], [0, 0, 1]])
    aucs = weighted_auc(np.array([True, True, False]), np.array([0.9, 0.2, 0.5]), weights)
    assert aucs[0] == 0.5
    assert np.isnan(aucs[1:]).all()


def test_auc_is_the_mean_over_folds_whose_scores_have_other_scales():
    # Either fold is perfect; fold 2 scores all lower, so that pooling world_size its defects below
    parts = parts_of(
        "a d .9 1", "b d .8 1", "c g .6 1", "d g .5 1",
        "e d .4 2", "f d .3 2", "g g .2 2", "h g .1 2",
    )  # fmt: skip
    auc = CastingTable(parts).auc(parts)
    assert auc["folds"] == [1, 1]
    assert (auc["mean"], auc["low"], auc["high"]) == (1, 1, 1)
    assert auc["pooled"] == pytest.approx(12 / 16)


def test_auc_of_folds_is_averaged_and_its_interval_holds_it():
    parts = parts_of(
        "a d .9 1", "b d .4 1", "c g .6 1", "d g .5 1",
        "e d .4 2", "f d .3 2", "g g .2 2", "h g .1 2",
    )  # fmt: skip
    auc = CastingTable(parts).auc(parts)
    assert auc["folds"] == [0.5, 1]
    assert auc["mean"] == 0.75
    assert 0 <= auc["low"] < 0.75 < auc["high"] <= 1


def test_a_fold_of_one_class_has_no_part_in_the_mean_auc():
    parts = parts_of("a d .9 1", "b g .4 1", "c d .1 2", "d d .2 2")
    auc = CastingTable(parts).auc(parts)
    assert (auc["mean"], auc["folds"]) == (1, [1])
    assert auc["pooled"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", ["d", "g"])
def test_auc_needs_both_classes(kind):
    parts = parts_of(f"a {kind} .9", f"b {kind} .2")
    nothing = {"mean": None, "low": None, "high": None, "folds": [], "pooled": None}
    assert CastingTable(parts).auc(parts) == nothing


# --- exact intervals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Clopper-Pearson: Newcombe 1998, Statistics in Medicine 17, table I, method 5
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
        (0, 18, 0.0, 0.1853),
        (18, 18, 0.8147, 1.0),
    ],
)
def test_exact_interval_is_the_published_one(successes, trials, low, high):
    value = exact_rate(successes, trials)
    assert (value["low"], value["high"]) == pytest.approx((low, high), abs=5e-5)
    assert (value["count"], value["of"]) == (successes, trials)
    assert value["rate"] == successes / trials


def test_exact_rate_of_nothing_has_no_value():
    assert exact_rate(0, 0) == {"count": 0, "of": 0, "rate": None, "low": None, "high": None}


# --- rates with intervals from castings ----------------------------------------------------------


def test_rates_have_their_own_denominators_in_the_engineers_order():
    parts = parts_of(
        "a d .9", "a d .8", "a d .1", "b d .5", "b d .6",
        "c g .7", "c g .2", "d g .1", "e g .5",
    )  # fmt: skip
    rates = CastingTable(parts).rates()
    assert counts_of(rates) == {
        "missed_defects": (1, 5),
        "false_alarms": (2, 4),
        "accuracy": (6, 9),
        "precision": (4, 6),
        "recall": (4, 5),
    }
    assert list(rates)[:2] == ["missed_defects", "false_alarms"]
    for rate in rates.values():
        assert rate["rate"] == rate["count"] / rate["of"]
        assert type(rate["count"]) is type(rate["of"]) is int
        assert 0 <= rate["low"] <= rate["rate"] <= rate["high"] <= 1


def test_rates_within_castings_take_each_casting_once():
    parts = parts_of(
        *["a d .1"] * 2, "a d .9", *["b d .9"] * 300, "c g .9", *["c g .1"] * 3, *["d g .2"] * 5
    )
    rates = CastingTable(parts).rates(within_castings=True)
    assert rates["missed_defects"]["rate"] == pytest.approx((2 / 3 + 0) / 2)
    assert rates["recall"]["rate"] == pytest.approx((1 / 3 + 1) / 2)
    assert rates["false_alarms"]["rate"] == pytest.approx((1 / 4 + 0) / 2)
    assert rates["accuracy"]["rate"] == pytest.approx((1 / 3 + 1 + 3 / 4 + 1) / 4)
    assert rates["precision"]["rate"] == pytest.approx((1 / 3 + 1) / (1 / 3 + 1 + 1 / 4))
    assert (rates["missed_defects"]["count"], rates["missed_defects"]["of"]) == (0.6667, 2)


def test_three_hundred_images_of_a_casting_count_within_it_like_three():
    few = parts_of(*["a d .1"] * 3, "b d .9", "c d .8", "d g .1", "e g .9")
    many = parts_of(*["a d .1"] * 300, "b d .9", "c d .8", "d g .1", "e g .9")
    few_rates, many_rates = (CastingTable(p).rates(within_castings=True) for p in (few, many))
    assert few_rates == many_rates
    assert CastingTable(few).rates() != CastingTable(many).rates()


def test_rates_without_good_or_rejected_parts_have_no_value():
    rates = CastingTable(parts_of("a d .1", "b d .2")).rates()
    nothing = {"count": 0, "of": 0, "rate": None, "low": None, "high": None}
    assert rates["false_alarms"] == rates["precision"] == nothing
    assert rates["recall"] == {"count": 0, "of": 2, "rate": 0, "low": 0, "high": 0}


def agreeing(castings, images, wrong):
    """Parts of as many castings of either class; those of the first `wrong` are decided wrongly."""
    lines = []
    for number in range(castings):
        caught = number >= wrong
        lines += [f"d{number} d {0.9 if caught else 0.1}"] * images
        lines += [f"g{number} g {0.1 if caught else 0.9}"] * images
    return parts_of(*lines)


def width(rate):
    return rate["high"] - rate["low"]


def test_resampled_castings_make_a_wider_interval_than_resampled_images():
    parts = agreeing(castings=20, images=25, wrong=4)
    images = replace(parts, castings=np.arange(len(parts.is_defect)).astype(str))
    by_casting, by_image = CastingTable(parts).rates(), CastingTable(images).rates()
    for name in ("missed_defects", "false_alarms"):
        assert by_casting[name]["rate"] == by_image[name]["rate"] == pytest.approx(0.2)
        # 25 images that agree are one: the interval is wider by the root of 25
        assert width(by_casting[name]) == pytest.approx(5 * width(by_image[name]), rel=0.15)
    # Of castings that agree, the number of wrong ones is binomial: 20 times 0.2, 95 % in 1 to 8
    assert by_casting["missed_defects"]["low"] == pytest.approx(1 / 20)
    assert by_casting["missed_defects"]["high"] == pytest.approx(8 / 20)


def test_classes_keep_their_number_of_castings_in_every_draw():
    # A class of one casting is in every draw, so that its rate does not move
    parts = parts_of("a g .9", "a g .1", *[f"d{n} d .{n}" for n in range(1, 10)])
    rates = CastingTable(parts).rates()
    assert (rates["false_alarms"]["low"], rates["false_alarms"]["high"]) == (0.5, 0.5)
    assert rates["missed_defects"]["low"] < 4 / 9 < rates["missed_defects"]["high"]


def test_the_seed_alone_decides_the_intervals():
    parts = agreeing(castings=12, images=3, wrong=5)
    assert CastingTable(parts, seed=3).rates() == CastingTable(parts, seed=3).rates()
    drawn = [CastingTable(parts, seed).times for seed in (0, 1)]
    assert not np.array_equal(*drawn)


def test_order_of_images_does_not_matter():
    parts = agreeing(castings=6, images=3, wrong=2)
    shuffled = parts.chosen(np.random.default_rng(0).permutation(len(parts.is_defect)))
    assert summarise(shuffled) == summarise(parts)


def test_without_errors_there_is_no_interval_to_print():
    parts = agreeing(castings=8, images=4, wrong=0)
    value = CastingTable(parts).rates()["missed_defects"]
    assert (value["rate"], value["low"], value["high"]) == (0, 0, 0)
    assert format_rate(value) == "0/32 = 0.00 %"


def test_nothing_divided_by_nothing_is_not_a_number():
    quotient = ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0]))
    assert quotient[0] == 0.25
    assert np.isnan(quotient[1])


# --- castings decided once -----------------------------------------------------------------------


def test_a_casting_is_decided_by_the_mean_of_its_images():
    parts = parts_of(
        "a d .9", "a d .2", "a d .5",  # mean .533: caught although an image is missed
        "b d .9", "b d .0",  # mean .45: missed
        "c g .4", "c g .6",  # mean .5, the threshold itself: rejected
        "d g .1",
    )  # fmt: skip
    decided = exact_rates(one_part_a_casting(parts).counts)
    assert decided["missed_defects"] == exact_rate(1, 2)
    assert decided["false_alarms"] == exact_rate(1, 2)
    assert decided["accuracy"] == exact_rate(2, 4)
    assert decided["recall"] == exact_rate(1, 2)
    assert one_part_a_casting(parts).prob_defect == pytest.approx([1.6 / 3, 0.45, 0.5, 0.1])


def test_a_casting_is_decided_at_the_threshold_of_its_own_fold():
    images = ["a d .4 1", "a d .4 1", "b g .4 1", "c d .4 2", "d g .4 2"]
    decided = exact_rates(one_part_a_casting(parts_of(*images, threshold={1: 0.3, 2: 0.6})).counts)
    assert decided["missed_defects"] == exact_rate(1, 2)  # c
    assert decided["false_alarms"] == exact_rate(1, 2)  # b
    swapped = exact_rates(one_part_a_casting(parts_of(*images, threshold={1: 0.6, 2: 0.3})).counts)
    assert swapped["accuracy"]["count"] == 2  # b and c


# --- the summary ---------------------------------------------------------------------------------

MIXED = (
    "a d .9", "a d .9", "m d .8", "m d .3", "m g .9", "b g .1", "b g .7", "c g .2", "e d .1",
)  # fmt: skip


def test_a_casting_with_both_labels_is_listed_and_in_no_casting_level_rate():
    result = summarise(parts_of(*MIXED))
    assert result["both_labels"] == ["m"]
    assert (result["castings"], result["castings_good"]) == (5, 2)
    assert counts_of(result["per_casting"]) == {
        "missed_defects": (1, 2),
        "false_alarms": (0, 2),
        "accuracy": (3, 4),
        "recall": (1, 2),
    }
    assert result["per_casting_roc_auc"]["mean"] == pytest.approx(2 / 4)  # a, e against b, c
    within = result["within_castings"]
    assert (within["missed_defects"]["count"], within["missed_defects"]["of"]) == (1, 2)
    assert (within["false_alarms"]["count"], within["false_alarms"]["of"]) == (0.5, 2)


def test_images_are_counted_with_and_without_the_castings_of_both_labels():
    result = summarise(parts_of(*MIXED))
    assert result["counts"] == {"defects": 5, "missed": 2, "good": 4, "false_alarms": 2}
    assert counts_of(result["rates"])["accuracy"] == (5, 9)
    without = result["without_both_labels"]
    assert without["images"] == 6
    assert without["counts"] == {"defects": 3, "missed": 1, "good": 3, "false_alarms": 1}
    assert counts_of(without["rates"])["accuracy"] == (4, 6)


def test_without_mixed_castings_nothing_is_told_twice():
    result = summarise(agreeing(castings=3, images=2, wrong=1))
    assert result["both_labels"] == []
    assert "without_both_labels" not in result


def test_a_set_of_one_mixed_casting_has_no_casting_level_rates():
    result = summarise(parts_of("m d .9", "m g .9"))
    assert result["within_castings"] == result["per_casting"] == {}
    assert result["without_both_labels"]["images"] == 0
    assert result["counts"]["false_alarms"] == 1


@pytest.mark.parametrize(
    "images",
    [MIXED, ["a d .9"], ["a g .9", "b g .1"], ["m d .9", "m g .9"]],
    ids=["all kinds", "a defect", "good ones", "a mixed casting"],
)
def test_a_summary_can_be_written_as_strict_json(images):
    result = summarise(parts_of(*images))
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_balanced_accuracy_within_castings_is_that_of_a_hand_count():
    # Defects caught: a 1/2, b 1, so 3/4; good parts passed: c 1/3, d 1, e 1, so 7/9
    parts = parts_of(
        "a d .9", "a d .1", "b d .9", "c g .9", "c g .9", "c g .1", "d g .1", "e g .1"
    )  # fmt: skip
    balanced = summarise(parts)["within_castings"]["balanced_accuracy"]
    assert balanced["rate"] == pytest.approx((3 / 4 + 7 / 9) / 2)
    # Draws of a alone and c alone occur, and of neither
    assert balanced["low"] < balanced["rate"] < balanced["high"] == 1


def test_one_kind_has_no_balanced_accuracy():
    balanced = summarise(parts_of("a g .9", "b g .1"))["within_castings"]["balanced_accuracy"]
    assert balanced == {"rate": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("sessions", "found"),
    [
        (("dark", "light", "dark"), {"dark": [1, 0, 1], "light": [0, 1, 0]}),
        (("dark", "", "light"), {"dark": [1, 0, 0], "light": [0, 0, 1]}),
        (("dark", "dark", "dark"), {}),
        (("dark", "", "dark"), {}),
        (("", "", ""), {}),
    ],
)
def test_sessions_are_told_apart_where_two_are_known(sessions, found):
    parts = parts_of(*[f"a d .9 0 {name}" for name in sessions])
    assert {name: mask.astype(int).tolist() for name, mask in parts.by_session.items()} == found


# --- classes and text ----------------------------------------------------------------------------


def test_rates_read_as_counts_first():
    value = {"count": 2, "of": 241, "rate": 2 / 241, "low": 0.0023, "high": 0.0297}
    assert format_rate(value) == "2/241 = 0.83 % (0.23 % to 2.97 %)"
    within = value | {"count": 0.6667, "of": 2, "rate": 1 / 3, "low": 0.0, "high": 1.0}
    assert format_rate(within) == "0.7/2 = 33.33 % (0.00 % to 100.00 %)"
    assert format_rate(exact_rate(0, 0)) == "none to count"
