"""A HEIC photograph is read as it would be as PNG; what else a tablet holds is told in words."""

import io
import sys

import numpy as np
import pytest
from page_runs import page, recorded, text_of, upload, zipped
from PIL import Image

from imaging.reading import decode_grey
from imaging.unreadable import UnreadableImageError
from page import heic, uploads
from page.heic import is_heic, png_of_heic
from page.uploads import collect_zip
from traceability.log import InspectionLog

pillow_heif = pytest.importorskip("pillow_heif")


@pytest.fixture
def photograph(paths) -> bytes:
    """A test image as a tablet would have taken it."""
    data = io.BytesIO()
    pillow_heif.from_pillow(Image.open(paths[0]).convert("RGB")).save(data, quality=100)
    return data.getvalue()


def test_it_is_read_as_it_would_be_otherwise(photograph, paths):
    assert is_heic(photograph)
    assert not is_heic(paths[0].read_bytes())
    found, wanted = (decode_grey(d) for d in (png_of_heic(photograph), paths[0].read_bytes()))
    assert found.size == wanted.size
    assert np.abs(np.asarray(found, float) - np.asarray(wanted, float)).mean() < 3


def refuse(size: tuple[int, int]) -> None:
    raise UnreadableImageError(f"{size[0]} x {size[1]} pixels are too many")


def test_what_cannot_be_read_is_told(photograph, monkeypatch):
    with pytest.raises(UnreadableImageError, match="a damaged HEIC; save it as JPEG"):
        png_of_heic(photograph[: len(photograph) // 2])
    with monkeypatch.context() as patch:
        patch.setattr(heic, "refuse_large", refuse)
        with pytest.raises(UnreadableImageError, match="64 x 64 pixels are too many"):
            png_of_heic(photograph)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableImageError, match=r"requirements-deploy\.txt; or save it as JPEG"):
        png_of_heic(photograph)


def test_inspect_takes_it_and_tells_of_the_rest(options, photograph, log_path):
    files = [
        ("IMG_1.HEIC", photograph), ("IMG_2.heic", photograph[:300]), ("order.pdf", b"%PDF-1.7 x"),
    ]  # fmt: skip
    at = upload(page("inspect"), "photographs", files)
    assert [row[0] for row in recorded(log_path)] == ["IMG_1.HEIC"]
    assert 'class="verdict' in text_of(at)
    assert "IMG_2.heic cannot be read: a damaged HEIC" in text_of(at)
    assert "order.pdf is a PDF, no photograph: save its picture as JPEG or PNG" in text_of(at)


def test_batch_reads_it_to_the_same_photograph(options, photograph, log_path):
    files = [("lot/IMG_1.HEIC", photograph), ("lot/IMG_2.jpg", photograph)]  # by its content
    files.append(("lot/IMG_3.heic", photograph[:300]))
    at = page("batch")
    at.button_group(key="from").set_value("Zip file").run()
    at.file_uploader(key="zip").set_value(("parts.zip", zipped(files), "application/zip")).run()
    assert "1 cannot be read: a damaged HEIC; save it as JPEG" in text_of(at)
    assert "(lot/IMG_3.heic)" in text_of(at)
    next(one for one in at.button if one.label == "Inspect 2 photographs").click().run()
    assert not at.exception
    assert [row[0] for row in recorded(log_path)] == ["lot/IMG_1.HEIC", "lot/IMG_2.jpg"]
    upload(page("inspect"), "photographs", [("IMG_1.HEIC", photograph)])
    with InspectionLog(log_path) as log:
        assert list(log.query("SELECT count(DISTINCT sha256) FROM inspections")) == [(1,)]


def test_in_batch_it_counts_with_the_size_that_it_is_read_to(photograph, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_TOTAL_BYTES", 3 * len(photograph))
    monkeypatch.setattr(uploads, "readable", lambda data: data * 4)
    found = collect_zip(zipped([(f"{n}.heic", photograph) for n in range(3)]))
    assert [name for name, _ in found.parts] == ["0.heic"]
    assert found.full
