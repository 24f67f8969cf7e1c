"""Where an adapted model decides, and that no part has a say in its own decision."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptation.deciding import Scores, blended_point, groups_of, raised_point
from adaptation.leaving_out import HeldOut, decisions_without, point_without

SOME = st.lists(st.floats(-20, 20), min_size=1, max_size=60)


def scores_of(good, defective=(5.0, 6.0)):
    return Scores(
        np.array(good), [f"part {i}" for i in range(len(good))], np.array(defective),
        [f"on {i}" for i in range(len(defective))],
    )  # fmt: skip


@given(SOME)
def test_a_raised_threshold_passes_nine_in_ten_and_is_never_lower(good):
    point = raised_point(scores_of(good))
    assert point >= 0
    if point:
        assert np.mean(np.array(good) < point) >= 0.9 - 1e-12


@pytest.mark.parametrize(("rejected", "moves"), [(0, False), (3, False), (4, True), (10, True)])
def test_a_threshold_is_raised_only_where_chance_does_not_explain_what_is_rejected(rejected, moves):
    good = [1.0 + n for n in range(rejected)] + [-1.0] * (10 - rejected)
    assert (raised_point(scores_of(good)) > 0) == moves


def test_a_raised_threshold_leaves_one_outlier_in_ten_outside():
    assert 1 < raised_point(scores_of([0.5] * 8 + [1.0, 9.0])) < 9
    assert raised_point(scores_of([-3.0] * 10)) == 0


@given(st.integers(1, 30), st.floats(-6, 6))
def test_a_blended_point_lies_between_both_and_nearer_to_the_one_with_more_castings(before, shift):
    random = np.random.default_rng(0)
    scores = scores_of(random.normal(shift, 1, 12), random.normal(shift + 8, 2, 40))
    found = [blended_point(scores, castings) for castings in (0, before, 10_000)]
    assert min(found[0], 0) <= found[1] <= max(found[0], 0)
    assert abs(found[2]) <= 0.01 * abs(found[0]) + 1e-9
    assert found[1] == pytest.approx(found[0] * 12 / (12 + before))


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), st.integers(1, 5))
def test_each_part_is_left_out_once(parts, count):
    groups = groups_of(parts, count)
    assert len(groups) <= count
    together = [part for group in groups for part in group]
    assert sorted(together) == (sorted(set(parts)) if len(set(parts)) > 1 else [])


def task_of(parts, drawn, threshold_only):
    return SimpleNamespace(
        good=SimpleNamespace(parts=parts), defective=None, threshold_only=threshold_only,
        drawn=SimpleNamespace(photograph=np.array(drawn)), parent=SimpleNamespace(good_castings=4),
    )  # fmt: skip


@pytest.mark.parametrize("threshold_only", [True, False])
def test_a_part_has_no_say_in_its_own_decision(threshold_only):
    random = np.random.default_rng(1)
    parts = ["a", "a", "b", "b", "c", "c"]
    task = task_of(parts, [0, 1, 2, 3, 4, 5], threshold_only)
    groups = groups_of(parts, 3)
    good, drawn = random.normal(1, 1, 6), random.normal(6, 1, 6)
    held_out = HeldOut(good, np.zeros(0), drawn, groups)
    for group in groups:
        own = np.isin(parts, group)
        changed = HeldOut(good + 50 * own, np.zeros(0), drawn + 50 * own, groups)
        assert point_without(task, changed, group) == point_without(task, held_out, group)
    found = decisions_without(task, held_out)
    assert len(found.points) == 3
    for group, point in zip(groups, found.points, strict=True):
        own = np.isin(parts, group)
        assert (found.rejected[own] == (good[own] >= point)).all()
