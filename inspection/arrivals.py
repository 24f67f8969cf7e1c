"""What arrives in a folder: the photographs in it and below, as they appear or change."""

import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import tell
from common.text import printable
from imaging.photographs import IRREGULAR, LINK, why_not_by_path, why_not_folder

FRESH_S = 0.1  # folders note changes in steps of some milliseconds: look again for a while
FULL_SCAN_SHARE = 0.05  # of the time may go into looking at files that are known
# Inode, size, last change of content and of the file: another one may be other content
Signature = tuple[int, int, int, int]
FS_IOC_GETVERSION = 0x80087601  # of Linux


def signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def generation(path: str) -> int:
    """Tells a file from an earlier one that had its inode; 0 where the file system does not say."""
    with suppress(ImportError, OSError):  # not on Windows
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
        try:
            answer = fcntl.ioctl(descriptor, FS_IOC_GETVERSION, bytes(8))
        finally:
            os.close(descriptor)
        return struct.unpack("q", answer)[0]
    return 0


@dataclass(frozen=True)
class KnownFile:
    """A file as it was when it was looked at."""

    signature: Signature
    generation: int

    def is_moved_to(self, path: str, found: Signature) -> bool:
        """Whether a file that has gone is the one that has come as `path`, under another name."""
        return self.signature[:3] == found[:3] and self.generation == generation(path)

    def is_touched_as(self, path: str, found: Signature) -> bool:
        """Whether a file of this name and of the same content is the same one, not a new one.

        Some network folders number their files anew now and then: there its time has to do.
        """
        same_number = self.signature[0] == found[0]
        if self.generation:
            return same_number and self.generation == generation(path)
        return same_number or self.signature[2] == found[2]


class Folder:
    """The photographs of a folder and those below it, as they come.

    Args:
        beside: suffixes of files that belong to photographs, so that nothing is said of them.
    """

    def __init__(self, root: Path, beside: Sequence[str] = ()):
        self.root, self._beside = str(root), beside
        self._folders: dict[str, int] = {self.root: -1}  # time of the last change seen
        self._known: dict[str, set[str]] = {}  # files, by folder
        self._departed: list[str] = []
        self._refused: set[str] = set()  # folders that cannot be read
        self._noted: set[tuple[str, str]] = set()  # folders, and why something in them is left out
        self._next_full_scan = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def __contains__(self, path: str) -> bool:
        return path in self._known.get(os.path.dirname(path), ())

    def departures(self) -> list[str]:
        """Files that have gone since this was asked before."""
        gone, self._departed = self._departed, []
        return gone

    def arrivals(self) -> Iterator[tuple[str, Signature, bool]]:
        """Files that are new or, now and then, all of them: one may have been written anew.

        With each, whether its folder is looked at for the first time: nobody saw the file come.
        """
        started = time.monotonic()
        full = started >= self._next_full_scan
        for folder in list(self._folders):
            try:
                changed = os.stat(folder).st_mtime_ns
                fresh = time.time() - changed / 1e9 < FRESH_S
                if full or fresh or changed != self._folders[folder]:
                    yield from self._scan(folder, full)
                self._folders[folder] = changed
                self._refused.discard(folder)
            except OSError as error:
                if folder == self.root:
                    raise
                self._lose(folder, error)
        if full:
            took = time.monotonic() - started
            self._next_full_scan = time.monotonic() + took / FULL_SCAN_SHARE

    def _scan(self, folder: str, full: bool) -> Iterator[tuple[str, Signature, bool]]:
        known, present = self._known.get(folder, set()), set()
        is_first = folder not in self._known
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.path in known and not full:
                    present.add(entry.path)
                    continue
                try:
                    status = entry.stat()
                except OSError:  # gone again
                    continue
                if reason := self._why_not(entry, status):
                    self.note_left_out(folder, reason, entry.name)
                elif stat.S_ISDIR(status.st_mode):
                    self._folders.setdefault(entry.path, -1)
                else:
                    present.add(entry.path)
                    yield entry.path, signature(status), is_first
        self._departed += known - present
        self._known[folder] = present

    def _why_not(self, entry: os.DirEntry, status: os.stat_result) -> str:
        if stat.S_ISDIR(status.st_mode):
            return why_not_folder(entry.name) or (LINK if entry.is_symlink() else "")
        path = Path(entry.path).relative_to(self.root)
        return why_not_by_path(path) or ("" if stat.S_ISREG(status.st_mode) else IRREGULAR)

    def note_left_out(self, folder: str, reason: str, name: str) -> None:
        """Say, once for each folder, that what is so is left out."""
        if (folder, reason) not in self._noted and Path(name).suffix not in self._beside:
            self._noted.add((folder, reason))
            place = f"{printable(Path(folder))}: {printable(Path(name))}"
            tell(f"note: not inspected in {place} ({reason}), nor others so")

    def _lose(self, folder: str, error: OSError) -> None:
        """Forget a folder that has gone; say once that one cannot be read."""
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            del self._folders[folder]
            self._departed += self._known.pop(folder, ())
        elif folder not in self._refused:
            self._refused.add(folder)
            tell(f"warning: not watched: {folder}: {error.strerror}")
