"""What a person says is stored, and whoever was too late hears of it."""

import sqlite3
from contextlib import closing

from page_runs import page, replace_record, text_of, upload, verdicts

from traceability.log import InspectionLog


def test_two_persons_on_one_waiting_part_both_hear_of_it(options, paths, log_path):
    options("--review", "0", "1")
    upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    first, second = page("review"), page("review")  # both see the part wait
    for at, name in ((first, "Huber"), (second, "Maier")):
        at.text_input(key="person").set_value(name)
    first.button(key="defect 1").click().run()
    second.button(key="ok 1").click().run()
    assert not second.exception
    assert "Huber has already decided on inspection 1: Defect" in text_of(second)
    assert "Your decision, Good, is not stored" in text_of(second)
    assert verdicts(log_path) == [(1, "defect", "Huber")]
    next(one for one in second.button if one.label == "Store mine too").click().run()
    assert not second.exception
    assert "already decided" not in text_of(second)
    assert verdicts(log_path) == [(1, "defect", "Huber"), (1, "ok", "Maier")]


def test_who_was_too_late_may_leave_it(options, paths, log_path):
    options("--review", "0", "1")
    upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at = page("review")
    at.text_input(key="person").set_value("Maier").run()
    with InspectionLog(log_path, "append") as log:
        log.append([replace_record(log, lot="again")])  # and the photograph was inspected again
        log.add_disposition(2, "ok", "Huber", "a *stain*")
    at.button(key="defect 1").click().run()
    assert "Huber has already decided on inspection 1: Good (a *stain*)" in text_of(at)
    next(one for one in at.button if one.label == "Leave it").click().run()
    assert "already decided" not in text_of(at)
    assert verdicts(log_path) == [(2, "ok", "Huber")]


def test_a_click_that_comes_late_hears_who_was_faster(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    with InspectionLog(log_path, "append") as log:
        log.add_disposition(1, "defect", "Huber")
    at.text_input(key="person").set_value("Maier")
    at.button(key="ok 1").click().run()
    assert not at.exception
    assert "Huber has already decided on inspection 1: Defect" in text_of(at)
    assert len(verdicts(log_path)) == 1
    at.button(key="ok 1").click().run()  # now it is known
    assert verdicts(log_path) == [(1, "defect", "Huber"), (1, "ok", "Maier")]


def test_another_log_in_its_place_gets_no_decision(options, paths, log_path):
    options("--review", "0", "1")
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at.text_input(key="person").set_value("Maier")
    with InspectionLog(log_path) as log:
        other = replace_record(log, file="another part")
    for path in log_path.parent.glob("line.db*"):
        path.unlink()
    with InspectionLog(log_path, "create") as log:
        log.append([other])
    at.button(key="ok 1").click().run()
    assert "line.db is another log now" in text_of(at)
    assert verdicts(log_path) == []


def test_a_person_may_say_otherwise(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at.text_input(key="person").set_value("Huber")
    at.text_input(key="note 1").set_value("a stain")
    at.button(key="ok 1").click().run()
    assert not at.exception
    assert "Huber says: Good (a stain). The model: " in text_of(at)
    assert '<div class="word">Good</div>' in text_of(at)
    with InspectionLog(log_path) as log:
        assert next(log.query("SELECT verdict, person, note FROM verdicts")) == (
            "ok", "Huber", "a stain",
        )  # fmt: skip


def test_undo_takes_back_no_word_of_another_person(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at.text_input(key="person").set_value("Huber").run()
    at.button(key="ok 1").click().run()
    at.text_input(key="person").set_value("Maier").run()
    assert at.button(key="undo").disabled  # Maier has not spoken
    at.text_input(key="person").set_value("Huber").run()
    with InspectionLog(log_path, "append") as log:
        log.add_disposition(1, "defect", "Schmid")
    at.button(key="undo").click().run()
    assert not at.exception
    assert "Nothing is withdrawn: Huber has no verdict on inspection 1" in text_of(at)
    assert "the last word is Schmid's" in text_of(at)
    assert verdicts(log_path) == [(1, "ok", "Huber"), (1, "defect", "Schmid")]


def test_a_word_is_not_forgotten_while_the_log_takes_no_withdrawal(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at.text_input(key="person").set_value("Huber").run()
    at.button(key="ok 1").click().run()
    with closing(sqlite3.connect(log_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        at.button(key="undo").click().run()
        other.execute("ROLLBACK")
    assert "Your word was not withdrawn" in text_of(at)
    at.button(key="undo").click().run()
    assert not at.exception
    assert verdicts(log_path)[1:] == [(1, "withdrawn", "Huber")]
    assert "Huber says" not in text_of(at)


def test_a_word_without_a_name_waits_for_it(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at.text_input(key="note 1").set_value("a stain").run()
    at.button(key="ok 1").click().run()
    assert not at.exception
    assert verdicts(log_path) == []
    (store,) = [one for one in at.button if one.label == "Store: Good"]
    store.click().run()
    assert verdicts(log_path) == []  # still no name
    field = [one for one in at.text_input if one.label == "Your name"][-1]
    field.set_value("Huber")
    next(one for one in at.button if one.label == "Store: Good").click().run()
    assert not at.exception
    assert verdicts(log_path) == [(1, "ok", "Huber")]
    assert "Huber says: Good (a stain)" in text_of(at)
    assert at.text_input(key="person").value == "Huber"
    assert not [one for one in at.button if one.label == "Store: Good"]


def test_a_word_on_a_photograph_is_shown_when_it_is_inspected_again(options, paths, log_path):
    part = (paths[0].name, paths[0].read_bytes())
    at = upload(page("inspect"), "photographs", [part])
    at.text_input(key="person").set_value("Huber").run()
    at.button(key="ok 1").click().run()
    again = upload(page("inspect"), "photographs", [part])
    assert "Huber says: Good" in text_of(again)
    again.text_input(key="person").set_value("Maier").run()
    again.button(key="defect 2").click().run()
    assert not again.exception
    assert verdicts(log_path) == [(1, "ok", "Huber"), (2, "defect", "Maier")]
