"""Which image files a command line names: files, folders, patterns, or a list on standard input."""

import glob
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from common.errors import UserError, tell
from common.text import printable
from imaging.photographs import LeftOut, photographs_below, photographs_of

STANDARD_INPUT = "-"
PATHS_HELP = "image, folder (with all below it), pattern ('line*/*.png'), or - for a list on stdin"


def find_images(names: Iterable[str | Path]) -> list[Path]:
    """The files that `names` stand for, in order, each once.

    A file that a list on standard input names need not exist: among millions, one that has gone
    meanwhile is that part's problem, not the end of all.

    What somebody names is taken, whatever it is called; in folders, and of what a pattern matches,
    the photographs are, and a line on stderr says what is none.

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
            found |= dict.fromkeys(_matched(name, map(Path, matches)))
        else:
            raise _no_such(name)
    if not found:
        raise UserError(f"no images in {', '.join(names)}")
    return list(found)


def check_there(names: Iterable[str | Path]) -> None:
    """Raise UserError for a name that stands for nothing; a list on standard input is not read."""
    for name in map(str, names):
        matches = os.path.exists(name) or any(glob.iglob(name, recursive=True))
        if name != STANDARD_INPUT and not matches:
            raise _no_such(name)


def _no_such(name: str) -> UserError:
    lacking = "no file matches" if glob.has_magic(name) else "no such file or folder:"
    return UserError(f"{lacking} {name}")


def _below(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are, folders with all photographs below them."""
    for path in paths:
        if os.path.isdir(path):
            yield from _noted(
                path, lambda left_out, at=path: photographs_below(at, left_out, _report)
            )
        else:
            yield path


def _matched(pattern: str, paths: Iterable[Path]) -> Iterator[Path]:
    """The photographs among the files that a pattern matches, and in the folders."""
    paths = list(paths)
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    files = [path.relative_to(fixed) for path in paths if not os.path.isdir(path)]
    if "**" in pattern:  # goes round in links to folders
        files = [path for path in files if not _behind_link(fixed, path)]
    yield from _noted(pattern, lambda left_out: photographs_of(fixed, files, left_out))
    yield from _below(path for path in paths if os.path.isdir(path))


def _behind_link(folder: Path, path: Path) -> bool:
    return any(os.path.islink(folder / parent) for parent in path.parents)


def _noted(name: str | Path, find: Callable[[LeftOut], Iterator[Path]]) -> Iterator[Path]:
    """What `find` finds; says on stderr what it leaves out."""
    left_out = LeftOut()
    yield from find(left_out)
    if left_out:
        tell(f"note: not inspected in {printable(Path(name))}: {left_out}")


def _report(error: OSError) -> None:
    tell(f"warning: not inspected: {error.filename}: {error.strerror}")
