"""Control charts agree with published worked examples; what is marked is beyond what is drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from common.errors import UserError
from metrics.control_charts import TAIL, p_chart, runs_on_one_side, trend_chart

# Montgomery, Introduction to Statistical Quality Control: orange juice cans, 30 samples of 50.
# Published: p 0.2313, limits 0.0524 and 0.4102, samples 15 and 23 out.
CANS = [
    12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12,
    7, 13, 9, 6,
]  # fmt: skip

# Anhøj and Mohammed, Mastering Statistical Process Control Charts in Healthcare, table 14.1 (after
# Mohammed, Panesar, Laney and Wilson, BMJ Quality and Safety 22, 2013): 20 weeks of attendances.
# Limits as the R package qicharts2 prints them (0.8.1, chart 'pp' and 'p').
SEEN_IN_TIME = [
    266501, 264225, 276532, 281461, 269071, 261215, 270409, 279778, 270483, 270320, 267923, 271478,
    255353, 256820, 261835, 259144, 255910, 260863, 264465, 260989,
]  # fmt: skip
ATTENDANCES = [
    280443, 276823, 291681, 296155, 282343, 275888, 283867, 295251, 284468, 282529, 279618, 283932,
    266629, 268091, 276803, 271578, 266005, 273520, 278574, 273772,
]  # fmt: skip
LANEY_LOWER = {0: 0.9401296441775141, 3: 0.94047300747792362, 16: 0.93978766173624928}
LANEY_UPPER = {0: 0.96566977851086822, 3: 0.9653264152104587, 16: 0.96601176095213304}
BINOMIAL = {
    0: (0.95169956464601502, 0.9540998580423673),
    16: (0.95166742471343968, 0.95413199797494264),
}
FROZEN_LOWER = {0: 0.93866469138900677, 9: 0.93871053406939875, 19: 0.93851458643658869}
FROZEN_UPPER = {0: 0.96345459627653407, 16: 0.96378653314426965, 19: 0.96360470122895214}


def chart(counts, sizes, baseline=None):
    baseline = np.ones(len(counts), bool) if baseline is None else baseline
    return p_chart(counts, sizes, baseline)


def test_montgomerys_cans():
    found = chart(CANS, [50] * 30)
    assert found.centre == pytest.approx(0.2313, abs=5e-5)
    assert found.lower[0] == pytest.approx(0.0524, abs=5e-5)
    assert found.upper[0] == pytest.approx(0.4102, abs=5e-5)
    assert (np.flatnonzero(found.beyond) + 1).tolist() == [15, 23]


def test_laneys_chart_of_emergency_attendances():
    found = chart(SEEN_IN_TIME, ATTENDANCES)
    assert found.centre == pytest.approx(0.95289971134419116, abs=1e-14)
    for week, limit in LANEY_LOWER.items():
        assert found.laney_lower[week] == pytest.approx(limit, abs=1e-12)
    for week, limit in LANEY_UPPER.items():
        assert found.laney_upper[week] == pytest.approx(limit, abs=1e-12)
    for week, (low, high) in BINOMIAL.items():
        assert found.lower[week] == pytest.approx(low, abs=1e-12)
        assert found.upper[week] == pytest.approx(high, abs=1e-12)
    assert not found.beyond_limits.any()
    assert found.beyond.sum() == 16  # the binomial limits call nearly every week an exception


def test_limits_of_a_frozen_baseline():
    found = chart(SEEN_IN_TIME, ATTENDANCES, np.arange(20) < 10)
    assert found.centre == pytest.approx(0.95105964383277042, abs=1e-14)
    for week, limit in FROZEN_LOWER.items():
        assert found.laney_lower[week] == pytest.approx(limit, abs=1e-12)
    for week, limit in FROZEN_UPPER.items():
        assert found.laney_upper[week] == pytest.approx(limit, abs=1e-12)


def test_limits_follow_the_size_of_the_subgroup_and_stay_shares():
    found = chart([1, 2, 0, 3], [20, 200, 50, 100])
    assert np.all(np.diff(found.upper[[0, 2, 3, 1]]) < 0)  # the larger, the narrower
    assert np.all(found.lower == 0)


def test_without_a_reject_in_the_baseline_limits_are_of_the_highest_rate_it_allows():
    found = chart([0, 0, 0, 1, 9], [50, 60, 50, 50, 50], np.array([True, True, True, False, False]))
    assert found.centre == 0
    assert found.reference == pytest.approx(1 - 0.05 ** (1 / 160))  # Clopper-Pearson, one-sided
    assert np.isfinite(found.z).all()
    assert found.spikes.tolist() == [False] * 4 + [True]  # one reject in 50 is no surprise then


def test_few_parts_are_no_spike_but_many_rejects_among_few_are():
    usual = [(3, 100)] * 20
    counts, sizes = zip(*usual, (1, 1), (2, 10), (6, 10), strict=True)
    found = chart(counts, sizes, np.arange(23) < 20)
    assert found.beyond[20:].all()  # normal limits call each an exception
    assert found.spikes[20:].tolist() == [False, False, True]


def test_one_reject_is_no_spike_however_rare_they_are():
    found = chart([1, 1, 1], [5000, 5000, 1], np.array([True, True, False]))
    assert not found.spikes.any()


def test_hours_with_one_part_make_no_run():
    found = chart([5] + [0] * 30, [100] + [1] * 30)  # none is the usual number of one
    assert not found.runs.any()
    assert chart([3] * 8 + [9] * 8, [100] * 16).runs.all()


def test_equal_shares_leave_the_binomial_limits():
    found = chart([2, 2, 2, 3], [50] * 4, np.array([True, True, True, False]))
    assert found.sigma_z == 1
    assert not found.beyond_limits.any()
    assert np.array_equal(found.laney_upper, found.upper)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 300)), min_size=3, max_size=30),
    st.integers(2, 30),
)
def test_what_is_marked_lies_beyond_the_limits_that_are_drawn_and_is_no_chance(groups, used):
    counts = np.array([min(count, size) for count, size in groups])
    sizes = np.array([size for _, size in groups])
    baseline = np.arange(len(groups)) < used
    if (sizes[baseline] > 0).sum() < 2:
        return
    found = chart(counts, sizes, baseline)
    there = sizes > 0
    outside = (found.rates > found.alarm_upper + 1e-9) | (found.rates < found.alarm_lower - 1e-9)
    assert np.array_equal(found.beyond_limits, outside & there)
    # The rule behind the lines: Laney's limits, and improbable by the binomial distribution itself
    at_least = binom.sf(counts - 1, sizes, found.reference)
    spikes = (found.rates > found.laney_upper + 1e-9) & (at_least <= TAIL) & (counts > 1)
    assert np.array_equal(found.spikes, spikes & there)
    assert np.all((found.alarm_upper <= 1)[there] & (found.alarm_lower >= 0)[there])


def test_with_many_parts_the_limits_are_laneys_alone():
    found = chart(SEEN_IN_TIME, ATTENDANCES)
    assert np.array_equal(found.alarm_upper, found.laney_upper)
    assert np.array_equal(found.alarm_lower, found.laney_lower)


def test_a_subgroup_without_parts_has_no_point_and_no_signal():
    found = chart([2, 0, 3, 2], [50, 0, 50, 50])
    assert np.isnan(found.rates[1])
    assert np.isnan(found.upper[1])
    assert not found.beyond[1]
    assert found.centre == pytest.approx(7 / 150)


def test_one_subgroup_gives_no_limits():
    with pytest.raises(UserError, match="at least 2 subgroups"):
        chart([1, 1], [10, 10], np.array([True, False]))


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(40, 400)), min_size=2, max_size=30
    )
)  # fmt: skip
def test_limits_are_shares_around_the_centre(groups):
    found = chart(*zip(*groups, strict=True))
    for low, high in ((found.lower, found.upper), (found.laney_lower, found.laney_upper)):
        assert np.all((low >= 0) & (low <= found.centre + 1e-12))
        assert np.all((high <= 1) & (high >= found.centre - 1e-12))
    assert np.all(found.beyond == (np.abs(found.z) > 3 + 1e-9)) or np.any(
        np.abs(np.abs(found.z) - 3) < 1e-6
    )


def test_runs_of_eight_on_one_side():
    values = np.array([1.0] * 7 + [-1] + [1] * 8 + [0] + [-1] * 9 + [np.nan] + [-1])
    found = runs_on_one_side(np.sign(values))
    expected = [False] * 8 + [True] * 8 + [False] + [True] * 9 + [False] + [True]
    assert found.tolist() == expected


def test_trend_limits_are_those_of_an_individuals_chart():
    # Montgomery's formula: mean +- 3 MR / 1.128
    found = trend_chart([10, 12, 11, 30], [1, 1, 1, 1], np.array([True, True, True, False]))
    assert found.centre == pytest.approx(11)
    assert found.upper == pytest.approx(11 + 3 * 1.5 / 1.128)
    assert found.beyond.tolist() == [False, False, False, True]


def test_the_mean_of_few_parts_is_not_held_against_the_limits_of_many():
    sums, counts = [400, 480, 440, 400, 30, 300], [40, 40, 40, 40, 1, 10]
    found = trend_chart(sums, counts, np.ones(6, bool))
    assert found.values[4] == 30
    assert found.centre == pytest.approx((10 + 12 + 11 + 10 + 30) / 5)  # a quarter is enough
    assert found.few.tolist() == [False] * 4 + [True, False]
    assert not found.beyond[4]
