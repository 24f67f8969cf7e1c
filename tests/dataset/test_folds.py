"""Folds mind the photo sessions, and one session can be held out as a whole."""

from collections import Counter

import pytest
from builders import fold_of_castings, parts_by_casting

from common.errors import UserError
from dataset.arguments import split_options
from dataset.folds import NO_TEST_PART, SplitOptions, assign_castings
from dataset.listing import ImageRow
from dataset.manifest import UNUSED

COUNTS = {("light", "ok"): 20, ("light", "def"): 15, ("dark", "ok"): 5, ("dark", "def"): 10}


def rows_of(counts=COUNTS):
    """Two images of each casting, by session and class; its name begins with both."""
    return [
        ImageRow(
            f"train/{label}/{session}{n}-{copy}.png",
            label,
            "train",
            f"{session} {label} {n}",
            f"{session}{label}{n}{copy}",
            session,
        )
        for (session, label), count in counts.items()
        for n in range(count)
        for copy in range(2)
    ]


def castings_in(rows, split):
    """How many castings of each session and class are in a part."""
    parts = parts_by_casting(rows)
    return Counter(tuple(name.split()[:2]) for name, found in parts.items() if found == {split})


@pytest.mark.parametrize("fold", range(1, 6))
def test_every_fold_tests_its_share_of_each_class_of_each_session(fold):
    found = castings_in(fold_of_castings(rows_of(), fold), "test")
    assert found == {stratum: count // 5 for stratum, count in COUNTS.items()}


def test_a_session_with_few_castings_of_a_class_is_spread_with_the_class():
    rows = rows_of({("light", "ok"): 20, ("light", "def"): 20, ("dark", "ok"): 3})
    tested = sum((castings_in(fold_of_castings(rows, k), "test") for k in range(1, 6)), Counter())
    assert tested == {("light", "ok"): 20, ("light", "def"): 20, ("dark", "ok"): 3}


def held_out(rows, session):
    return assign_castings(
        rows, SplitOptions("casting", fold=NO_TEST_PART, hold_out_session=session)
    )


def test_the_held_out_session_is_the_test_part_and_no_other_is_in_it():
    split = held_out(rows_of(), "dark")
    assert {row.session for row in split if row.split == "test"} == {"dark"}
    assert castings_in(split, "test") == {("dark", "ok"): 5, ("dark", "def"): 10}
    assert castings_in(split, "val") == {("light", "ok"): 4, ("light", "def"): 3}
    assert castings_in(split, "train") == {("light", "ok"): 16, ("light", "def"): 12}


@pytest.mark.parametrize(
    ("counts", "wanted", "message"),
    [
        (COUNTS, "night", "there are dark, light"),
        ({("light", "ok"): 20, ("light", "def"): 20}, "light", "there are light "),
    ],
)
def test_a_session_has_to_be_one_of_several(counts, wanted, message):
    with pytest.raises(UserError, match=f"--hold-out-session {wanted}: .*{message}"):
        held_out(rows_of(counts), wanted)


def test_where_no_session_is_known_the_table_is_named():
    rows = [ImageRow(row.path, row.label, "train", row.casting, row.sha256) for row in rows_of()]
    with pytest.raises(UserError, match=r"no sessions are known .*sessions\.csv"):
        held_out(rows, "dark")


def test_a_session_with_too_few_castings_is_not_told_of_folds():
    rows = rows_of(COUNTS | {("dark", "ok"): 2})
    with pytest.raises(UserError, match=r"session dark held out: .*2 good castings.*other session"):
        held_out(rows, "dark")


def test_holding_out_a_session_belongs_to_protocol_casting_without_a_fold():
    wanted = {"hold_out_session": "dark"}
    for others in ({}, {"protocol": "kaggle"}, {"protocol": "casting", "fold": 2}):
        with pytest.raises(UserError, match="--protocol casting, without --fold"):
            split_options(wanted | others)
    options = split_options(wanted | {"protocol": "casting"})
    assert options == SplitOptions("casting", fold=NO_TEST_PART, hold_out_session="dark")


# --- fewer parts ---------------------------------------------------------------------------------


def kinds_of_parts():
    """40 good parts, 20 with a chip, 4 with a crack; two photographs of each."""
    counts = {"ok": 40, "chip": 20, "crack": 4}
    return [
        ImageRow(f"{kind}/{n}_{copy}.png", kind, "", f"{kind} {n}", sha256=f"{kind} {n} {copy}")
        for kind, count in counts.items()
        for n in range(count)
        for copy in range(2)
    ]


def learned(parts, fold=1):
    rows = fold_of_castings(kinds_of_parts(), fold, parts=parts)
    return {
        split: {row.casting for row in rows if row.split == split}
        for split in ("train", "val", "test", UNUSED)
    }


def test_of_either_class_so_many_parts_are_learned_and_more_hold_the_fewer():
    everything, few, more = learned(None), learned(5), learned(10)
    assert few["test"] == more["test"] == everything["test"]
    for split, count in (("train", 3), ("val", 2)):
        assert few[split] < more[split] or split == "val"
        assert few[split] <= more[split] <= everything[split]
        assert sum(name.startswith("ok") for name in few[split]) == count
        assert sum(not name.startswith("ok") for name in few[split]) == count
    assert not few[UNUSED] & (few["train"] | few["val"] | few["test"])


def test_each_kind_of_defect_has_its_turn():
    assert sum(name.startswith("crack") for name in learned(6)["train"]) == 2


def test_more_than_there_are_is_all():
    assert learned(1000) == learned(None)


def test_parts_belong_to_protocols_that_know_them():
    with pytest.raises(UserError, match="--parts belongs to --protocol casting or folders"):
        split_options({"parts": 5})
