"""What a command line names of models and images to measure; looked at before PyTorch is there."""

import argparse

from common.errors import UserError
from common.files import CHECKPOINTS
from dataset.named import check_named_data


def check_named_models(args: argparse.Namespace) -> None:
    """Raise UserError for a folder without folds, or images that are not there.

    Args:
        args: of `evaluation.options.add_model_arguments`.
    """
    folder = args.checkpoint or CHECKPOINTS
    if args.protocol == "casting" and not any(folder.glob("fold*/best.pth")):
        raise UserError(
            f"{folder} holds no folds; name the folder of train.py --fold all with --checkpoint"
        )
    check_named_data(args)
