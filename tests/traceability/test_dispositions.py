"""Persons' words on a part: the last one counts, who was faster is told, and one is withdrawn."""

import pytest
from log_records import record

import records
from common.errors import UserError
from traceability.dispositions import AlreadyDecidedError, NothingToWithdrawError
from traceability.log import InspectionLog
from traceability.part_list import parts_of
from traceability.search import EXPORTED, exported, search
from traceability.subgroups import Division, read_subgroups
from traceability.verdicts import judged_photographs


@pytest.fixture
def log(tmp_path):
    with InspectionLog(tmp_path / "line.db", "create") as log:
        log.append([record(1), record(2), record(1, lot="A2"), record(3, sha256="")])
        log.append([record(4, sha256="")])
        yield log


def test_a_later_word_is_told_and_nothing_is_recorded(log):
    assert log.add_disposition(1, "defect", "Huber", "burr", seen=0) == 1
    with pytest.raises(AlreadyDecidedError, match="Huber has already decided") as conflict:
        log.add_disposition(1, "ok", "Maier", seen=0)
    last = conflict.value.last
    assert (last.id, last.verdict, last.person, last.note) == (1, "defect", "Huber", "burr")
    assert last == search(log, number=1)[0].person_says
    assert log.add_disposition(1, "ok", "Maier", seen=last.id) == 2
    with pytest.raises(AlreadyDecidedError, match="Maier"):
        log.add_disposition(1, "ok", "Schmid", seen=1)
    assert log.add_disposition(1, "ok", "Schmid") == 3  # who does not ask is not told
    assert log.verify().problems == []


def test_a_word_counts_for_all_inspections_of_a_photograph_and_for_no_other(log):
    log.add_disposition(1, "defect", "Huber")
    with pytest.raises(AlreadyDecidedError):
        log.add_disposition(3, "ok", "Maier", seen=0)
    log.add_disposition(2, "ok", "Maier", seen=0)
    log.add_disposition(4, "ok", "Maier", seen=0)  # without a file all are different
    log.add_disposition(5, "ok", "Maier", seen=0)


@pytest.mark.parametrize("name", ["", "   ", "\n\t"])
def test_a_word_of_nobody_is_refused(log, name):
    with pytest.raises(UserError, match="a verdict needs the name of the person"):
        records.main(["verdict", "1", "ok", "--by", name, "--log", str(log.path)])
    assert log.verify().verdicts == 0


@pytest.mark.parametrize("number", ["0", "-1", "9" * 30, "one", "6"])
def test_numbers_of_no_inspection_are_one_line(log, number):
    with pytest.raises((UserError, SystemExit)) as refused:
        records.main(["verdict", number, "ok", "--by", "Huber", "--log", str(log.path)])
    assert isinstance(refused.value, UserError) == (number == "6")
    assert log.verify().verdicts == 0


# --- withdrawn -----------------------------------------------------------------------------------


@pytest.fixture
def waiting(tmp_path):
    """A part that waits, inspected twice, and one that passed."""
    with InspectionLog(tmp_path / "review.db", "create") as log:
        asked = {"decision": "review", "prob_defect": 0.5}
        log.append([record(1, **asked), record(2), record(1, lot="A2", **asked)])
        yield log


def readings(log: InspectionLog) -> dict:
    """What every reader of the log makes of persons' words."""
    rows = [dict(zip(EXPORTED, row, strict=True)) for row in exported(log)]
    return {
        "waiting": [one.id for one in search(log, awaiting=True)],
        "person says": [one.person_says and one.person_says.verdict for one in search(log)],
        "export": [(row["verdict"], row["person"], row["verdict_time"]) for row in rows],
        "charts": [(g.name, g.rejected, g.waiting) for g in read_subgroups(log.query, Division())],
        "parts": [(one.id, one.outcome) for one in parts_of(log, Division(), ["A1", "A2"])],
        "next model": [(one.inspection, one.verdict) for one in judged_photographs(log)],
    }


def test_a_withdrawn_word_is_none_for_every_reader_and_stays_in_the_log(waiting):
    before = readings(waiting)
    waiting.add_disposition(1, "defect", "Huber", "burr")
    waiting.add_disposition(2, "defect", "Huber")
    spoken = readings(waiting)
    assert all(spoken[name] != before[name] for name in before)
    waiting.add_disposition(2, "withdrawn", "Huber")
    assert waiting.add_disposition(1, "withdrawn", "Huber", "the wrong part") == 4
    assert readings(waiting) == before
    rows = waiting.query("SELECT inspection_id, verdict, person, note FROM verdicts")
    assert list(rows)[::3] == [(1, "defect", "Huber", "burr"),
                               (1, "withdrawn", "Huber", "the wrong part")]  # fmt: skip
    assert (waiting.verify().verdicts, waiting.verify().problems) == (4, [])


def test_a_new_word_counts_after_a_withdrawn_one_which_nobody_needs_to_have_seen(waiting):
    waiting.add_disposition(1, "defect", "Huber")
    waiting.add_disposition(1, "withdrawn", "Huber")
    assert waiting.add_disposition(1, "ok", "Maier", seen=0) == 3
    assert readings(waiting)["person says"] == ["ok", None, "ok"]
    with pytest.raises(AlreadyDecidedError, match="Maier"):
        waiting.add_disposition(1, "ok", "Schmid", seen=2)
    (found,) = judged_photographs(waiting)
    assert not found.contradicted


def test_a_part_is_undecided_whoever_has_spoken_before_and_at_whichever_inspection(waiting):
    before = readings(waiting)
    waiting.add_disposition(1, "ok", "Maier")
    waiting.add_disposition(3, "defect", "Huber")
    waiting.add_disposition(1, "withdrawn", "Huber")
    assert readings(waiting) == before


def test_only_ones_own_last_word_can_be_withdrawn(log):
    with pytest.raises(NothingToWithdrawError, match="inspection 1 to withdraw: it is undecided"):
        log.add_disposition(1, "withdrawn", "Huber")
    log.add_disposition(1, "ok", "Huber")
    log.add_disposition(3, "defect", "Maier")
    for number in (1, 3):
        with pytest.raises(NothingToWithdrawError, match="the last word is Maier's, 'defect'"):
            log.add_disposition(number, "withdrawn", "Huber")
    log.add_disposition(1, "withdrawn", "Maier")
    with pytest.raises(NothingToWithdrawError, match="it is undecided"):
        log.add_disposition(1, "withdrawn", "Maier")
    log.add_disposition(4, "ok", "Huber")
    with pytest.raises(NothingToWithdrawError):  # without a file all are different
        log.add_disposition(5, "withdrawn", "Huber")
    assert log.verify().verdicts == 4


def test_a_word_is_withdrawn_on_the_command_line(log, capsys):
    def verdict(*words: str) -> int:
        return records.main(["verdict", "1", *words, "--by", "Huber", "--log", str(log.path)])

    assert verdict("ok") == 0
    assert verdict("withdrawn", "--note", "the wrong part") == 0
    printed = capsys.readouterr().out
    assert printed.endswith("disposition 2: inspection 1 is undecided again, says Huber\n")
    assert search(log, number=1)[0].person_says is None
    with pytest.raises(UserError, match="Huber has no verdict on inspection 1 to withdraw"):
        verdict("withdrawn")
