"""The pictures of the pages are kept together or not at all, and their log shows what it is to."""

from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.marks import HEAD_BYTES, is_marked
from docs import made_up_log, page_pictures, pictures
from traceability.alarms import DRIFT, REJECT_RATE, alarms_of
from traceability.log import InspectionLog
from traceability.process import analyse_process
from traceability.search import AWAITING
from traceability.subgroups import Division


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of two pictures, that of `wide.png` an old one."""
    monkeypatch.setattr(pictures, "FOLDER", tmp_path / "img")
    monkeypatch.setattr(pictures, "PICTURES", {"wide.png": 40, "narrow.png": 40})
    pictures.FOLDER.mkdir()
    (pictures.FOLDER / "wide.png").write_bytes(b"old")
    return pictures.FOLDER


def test_pictures_take_their_places_small_and_marked(folder, tmp_path):
    for name, width in (("wide.png", 80), ("narrow.png", 20)):
        Image.new("L", (width, 10), 128).save(tmp_path / name)
    total = pictures.keep(tmp_path)
    assert total == sum(path.stat().st_size for path in folder.iterdir())
    for name, size in (("wide.png", (40, 5)), ("narrow.png", (20, 10))):
        assert is_marked((folder / name).read_bytes()[:HEAD_BYTES])
        with Image.open(folder / name) as image:
            assert image.size == size


def test_if_one_picture_is_too_large_none_is_replaced(folder, tmp_path, monkeypatch):
    Image.new("L", (40, 10)).save(tmp_path / "wide.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "narrow.png")
    monkeypatch.setattr(pictures, "LARGEST_BYTES", 500)
    with pytest.raises(UserError, match=r"narrow\.png has 1,\d{3} bytes in 32 colours"):
        pictures.keep(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["wide.png"]
    assert (folder / "wide.png").read_bytes() == b"old"


def test_without_chromium_there_is_one_line(monkeypatch):
    pytest.importorskip("playwright")
    monkeypatch.setattr(page_pictures.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="need chromium") as failure:
        pictures.main([])
    assert "\n" not in str(failure.value)


def test_the_made_up_log_shows_scrap_falling_light_and_persons(tmp_path):
    end = datetime(2026, 11, 24, 9, tzinfo=UTC)
    made_up_log.write_log(tmp_path / "line.db", "m" * 64, 120.0, end)
    with InspectionLog(tmp_path / "line.db") as log:
        assert log.verify().problems == []
        process = analyse_process(log.query, Division("lot"), ("A01", "A20"), "line.db")
        assert list(log.query(f"SELECT count(*) FROM inspections WHERE {AWAITING}")) == [(0,)]
        assert list(log.query("SELECT count(DISTINCT person) FROM verdicts")) == [(3,)]
        (last,) = next(log.query("SELECT max(time) FROM inspections"))
    assert "2026-11-24T08:50" < last < "2026-11-24T09"
    alarms = alarms_of(process)
    assert [one.span for one in alarms if one.kind == REJECT_RATE] == ["A29"]
    assert any(one.kind == DRIFT and "brightness" in one.reason for one in alarms)
