"""split.csv: which images a model was trained and held out on, with the hashes of their files."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from common.errors import UserError
from common.files import read_csv, write_csv
from common.labels import ANY_DEFECT
from common.text import count_of
from dataset.corrections import published_label
from dataset.listing import ImageRow

SPLITS = ("train", "val", "test")
UNUSED = "unused"  # defects, with good parts alone; parts beyond --parts
SHA256 = re.compile(r"[0-9a-f]{64}")


def write_split(path: Path, rows: Iterable[ImageRow]) -> None:
    """Write split.csv: `path,label,split,casting,sha256,session`, sorted by path, atomically."""
    columns = [field.name for field in fields(ImageRow)]
    write_csv(path, columns, (astuple(row) for row in sorted(rows, key=lambda row: row.path)))


def read_split(path: Path) -> list[ImageRow]:
    """What `write_split` has written.

    Raises:
        UserError: missing, or changed beyond recognition.
    """
    names = [field.name for field in fields(ImageRow)]
    needed = [name for name in names if name != "session"]  # earlier versions wrote none
    rows = [ImageRow(*(line.get(name, "") for name in names)) for line in read_csv(path, needed)]
    classes = {published_label(row.path) for row in rows} - {""}
    # What --good and --good-only make of them
    classes |= {f"{prefix}_{name}" for name in classes for prefix in ("ok", "bad")} | {ANY_DEFECT}
    for number, row in enumerate(rows, 2):
        # A corrected label differs from the image's own folder, but is that of another
        right = (
            published_label(row.path) and row.label in classes and row.split in (*SPLITS, UNUSED)
        )
        if not (right and row.path.isprintable() and SHA256.fullmatch(row.sha256)):
            raise UserError(
                f"{path} is damaged: line {number} is no image in a class folder, with a class, "
                "its split and its SHA-256; put it back from where it came, or remove it"
            )
    return rows


def warn_of_changed_contents(rows: Sequence[ImageRow], manifest: Path) -> None:
    """Say how many images have the same name but other bytes than when the model was trained.

    Raises:
        UserError: there is a manifest, and it is damaged.
    """
    if not manifest.is_file():
        return
    before = {row.path: row.sha256 for row in read_split(manifest)}
    changed = sum(before.get(row.path, row.sha256) != row.sha256 for row in rows)
    if changed:
        print(f"warning: {count_of(changed, 'image')} changed since training", file=sys.stderr)
