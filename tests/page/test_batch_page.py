"""Batch sorts a folder or a zip file, and writes it as CSV."""

import csv
import io

import pytest
from page_runs import page, recorded, text_of, upload, verdicts, zipped
from streamlit.testing.v1 import AppTest

from inspection.recording import INSPECTION_COLUMNS


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
    for name, probability, verdict in zip(
        names, found["defect probability"], found["decision"], strict=True
    ):
        assert probability == pytest.approx(direct[name].prob_defect, abs=1e-4)
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
    files += [("line 3/notes.txt", b"x"), ("__MACOSX/._a.jpeg", b"x"), ("order.PDF", b"%PDF-1.7")]
    at = page("batch")
    at.button_group(key="from").set_value("Zip file").run()
    at.file_uploader(key="zip").set_value(("parts.zip", zipped(files), "application/zip")).run()
    assert "no image by its name (line 3/notes.txt)" in text_of(at)
    assert "a PDF: save its picture as JPEG or PNG (order.PDF)" in text_of(at)
    check_batch(start_batch(at), predictor, paths, log_path)


def test_an_unreadable_part_comes_first_and_is_never_good(options, paths):
    at = upload(page("batch"), "folder", [("a.jpeg", paths[0].read_bytes()), ("b.png", b"")])
    found = table(start_batch(at))
    assert list(found["file"]) == ["b.png", "a.jpeg"]
    assert found["decision"][0].endswith("Unreadable")
    assert found["why"][0] == "empty file"
    assert at.button_group(key="outcome").options[-1] == "Unreadable 1"
    at.button_group(key="outcome").set_value("error").run()
    assert list(table(at)["file"]) == ["b.png"]


def test_a_damaged_zip_file_gives_a_sentence(options):
    for data in (b"no zip", zipped([("a.jpeg", b"x" * 500)])[:-40]):
        at = page("batch")
        at.button_group(key="from").set_value("Zip file").run()
        at.file_uploader(key="zip").set_value(("parts.zip", data, "application/zip")).run()
        assert not at.exception
        assert "parts.zip cannot be opened" in text_of(at)


def test_a_part_is_decided_from_the_table(options, paths, log_path):
    at = start_batch(upload(page("batch"), "folder", [("a.jpeg", paths[0].read_bytes())]))
    at.session_state["batch again"] = 1  # a line cannot be chosen without a browser
    at.run()
    at.text_input(key="person").set_value("Huber").run()
    at.button(key="ok 1").click().run()
    assert not at.exception
    assert verdicts(log_path) == [(1, "ok", "Huber")]
    assert list(table(at)["a person says"]) == ["Good, Huber"]
    assert at.button_group(key="outcome").options[3] == "Good 1"
