"""Every page tells what is wrong with log, model and options, and goes on with a new model."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from builders import promote
from log_records import record
from page_runs import metrics, page, recorded, text_of, upload
from streamlit.testing.v1 import AppTest

import app
from inspection.predictor import load_predictor
from inspection.recording import Inspector, Part
from page.log import BUSY_S, GLANCE_S
from traceability.log import InspectionLog

PAGES = ("inspect", "review", "batch", "process", "model")


def test_every_page_begins_with_product_model_and_log(options, predictor, paths, log_path):
    for name in PAGES:
        said = text_of(page(name))
        assert "<h1>Casting inspection</h1>" in said
        assert "do not sort real parts with this model" in said
        assert f"Model {predictor.model_id}, trained on synthetic castings<" in said
        assert "Log line.db, begins with the first part" in said
    upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "Log line.db, 1 inspection<" in text_of(page("batch"))
    log_path.write_text("no log")
    assert "Log line.db, cannot be read" in text_of(page("model"))


def test_nobody_waits_two_seconds_for_a_locked_log():
    assert BUSY_S + 2 * GLANCE_S < 2  # the page, the header, and the number beside Review


def test_a_locked_log_is_told_soon(options, paths, log_path, monkeypatch):
    monkeypatch.setattr("page.log.BUSY_S", 0.05)
    upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    with contextlib.closing(sqlite3.connect(log_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        at = upload(page("inspect"), "photographs", [(paths[1].name, paths[1].read_bytes())])
        assert "0 of 1 photographs are inspected" in text_of(at)
        assert "database is locked" in text_of(at)
        other.execute("ROLLBACK")
    at.run()
    assert len(recorded(log_path)) == 2


def test_a_lost_or_damaged_log_gives_a_sentence(options, paths, log_path):
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    for path in log_path.parent.glob("line.db*"):
        if path.is_file():
            path.unlink()
    at.toggle(key="heatmap").set_value(False).run()
    assert not at.exception
    assert "line.db is gone: put it back, or restart the page" in text_of(at)
    assert "line.db is gone" in text_of(page("process"))
    log_path.write_text("no log")
    for name in ("review", "process"):
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
    assert len(at.get("vega_lite_chart")) == 1


def test_odd_names_are_only_names(options, predictor, paths, log_path):
    with InspectionLog(log_path, "create") as log:
        rejected = [p for p in paths if predictor.predict([p])[0].decision == "defect"][:3]
        names = ("$x^$", "a\nb", "![x](http://evil.example/x.png)")
        for name, path in zip(names, rejected, strict=True):
            Inspector(predictor, log).inspect([Part(name, path.read_bytes(), name, name)])
    at = page("process")
    assert len(at.get("image")) == 3
    captions = [image.proto.imgs[0].caption for image in at.get("image")]
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
    monkeypatch.setattr("model.ROOT", tmp_path)
    for name in ("inspect", "batch", "process", "model"):
        assert "make demo" in text_of(page(name))


def test_all_pages_are_reached_from_the_top(options):
    at = AppTest.from_string("import app\napp.show()", default_timeout=60).run()
    assert not at.exception
    assert at.file_uploader(key="photographs")
