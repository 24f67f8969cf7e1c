"""What arrives in a folder: the image files in it and below, as they appear or change."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from common.errors import tell
from imaging.reading import IMAGE_SUFFIXES

FRESH_S = 0.1  # folders note changes in steps of some milliseconds: look again for a while
FULL_SCAN_SHARE = 0.05  # of the time may go into looking at files that are known
# Inode, size, last change of content and of the file: another one may be other content
Signature = tuple[int, int, int, int]


def signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Folder:
    """The image files of a folder and those below it, as they come."""

    def __init__(self, root: Path):
        self.root = str(root)
        self._folders: dict[str, int] = {self.root: -1}  # time of the last change seen
        self._known: dict[str, set[str]] = {}  # files, by folder
        self._refused: set[str] = set()  # folders that cannot be read
        self._next_full_scan = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def __contains__(self, path: str) -> bool:
        return path in self._known.get(os.path.dirname(path), ())

    def arrivals(self) -> Iterator[tuple[str, Signature]]:
        """Files that are new or, now and then, all of them: one may have been written anew."""
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

    def _scan(self, folder: str, full: bool) -> Iterator[tuple[str, Signature]]:
        known, present = self._known.get(folder, set()), set()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.path in known and not full:
                    present.add(entry.path)
                    continue
                try:
                    status = entry.stat()
                except OSError:  # gone again
                    continue
                if stat.S_ISDIR(status.st_mode) and not entry.is_symlink():
                    self._folders.setdefault(entry.path, -1)
                elif stat.S_ISREG(status.st_mode):
                    if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                        present.add(entry.path)
                        yield entry.path, signature(status)
        self._known[folder] = present

    def _lose(self, folder: str, error: OSError) -> None:
        """Forget a folder that has gone; say once that one cannot be read."""
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            del self._folders[folder]
            self._known.pop(folder, None)
        elif folder not in self._refused:
            self._refused.add(folder)
            tell(f"warning: not watched: {folder}: {error.strerror}")
