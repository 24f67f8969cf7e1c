"""The options that say which images and which split, and what follows from how they are sorted;
light to import.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from common.arguments import seed, whole_number
from common.errors import UserError, tell
from dataset.folds import FOLD_SEED, FOLDS, NO_TEST_PART, SplitOptions
from dataset.layouts import layout_of, learns_from_good_only
from dataset.releases import add_second_release
from dataset.sources import find_data

MOST_FOLDS = 1000
PROTOCOLS = ("kaggle", "casting", "folders")


def add_data_arguments(parser: argparse.ArgumentParser, folds: Sequence[str] = ()) -> None:
    """The options that say which images and which split; train.py has them too."""
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="folder with train/ and test/, in each a folder per class, or with a folder per class "
        "alone; 'synthetic' renders castings. Default: CASTING_DATA, else data/casting_data, else "
        "Kaggle's set is downloaded",
    )
    add_second_release(parser)
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="kaggle: the published split, exactly (default); casting: no casting on two sides "
        "(default without train/ and test/); folders: train/, val/ and test/ as they are (default "
        "with val/, or with good parts alone in train/)",
    )
    parser.add_argument(
        "--folds", type=_at_least_two, metavar="N", help=f"of protocol casting; default {FOLDS}"
    )
    words = "".join(f", {word}" for word in folds)

    def fold(text: str) -> int | str:
        return text if text in folds else _fold_number(text)

    parser.add_argument(
        "--fold",
        type=fold,
        metavar="K",
        help=f"which fold is held out for testing: 1 to N{words}; default 1. 'none' holds out "
        "validation castings only",
    )
    parser.add_argument(
        "--fold-seed",
        type=seed,
        metavar="N",
        help=f"another assignment of castings to folds; default {FOLD_SEED}",
    )
    parser.add_argument(
        "--hold-out-session",
        metavar="NAME",
        help="of protocol casting: test on all castings of this photo session, train on the others",
    )
    parser.add_argument(
        "--castings",
        metavar="FILE",
        help="table with the columns path,casting, paths as in split.csv (serial numbers, say); "
        "default: castings are recognised on the images",
    )
    parser.add_argument(
        "--good",
        nargs="+",
        action=JoinNames,
        metavar="NAME",
        help="the class folders of good parts; default: those that begin with 'ok' or 'good'",
    )
    parser.add_argument(
        "--good-only",
        action="store_true",
        default=None,
        help="learn from good parts alone, and from defects drawn on them; photographs of real "
        "ones are for testing only. Default where there are none to train on",
    )
    parser.add_argument(
        "--parts",
        type=parts_to_learn,
        metavar="N",
        help="learn from N good and N defective parts at most, a fifth of them to validate; the "
        "others are set aside: are more worth it?",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        dest="corrections_file",
        metavar="FILE",
        help="table with the columns path,label: labels in the place of those of the folders",
    )


class JoinNames(argparse.Action):
    """Names of folders in one text, '/' in between, as a run's settings hold them."""

    def __call__(self, parser, namespace, values, option_string=None):
        if bad := [name for name in values if not name.strip("/") or "/" in name.strip("/")]:
            parser.error(f"{option_string}: {bad[0]!r} is no name of a folder")
        setattr(namespace, self.dest, "/".join(name.strip("/") for name in values))


def settle_by_layout(args: argparse.Namespace) -> bool:
    """Fill in the options that follow from how the photographs are sorted, and say so.

    Returns:
        Whether they are sorted otherwise than the published ones.

    Raises:
        UserError: there is no such folder, or it has no layout to take.
    """
    if args.data == "synthetic":
        return False
    try:
        root = find_data(args.data, "none", download=False).root
    except UserError:
        if args.data or os.environ.get("CASTING_DATA"):
            raise
        return False  # it will be downloaded
    layout, good_only = layout_of(root), learns_from_good_only(root, args.good)
    if good_only and args.good_only is None:
        args.good_only = True
        tell(f"note: {root} has good parts alone to train on: defects are drawn on them")
    if args.protocol is None and not layout.has_parts:
        args.protocol = "casting"
        tell(f"note: {root} holds a folder a class: whole parts are held out (--protocol casting)")
    elif args.protocol is None and (layout.has_validation or good_only):
        args.protocol = "folders"
        names = ", ".join(f"{name}/" for name in layout.parts.values())
        tell(f"note: {names} are taken as they are (--protocol folders)")
    return good_only or layout.has_validation or not layout.has_parts


def _fold_number(text: str) -> int:
    if text == "none":
        return NO_TEST_PART
    try:
        return whole_number(text, 1, MOST_FOLDS)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; 'none' holds out validation only") from None


def _at_least_two(text: str) -> int:
    return whole_number(text, 2, MOST_FOLDS)


def parts_to_learn(text: str) -> int:
    """How many parts of either class, for argparse: two validate, one is learned."""
    return whole_number(text, 3)


def split_options(values: dict) -> SplitOptions:
    """Split options from parsed arguments or a checkpoint's settings; None means the default.

    Raises:
        UserError: no such fold, or a fold without the casting protocol.
    """
    names = [field.name for field in fields(SplitOptions)]
    if values.get("hold_out_session"):
        if values.get("protocol") != "casting" or values.get("fold"):
            raise UserError("--hold-out-session belongs to --protocol casting, without --fold")
        values = values | {"fold": NO_TEST_PART}
    given = {name: values[name] for name in names if values.get(name) is not None}
    options = SplitOptions(**given)
    if options.fold > options.folds:
        raise UserError(f"--fold {options.fold}: there are {options.folds} folds, from 1 on")
    if options.protocol != "casting" and {"fold", "folds", "fold_seed"} & given.keys():
        raise UserError("--fold, --folds and --fold-seed belong to --protocol casting")
    if options.protocol == "kaggle" and options.parts:
        raise UserError("--parts belongs to --protocol casting or folders")
    return options
