"""List the photographs: which images a folder holds, of which class, whether each can be read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import UserError, tell
from common.files import sha256_of_file
from common.labels import is_defect, label_of
from dataset.layouts import (
    VALIDATION_FOLDERS,
    holds_photographs,
    is_class_folder,
    layout_of,
)
from dataset.releases import SECOND, DataFolder
from imaging.photographs import why_not_by_path, why_not_file
from imaging.reading import (
    UnreadableImageError,
    in_threads,
    read_grey_image,
    refuse_unreadable,
)

PARTS = ("train", "test")  # the folders on disk
TABLES = ("castings.csv", "parts.csv", "sessions.csv")  # beside the photographs


@dataclass(frozen=True)
class ImageRow:
    """One line of split.csv; `path` is relative to the data's root, such as `train/ok/1.png`."""

    path: str
    label: str
    split: str
    casting: str = ""
    sha256: str = ""
    session: str = ""  # in which the photograph was taken; empty where nobody knows


def list_images(
    root: Path,
    parts: Sequence[str] = PARTS,
    *,
    both_kinds: bool = True,
    good: str | None = None,
    good_only: bool = False,
) -> tuple[list[ImageRow], list[str]]:
    """All images below `root`, sorted by path, not yet hashed; and notes on what was passed over.

    Any set of class folders works; labels are those of `label_of`.

    Args:
        parts: the folders of class folders; '' for the root itself.
        good, good_only: as of `label_of`.

    Raises:
        UserError: a class folder is missing in one part or empty; no image at all, or, with
            `both_kinds`, no good or no defect class.
    """
    notes = _ignored_validation(root) if parts == PARTS else []
    found = {part: _class_folders(root / part, notes) for part in parts}
    images = {
        (p, name): _images_in(folder, notes) for p in parts for name, folder in found[p].items()
    }
    # A folder in one part only, or beside the classes, without images is a stray one; any other
    # needs images.
    needed = _in_all(found) if parts != ("",) else set()
    classes = sorted({name for (_, name), files in images.items() if files} | needed)
    labels = {name: label_of(name, good, good_only) for name in classes}
    notes += _stray_folders(found, classes)
    optional = {name for name in classes if good_only and is_defect(labels[name])}
    for part in parts:
        for name in classes:
            _refuse_without_images(root, part, name, images.get((part, name)), optional, parts)
    if not classes:
        raise UserError(f"{root / parts[0]} holds no class folder with images")
    if both_kinds:
        refuse_unknown_names(root, classes, good)
        _refuse_one_kind(root, labels, good_only)
    rows = [
        ImageRow(_path(part, name, file.name), labels[name], part)
        for part in parts
        for name in classes
        for file in images.get((part, name), ())
    ]
    for row in rows:
        if not row.path.isprintable():
            raise UserError(f"{root}: the file name {row.path!r} is no plain text; rename it")
    return sorted(rows, key=lambda row: row.path), notes


def _stray_folders(found: dict[str, dict[str, Path]], classes: Sequence[str]) -> list[str]:
    """Notes on folders that are no classes; refuses one whose photographs lie deeper."""
    notes = []
    for part, folders in found.items():
        for name in folders:
            if name not in classes:
                refuse_deeper(folders[name])
                notes.append(f"ignored folder without images: {_path(part, name)}")
    return notes


def _refuse_without_images(
    root: Path,
    part: str,
    name: str,
    images: list[Path] | None,
    optional: set[str],
    parts: Sequence[str],
) -> None:
    """Raise UserError for a class folder without images, or one that is missing but needed.

    Args:
        optional: classes that need no folder in each part, as MVTec's defects; none does in val/.
    """
    if images is None and (name in optional or part in VALIDATION_FOLDERS):
        return
    if images is None:
        raise UserError(
            f"class folder {root / part / name} is missing; "
            f"each class needs one in {' and '.join(parts)}"
        )
    if not images:
        raise UserError(f"class folder {root / part / name} holds no image")


def _refuse_one_kind(root: Path, labels: dict[str, str], good_only: bool) -> None:
    """Raise UserError unless there are good and, without `good_only`, defective classes."""
    kinds = {is_defect(label) for label in labels.values()}
    if False not in kinds:
        raise UserError(
            f"{root} has no class folder that begins with 'ok' or 'good', as good parts' do, but "
            f"{', '.join(labels)}; name others with --good NAME"
        )
    if True not in kinds and not good_only:
        raise UserError(
            f"{root} has no class folder of defects, but {', '.join(labels)}: all are named good; "
            "to learn from good parts alone give --good-only"
        )


def refuse_deeper(folder: Path) -> None:
    """Raise UserError for a class folder whose photographs lie in folders of its own."""
    below = sorted(entry for entry in folder.iterdir() if is_class_folder(entry))
    if found := next((one for one in below if holds_photographs(one)), None):
        raise UserError(
            f"class folder {folder} holds folders, no photographs: move those of {found.name}/ up "
            "into it"
        )


def refuse_unknown_names(root: Path, classes: Sequence[str], good: str | None) -> None:
    """Raise UserError for a good class that is none of the folders."""
    if good is None:
        return
    if unknown := sorted(set(good.split("/")) - set(classes)):
        raise UserError(f"--good {unknown[0]}: {root} has the classes {', '.join(classes)}")


def list_layout(
    root: Path,
    *,
    with_validation: bool,
    table: str | None = None,
    good: str | None = None,
    good_only: bool = False,
) -> tuple[list[ImageRow], list[str]]:
    """All images of a folder, whatever its layout, each with the split that its folder is for.

    That is '' in a folder of class folders alone.

    Args:
        with_validation: whether those of a folder `val/` belong to them.
        table: of parts, which the user names; one that is there and not named is told.
        good, good_only: as of `label_of`.
    """
    split_of = {folder: split for split, folder in layout_of(root).parts.items()}
    if not with_validation:
        split_of = {folder: split for folder, split in split_of.items() if split != "val"}
    rows, notes = list_images(root, tuple(split_of), good=good, good_only=good_only)
    tables = [] if table else [root / name for name in TABLES[:2] if (root / name).is_file()]
    notes = [f"{path} is not read unless it is named: --castings {path}" for path in tables] + notes
    return [replace(row, split=split_of[row.split]) for row in rows], notes


def _path(*names: str) -> str:
    return "/".join(filter(None, names))


def list_class_folders(
    folder: Path, *, both_kinds: bool = True, good: str | None = None, good_only: bool = False
) -> tuple[Path, list[ImageRow], list[str]]:
    """All images of a folder that holds a folder for each class, such as casting_data/test.

    Returns:
        The folder that the rows' paths start from, the rows, and notes, as `list_images`.
    """
    whole = Path(os.path.abspath(folder))  # '.' has no name; links stay what they are
    return whole.parent, *list_images(
        whole.parent, (whole.name,), both_kinds=both_kinds, good=good, good_only=good_only
    )


def list_second(
    data: DataFolder, classes: Sequence[str], good: str | None = None, good_only: bool = False
) -> tuple[list[ImageRow], list[str]]:
    """All images of the second release, as `list_images` lists those of the first.

    Raises:
        UserError: it has other classes.
    """
    folder = data.second
    rows, notes = list_images(folder.parent, (folder.name,), good=good, good_only=good_only)
    if other := sorted({row.label for row in rows} ^ set(classes)):
        raise UserError(
            f"{folder} and {data} do not hold the same classes: {other[0]} is in one of them; "
            "--second-release none leaves the former out"
        )
    notes = [note for note in notes if not note.endswith(("/sessions.csv", "/README.md"))]
    # Whatever the folder is called here: a split is the same wherever the images lie
    named = [row.path.partition("/")[2] for row in rows]
    return [
        replace(row, path=f"{SECOND}/{name}", split=SECOND)
        for row, name in zip(rows, named, strict=True)
    ], notes


def _ignored_validation(root: Path) -> list[str]:
    """That a validation folder is not used: validation images are those of the published split."""
    names = [name for name in VALIDATION_FOLDERS if (root / name).is_dir()]
    return [
        f"ignored: {name}/; protocol kaggle validates on half of test/. Without --protocol, "
        f"train/, {name}/ and test/ are taken as they are"
        for name in names
    ]


def _class_folders(folder: Path, notes: list[str]) -> dict[str, Path]:
    folders = {}
    for entry in sorted(folder.iterdir()):
        if is_class_folder(entry):
            folders[entry.name] = entry
        elif entry.name not in TABLES:
            notes.append(f"ignored: {folder.name}/{entry.name}")
    return folders


def _images_in(folder: Path, notes: list[str]) -> list[Path]:
    images = []
    for entry in sorted(folder.iterdir()):
        if reason := why_not_by_path(Path(entry.name)) or why_not_file(entry):
            notes.append(f"ignored: {folder.parent.name}/{folder.name}/{entry.name} ({reason})")
        else:
            images.append(entry)
    return images


def _in_all(found: dict[str, dict[str, Path]]) -> set[str]:
    return set.intersection(*(set(folders) for folders in found.values()))


def check_images(root: Path, rows: Sequence[ImageRow]) -> None:
    """Open and decode every image.

    Raises:
        UserError: lists all unreadable files.
    """

    def problem(row: ImageRow) -> tuple[str, str] | None:
        try:
            read_grey_image(root / row.path)
        except UnreadableImageError as error:
            return row.path, str(error)
        return None

    refuse_unreadable(filter(None, in_threads(problem, rows, "checking images")), root)


def hashed(root: Path, rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The rows with the SHA-256 of their files.

    Raises:
        UserError: lists all files that cannot be read.
    """

    def digest(row: ImageRow) -> tuple[str, str]:
        try:
            return sha256_of_file(root / row.path), ""
        except OSError as error:
            return "", error.strerror or str(error)

    digests = in_threads(digest, rows, "reading files")
    pairs = list(zip(rows, digests, strict=True))
    refuse_unreadable(((row.path, reason) for row, (_, reason) in pairs if reason), root)
    return [replace(row, sha256=sha256) for row, (sha256, _) in pairs]


def report_notes(notes: Sequence[str], shown: int = 5) -> None:
    """Say on stderr what was passed over, the first few by name."""
    for note in notes[:shown]:
        tell(f"note: {note}")
    if len(notes) > shown:
        tell(f"note: and {len(notes) - shown} more")
