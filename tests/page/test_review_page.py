"""Review shows the parts that wait for a person, wherever they were inspected, one at a time."""

import io

import numpy as np
import pytest
import streamlit
from log_records import record
from page_runs import page, replace_record, text_of, upload, verdicts
from PIL import Image

import app
from traceability.log import InspectionLog


@pytest.fixture
def waiting(options, paths):
    """Three parts that wait, inspected by somebody else."""
    options("--review", "0", "1")
    upload(page("inspect"), "photographs", [(p.name, p.read_bytes()) for p in paths[:3]])


def named(name: str = "Huber"):
    """The page of a visitor who has given a name."""
    at = page("review")
    at.text_input(key="person").set_value(name).run()
    return at


def test_parts_wait_until_a_person_has_spoken_the_oldest_first(waiting, log_path):
    at = page("review")
    assert "3 parts** to decide" in text_of(at)
    assert "· inspection 1 ·" in text_of(at)
    at.button(key="defect 1").click().run()
    [name] = [one for one in at.text_input if one.label == "Your name" and one.key is None]
    name.set_value("Huber")  # the dialog's
    next(one for one in at.button if one.label == "Store: Defect").click().run()
    assert "2 parts** to decide" in text_of(at)
    assert "· inspection 2 ·" in text_of(at)
    for number in (2, 3):
        assert at.text_input(key="person").value == "Huber"  # asked once
        at.button(key=f"ok {number}").click().run()
    assert not at.exception
    assert "No part waits for a person" in text_of(at)
    assert verdicts(log_path) == [(1, "defect", "Huber"), (2, "ok", "Huber"), (3, "ok", "Huber")]


def test_one_may_leave_a_part_for_later(waiting):
    at = page("review")
    for key, number in (("next", 2), ("next", 3), ("next", 1), ("previous", 3)):
        at.button(key=key).click().run()
        assert f"· inspection {number} ·" in text_of(at)


def test_undo_takes_the_last_word_back_and_the_part_waits_again(waiting, log_path):
    at = named()
    assert at.button(key="undo").disabled
    at.button(key="ok 1").click().run()
    assert "2 parts** to decide" in text_of(at)
    at.button(key="undo").click().run()
    assert "3 parts** to decide" in text_of(at)
    assert "· inspection 1 ·" in text_of(at)
    assert "Huber says" not in text_of(at)
    assert at.button(key="undo").disabled
    at.button(key="defect 1").click().run()
    assert "· inspection 2 ·" in text_of(at)
    words = [(1, "ok", "Huber"), (1, "withdrawn", "Huber"), (1, "defect", "Huber")]
    assert verdicts(log_path) == words
    at.button(key="undo").click().run()
    at.button(key="next").click().run()
    assert "· inspection 2 ·" in text_of(at)
    assert not at.exception


def test_who_looks_on_hears_that_somebody_else_has_decided(waiting, log_path):
    at = page("review")
    with InspectionLog(log_path, "append") as log:
        log.add_disposition(1, "defect", "Maier")
    at.button(key="undo").run()
    assert "Maier has decided on inspection 1 meanwhile: Defect" in text_of(at)
    assert "· inspection 2 ·" in text_of(at)


@pytest.mark.parametrize("mode", ["I;16", "L"])
def test_a_waiting_part_of_any_kind_is_shown(options, paths, mode):
    options("--review", "0", "1")
    data = io.BytesIO()
    grey = np.asarray(Image.open(paths[0]).convert("L"))
    image = Image.fromarray(grey.astype(np.uint16) * 257 if mode == "I;16" else grey)
    image.save(data, "png")
    upload(page("inspect"), "photographs", [("part.png", data.getvalue())])
    at = page("review")
    assert "1 part** to decide" in text_of(at)
    assert len(at.get("image")) == 1


def test_a_part_inspected_twice_waits_once(options, paths):
    options("--review", "0", "1")
    for _ in range(2):
        upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "1 part** to decide" in text_of(page("review"))


def test_a_part_whose_photograph_is_gone_can_still_be_decided(options, log_path):
    with InspectionLog(log_path, "create") as log:
        log.append([record(1, decision="review", prob_defect=0.5)])
    options("--time-zone", "Asia/Tokyo")  # 10:00 UTC is 19:00 there
    at = named()
    assert "photograph is not here any more" in text_of(at)
    assert "2026-11-24 19:00 Asia/Tokyo" in text_of(at)
    at.button(key="ok 1").click().run()
    assert verdicts(log_path) == [(1, "ok", "Huber")]


def test_the_name_of_the_page_counts_what_waits(waiting, log_path, monkeypatch):
    own = app.build_parser().parse_args(["--log", str(log_path)])
    monkeypatch.setattr(streamlit, "session_state", {"options": own})
    assert app.count_waiting() == " (3)"
    with InspectionLog(log_path, "append") as log:
        log.append([replace_record(log, decision="ok", sha256="0" * 64)])
        for number in (1, 2, 3):
            log.add_disposition(number, "ok", "Huber")
    assert app.count_waiting() == ""
    log_path.write_text("no log")
    assert app.count_waiting() == ""
