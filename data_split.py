"""Find the images, check every one, and write down which train and which are held out.

    python data_split.py                      the data that CASTING_DATA or data/casting_data holds
    python data_split.py --data synthetic     the embedded default: rendered castings

The `kaggle` protocol is the published one, file for file: the train folder trains; the test
folder, sorted by class and name, is cut in two by scikit-learn's train_test_split with
random_state=42. On the Kaggle set this gives 6,633 training, 357 validation and 358 test images.
The result is `split.csv`; its identity is the SHA-256 of its sorted lines `path,label,split`,
which needs file names only.
"""

import argparse
import csv
import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from common import (
    CHECKPOINTS,
    UserError,
    count_of,
    is_defect,
    run_script,
    script_parser,
    sha256_of_file,
    usable_folder,
    write_csv,
)
from images import (
    IMAGE_SUFFIXES,
    UnreadableImageError,
    in_threads,
    read_grey_image,
    refuse_unreadable,
)

PROTOCOLS = ("kaggle",)
SPLITS = ("train", "val", "test")
PARTS = ("train", "test")  # the folders on disk
SYNTHETIC = Path("data/synthetic")
KAGGLE_FOLDER = Path("data/casting_data")
KAGGLE_HANDLE = "ravirajsinh45/real-life-industrial-dataset-of-casting-product/versions/2"


@dataclass(frozen=True)
class ImageRow:
    """One line of split.csv; `path` is relative to the data's root, from `train/` or `test/` on."""

    path: str
    label: str
    split: str
    casting: str = ""
    sha256: str = ""


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


# --- finding the data ----------------------------------------------------------------------------


def find_data(argument: str | None = None, download: bool = True) -> Path:
    """The folder that holds `train/` and `test/`, from the first source that is given.

    Order: `argument` ('synthetic' renders), the variable CASTING_DATA, data/casting_data, Kaggle.

    Raises:
        UserError: nothing was found; the message lists the ways.
    """
    if argument == "synthetic":
        return _rendered()
    if argument == "":
        raise UserError(f"--data is empty; {_ways_to_data(download)}")
    given = argument or os.environ.get("CASTING_DATA")
    if given:
        return _root_below(Path(given).expanduser(), "--data" if argument else "CASTING_DATA")
    if KAGGLE_FOLDER.is_dir():
        return _root_below(KAGGLE_FOLDER, "data/casting_data")
    if download:
        return _downloaded()
    raise UserError(f"no images found; {_ways_to_data(download)}")


def _root_below(folder: Path, source: str) -> Path:
    # Kaggle's archive doubles the folder: casting_data/casting_data/train.
    candidates = (folder, folder / "casting_data", folder / "casting_data" / "casting_data")
    for root in candidates:
        if all((root / part).is_dir() for part in PARTS):
            return root
    if not folder.is_dir():
        raise UserError(f"{source}: no such folder: {folder}; {_ways_to_data()}")
    missing = " and ".join(f"{part}/" for part in PARTS if not (folder / part).is_dir())
    raise UserError(f"{source}: {folder} has no folder {missing}; expected train/ and test/ in it")


def _rendered() -> Path:
    if not (SYNTHETIC / "truth.csv").is_file():
        from synthetic import RenderOptions, render_dataset

        print(f"rendering synthetic castings into {SYNTHETIC}", file=sys.stderr)
        render_dataset(SYNTHETIC, RenderOptions())
    return SYNTHETIC


def _downloaded() -> Path:
    """Kaggle's public set, version pinned, kept in kagglehub's cache (about 100 MB, no account)."""
    try:
        import kagglehub

        print("downloading the casting set from Kaggle", file=sys.stderr)
        folder = Path(kagglehub.dataset_download(KAGGLE_HANDLE))
    except Exception as error:  # requests' and kagglehub's errors: network, quota, disk
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise UserError(
            f"no images found, and Kaggle cannot be reached ({reason}); {_ways_to_data()}"
        ) from error
    return _root_below(folder, "kagglehub")


def _ways_to_data(download: bool = True) -> str:
    kaggle = "connect to the network for Kaggle, " if download else ""
    return (
        "give --data FOLDER, set CASTING_DATA=FOLDER, put the set into data/casting_data, "
        f"{kaggle}or use --data synthetic"
    )


def data_name(root: Path) -> str:
    """What reports and figures call this data; rendered images are always named as such."""
    return "synthetic castings" if (root / "truth.csv").is_file() else "castings"


def list_images(root: Path, parts: Sequence[str] = PARTS) -> tuple[list[ImageRow], list[str]]:
    """All images below `root`, sorted by path, not yet hashed; and notes on what was passed over.

    Any set of class folders works; names that begin with 'ok' are good parts, all others defects.

    Raises:
        UserError: a class folder is missing in one part or empty; no good or no defect class.
    """
    notes: list[str] = []
    found = {part: _class_folders(root / part, notes) for part in parts}
    images = {
        (p, name): _images_in(folder, notes) for p in parts for name, folder in found[p].items()
    }
    # A folder in one part only and without images is a stray one; any other needs images.
    classes = sorted({name for (_, name), files in images.items() if files} | _in_all(found))
    for part in parts:
        for name in found[part]:
            if name not in classes:
                notes.append(f"ignored folder without images: {part}/{name}")
        for name in classes:
            if name not in found[part]:
                raise UserError(
                    f"class folder {root / part / name} is missing; "
                    f"each class needs one in {' and '.join(parts)}"
                )
            if not images[part, name]:
                raise UserError(f"class folder {root / part / name} holds no image")
    if {is_defect(name) for name in classes} != {True, False}:
        raise UserError(
            f"{root} needs a class folder that begins with 'ok' and one of defects; found {classes}"
        )
    rows = [
        ImageRow(f"{part}/{name}/{file.name}", name, part)
        for part in parts
        for name in classes
        for file in images[part, name]
    ]
    for row in rows:
        if not row.path.isprintable():
            raise UserError(f"{root}: the file name {row.path!r} is no plain text; rename it")
    return sorted(rows, key=lambda row: row.path), notes


def _class_folders(folder: Path, notes: list[str]) -> dict[str, Path]:
    folders = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith((".", "_")):
            folders[entry.name] = entry
        else:
            notes.append(f"ignored: {folder.name}/{entry.name}")
    return folders


def _images_in(folder: Path, notes: list[str]) -> list[Path]:
    entries = sorted(folder.iterdir())
    images = [
        e
        for e in entries
        if e.suffix.lower() in IMAGE_SUFFIXES and e.is_file() and e.name[0] != "."
    ]
    for entry in sorted(set(entries) - set(images)):
        notes.append(f"ignored: {folder.parent.name}/{folder.name}/{entry.name}")
    return images


def _in_all(found: dict[str, dict[str, Path]]) -> set[str]:
    return set.intersection(*(set(folders) for folders in found.values()))


# --- the protocol --------------------------------------------------------------------------------


def assign_kaggle(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The published split: the test folder's images, sorted by path, 50/50 with random_state=42."""
    from sklearn.model_selection import train_test_split

    rows = sorted(
        rows, key=lambda row: row.path
    )  # a file system's own order would change the split
    held_out = [row for row in rows if row.path.startswith("test/")]
    if len(held_out) < 2:
        raise UserError(
            "the test folder needs at least two images, one for validation and one for test"
        )
    validation, _ = train_test_split(held_out, test_size=0.5, random_state=42)
    in_validation = {row.path for row in validation}
    return [replace(row, split="val") if row.path in in_validation else row for row in rows]


def load_split(root: Path, protocol: str = "kaggle") -> tuple[list[ImageRow], list[str]]:
    """List, hash and assign the images of a data folder: rows sorted by path, and notes."""
    rows, notes = list_images(root)
    return assign_kaggle(hashed(root, rows)), notes


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


def split_sha256(rows: Iterable[ImageRow]) -> str:
    """Identity of a split: SHA-256 of its sorted lines `path,label,split`."""
    lines = sorted(f"{row.path},{row.label},{row.split}\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def identical_across_splits(rows: Iterable[ImageRow]) -> list[ImageRow]:
    """The validation and test images whose bytes are also those of an image in another split."""
    splits_of = defaultdict(set)
    rows = list(rows)
    for row in rows:
        splits_of[row.sha256].add(row.split)
    return [row for row in rows if row.split != "train" and len(splits_of[row.sha256]) > 1]


def write_split(path: Path, rows: Iterable[ImageRow]) -> None:
    """Write split.csv: `path,label,split,casting,sha256`, sorted by path, atomically."""
    columns = [field.name for field in fields(ImageRow)]
    write_csv(path, columns, (astuple(row) for row in sorted(rows, key=lambda row: row.path)))


def warn_of_changed_contents(rows: Sequence[ImageRow], manifest: Path) -> None:
    """Say how many images have the same name but other bytes than when the model was trained."""
    if not manifest.is_file():
        return
    with open(manifest, newline="") as file:
        before = {line["path"]: line["sha256"] for line in csv.DictReader(file)}
    changed = sum(before.get(row.path, row.sha256) != row.sha256 for row in rows)
    if changed:
        print(f"warning: {count_of(changed, 'image')} changed since training", file=sys.stderr)


def split_table(rows: Sequence[ImageRow]) -> str:
    """The split by class, with percentages of each split's images, as text for people."""
    counts = Counter((row.split, row.label) for row in rows)
    labels = sorted({row.label for row in rows})
    lines = [f"{'':6}" + "".join(f"{label:>20}" for label in labels) + f"{'all':>9}"]
    for split in SPLITS:
        total = sum(counts[split, label] for label in labels)
        cells = (
            f"{counts[split, label]:,} ({counts[split, label] / max(total, 1):5.1%})"
            for label in labels
        )
        lines.append(f"{split:6}" + "".join(f"{cell:>20}" for cell in cells) + f"{total:>9,}")
    return "\n".join(lines)


def report_notes(notes: Sequence[str], shown: int = 5) -> None:
    """Say on stderr what was passed over, the first few by name."""
    for note in notes[:shown]:
        print(f"note: {note}", file=sys.stderr)
    if len(notes) > shown:
        print(f"note: and {len(notes) - shown} more", file=sys.stderr)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which images and which protocol; train.py has them too."""
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="folder with train/ and test/, in each a folder per class; 'synthetic' renders "
        "castings. Default: CASTING_DATA, else data/casting_data, else Kaggle's set is downloaded",
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="kaggle: the published split, exactly (default)",
    )


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    add_data_arguments(parser)
    parser.add_argument(
        "--out", type=Path, default=CHECKPOINTS, help="folder for split.csv (default: checkpoints)"
    )
    args = parser.parse_args(argv)

    usable_folder(args.out)
    root = find_data(args.data)
    protocol = args.protocol or PROTOCOLS[0]
    rows, notes = load_split(root, protocol)
    report_notes(notes)
    check_images(root, rows)
    write_split(args.out / "split.csv", rows)

    print(
        f"{data_name(root)} in {root}: {count_of(len(rows), 'image')}, all readable; "
        f"protocol {protocol}"
    )
    print(split_table(rows))
    print(
        f"byte-identical across splits: {len(identical_across_splits(rows))} "
        "of the validation and test images"
    )
    print(f"split hash {split_sha256(rows)}")
    data = f" --data {args.data}" if args.data else ""
    print(f"written: {args.out / 'split.csv'}; next: python train.py{data}")
    return 0


if __name__ == "__main__":
    run_script(main)
