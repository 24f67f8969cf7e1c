"""The photographs in an uploaded folder or zip file, within limits, never unpacked to disk."""

import io
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from imaging.photographs import IRREGULAR, NO_IMAGE, LeftOut, why_not_by_content, why_not_by_path
from imaging.unreadable import UnreadableImageError
from inspection.recording import MAX_IMAGE_BYTES, plain
from page.heic import HEIC_TYPES, readable

MAX_PARTS = 2000
MAX_TOTAL_BYTES = 256 << 20
MAX_ENTRIES = 100_000  # of a zip file; its list of contents is in memory before all else
MAX_DAMAGED = 20  # of them, or encrypted
DAMAGED = "damaged or encrypted"
ENTRY = b"PK\x01\x02"  # what each begins with in that list


@dataclass
class Collected:
    """Photographs by their path within the upload, and what was left out."""

    parts: list[tuple[str, bytes]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    bytes: int = 0
    full: bool = False

    @property
    def notes(self) -> list[str]:
        """What was left out, by reason."""
        more = (
            f"all but the first {len(self.parts):,} photographs; for more use: "
            "python predict.py FOLDER"
        )
        return [*self.left_out.lines(), *([more] if self.full else [])]

    def add(self, name: str, size: int, read: Callable[[], bytes]) -> bool:
        """Take a file, or note why not; False when no more can be taken."""
        clean = plain(name)
        reason = _why_not(PurePosixPath(clean), size)
        if not reason:
            self.full = len(self.parts) >= MAX_PARTS or self.bytes + size > MAX_TOTAL_BYTES
            if self.full:
                return False
            content = read()
            self.bytes += size
            reason = why_not_by_content(content) or self._take(clean, content)
        if reason:
            self.left_out.add(reason, clean)
        return True

    def _take(self, name: str, content: bytes) -> str:
        """Take a photograph; else why it cannot be read."""
        try:
            data = readable(content)
        except UnreadableImageError as error:
            return f"cannot be read: {error}"
        self.bytes += len(data) - len(content)  # a PNG is larger than the HEIC that it was
        self.parts.append((name, data))
        return ""


def _why_not(path: PurePosixPath, size: int) -> str:
    """Why a file is not read; empty: it is."""
    if path.suffix.lower() == ".pdf":
        return "a PDF: save its picture as JPEG or PNG"
    reason = why_not_by_path(path)
    if reason == NO_IMAGE and path.suffix.lower().removeprefix(".") in HEIC_TYPES:
        reason = ""
    if not reason and size > MAX_IMAGE_BYTES:
        reason = f"over {MAX_IMAGE_BYTES >> 20} MB"
    return reason


def collect_files(files: Iterable) -> Collected:
    """From Streamlit's uploaded files, sorted by name."""
    found = Collected()
    for file in sorted(files, key=lambda one: one.name):
        if not found.add(file.name, file.size, file.getvalue):
            break
    return found


def collect_zip(data: bytes) -> Collected:
    """From a zip file. Sizes that it declares are checked before, true ones while unpacking.

    A few damaged files in it are left out.

    Raises:
        ValueError: it is no zip file, or a damaged one; the message is a sentence's end.
    """
    if data.count(ENTRY) > MAX_ENTRIES:
        raise ValueError(f"it lists more than {MAX_ENTRIES:,} files")
    found, damaged = Collected(), 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in _files(archive):
                if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
                    found.left_out.add(IRREGULAR, plain(entry.filename))  # a link, perhaps
                    continue

                def read(entry=entry) -> bytes:
                    with archive.open(entry) as file:
                        content = file.read(MAX_IMAGE_BYTES + 1)
                    if len(content) > MAX_IMAGE_BYTES:
                        raise zipfile.BadZipFile(f"{entry.filename} is larger than it says")
                    return content

                try:
                    if not found.add(entry.filename, entry.file_size, read):
                        break
                except Exception:  # zipfile raises many types on damaged files
                    found.left_out.add(DAMAGED, plain(entry.filename))
                    damaged += 1
                    if damaged > MAX_DAMAGED:  # each may have cost as much as a photograph
                        raise
    except Exception as error:  # zipfile raises many types on damaged files
        raise ValueError(f"it is damaged, encrypted or no zip file ({error})") from error
    return found


def _files(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """Entries in the order of their names, without folders."""
    for entry in sorted(archive.infolist(), key=lambda one: one.filename):
        if not entry.is_dir():
            yield entry
