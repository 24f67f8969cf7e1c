"""The options of commands that measure a model on held-out images, and the name of the tier of all
folds; light to import.
"""

import argparse
from pathlib import Path

from common.arguments import checkpoint, device
from common.threads import add_threads_argument
from dataset.releases import add_second_release

UNSEEN = "unseen castings"  # the tier of all folds together


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which model is measured, and on which held-out images."""
    add = parser.add_argument
    add(
        "--checkpoint",
        type=checkpoint,
        metavar="FILE",
        help="default: the latest; with --protocol casting the folder that holds the folds",
    )
    add("--data", metavar="FOLDER", help="as for data_split.py; never downloads")
    add_second_release(parser)
    add(
        "--protocol",
        choices=("casting",),
        help="casting: pool all folds of train.py --fold all; default: one checkpoint, whatever "
        "its protocol",
    )
    add("--split", choices=("test", "val"), default="test", help="default: test")
    add("--out", type=Path, default=Path("results"), help="default: results")
    add("--device", type=device, help="cuda, cpu; default: CUDA when there is one")
    add_threads_argument(parser)
