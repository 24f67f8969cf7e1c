"""The test by which a candidate is promoted, in numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptation.promotion import FROZEN, KINDS, VERDICTS, Comparison, Group, compared_group


def group(worse=0, better=0, source=FROZEN, kind="good", parts=20):
    return Group(source, kind, parts, parts - better, worse, better)


def comparison(**changed):
    """All four groups without a change, but for those that are given, as verdicts_good=(1, 2)."""
    groups = []
    for source in (VERDICTS, FROZEN):
        for kind in KINDS:
            counts = changed.get(f"{source.split()[0]}_{kind}", (0, 0))
            groups.append(group(*counts, source=source, kind=kind))
    return Comparison(groups)


@pytest.mark.parametrize(
    ("worse", "better", "chance"),
    [(0, 0, 1), (0, 9, 1), (4, 0, 1 / 16), (5, 0, 1 / 32), (7, 1, 9 / 256), (5, 5, 638 / 1024)],
)
def test_the_chance_is_that_of_a_fair_coin(worse, better, chance):
    assert group(worse, better).chance == pytest.approx(chance)


def test_a_candidate_that_decides_alike_is_promoted():
    assert comparison().reasons == []


@pytest.mark.parametrize("name", ["verdicts_good", "frozen_good", "frozen_defective"])
def test_losses_beyond_chance_in_any_group_refuse_it(name):
    # Ten gained elsewhere do not make up for it
    found = comparison(verdicts_defective=(0, 10), **{name: (7, 1)})
    (reason,) = found.reasons
    where = name.replace("_", " castings, " if "frozen" in name else ", ")
    assert reason == f"{where}: 7 became wrong, 1 right: chance explains this in 3.5 %"
    assert not found.as_dict()["promoted"]


def test_of_few_parts_that_changed_chance_explains_all_and_the_loss_that_remains_is_told():
    found = comparison(frozen_good=(4, 0), verdicts_good=(0, 1))
    assert found.reasons == []
    (told,) = (one for one in found.groups if one.became_wrong)
    # Clopper-Pearson, 4 of 20, one-sided
    assert told.worse_at_most == pytest.approx(0.401, abs=1e-3)
    assert "at most 40 % become wrong" in told.describe()
    assert group().worse_at_most == pytest.approx(1 - 0.05 ** (1 / 20))


def test_on_the_verdicts_one_part_fewer_is_enough():
    assert comparison(verdicts_good=(1, 0), verdicts_defective=(0, 1)).reasons == []
    found = comparison(verdicts_good=(1, 0))
    assert found.reasons == ["verdicts: right on 39 of 40 parts, the model in use 40"]
    assert found.as_dict()["right"] == {
        "verdicts": {"parts": 40, "right_before": 40, "right": 39},
        "frozen castings": {"parts": 40, "right_before": 40, "right": 40},
    }


def test_copies_count_once_and_a_part_is_wrong_by_half_of_its_photographs():
    parts = ["a"] * 28 + ["b", "b", "c", "c", "c"]
    before = np.array([False] * 28 + [False, False, True, True, True])
    now = np.array([True] * 28 + [True, False, False, False, True])
    found = compared_group(VERDICTS, "good", parts, before, now)
    assert (found.parts, found.right_before, found.became_wrong, found.became_right) == (3, 2, 2, 1)
    assert found.right == 1


def test_a_group_without_parts_says_nothing():
    found = compared_group(VERDICTS, "defective", [], np.zeros(0, bool), np.zeros(0, bool))
    assert (found.reason(), found.worse_at_most, found.right) == ("", None, 0)
    assert found.describe() == "verdicts, defective: 0 parts"


@given(st.integers(0, 30), st.integers(0, 30))
def test_more_losses_never_help(worse, better):
    assert group(worse + 1, better).chance <= group(worse, better).chance
    assert group(worse, better + 1).chance >= group(worse, better).chance
