"""Find the images, check every one, and write down which train and which are held out.

    python data_split.py                      the data that CASTING_DATA or data/casting_data holds
    python data_split.py --data synthetic     the embedded default: rendered castings
    python data_split.py --audit              does the split hold out castings, or only copies?
    python data_split.py --protocol casting --folds 5 --fold 2

The data are in one of three layouts: train/ and test/ with a folder a class in each; the same with
val/, or with good parts alone in train/ (as MVTec's sets); or a folder a class and nothing above
it. A class is good whose name begins with 'ok' or 'good', or that --good names.

The `kaggle` protocol is the published one, file for file: the train folder trains; the test
folder, sorted by class and name, is cut in two by scikit-learn's train_test_split with
random_state=42. On the Kaggle set this gives 6,633 training, 357 validation and 358 test images.
The `casting` protocol holds out whole castings, so that no casting is on two sides: stratified
folds over the table of castings, whatever number of images each has; the castings are recognised
on the images (about a minute, then cached; other products' parts by their looks, in seconds) or
read from --castings FILE. It is the default for class folders without train/ and test/. The
`folders` protocol takes train/, val/ and test/ as they are, the default where there is a val/ or
train/ holds good parts alone.

The result is `split.csv`; its identity is the SHA-256 of its sorted lines `path,label,split`.
--labels FILE replaces labels of the folders, which changes that identity.
--audit adds audit.json, .csv, .png and copies.png: the castings, how much of the held-out part
shows castings that are also in train, and what a nearest-neighbour baseline reaches.
"""

import argparse
import hashlib
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from common.arguments import script_parser
from common.errors import UserError, run_script
from common.files import CHECKPOINTS, output_folder
from common.origin import for_product
from common.text import count_of
from dataset.arguments import add_data_arguments, settle_by_layout, split_options
from dataset.casting_table import with_castings
from dataset.cautions import about_images, print_cautions
from dataset.corrections import read_corrections, with_corrected_labels
from dataset.folds import (
    NO_TEST_PART,
    SplitOptions,
    assign_castings,
    assign_folders,
    without_defects,
)
from dataset.layouts import layout_of
from dataset.listing import ImageRow, check_images, hashed, list_layout, list_second, report_notes
from dataset.manifest import SPLITS, UNUSED, write_split
from dataset.named import check_named_data
from dataset.releases import (
    DataFolder,
    wants_second,
)
from dataset.sources import data_name, find_data

# --- the protocols -------------------------------------------------------------------------------


def load_split(
    root: Path | DataFolder, options: SplitOptions | None = None, *, need_castings: bool = False
) -> tuple[list[ImageRow], list[str]]:
    """List, hash and assign the images of a data folder: rows sorted by path, and notes.

    Protocol `casting` pools both releases of the archive, where both are there.

    The castings are filled in when the protocol or `need_castings` asks for them. Where labels are
    corrected, the first note says which.
    """
    options = options or SplitOptions()
    folder = root.root if isinstance(root, DataFolder) else root
    if options.protocol != "casting" and not layout_of(folder).has_parts:
        raise UserError(
            f"protocol {options.protocol} needs train/ and test/; {folder} holds class folders: "
            "--protocol casting holds out whole parts"
        )
    rows, notes = list_layout(
        folder,
        with_validation=options.protocol != "kaggle",
        table=options.castings,
        good=options.good,
        good_only=options.good_only,
    )
    if options.protocol == "casting" and wants_second(root, options.releases):
        more, passed_over = list_second(
            root, sorted({row.label for row in rows}), options.good, options.good_only
        )
        rows, notes = sorted([*rows, *more], key=lambda row: row.path), notes + passed_over
    rows = hashed(root, rows)
    if options.protocol != "kaggle" or need_castings or options.castings:
        rows = with_castings(root, rows, options.castings and Path(options.castings))
    if options.corrected_labels:
        rows, changed = with_corrected_labels(
            rows, options.corrected_labels, options.good, options.good_only
        )
        notes = [changed, *notes]
    if options.protocol == "casting":
        return assign_castings(rows, options), notes
    if options.protocol == "folders":
        return assign_folders(rows, options), notes
    rows = assign_kaggle(rows)
    return without_defects(rows) if options.good_only else rows, notes


def assign_kaggle(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The published split: the test folder's images, sorted by path, 50/50 with random_state=42."""
    from sklearn.model_selection import train_test_split

    # sorted, because a file system's own order would change the split
    rows = sorted(rows, key=lambda row: row.path)
    held_out = [row for row in rows if row.path.startswith("test/")]
    if len(held_out) < 2:
        raise UserError(
            "the test folder needs at least two images, one for validation and one for test"
        )
    validation, _ = train_test_split(held_out, test_size=0.5, random_state=42)
    in_validation = {row.path for row in validation}
    return [replace(row, split="val") if row.path in in_validation else row for row in rows]


# --- the manifest --------------------------------------------------------------------------------


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


def split_table(rows: Sequence[ImageRow], data: str) -> str:
    """The split by class, with percentages of each split's images, as text for people.

    A split without images, as test is with --fold none, is left out.

    Args:
        data: its name, which tells castings from other products.
    """
    counts = Counter((row.split, row.label) for row in rows)
    labels = sorted({row.label for row in rows})
    with_castings = any(row.casting for row in rows)
    lines = [f"{'':6}" + "".join(f"{label:>20}" for label in labels) + f"{'all':>9}"]
    lines[0] += f"{for_product('castings', data):>10}" if with_castings else ""
    there = {row.split for row in rows}
    for split in (name for name in (*SPLITS, UNUSED) if name in there):
        total = sum(counts[split, label] for label in labels)
        cells = (
            f"{counts[split, label]:,} ({counts[split, label] / max(total, 1):5.1%})"
            for label in labels
        )
        line = f"{split:6}" + "".join(f"{cell:>20}" for cell in cells) + f"{total:>9,}"
        if with_castings:
            line += f"{len({row.casting for row in rows if row.split == split}):>10}"
        lines.append(line)
    return "\n".join(lines)


# --- the command line ----------------------------------------------------------------------------


def split(args: argparse.Namespace, options: SplitOptions) -> None:
    """Write split.csv, and with --audit the audit, into --out; say what is in them."""
    root = find_data(args.data, args.second_release)
    rows, notes = load_split(root, options, need_castings=args.audit)
    report_notes(notes)
    check_images(root, rows)
    print_cautions(rows, options.good_only)
    write_split(args.out / "split.csv", rows)

    fold = f", fold {options.fold or 'none'} of {options.folds}"
    print(
        f"{data_name(root)} in {root}: {count_of(len(rows), 'image')}, all readable; "
        f"protocol {options.protocol}{fold if options.protocol == 'casting' else ''}"
    )
    print(split_table(rows, data_name(root)))
    for line in about_images(rows):
        print(line)
    print(
        f"byte-identical across splits: {len(identical_across_splits(rows))} "
        "of the validation and test images"
    )
    print(f"split hash {split_sha256(rows)}")
    if args.audit:
        from dataset.audit import run_audit

        print(run_audit(root, rows, options.protocol, split_sha256(rows), args.out))
    given = {
        name: getattr(args, name) for name in ("data", "protocol", "folds", "fold", "castings")
    }
    given |= {"second-release": args.second_release, "hold-out-session": args.hold_out_session}
    given["fold"] = "none" if args.fold == NO_TEST_PART else args.fold
    if options.protocol == "casting" and args.fold is None and not args.hold_out_session:
        given["fold"] = "all"  # as only all together measure every casting
    given["labels"] = args.corrections_file
    again = "".join(f" --{k} {shlex.quote(str(v))}" for k, v in given.items() if v is not None)
    again += f" --good {shlex.join(args.good.split('/'))}" if args.good else ""
    again += " --good-only" if args.good_only else ""
    again += f" --parts {args.parts}" if args.parts else ""
    print(f"written: {args.out / 'split.csv'}; next: python train.py{again}")


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    add_data_arguments(parser)
    parser.add_argument("--audit", action="store_true", help="find the copies; write audit.*")
    parser.add_argument(
        "--out", type=Path, default=CHECKPOINTS, help="folder for split.csv (default: checkpoints)"
    )
    args = parser.parse_args(argv)
    check_named_data(args)
    settle_by_layout(args)
    args.corrected_labels = read_corrections(args.corrections_file)
    options = split_options(vars(args))
    with output_folder(args.out):
        split(args, options)
    return 0


if __name__ == "__main__":
    run_script(main)
