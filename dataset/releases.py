"""The two releases of Kaggle's archive: where the second one lies, and which images are of it.

The archive holds `casting_data` (7,348 images of 300 px, with train/ and test/) and
`casting_512x512` (1,300 of 512 px, class folders only). Published figures are of the first one
alone, protocol `casting` pools both.
"""

import argparse
import os
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.errors import UserError
from common.labels import is_defect
from common.text import count_of

FIRST, SECOND = "casting_data", "casting_512x512"
IMAGES = {FIRST: 7348, SECOND: 1300}  # of each release, as Kaggle gives them out
VARIABLE = "CASTING_DATA_512"
WITHOUT = "none"


class WithPath(Protocol):
    """What has a path as in split.csv."""

    path: str


@dataclass(frozen=True)
class DataFolder:
    """Where the images lie: `root` holds train/ and test/, `second` the second release, if any.

    `data / 'train/ok_front/1.jpeg'` is the file of an image of the first release,
    `data / 'casting_512x512/ok_front/1.jpeg'` that of one of the second.
    """

    root: Path
    second: Path | None = None

    def __truediv__(self, path: str) -> Path:
        if self.second and is_of_second(path):
            return self.second / Path(path).relative_to(SECOND)
        return self.root / path

    def options(self) -> str:
        """What a command line says to name these folders."""
        text = f" --data {shlex.quote(str(self.root))}"
        if self.second != find_second(self.root):
            text += f" --second-release {shlex.quote(str(self.second or WITHOUT))}"
        return text

    def __str__(self) -> str:
        return str(self.root)

    def resolve(self) -> "DataFolder":
        """The same with absolute paths."""
        return DataFolder(self.root.resolve(), self.second and self.second.resolve())


def add_second_release(parser: argparse.ArgumentParser) -> None:
    """The option that says where the second release lies."""
    parser.add_argument(
        "--second-release",
        metavar="FOLDER",
        help=f"the archive's folder {SECOND}, which --protocol casting pools; 'none' leaves it "
        f"out. Default: the variable {VARIABLE}, else it is looked for beside casting_data",
    )


def is_of_second(path: str) -> bool:
    """Whether a path as in split.csv is that of an image of the second release."""
    return path.startswith(f"{SECOND}/")


def find_second(root: Path, argument: str | None = None) -> Path | None:
    """The folder of the second release: from the option, the variable, or near `casting_data`.

    Raises:
        UserError: the option or the variable names no folder of classes.
    """
    given = argument or os.environ.get(VARIABLE)
    if given == WITHOUT:
        return None
    if given:
        source = "--second-release" if argument else VARIABLE
        folder = Path(given).expanduser()
        for candidate in (folder / SECOND, folder):
            if _holds_classes(candidate):
                return candidate
        raise UserError(
            f"{source}: {folder} holds no class folders, one that begins with 'ok' and one of "
            f"defects; name the folder {SECOND}, or '{WITHOUT}' to leave it out"
        )
    root = root.absolute()  # '.' has neither a name nor a parent
    if root.name != FIRST:
        return None
    # Kaggle's archive doubles the folders: casting_data/casting_data, casting_512x512/...
    beside = [folder / SECOND for folder in (root.parent, root.parent.parent)]
    candidates = [place for folder in beside for place in (folder / SECOND, folder)]
    return next((folder for folder in candidates if _holds_classes(folder)), None)


def wants_second(data: Path | DataFolder, releases: int | None) -> bool:
    """Whether the second release belongs to a split of so many `releases`; None: of what is there.

    Raises:
        UserError: it does, but it is not there.
    """
    there = isinstance(data, DataFolder) and data.second is not None
    if releases == 2 and not there:
        raise UserError(
            f"this split holds both releases of the archive, but there is no {SECOND} near {data}; "
            f"name it with --second-release or {VARIABLE}"
        )
    return there and releases != 1


def _holds_classes(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    kinds = {is_defect(entry.name) for entry in folder.iterdir() if entry.is_dir()}
    return kinds == {True, False}


def release_counts(rows: Iterable[WithPath]) -> dict[str, int]:
    """How many images are of each release; empty where none is of the second."""
    counts = Counter(SECOND if is_of_second(row.path) else FIRST for row in rows)
    return {name: counts[name] for name in IMAGES if counts[name]} if counts[SECOND] else {}


def releases_text(counts: dict[str, int]) -> str:
    """'casting_data 7,348 images, casting_512x512 1,300 images'."""
    return ", ".join(f"{name} {count_of(count, 'image')}" for name, count in counts.items())


def releases_line(rows: Iterable[WithPath]) -> str:
    """'releases: casting_data 7,348 images, casting_512x512 1,300 images', for people; else ''."""
    counts = release_counts(rows)
    return f"releases: {releases_text(counts)}" if counts else ""
