"""A HEIC photograph is read as it would be as PNG; what else a tablet holds is told in words."""

import io
import sys

import numpy as np
import pytest
from page_runs import page, recorded, text_of, upload
from PIL import Image

from imaging.reading import decode_grey
from imaging.unreadable import UnreadableImageError
from page import heic
from page.heic import is_heic, png_of_heic

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
