"""Inspect says what predict.py decides, and records each photograph once."""

import html

import pytest
import streamlit as st
from page_runs import page, recorded, text_of, upload
from PIL import Image
from streamlit.testing.v1 import AppTest

from common.errors import UserError
from page import intake as page_intake
from page import parts as page_parts
from page.samples import KINDS, sample_part
from page.words import chance
from traceability.log import InspectionLog


def said_of(prediction) -> str:
    """How the page's sentence on a decision at the threshold begins."""
    return f"{html.escape(chance(prediction.prob_defect))} lies "


def test_inspect_says_what_predict_decides(options, predictor, paths, log_path):
    for path, direct in zip(paths[::4], predictor.predict(paths[::4]), strict=True):
        at = upload(page("inspect"), "photographs", [(path.name, path.read_bytes())])
        assert said_of(direct) in text_of(at)
        word = {"ok": "Good", "defect": "Defect"}[direct.decision]
        assert f'<div class="word">{word}</div>' in text_of(at)
        assert f'class="verdict {direct.decision}"' in text_of(at)
        assert len(at.get("image")) == 1
        assert recorded(log_path)[-1][:2] == (path.name, direct.decision)


def test_touching_the_page_predicts_nothing_twice(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(p.name, p.read_bytes()) for p in paths[:3]])
    at.toggle(key="heatmap").set_value(False).run()
    at.button(key="next").click().run()
    next(one for one in at.button_group if one.label == "Zoom").set_value(2).run()
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
    assert ">Unreadable<" in text_of(at)
    assert recorded(log_path)[0][:3] == ("broken.jpeg", "", None)
    name = "<script>alert(1)</script>.jpeg"
    assert "<script>alert" not in text_of(upload(page("inspect"), "photographs", [(name, b"x")]))


def test_a_picture_of_nothing_gets_a_sentence_and_no_decision(options, log_path, tmp_path):
    Image.new("L", (64, 64), 255).save(tmp_path / "white.png")
    files = [("white.png", (tmp_path / "white.png").read_bytes())]
    said = text_of(upload(page("inspect"), "photographs", files))
    assert "white.png is not judged: overexposed" in said
    assert ">Not judged<" in said
    assert recorded(log_path)[0][:3] == ("white.png", "", None)


def test_several_parts_are_sorted_and_chosen_from(options, predictor, paths):
    files = [(path.name, path.read_bytes()) for path in paths[:4]]
    at = upload(page("inspect"), "photographs", [*files, ("bad.png", b"")])
    worst = max(predictor.predict(paths[:4]), key=lambda p: p.prob_defect)
    assert said_of(worst) in text_of(at)
    labels = at.button_group(key="strip").options
    assert len(labels) == 5
    assert labels[-1] == "\\! Unreadable bad\\.png"  # there is nothing to be seen
    assert labels[0].startswith("![Defect ")
    assert "](data:image/jpeg;base64," in labels[0]


def test_the_strip_is_filtered_by_outcome_and_walked_through(options, predictor, paths, log_path):
    files = [(path.name, path.read_bytes()) for path in paths[:6]]
    at = upload(page("inspect"), "photographs", files)
    decisions = [p.decision for p in predictor.predict(paths[:6])]
    good = decisions.count("ok")
    outcomes = at.button_group(key="outcome")
    assert outcomes.options == [
        "All 6", "Review 0", f"Defect {6 - good}", f"Good {good}", "Not judged 0",
    ]  # fmt: skip
    outcomes.set_value("defect").run()
    first = at.button_group(key="strip").value
    assert len(at.button_group(key="strip").options) == 6 - good > 1
    at.button(key="next").click().run()
    second = at.button_group(key="strip").value
    assert second != first
    at.text_input(key="person").set_value("Huber").run()
    at.button(key=f"ok {second}").click().run()  # then it is no defect any more
    assert at.button_group(key="outcome").options[2] == f"Defect {5 - good}"
    assert at.button_group(key="strip").value != second
    at.button(key="undo").click().run()
    assert not at.exception
    assert at.button_group(key="strip").value == second
    assert "Huber says" not in text_of(at)  # his word is taken back
    assert at.button_group(key="outcome").options[2] == f"Defect {6 - good}"
    at.button_group(key="outcome").set_value("not_judged").run()
    assert "Not judged: none is left" in text_of(at)


def test_every_image_has_a_text_instead(options, paths):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    (image,) = at.get("image")
    assert image.proto.imgs[0].alt.startswith(f"Heatmap over photograph {paths[0].name}: ")
    at.toggle(key="heatmap").set_value(False).run()
    (image,) = at.get("image")
    assert image.proto.imgs[0].alt.startswith(f"Photograph {paths[0].name}: ")


@pytest.mark.parametrize("kind", KINDS[:2])
def test_rendered_parts_are_predicted_and_not_recorded(options, predictor, log_path, kind):
    at = page("inspect")
    at.button_group(key="sample").set_value(kind).run()
    assert not at.exception
    (direct,) = predictor.predict([sample_part(kind, 1)])
    assert said_of(direct) in text_of(at)
    assert not log_path.exists() or recorded(log_path) == []
    assert sample_part(kind, 1) == sample_part(kind, 1) != sample_part(kind, 2)
    next(one for one in at.button if one.label == "Clear the parts").click().run()
    assert not at.exception
    assert 'class="verdict' not in text_of(at)


def test_the_limits_are_the_services(options, paths, monkeypatch):
    monkeypatch.setattr(page_intake, "MAX_IMAGE_BYTES", 100)
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "a photograph may have" in text_of(at)
    assert 'class="verdict' not in text_of(at)


def test_what_cannot_be_recorded_is_not_shown_as_decided(options, paths, monkeypatch):
    def full(self, records):
        raise UserError("disk full")

    monkeypatch.setattr(InspectionLog, "append", full)
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "0 of 1 photographs are inspected" in text_of(at)
    assert "could not be recorded: disk full" in text_of(at)
    assert 'class="verdict' not in text_of(at)


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
        def progress(self, share, text=None):
            if text is None:
                return self
            st.stop()  # as Streamlit ends a run when its visitor clicks meanwhile

        def empty(self):
            pass

    monkeypatch.setattr(InspectionLog, "append", second_fails)
    with monkeypatch.context() as patch:
        if how == "interrupted":
            patch.setattr(page_parts, "messages", lambda: Clicked())
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
    script += "(model if st.toggle('other page', key='other') else inspect).show()\n"
    at = AppTest.from_string(script, default_timeout=60).run()
    upload(at, "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert 'class="verdict' in text_of(at)
    at.toggle(key="other").set_value(True).run()
    assert 'class="verdict' not in text_of(at)
    at.toggle(key="other").set_value(False).run()
    assert 'class="verdict' in text_of(at)
    upload(at, "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert len(recorded(log_path)) == 1


def test_after_clearing_a_photograph_can_be_inspected_again(options, paths, log_path):
    at = page("inspect")
    upload(at, "photographs", [(path.name, path.read_bytes()) for path in paths[:2]])
    next(one for one in at.button if one.label == "Clear the parts").click().run()
    assert 'class="verdict' not in text_of(at)
    at.file_uploader(key="photographs").clear()
    upload(at, "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert 'class="verdict' in text_of(at)
    assert len(recorded(log_path)) == 3


def test_who_decides_goes_on_to_the_next_part_and_comes_back_within_the_filter(
    options, paths, log_path
):
    options("--review", "0", "1")
    files = [(path.name, path.read_bytes()) for path in paths[:4]]
    at = upload(page("inspect"), "photographs", files)
    at.text_input(key="person").set_value("Huber").run()
    order = at.button_group(key="strip").value, at.button(key="next").click().run()
    first, second = order[0], order[1].button_group(key="strip").value
    at.button(key=f"ok {second}").click().run()
    third = at.button_group(key="strip").value
    assert third not in (first, second)
    at.button_group(key="outcome").set_value("review").run()
    at.button(key=f"defect {third}").click().run()
    at.button(key="undo").click().run()
    assert not at.exception
    assert at.button_group(key="strip").value == third
    assert at.button_group(key="outcome").value == "review"


def test_a_person_may_decide_what_was_not_judged(options, log_path, tmp_path):
    Image.new("L", (64, 64), 255).save(tmp_path / "white.png")
    files = [("white.png", (tmp_path / "white.png").read_bytes())]
    at = upload(page("inspect"), "photographs", files)
    at.text_input(key="person").set_value("Huber").run()
    at.button(key="defect 1").click().run()
    assert not at.exception
    assert "Huber says: Defect. The model: white.png is not judged" in text_of(at)


def test_why_a_file_is_refused_stays_until_the_next_upload(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [("report.pdf", b"%PDF-1.7")])
    assert "report.pdf is a PDF" in text_of(at)
    at.button_group(key="source").set_value("Camera").run()
    assert "report.pdf is a PDF" in text_of(at)
    at.button_group(key="source").set_value("Files").run()
    upload(at, "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert not at.exception
    assert "is a PDF" not in text_of(at)
