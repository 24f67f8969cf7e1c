"""Temperature and threshold are the best ones for castings, however many images each has."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from metrics import operating_point
from metrics.calibration import calibrated
from metrics.castings import casting_weights
from metrics.operating_point import (
    BALANCED,
    TEMPERATURES,
    fit_operating_point,
    fit_temperature,
    fit_threshold,
)

DEFECT_CLASSES = np.array([True, False])  # as of the classes def_front, ok_front


def simulated(castings, random, sharpness=1.0, images=1):
    """Logits, targets and castings of a network whose logits are `sharpness` times too large."""
    targets = np.repeat(np.arange(castings) % 2, images)
    clear = random.normal(2.0, 2.0, len(targets)) * np.where(targets == 0, 1, -1)
    logits = sharpness * np.stack([clear, np.zeros_like(clear)], axis=1)
    return logits, targets, np.repeat([f"c{n}" for n in range(castings)], images).tolist()


def fit(logits, targets, castings, aim=0.9, seed=0):
    return fit_operating_point(logits, targets, DEFECT_CLASSES, castings, aim, seed)


def fit_balanced(odds, targets, castings=None):
    """The balanced point of log odds (N,)."""
    logits = np.stack([odds, np.zeros_like(odds)], axis=1)
    return fit(logits, targets, castings or [""] * len(odds), BALANCED)


def caught(point, logits, targets, castings):
    """Share of the defective images at or above the threshold, castings weighted alike."""
    prob_defect = calibrated(logits, point.temperature)[:, DEFECT_CLASSES].sum(axis=1)
    weights = casting_weights(castings) * DEFECT_CLASSES[targets]
    return weights[prob_defect >= point.threshold].sum() / weights.sum()


@pytest.fixture
def few_draws(monkeypatch):
    """For tests that do not look at the range of thresholds."""
    monkeypatch.setattr(operating_point, "BOOTSTRAP_DRAWS", 10)


# --- weights -------------------------------------------------------------------------------------


@given(castings=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40))
def test_weights_sum_to_one_and_are_the_same_for_every_casting(castings):
    weights = casting_weights(castings)
    assert weights.sum() == pytest.approx(1)
    for name, images in Counter(castings).items():
        own = weights[np.array(castings) == name]
        assert own == pytest.approx(1 / len(set(castings)) / images)


def test_images_without_a_casting_count_one_by_one():
    assert casting_weights(["", "", "a", "a"]) == pytest.approx([1 / 3, 1 / 3, 1 / 6, 1 / 6])


# --- the temperature -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
def test_known_temperature_is_found_again(temperature):
    random = np.random.default_rng(0)
    true = random.normal(0, 2, (40_000, 3))
    draw = random.random((len(true), 1))
    targets = (draw > calibrated(true, 1.0).cumsum(axis=1)[:, :2]).sum(axis=1)
    weights = np.full(len(true), 1 / len(true))
    assert fit_temperature(temperature * true, targets, weights) == pytest.approx(
        temperature, rel=0.05
    )


def test_images_without_weight_do_not_count_for_the_temperature():
    random = np.random.default_rng(0)
    true = random.normal(0, 2, (5000, 2))
    targets = (random.random(5000) > calibrated(true, 1.0)[:, 0]).astype(int)
    targets[2500:] = random.integers(0, 2, 2500)  # of these the network knows nothing
    weights = np.repeat([1 / 2500, 0], 2500)
    alone = fit_temperature(true[:2500], targets[:2500], weights[:2500])
    assert fit_temperature(true, targets, weights) == pytest.approx(alone, rel=1e-4)
    assert alone == pytest.approx(1, rel=0.1)


def test_temperature_is_where_the_loss_is_smallest():
    logits, targets, _ = simulated(60, np.random.default_rng(2), sharpness=3)
    weights = np.random.default_rng(3).random(60)

    def loss(temperature):
        chosen = calibrated(logits, temperature)[np.arange(60), targets]
        return -(weights * np.log(chosen)).sum()

    found = fit_temperature(logits, targets, weights)
    assert loss(found) <= min(loss(t) for t in np.geomspace(*TEMPERATURES, 500)) + 1e-9


@pytest.mark.parametrize(("sign", "bound"), [(1, TEMPERATURES[0]), (-1, TEMPERATURES[1])])
def test_temperature_at_its_bound_is_reported(few_draws, sign, bound):
    logits, targets, castings = simulated(40, np.random.default_rng(0))
    logits[:, 0] = sign * np.abs(logits[:, 0]) * np.where(targets == 0, 1, -1)  # all right or wrong
    point = fit(logits, targets, castings)
    assert point.temperature == pytest.approx(bound)
    assert f"met its bound {bound:g}" in point.note
    assert f"met its bound {bound:g}" in point.describe()


def test_temperature_within_its_bounds_has_no_note(few_draws):
    point = fit(*simulated(400, np.random.default_rng(0), sharpness=2))
    assert TEMPERATURES[0] < point.temperature < TEMPERATURES[1]
    assert point.note == ""
    assert point.describe().endswith("a recall of at least 0.9")


# --- the threshold -------------------------------------------------------------------------------


@st.composite
def predicted_images(draw):
    """Flags, scores with many ties, whole-number weights; at least one defect."""
    image = st.tuples(st.booleans(), st.integers(0, 10), st.integers(1, 5))
    images = draw(st.lists(image, min_size=1, max_size=25))
    images[0] = (True, *images[0][1:])
    is_defect, tenths, weights = map(np.array, zip(*images, strict=True))
    return is_defect, tenths / 10, weights


def largest_midpoint(is_defect, prob_defect, weights, min_recall):
    """Try every threshold midway between two neighbouring scores, from above, in fractions."""
    scores = [0.0, *sorted(set(prob_defect.tolist()))]
    for lower, higher in reversed(list(pairwise(scores))):
        threshold = (lower + higher) / 2
        rejected = weights[is_defect & (prob_defect >= threshold)].sum()
        if Fraction(int(rejected), int(weights[is_defect].sum())) >= min_recall:
            return threshold
    return 0.0


@given(images=predicted_images(), min_recall=st.fractions(Fraction(1, 20), 1, max_denominator=20))
def test_threshold_is_the_largest_midpoint_that_meets_the_recall(images, min_recall):
    is_defect, prob_defect, weights = images
    weights_of_sum_one = weights / weights.sum()
    found = fit_threshold(is_defect, prob_defect, weights_of_sum_one, float(min_recall))
    assert found == pytest.approx(largest_midpoint(*images, min_recall), abs=1e-12)


@given(images=predicted_images(), order=st.randoms(use_true_random=False))
def test_threshold_does_not_depend_on_the_order_of_images(images, order):
    numbers = list(range(len(images[0])))
    order.shuffle(numbers)
    shuffled = (values[numbers] for values in images)
    assert fit_threshold(*shuffled, 0.8) == fit_threshold(*images, 0.8)


@given(images=predicted_images())
def test_recall_one_rejects_every_defect(images):
    is_defect, prob_defect, _ = images
    threshold = fit_threshold(*images, 1.0)
    assert (prob_defect[is_defect] >= threshold).all()


def test_higher_recall_never_means_a_higher_threshold():
    random = np.random.default_rng(0)
    images = random.random(200) < 0.5, random.random(200), random.random(200)
    thresholds = [fit_threshold(*images, recall) for recall in np.linspace(0.05, 1, 40)]
    assert thresholds == sorted(thresholds, reverse=True)


# --- both, on castings ---------------------------------------------------------------------------


@pytest.mark.parametrize("min_recall", [0.5, 0.9, 0.98, 1])
def test_operating_point_meets_the_recall_it_was_asked_for(few_draws, min_recall):
    predicted = simulated(60, np.random.default_rng(1), sharpness=2, images=5)
    point = fit(*predicted, aim=min_recall)
    assert caught(point, *predicted) >= min_recall - 1e-9
    assert caught(replace(point, threshold=point.threshold + 0.05), *predicted) < 1
    assert (point.castings_defective, point.castings_good) == (30, 30)
    assert point.min_recall == min_recall


@pytest.mark.parametrize("aim", [0.9, BALANCED])
def test_three_hundred_copies_count_no_more_than_three(aim):
    logits, targets, castings = simulated(12, np.random.default_rng(4), sharpness=2, images=3)
    for casting in (0, 1):  # a defective one and a good one
        own = [n for n, name in enumerate(castings) if name == f"c{casting}"]
        many = [*range(len(castings)), *own * 99]
        few = fit(logits, targets, castings, aim)
        point = fit(logits[many], targets[many], [castings[n] for n in many], aim)
        assert point.temperature == pytest.approx(few.temperature, rel=1e-3)
        assert point.threshold == pytest.approx(few.threshold, abs=1e-3)
        assert point.logit_bias == pytest.approx(few.logit_bias, abs=1e-3)
        assert point.threshold_low == pytest.approx(few.threshold_low, abs=1e-3)
        assert point.threshold_high == pytest.approx(few.threshold_high, abs=1e-3)
        # To images they would matter
        alike = fit(logits[many], targets[many], [""] * len(many), aim)
        moves = (alike.threshold - few.threshold, alike.temperature - few.temperature)
        assert sum(map(abs, (*moves, alike.logit_bias - few.logit_bias))) > 0.1


def test_probabilities_of_defect_types_are_added_up(few_draws):
    logits, targets, castings = simulated(40, np.random.default_rng(0))
    halves = logits[:, :1] - np.log(2)  # of the defect class: two types of half its probability
    logits, flags = np.hstack([halves, halves, logits[:, 1:]]), np.array([True, True, False])
    targets = np.where(targets == 1, 2, np.arange(40) // 2 % 2)
    point = fit_operating_point(logits, targets, flags, castings, 0.9)
    assert (point.castings_defective, point.castings_good) == (20, 20)
    prob_defect = calibrated(logits, point.temperature)[:, :2].sum(axis=1)
    assert np.mean(prob_defect[targets < 2] >= point.threshold) == pytest.approx(0.9)


def test_images_without_castings_are_counted_one_by_one(few_draws):
    logits, targets, _ = simulated(20, np.random.default_rng(0))
    point = fit(logits, targets, [""] * 20)
    assert (point.castings_defective, point.castings_good) == (10, 10)


def test_the_same_castings_give_the_same_point_and_the_seed_only_moves_the_range():
    predicted = simulated(30, np.random.default_rng(1))
    first = fit(*predicted)
    state = np.random.get_state()[1].copy()
    assert fit(*predicted) == first
    assert np.array_equal(np.random.get_state()[1], state)
    other = fit(*predicted, seed=1)
    assert other != first
    kept = {"threshold_low": first.threshold_low, "threshold_high": first.threshold_high}
    assert replace(other, **kept) == first


def test_range_holds_the_threshold_and_shrinks_with_more_castings():
    widths = []
    for castings in (20, 500):
        point = fit(*simulated(castings, np.random.default_rng(3)))
        assert 0 <= point.threshold_low <= point.threshold <= point.threshold_high <= 1
        widths.append(point.threshold_high - point.threshold_low)
    assert widths[1] < widths[0] / 2


def test_ten_copies_of_every_image_do_not_make_the_range_smaller():
    logits, targets, castings = simulated(30, np.random.default_rng(1))
    once = fit(logits, targets, castings)
    copied = fit(*(np.repeat(values, 10, axis=0) for values in (logits, targets, castings)))
    assert copied.threshold_low == pytest.approx(once.threshold_low, abs=1e-3)
    assert copied.threshold_high == pytest.approx(once.threshold_high, abs=1e-3)


def test_one_casting_of_either_class_has_no_range():
    point = fit(*simulated(2, np.random.default_rng(0), images=20))
    assert point.threshold_low == point.threshold == point.threshold_high


def test_description_names_castings_temperature_threshold_range_and_recall(few_draws):
    point = fit(*simulated(20, np.random.default_rng(0)))
    text = point.describe()
    for part in (
        "10 defective and 10 good validation castings",
        f"temperature {point.temperature:.2f}",
        f"threshold {point.threshold:.4f}",
        f"{point.threshold_low:.4f} to {point.threshold_high:.4f}",
        "at least 0.9",
    ):
        assert part in text
    assert point.as_dict()["threshold"] == point.threshold


# --- balanced ------------------------------------------------------------------------------------


def test_where_classes_are_apart_the_logit_bias_lies_between_them(few_draws):
    targets = np.array([0] * 20 + [1] * 20)
    point = fit_balanced(np.where(targets == 0, 6.0, -2.0), targets)
    assert point.logit_bias == pytest.approx(2, abs=0.1)
    assert (point.threshold, point.min_recall) == (0.5, None)
    assert "both errors weigh alike" in point.describe()


def test_the_logit_bias_lies_nearer_to_the_class_of_which_less_is_known(few_draws):
    targets = np.array([0] * 20 + [1] * 3)
    point = fit_balanced(np.where(targets == 0, 6.0, -2.0), targets)
    # The curve meets Platt's goals exactly: 21/22 at 6, 1/5 at -2
    steepness = (np.log(21) + np.log(4)) / 8
    assert point.logit_bias == pytest.approx(-2 + np.log(4) / steepness, abs=0.01)


@given(shift=st.floats(-8, 8), scale=st.floats(0.5, 2), seed=st.integers(0, 99))
def test_the_logit_bias_moves_with_the_scores(shift, scale, seed):
    logits, targets, castings = simulated(40, np.random.default_rng(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operating_point, "BOOTSTRAP_DRAWS", 2)
        first = fit_balanced(logits[:, 0], targets, castings)
        moved = fit_balanced(shift + scale * logits[:, 0], targets, castings)
    assert moved.logit_bias == pytest.approx(shift + scale * first.logit_bias, abs=0.02)


def test_the_temperature_is_that_of_the_scores_less_the_logit_bias(few_draws):
    logits, targets, castings = simulated(400, np.random.default_rng(0), sharpness=2)
    plain = fit_balanced(logits[:, 0], targets, castings)
    moved = fit_balanced(logits[:, 0] + 5, targets, castings)
    assert moved.temperature == pytest.approx(plain.temperature, rel=1e-3)


def test_the_logit_bias_is_where_the_odds_of_all_defect_classes_together_are_even(few_draws):
    random = np.random.default_rng(0)
    logits, targets, castings = simulated(300, random, sharpness=3)
    kinds = logits[:, :1] + random.normal(0, 2, (300, 3))
    logits, flags = np.hstack([kinds, logits[:, 1:]]), np.array([True] * 3 + [False])
    targets = np.where(targets == 1, 3, np.arange(300) % 3)
    point = fit_operating_point(logits, targets, flags, castings, BALANCED)
    assert abs(point.temperature - 1) > 0.2
    prob_defect = calibrated(logits - point.logit_bias * flags, point.temperature)[:, :3].sum(
        axis=1
    )
    bad, good = targets < 3, targets == 3
    # A curve of two parameters through 150 of each: its middle leaves as many on either side
    errors = np.mean(prob_defect[bad] < 0.5), np.mean(prob_defect[good] >= 0.5)
    assert abs(errors[0] - errors[1]) < 0.05
    assert point.threshold_low < 0.5 < point.threshold_high


def test_one_defect_that_nobody_can_see_hardly_moves_the_logit_bias(few_draws):
    targets = np.array([0] * 40 + [1] * 40)
    odds = np.where(targets == 0, 4.0, -4.0) + np.random.default_rng(0).normal(0, 1, 80)
    hidden = odds.copy()
    hidden[0] = -5
    assert (
        abs(fit_balanced(hidden, targets).logit_bias - fit_balanced(odds, targets).logit_bias) < 1
    )
    logits = np.stack([hidden, np.zeros(80)], axis=1)
    recall = fit(logits, targets, [""] * 80, 0.99)  # which rejects good parts for its sake
    assert calibrated(logits, recall.temperature)[40:, 0].max() > recall.threshold


@pytest.mark.parametrize(("target", "missing"), [(0, "good"), (1, "defective")])
def test_the_balanced_point_needs_both_classes(target, missing):
    with pytest.raises(UserError, match=f"no {missing} casting"):
        fit(np.array([[0.0, 1.0], [0.0, 2.0]]), np.array([target] * 2), ["a", "b"], BALANCED)


def test_validation_without_defects_is_refused():
    logits = np.array([[0.0, 1.0], [0.0, 2.0]])
    with pytest.raises(UserError, match="no defective casting"):
        fit_operating_point(logits, np.array([1, 1]), np.array([True, False]), ["a", "b"], 0.99)
