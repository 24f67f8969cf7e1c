"""Which files are photographs to inspect: one rule for folders, patterns, uploads, training.

An image by its suffix, a regular file, not hidden, in no hidden folder, none that the system made,
and none of our own results. What somebody names is taken as it is.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath

from common.marks import HEAD_BYTES, is_marked
from common.text import printable
from imaging.reading import open_regular

IMAGE_SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jfif"}
SYSTEM_FOLDERS = {
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
}  # previews, and what was deleted
# The copies beside a log: see inspection/recording.py
KEPT_FOLDER, KEPT_FILE = re.compile(r".*_pictures"), re.compile(r"[0-9a-f]{64}\.[a-z]+")
NO_IMAGE, HIDDEN, SYSTEM = "no image by its name", "hidden", "made by the system"
KEPT, DRAWN, IRREGULAR = "kept by an earlier inspection", "drawn by this program", "no regular file"
LINK = "a link to a folder"


def why_not_by_path(path: PurePath) -> str:
    """Why a file below a folder is no photograph, by its path from there; empty: it may be one."""
    *folders, name = path.parts
    for folder in folders:
        if reason := why_not_folder(folder):
            return reason
    if name.startswith("."):
        return HIDDEN
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return NO_IMAGE
    if folders and KEPT_FOLDER.fullmatch(folders[-1]) and KEPT_FILE.fullmatch(name):
        return KEPT
    return ""


def why_not_folder(name: str) -> str:
    """Why there are no photographs in a folder, by its name."""
    if name.startswith(".") and name not in (".", ".."):
        return HIDDEN
    return SYSTEM if name in SYSTEM_FOLDERS else ""


def why_not_by_content(head: bytes) -> str:
    """Why a file that begins so is no photograph."""
    return DRAWN if is_marked(head) else ""


def why_not_file(path: Path) -> str:
    """Why a file is no photograph, by what is on the disk; one that cannot be read may be one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return IRREGULAR
        if path.suffix.lower() == ".png":
            with open(path, "rb", opener=open_regular) as file:
                return why_not_by_content(file.read(HEAD_BYTES))
    except OSError:
        pass  # to be told where it is inspected
    return ""


def is_photograph_below(sources: Iterable[str], path: str, data: bytes) -> bool:
    """The same of a file that was found below one of these folders or URLs."""
    path = path.split("://")[-1]
    roots = [source.split("://")[-1].rstrip("/") + "/" for source in sources]
    inner = min((path.removeprefix(root) for root in roots), key=len)
    return not (why_not_by_path(PurePath(inner)) or why_not_by_content(data))


class LeftOut:
    """What is no photograph: how many of each reason, and the first of them."""

    def __init__(self):
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, reason: str, name: str) -> None:
        """Count one; `name` stands for all of its reason."""
        self._counts[reason] += 1
        self._first.setdefault(reason, name)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def lines(self) -> list[str]:
        """Like '2 hidden (.a.png first)', the most frequent first."""
        return [
            f"{count:,} {reason} ({_plain(self._first[reason])}{' first' if count > 1 else ''})"
            for reason, count in self._counts.most_common()
        ]

    def __str__(self) -> str:
        return ", ".join(self.lines())


def _plain(name: str) -> str:
    return printable(Path(name)) if name.isprintable() else repr(name)


def photographs_below(
    folder: Path, left_out: LeftOut, unreadable: Callable[[OSError], object]
) -> Iterator[Path]:
    """All photographs in a folder and those below it, sorted; `unreadable` is told of OSErrors."""
    found = []
    for root, folders, names in os.walk(folder, onerror=unreadable):
        place = Path(root).relative_to(folder)
        for name in list(folders):
            link = LINK if os.path.islink(os.path.join(root, name)) else ""
            if reason := why_not_folder(name) or link:
                left_out.add(reason, str(place / name))
                folders.remove(name)  # not walked into
        found += (place / name for name in names)
    yield from photographs_of(folder, sorted(found), left_out)


def photographs_of(folder: Path, paths: Iterable[Path], left_out: LeftOut) -> Iterator[Path]:
    """Those of the files `paths`, from `folder` on, that are photographs."""
    for path in paths:
        if reason := why_not_by_path(path) or why_not_file(folder / path):
            left_out.add(reason, str(path))
        else:
            yield folder / path
