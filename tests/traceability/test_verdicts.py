"""The last word on each photograph, what the model had decided otherwise first."""

import pytest
from log_records import record

from traceability.log import InspectionLog
from traceability.verdicts import judged_photographs


@pytest.fixture
def log(tmp_path):
    with InspectionLog(tmp_path / "line.db", "create") as log:
        asked = record(3, decision="review", prob_defect=0.5)
        unread = {"sha256": "", "status": "error", "decision": "", "prob_defect": None}
        log.append([record(1), record(2), asked, record(1, lot="A2"), record(9)])
        log.append([record(6, **unread), record(7, **unread)])
        yield log


def test_what_the_model_decided_otherwise_comes_first_and_then_the_latest(log):
    for number, verdict in ((2, "defect"), (1, "ok"), (3, "defect")):
        log.add_disposition(number, verdict, "Huber")
    found = judged_photographs(log)
    assert [(one.inspection, one.disagrees) for one in found] == [(2, True), (1, False), (3, False)]
    assert found[0].describe() == "parts/2.png: ok (0.25); defect says Huber"
    assert found[0].file == "parts/2.png"


def test_the_latest_word_on_a_photograph_counts_whichever_inspection_it_was_on(log):
    log.add_disposition(4, "defect", "Huber")
    log.add_disposition(1, "ok", "Maier")
    (found,) = judged_photographs(log)
    assert (found.verdict, found.person, found.contradicted) == ("ok", "Maier", True)
    log.add_disposition(1, "ok", "Schmid")
    (found,) = judged_photographs(log)
    assert (found.person, found.contradicted) == ("Schmid", True)


def test_what_could_not_be_read_is_no_one_photograph(log):
    log.add_disposition(6, "ok", "Huber")
    log.add_disposition(7, "defect", "Huber")
    found = judged_photographs(log)
    assert [(one.inspection, one.disagrees) for one in found] == [(7, False), (6, False)]
    assert found[0].describe() == "parts/7.png: error; defect says Huber"


def test_where_a_person_was_asked_the_side_counts_to_which_the_model_leaned(log):
    for number, verdict in ((3, "ok"), (2, "defect")):
        log.add_disposition(number, verdict, "Huber")
    decided, leaned = judged_photographs(log)
    assert (decided.inspection, leaned.inspection) == (2, 3)
    assert leaned.disagrees
    assert leaned.describe() == "parts/3.png: review, leaning to defect (0.50); ok says Huber"
