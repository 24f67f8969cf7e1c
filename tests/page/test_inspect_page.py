"""Inspect says what predict.py decides, and records each photograph once."""

import pytest
import streamlit as st
from page_runs import metrics, page, recorded, text_of, upload
from PIL import Image
from streamlit.testing.v1 import AppTest

from common.errors import UserError
from page import parts as page_parts
from page.samples import KINDS, sample_part
from page.words import chance
from traceability.log import InspectionLog


def test_inspect_says_what_predict_decides(options, predictor, paths, log_path):
    for path, direct in zip(paths[::4], predictor.predict(paths[::4]), strict=True):
        at = upload(page("inspect"), "photographs", [(path.name, path.read_bytes())])
        assert metrics(at)["Defect probability"] == chance(direct.prob_defect)
        word = {"ok": "Good", "defect": "Defect"}[direct.decision]
        assert f'<div class="word">{word}</div>' in text_of(at)
        assert f'class="verdict {direct.decision}"' in text_of(at)
        assert len(at.get("image")) == 1
        assert recorded(log_path)[-1][:2] == (path.name, direct.decision)


def test_touching_the_page_predicts_nothing_twice(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(p.name, p.read_bytes()) for p in paths[:3]])
    at.slider(key="strength").set_value(0).run()
    at.selectbox[0].set_value(2).run()
    assert not at.exception
    assert sorted(row[0] for row in recorded(log_path)) == sorted(p.name for p in paths[:3])


def test_station_and_lot_go_into_the_log_and_stay(options, paths, log_path):
    options("--station", "line 3")
    at = page("inspect")
    assert at.text_input(key="station").value == "line 3"
    for number, lot in enumerate(("A17", "A18", "A19")):
        at.text_input(key="lot").set_value(lot).run()
        at.file_uploader(key="photographs").clear()
        upload(at, "photographs", [(paths[number].name, paths[number].read_bytes())])
        assert recorded(log_path)[number][3:] == ("line 3", lot)
    assert page("inspect").text_input(key="lot").value == ""  # of another visitor


def test_a_broken_image_gives_a_sentence_and_is_recorded(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [("broken.jpeg", paths[0].read_bytes()[:300])])
    assert "broken.jpeg cannot be read" in text_of(at)
    assert "Not inspected" in text_of(at)
    assert recorded(log_path)[0][:3] == ("broken.jpeg", "", None)
    name = "<script>alert(1)</script>.jpeg"
    assert "<script>" not in text_of(upload(page("inspect"), "photographs", [(name, b"x")]))


def test_a_picture_of_nothing_gets_a_sentence_and_no_decision(options, log_path, tmp_path):
    Image.new("L", (64, 64), 255).save(tmp_path / "white.png")
    files = [("white.png", (tmp_path / "white.png").read_bytes())]
    said = text_of(upload(page("inspect"), "photographs", files))
    assert "white.png is not judged: overexposed" in said
    assert "Not inspected" in said
    assert recorded(log_path)[0][:3] == ("white.png", "", None)


def test_several_parts_are_sorted_and_chosen_from(options, predictor, paths):
    files = [(path.name, path.read_bytes()) for path in paths[:4]]
    at = upload(page("inspect"), "photographs", [*files, ("bad.png", b"")])
    worst = max(p.prob_defect for p in predictor.predict(paths[:4]))
    assert metrics(at)["Defect probability"] == chance(worst)
    labels = at.selectbox[0].options
    assert "bad.png (empty file)" in text_of(at)
    assert len(labels) == 5
    assert labels[-1].endswith("bad.png")


@pytest.mark.parametrize("kind", KINDS[:2])
def test_rendered_parts_are_predicted_and_not_recorded(options, predictor, log_path, kind):
    at = page("inspect")
    at.button_group(key="sample").set_value(kind).run()
    assert not at.exception
    (direct,) = predictor.predict([sample_part(kind, 1)])
    assert metrics(at)["Defect probability"] == chance(direct.prob_defect)
    assert not log_path.exists() or recorded(log_path) == []
    assert sample_part(kind, 1) == sample_part(kind, 1) != sample_part(kind, 2)


def test_the_limits_are_the_services(options, paths, monkeypatch):
    monkeypatch.setattr(page_parts, "MAX_IMAGE_BYTES", 100)
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "a photograph may have" in text_of(at)
    assert not at.metric


def test_what_cannot_be_recorded_is_not_shown_as_decided(options, paths, monkeypatch):
    def full(self, records):
        raise UserError("disk full")

    monkeypatch.setattr(InspectionLog, "append", full)
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "0 of 1 photographs are inspected" in text_of(at)
    assert "could not be recorded: disk full" in text_of(at)
    assert not at.metric


@pytest.mark.parametrize("how", ["interrupted", "disk full"])
@pytest.mark.parametrize("name", ["inspect", "batch"])
def test_what_was_recorded_is_never_predicted_again(
    options, paths, log_path, monkeypatch, how, name
):
    monkeypatch.setattr(page_parts, "BATCH_SIZE", 4)
    at = page(name)
    files = [(f"{number}.jpeg", path.read_bytes()) for number, path in enumerate(paths[:11])]
    original, calls = InspectionLog.append, []

    def second_fails(self, records):
        calls.append(len(records))
        if len(calls) == 2 and how == "disk full":
            raise UserError("disk full")
        return original(self, records)

    class Clicked:
        def progress(self, share, text):
            st.stop()  # as Streamlit ends a run when its visitor clicks meanwhile

        def empty(self):
            pass

    monkeypatch.setattr(InspectionLog, "append", second_fails)
    with monkeypatch.context() as patch:
        if how == "interrupted":
            patch.setattr(page_parts.st, "progress", lambda share: Clicked())
        key = {"inspect": "photographs", "batch": "folder"}[name]
        at.file_uploader(key=key).set_value([(n, data, "image/jpeg") for n, data in files])
        at.run()
        if name == "batch":
            next(one for one in at.button if one.label.startswith("Inspect")).click().run()
    assert len(recorded(log_path)) == 4
    at.run()
    if name == "batch":
        next(one for one in at.button if one.label == "Go on with 7 photographs").click().run()
    assert not at.exception
    assert sorted(row[0] for row in recorded(log_path)) == sorted(n for n, _ in files)


def test_decisions_stay_when_the_page_changes_and_repeats_are_not_recorded(
    options, paths, log_path
):
    script = "import app, streamlit as st\nfrom page import inspect, model\napp.start()\n"
    script += "(model if st.toggle('other page') else inspect).show()\n"
    at = AppTest.from_string(script, default_timeout=60).run()
    upload(at, "photographs", [(paths[0].name, paths[0].read_bytes())])
    shown = metrics(at)["Defect probability"]
    at.toggle[0].set_value(True).run()
    assert "Defect probability" not in metrics(at)
    at.toggle[0].set_value(False).run()
    assert metrics(at)["Defect probability"] == shown
    upload(at, "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert len(recorded(log_path)) == 1


def test_after_clearing_a_photograph_can_be_inspected_again(options, paths, log_path):
    at = page("inspect")
    upload(at, "photographs", [(path.name, path.read_bytes()) for path in paths[:2]])
    next(one for one in at.button if one.label == "Clear").click().run()
    assert not at.metric
    at.file_uploader(key="photographs").clear()
    upload(at, "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "Defect probability" in metrics(at)
    assert len(recorded(log_path)) == 3
