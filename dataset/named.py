"""What a command line names of the data, looked at before anything heavy is imported or read."""

import argparse
from pathlib import Path

from common.errors import UserError
from common.files import read_csv
from dataset.layouts import is_class_folder, layout_of
from dataset.listing import refuse_unknown_names
from dataset.releases import find_second
from dataset.sources import find_data


def check_named_data(args: argparse.Namespace) -> None:
    """Raise UserError for a folder, a table or a class that is not there.

    Renders and downloads nothing; data that nobody names are somebody else's to find.
    """
    if args.second_release:
        find_second(Path(), args.second_release)
    if castings := getattr(args, "castings", None):
        read_csv(Path(castings), ("path", "casting"))
    if args.data == "synthetic":
        return
    try:
        root = find_data(args.data, "none", download=False).root
    except UserError:
        if args.data is not None:
            raise
        return
    if good := getattr(args, "good", None):
        folders = [root / part for part in layout_of(root).parts.values()]
        entries = [entry for folder in folders for entry in folder.iterdir()]
        classes = sorted({entry.name for entry in entries if is_class_folder(entry)})
        refuse_unknown_names(root, classes, good)
