"""Uploaded folders and zip files give photographs, within limits, and never a path to write to."""

import io
import stat
import zipfile
from dataclasses import dataclass

import pytest
from PIL import Image

from imaging.overlays import png
from page import uploads
from page.uploads import collect_files, collect_zip


@dataclass
class File:
    """What Streamlit gives for an uploaded file."""

    name: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def getvalue(self) -> bytes:
        return self.data


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def collected(how: str, files: dict[str, bytes]) -> uploads.Collected:
    if how == "zip":
        return collect_zip(zipped(files))
    return collect_files([File(*one) for one in files.items()])


@pytest.fixture(params=["zip", "folder"])
def how(request):
    return request.param


def test_photographs_are_taken_in_order_and_others_noted(how):
    found = collected(how, {"b/2.JPG": b"two", "notes.txt": b"x", "a/1.png": b"one"})
    assert found.parts == [("a/1.png", b"one"), ("b/2.JPG", b"two")]
    assert found.notes == ["1 no image by its name (notes.txt)"]


def test_names_are_only_names(how):
    found = collected(how, {"../../etc/evil\n.jpeg": b"x"})
    assert found.parts == [("../../etc/evil.jpeg", b"x")]  # a label; nothing is written


def test_large_files_are_left_out(how, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_IMAGE_BYTES", 10)
    found = collected(how, {"a.png": b"x" * 11, "b.png": b"x" * 10})
    assert [name for name, _ in found.parts] == ["b.png"]
    assert found.notes == ["1 over 0 MB (a.png)"]


@pytest.mark.parametrize(("limit", "value"), [("MAX_PARTS", 2), ("MAX_TOTAL_BYTES", 25)])
def test_of_too_many_the_first_are_taken(how, monkeypatch, limit, value):
    monkeypatch.setattr(uploads, limit, value)
    found = collected(how, {f"{number}.png": b"x" * 10 for number in range(5)})
    assert [name for name, _ in found.parts] == ["0.png", "1.png"]
    assert len(found.notes) == 1
    assert "all but the first 2" in found.notes[0]


def test_a_zip_bomb_is_not_unpacked(monkeypatch):
    data = zipped({"bomb.png": bytes(uploads.MAX_IMAGE_BYTES + 1)})
    assert len(data) < 100_000
    assert collect_zip(data).parts == []
    # One that lies about its size: both places where a zip file tells it
    size = (uploads.MAX_IMAGE_BYTES + 1).to_bytes(4, "little")
    assert data.count(size) == 2
    found = collect_zip(data.replace(size, (1000).to_bytes(4, "little")))
    assert (found.parts, found.notes) == ([], ["1 damaged or encrypted (bomb.png)"])


def test_a_zip_file_of_too_many_entries_is_refused_before_they_are_listed(monkeypatch):
    monkeypatch.setattr(uploads, "MAX_ENTRIES", 3)
    assert len(collect_zip(zipped({f"{n}.png": b"x" for n in range(3)})).parts) == 3
    with pytest.raises(ValueError, match="more than 3 files"):
        collect_zip(zipped({f"{n}.png": b"x" for n in range(4)}))


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:-30]])
def test_what_is_no_zip_file_is_told(damage):
    with pytest.raises(ValueError, match="damaged"):
        collect_zip(damage(zipped({"a.png": bytes(range(256)) * 20})))


def test_an_encrypted_zip_file_is_told():
    data = bytearray(zipped({"a.png": b"x"}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    assert collect_zip(bytes(data)).notes == ["1 damaged or encrypted (a.png)"]


def test_a_few_damaged_files_in_a_zip_are_left_out_and_many_refuse_it(monkeypatch):
    data = bytearray(zipped({f"{n}.png": bytes([n]) * 9 for n in range(4)}))
    for number in (1, 2):
        at = data.index(f"{number}.png".encode()) + len("1.png")
        data[at] ^= 255  # its content is not what its checksum says
    found = collect_zip(bytes(data))
    assert [name for name, _ in found.parts] == ["0.png", "3.png"]
    assert found.notes == ["2 damaged or encrypted (1.png first)"]
    monkeypatch.setattr(uploads, "MAX_DAMAGED", 1)
    with pytest.raises(ValueError, match="damaged"):
        collect_zip(bytes(data))


def test_hidden_files_system_folders_and_own_results_are_counted_by_reason(how):
    drawn = png(Image.new("RGB", (9, 9)))
    found = collected(
        how,
        {"a/1.png": b"one", "a/._1.png": b"x", ".b/2.png": b"x", "__MACOSX/1.png": b"x",
         "heatmap.png": drawn},
    )  # fmt: skip
    assert found.parts == [("a/1.png", b"one")]
    assert sorted(found.notes) == [
        "1 drawn by this program (heatmap.png)",
        "1 made by the system (__MACOSX/1.png)",
        "2 hidden (.b/2.png first)",
    ]


def test_links_in_a_zip_are_left_out():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        link = zipfile.ZipInfo("a.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert collect_zip(data.getvalue()).notes == ["1 no regular file (a.png)"]
