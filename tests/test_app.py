"""Each page of app.py says what predict.py decides, and stores what a person says."""

import contextlib
import csv
import io
import shlex
import shutil
import sqlite3
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from builders import promote
from log_records import record
from PIL import Image
from streamlit.testing.v1 import AppTest

import app
from common.errors import UserError
from common.files import ROOT, sha256_of_file
from inspection.predictor import load_predictor
from inspection.recording import INSPECTION_COLUMNS, Inspector, Part
from model import load_checkpoint, save_checkpoint
from page import parts as page_parts
from page.samples import KINDS, sample_part
from traceability.log import InspectionLog, Record
from traceability.models import Models
from traceability.schema import TABLES
from traceability.search import search

REVIEW = (0.0, 1.0)


@pytest.fixture
def log_path(tmp_path):
    return tmp_path / "line.db"


@pytest.fixture
def options(trained, dividing_threshold, log_path, monkeypatch):
    """A function that sets the options of app.py; those of the fixtures and more."""

    def options(*more: str) -> None:
        own = ["--checkpoint", str(trained / "best.pth"), "--device", "cpu"]
        own += ["--threshold", repr(dividing_threshold), "--log", str(log_path), *more]
        monkeypatch.setenv(app.OPTIONS_VARIABLE, shlex.join(own))

    options()
    return options


def page(name: str) -> AppTest:
    """One page, run once."""
    script = f"import app\nfrom page import {name}\napp.start()\n{name}.show()\n"
    at = AppTest.from_string(script, default_timeout=60).run()
    assert not at.exception
    return at


def text_of(at: AppTest) -> str:
    """All that a page says."""
    kinds = (at.info, at.warning, at.error, at.success, at.caption, at.markdown, at.subheader)
    said = [str(one.value) for kind in kinds for one in kind]
    return "\n".join([*said, *(one.proto.body for one in at.get("html"))]).replace("\\", "")


def metrics(at: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in at.metric}


def upload(at: AppTest, key: str, files: list[tuple[str, bytes]]) -> AppTest:
    at.file_uploader(key=key).set_value([(name, data, "image/jpeg") for name, data in files])
    at.run()
    assert not at.exception
    return at


def recorded(path) -> list[tuple]:
    with InspectionLog(path) as log:
        return list(log.query("SELECT file, decision, prob_defect, station, lot FROM inspections"))


# --- Inspect -------------------------------------------------------------------------------------


def test_inspect_says_what_predict_decides(options, predictor, paths, log_path):
    for path, direct in zip(paths[::4], predictor.predict(paths[::4]), strict=True):
        at = upload(page("inspect"), "photographs", [(path.name, path.read_bytes())])
        assert metrics(at)["Defect probability"] == f"{direct.prob_defect:.4f}"
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
    assert metrics(at)["Defect probability"] == f"{worst:.4f}"
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
    assert metrics(at)["Defect probability"] == f"{direct.prob_defect:.4f}"
    assert not log_path.exists() or recorded(log_path) == []
    assert sample_part(kind, 1) == sample_part(kind, 1) != sample_part(kind, 2)


def test_a_part_in_the_band_waits_until_a_person_has_spoken(options, paths, log_path):
    options("--review", "0", "1")
    at = upload(page("inspect"), "photographs", [(p.name, p.read_bytes()) for p in paths[:2]])
    assert "A person decides" in text_of(at)
    later = page("inspect")  # another visitor, another day
    assert "Waiting for a person: 2" in text_of(later)
    later.button(key="Defect 2").click().run()
    assert "give a name" in text_of(later)
    later.text_input(key="person for waiting").set_value("Huber")
    later.button(key="Defect 2").click().run()
    assert not later.exception
    assert "Waiting for a person: 1" in text_of(later)
    with InspectionLog(log_path) as log:
        assert list(log.query("SELECT inspection_id, verdict, person FROM verdicts")) == [
            (2, "defect", "Huber")
        ]


def verdicts(path) -> list[tuple]:
    with InspectionLog(path) as log:
        return list(log.query("SELECT inspection_id, verdict, person FROM verdicts"))


def test_two_persons_on_one_waiting_part_both_hear_of_it(options, paths, log_path):
    options("--review", "0", "1")
    upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    first, second = page("inspect"), page("inspect")  # both see the part wait
    for at, name in ((first, "Huber"), (second, "Maier")):
        at.text_input(key="person for waiting").set_value(name)
    first.button(key="Defect 1").click().run()
    second.button(key="Good 1").click().run()
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
    at = page("inspect")
    at.text_input(key="person for waiting").set_value("Maier").run()
    with InspectionLog(log_path, "append") as log:
        log.append([replace_record(log, lot="again")])  # and the photograph was inspected again
        log.add_disposition(2, "ok", "Huber", "a *stain*")
    at.button(key="Defect 1").click().run()
    assert "Huber has already decided on inspection 1: Good (a *stain*)" in text_of(at)
    next(one for one in at.button if one.label == "Leave it").click().run()
    assert "already decided" not in text_of(at)
    assert verdicts(log_path) == [(2, "ok", "Huber")]


def replace_record(log: InspectionLog, **changes) -> Record:
    """The first record of a log, changed."""
    (first,) = search(log, number=1)
    return Record(**{name: getattr(first, name) for name in TABLES["inspections"]} | changes)


def test_a_form_that_is_sent_late_hears_who_was_faster(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    with InspectionLog(log_path, "append") as log:
        log.add_disposition(1, "defect", "Huber")
    at.radio[0].set_value("Good")
    at.text_input(key="person 1").set_value("Maier")
    next(one for one in at.button if one.label == "Store the decision").click().run()
    assert not at.exception
    assert "Huber has already decided on inspection 1: Defect" in text_of(at)
    assert len(verdicts(log_path)) == 1
    at.radio[0].set_value("Good")  # now it is known
    next(one for one in at.button if one.label == "Store the decision").click().run()
    assert verdicts(log_path) == [(1, "defect", "Huber"), (1, "ok", "Maier")]


def test_another_log_in_its_place_gets_no_decision(options, paths, log_path):
    options("--review", "0", "1")
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at.radio[0].set_value("Good")
    at.text_input(key="person 1").set_value("Maier")
    with InspectionLog(log_path) as log:
        other = replace_record(log, file="another part")
    for path in log_path.parent.glob("line.db*"):
        path.unlink()
    with InspectionLog(log_path, "create") as log:
        log.append([other])
    next(one for one in at.button if one.label == "Store the decision").click().run()
    assert "line.db is another log now" in text_of(at)
    assert verdicts(log_path) == []


def test_a_locked_log_is_told_soon(options, paths, log_path, monkeypatch):
    monkeypatch.setattr("page.log.SHORT_BUSY_S", 0.05)
    upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    with contextlib.closing(sqlite3.connect(log_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        at = upload(page("inspect"), "photographs", [(paths[1].name, paths[1].read_bytes())])
        assert "0 of 1 photographs are inspected" in text_of(at)
        assert "database is locked" in text_of(at)
        other.execute("ROLLBACK")
    at.run()
    assert len(recorded(log_path)) == 2


def test_a_person_may_say_otherwise(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at.radio[0].set_value("Good")
    at.text_input(key="person 1").set_value("Huber")
    at.text_input(key="note 1").set_value("a stain")
    (submit,) = [one for one in at.button if one.label == "Store the decision"]
    submit.click().run()
    assert not at.exception
    assert "Huber says: Good (a stain). The model: " in text_of(at)
    assert '<div class="word">Good</div>' in text_of(at)
    with InspectionLog(log_path) as log:
        assert next(log.query("SELECT verdict, person, note FROM verdicts")) == (
            "ok", "Huber", "a stain",
        )  # fmt: skip


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


@pytest.mark.parametrize("mode", ["I;16", "L"])
def test_a_waiting_part_of_any_kind_is_shown(options, paths, log_path, mode):
    options("--review", "0", "1")
    data = io.BytesIO()
    grey = np.asarray(Image.open(paths[0]).convert("L"))
    image = Image.fromarray(grey.astype(np.uint16) * 257 if mode == "I;16" else grey)
    image.save(data, "png")
    upload(page("inspect"), "photographs", [("part.png", data.getvalue())])
    at = page("inspect")
    assert "Waiting for a person: 1" in text_of(at)
    assert len(at.get("image")) == 1


def test_a_part_inspected_twice_waits_once(options, paths, log_path):
    options("--review", "0", "1")
    for _ in range(2):
        upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "Waiting for a person: 1" in text_of(page("inspect"))


def test_a_lost_or_damaged_log_gives_a_sentence(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    for path in log_path.parent.glob("line.db*"):
        if path.is_file():
            path.unlink()
    at.slider(key="strength").set_value(0).run()
    assert not at.exception
    assert "line.db is gone: put it back, or restart the page" in text_of(at)
    assert "line.db is gone" in text_of(page("process"))
    log_path.write_text("no log")
    for name in ("inspect", "process"):
        assert "is not a database" in text_of(page(name))


def test_a_folder_that_cannot_be_read_any_more_gives_a_sentence(options, log_path, monkeypatch):
    exists = Path.exists

    def refuses(self):
        if self == log_path:
            raise PermissionError(13, "Permission denied", str(self))
        return exists(self)

    at = page("process")
    monkeypatch.setattr("pathlib.Path.exists", refuses)
    assert f"{log_path}: Permission denied" in text_of(at.run())
    assert not at.exception


def test_a_model_that_is_gone_meanwhile_gives_a_sentence(options, trained, tmp_path):
    for name in ("best.pth", "best_validation.csv"):
        shutil.copy(trained / name, tmp_path)
    options("--checkpoint", str(tmp_path / "best.pth"))
    at = page("model")
    (tmp_path / "best.pth").unlink()
    at.run()
    assert not at.exception
    assert "nothing to explore" in text_of(at)


def test_the_page_goes_on_with_a_new_model_and_each_part_with_its_own(
    options, model_file, another, paths, log_path
):
    options("--checkpoint", str(model_file.path))
    old, new = (load_predictor(path, "cpu").model_id for path in (model_file.path, another))
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert f"model {old} ·" in text_of(at)
    promote(another, model_file.path)
    at.run()
    assert f"model {old} ·" in text_of(at)
    assert f"The heatmap is of model {new}" in text_of(at)
    at.file_uploader(key="photographs").clear()
    upload(at, "photographs", [(paths[1].name, paths[1].read_bytes())])
    with InspectionLog(log_path) as log:
        assert [row[0][:12] for row in log.query("SELECT model FROM inspections")] == [old, new]
    assert metrics(page("model"))["Model"] == new


def test_a_new_model_that_is_no_use_is_told_and_the_page_goes_on(
    options, model_file, another, paths, log_path
):
    options("--checkpoint", str(model_file.path))
    old = load_predictor(model_file.path, "cpu").model_id
    at = page("inspect")
    model_file.path.write_bytes(b"no model")
    upload(at, "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert f"Model {old} goes on, the new one is no use" in text_of(at)
    assert f"model {old} ·" in text_of(at)
    promote(another, model_file.path)
    at.run().run()
    assert "goes on" not in text_of(at)
    assert metrics(page("model"))["Model"] != old


@pytest.mark.parametrize(
    "odd", ["\udcff", "x" * 3000, "a\n\x1b[2J"], ids=["no text", "long", "control"]
)
def test_odd_stations_lots_and_logs_are_only_names(options, tmp_path, odd):
    log = tmp_path / f"{odd[:50]}.db"
    options("--station", odd, "--lot", odd, "--log", str(log))
    with InspectionLog(log, "create") as records:
        records.append([record(n, lot=f"{odd}{n}", predicted_class=odd) for n in range(8)])
    for name in ("inspect", "process"):
        at = page(name)
    assert len(at.get("image")) == 1


def test_odd_names_are_only_names(options, predictor, paths, log_path):
    with InspectionLog(log_path, "create") as log:
        rejected = [p for p in paths if predictor.predict([p])[0].decision == "defect"][:3]
        names = ("$x^$", "a\nb", "![x](http://evil.example/x.png)")
        for name, path in zip(names, rejected, strict=True):
            Inspector(predictor, log).inspect([Part(name, path.read_bytes(), name, name)])
    at = page("process")
    assert len(at.get("image")) == 1 + 3
    captions = [image.proto.imgs[0].caption for image in at.get("image")[1:]]
    assert any("!\\[x\\]" in caption for caption in captions)


def test_a_doubtful_model_is_announced_on_every_page(options, monkeypatch):
    monkeypatch.setattr("inspection.model_file.doubts", lambda checkpoint: "this model rejects all")
    for name in ("inspect", "batch", "model"):
        assert "This model rejects all." in text_of(page(name))


def test_wrong_options_are_told(monkeypatch):
    monkeypatch.setenv(app.OPTIONS_VARIABLE, "--rewiev 0.2 0.8")
    assert "wrong options" in text_of(page("inspect"))
    monkeypatch.setenv(app.OPTIONS_VARIABLE, "--review 0.8 0.2")
    assert "--review needs" in text_of(page("inspect"))


def test_without_a_model_the_page_says_which_command_makes_one(tmp_path, monkeypatch):
    monkeypatch.setenv(app.OPTIONS_VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    for name in ("inspect", "batch", "process", "model"):
        assert "make demo" in text_of(page(name))


# --- Batch ---------------------------------------------------------------------------------------


def zipped(files: list[tuple[str, bytes]]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return data.getvalue()


def table(at: AppTest):
    return at.dataframe[0].value


def start_batch(at: AppTest) -> AppTest:
    next(one for one in at.button if one.label.startswith("Inspect")).click().run()
    assert not at.exception
    return at


def check_batch(at: AppTest, predictor, paths, log_path) -> None:
    """The table is that of predict.py, the likeliest defects first, and so is the log."""
    direct = {path.name: p for path, p in zip(paths, predictor.predict(paths), strict=True)}
    found = table(at)
    names = [name.rpartition("/")[2] for name in found["file"]]
    assert sorted(names) == sorted(direct)
    for name, chance, verdict in zip(
        names, found["defect probability"], found["decision"], strict=True
    ):
        assert chance == pytest.approx(direct[name].prob_defect, abs=1e-4)
        assert verdict.endswith({"ok": "Good", "defect": "Defect"}[direct[name].decision])
    assert list(found["defect probability"]) == sorted(found["defect probability"], reverse=True)
    assert all(url.startswith("data:image/jpeg;base64,") for url in found["photograph"])
    assert len(recorded(log_path)) == len(paths)


def test_a_folder_is_sorted_and_written_as_csv(options, predictor, paths, log_path):
    at = page("batch")
    upload(at, "folder", [(path.name, path.read_bytes()) for path in paths])
    check_batch(start_batch(at), predictor, paths, log_path)
    (button,) = at.get("download_button")
    from page.batch import as_csv

    rows = list(csv.DictReader(io.StringIO(as_csv(at.session_state["batch"]))))
    assert list(rows[0]) == INSPECTION_COLUMNS
    assert [row["path"] for row in rows] == list(table(at)["file"])
    assert button.label == "Download CSV"


def test_a_zip_file_is_predicted_like_a_folder(options, predictor, paths, log_path):
    files = [(f"line 3/{path.name}", path.read_bytes()) for path in paths]
    files += [("line 3/notes.txt", b"x"), ("__MACOSX/._a.jpeg", b"x")]
    at = page("batch")
    at.button_group(key="from").set_value("Zip file").run()
    at.file_uploader(key="zip").set_value(("parts.zip", zipped(files), "application/zip")).run()
    assert "no image by its name (line 3/notes.txt)" in text_of(at)
    check_batch(start_batch(at), predictor, paths, log_path)


def test_an_unreadable_part_comes_first_and_is_never_good(options, paths):
    at = upload(page("batch"), "folder", [("a.jpeg", paths[0].read_bytes()), ("b.png", b"")])
    found = table(start_batch(at))
    assert list(found["file"]) == ["b.png", "a.jpeg"]
    assert found["decision"][0].endswith("Not inspected")
    assert found["why"][0] == "empty file"
    assert metrics(at)["Not inspected"] == "1"


def test_a_damaged_zip_file_gives_a_sentence(options):
    for data in (b"no zip", zipped([("a.jpeg", b"x" * 500)])[:-40]):
        at = page("batch")
        at.button_group(key="from").set_value("Zip file").run()
        at.file_uploader(key="zip").set_value(("parts.zip", data, "application/zip")).run()
        assert not at.exception
        assert "parts.zip cannot be opened" in text_of(at)


# --- Process -------------------------------------------------------------------------------------


def test_an_empty_log_is_explained(options, paths, log_path):
    assert "nothing to show yet" in text_of(page("process"))
    with InspectionLog(log_path, "create"):
        pass
    for _ in range(2):
        assert "line.db holds no inspections" in text_of(page("process"))
    upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at = page("process")
    assert "No charts by lot yet: limits need at least 2" in text_of(at)
    assert metrics(at)["Parts"] == "1"


def test_the_process_is_charted_with_its_last_rejects(options, predictor, paths, log_path):
    for lot in ("A1", "A2", "A3"):
        at = page("inspect")
        at.text_input(key="lot").set_value(lot).run()
        part = paths[["A1", "A2", "A3"].index(lot) * 4 :][:4]
        upload(at, "photographs", [(path.name, path.read_bytes()) for path in part])
    at = page("process")
    rejected = sum(p.decision == "defect" for p in predictor.predict(paths[:12]))
    assert metrics(at)["Parts"] == "12"
    assert metrics(at)["Rejected"] == f"{rejected / 12:.1%}"
    assert len(at.get("image")) == 1 + min(rejected, 12)
    at.selectbox(key="baseline from").set_value("A1").run()
    at.selectbox(key="baseline to").set_value("A2").run()
    assert not at.exception
    at.selectbox(key="baseline from").set_value("A3").run()  # ends before it begins
    assert "No such baseline" in text_of(at)


# --- Model ---------------------------------------------------------------------------------------


def test_the_model_page_tells_figures_threshold_and_leak(options, trained, predictor):
    from dataset.validation_scores import read_validation

    at = page("model")
    text = text_of(at)
    assert predictor.model_id in metrics(at).values()
    assert "unseen castings" in text
    assert "2,710/3,137" in text
    assert "Copying the label" in text
    defective, _, prob_defect = read_validation(trained / "best.pth")
    for threshold in (predictor.threshold, 0.0, 1.0):
        at.slider(key="threshold").set_value(float(threshold)).run()
        missed = int((defective & (prob_defect < threshold)).sum())
        wanted = f"{missed} of {defective.sum()} = {missed / defective.sum():.1%}"
        assert metrics(at)["Missed defects"] == wanted


def test_the_model_page_tells_the_models_before_and_the_candidate(options, trained, tmp_path):
    from adaptation.promotion import FROZEN, VERDICTS, Comparison, Group

    models = Models(tmp_path / "models")
    groups = [Group(source, "good", 10, 9, 0, 1) for source in (VERDICTS, FROZEN)]
    parent = trained / "best.pth"
    with models.changing():
        checkpoint = load_checkpoint(parent)
        checkpoint.data = "another"
        save_checkpoint(models.candidate, checkpoint)
        models.promote(parent, sha256_of_file(parent), Comparison(groups).as_dict())
        models.candidate.write_bytes(b"refused")
        groups[0] = Group(VERDICTS, "good", 10, 9, 7, 0)
        models.refuse(sha256_of_file(models.current), Comparison(groups).as_dict())
    options("--checkpoint", str(models.current))
    at = page("model")
    before, now, refused = (event.sha256[:12] for event in models.history())
    assert f"{before} → **{now}**" in text_of(at)
    assert f"Candidate {refused} was not promoted: verdicts: right on 2 of 10" in text_of(at)
    history, compared = (one.value for one in at.dataframe)
    assert list(history["what"]) == ["candidate, not promoted", "promoted", "found in use"]
    assert list(history["right on verdicts"])[:2] == ["9 → 2 of 10", "9 → 10 of 10"]
    assert list(compared["became wrong"]) == [7, 0]
    (models.folder / "history.jsonl").write_text("{")
    assert "is not a history of models" in text_of(page("model"))


# --- the command ---------------------------------------------------------------------------------


def test_all_pages_are_reached_from_the_top(options):
    at = AppTest.from_string("import app\napp.show()", default_timeout=60).run()
    assert not at.exception
    assert at.file_uploader(key="photographs")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], app.LOCAL),
        (["--host", "localhost"], app.LOCAL),
        (["--allow-host", "a.example", "--allow-host", "b"], (*app.LOCAL, "a.example", "b")),
        (["--host", "0.0.0.0"], ("*",)),
        (["--host", "10.1.2.3", "--allow-host", "a"], (*app.LOCAL, "10.1.2.3", "a")),
    ],
)
def test_the_page_answers_to_its_own_names_only(arguments, names):
    assert app.hosts(app.build_parser().parse_args(arguments)) == list(names)


def test_streamlit_run_answers_to_the_same_names():
    own = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["server"]
    assert own["allowedHosts"] == list(app.LOCAL)


def test_the_command_starts_streamlit_with_its_options(trained, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(app.os, "execv", lambda program, command: started.append(command))
    monkeypatch.setenv(app.OPTIONS_VARIABLE, "")
    own = ["--checkpoint", str(trained / "best.pth"), "--log", str(tmp_path / "a b.db")]
    app.main([*own, "--port", "8600"])
    assert started[0][1:5] == ["-m", "streamlit", "run", str(ROOT / "app.py")]
    assert started[0][-2:] == ["--server.port", "8600"]
    assert shlex.split(app.os.environ[app.OPTIONS_VARIABLE])[:4] == own
    assert started[0].count("--server.allowedHosts") == len(app.LOCAL)
    with pytest.raises(UserError, match="no such checkpoint"):
        app.main(["--checkpoint", "gone.pth"])
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-deploy\.txt"):
        app.main([])
