"""Who speaks on a part hears when another person was faster, if he says what he has seen."""

import pytest
from log_records import record

import records
from common.errors import UserError
from traceability.dispositions import AlreadyDecidedError
from traceability.log import InspectionLog
from traceability.search import search


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


@pytest.mark.parametrize("number", ["0", "-1", "6", "9" * 30])
def test_numbers_of_no_inspection_are_one_line(log, number):
    with pytest.raises(UserError, match="has no inspection"):
        records.main(["verdict", number, "ok", "--by", "Huber", "--log", str(log.path)])
