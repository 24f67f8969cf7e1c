"""Which image files a command line names: files, folders, patterns, or a list on standard input."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.errors import UserError, tell
from common.text import count_of, printable
from imaging.reading import IMAGE_SUFFIXES

STANDARD_INPUT = "-"
PATHS_HELP = "image, folder (with all below it), pattern ('line*/*.png'), or - for a list on stdin"


def find_images(names: Iterable[str | Path]) -> list[Path]:
    """The files that `names` stand for, in order, each once.

    A file that a list on standard input names need not exist: among millions, one that has gone
    meanwhile is that part's problem, not the end of all.

    Raises:
        UserError: a name that stands for nothing, or no image at all.
    """
    names = [str(name) for name in names]
    found: dict[Path, None] = {}  # keeps the order
    for name in names:
        if name == STANDARD_INPUT:
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
            found |= dict.fromkeys(_below(Path(line) for line in lines if line))
        elif os.path.exists(name):
            found |= dict.fromkeys(_below([Path(name)]))
        elif matches := sorted(glob.glob(name, recursive=True)):
            found |= dict.fromkeys(_below(map(Path, matches)))
        else:
            raise UserError(f"no such file or folder: {name}")
    if not found:
        raise UserError(f"no images in {', '.join(names)}")
    return list(found)


def _below(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are, folders with all images below them."""
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        below = sorted(
            Path(folder, name)
            for folder, _, names in os.walk(path, onerror=_report)
            for name in names
        )
        images = [p for p in below if p.suffix.lower() in IMAGE_SUFFIXES]
        if len(images) < len(below):
            other = next(p for p in below if p.suffix.lower() not in IMAGE_SUFFIXES)
            count = count_of(len(below) - len(images), "file")
            tell(f"note: not inspected in {printable(path)}: {count}, {other.name} first")
        yield from images


def _report(error: OSError) -> None:
    tell(f"warning: not inspected: {error.filename}: {error.strerror}")
