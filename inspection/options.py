"""The options of every command that inspects; light to import."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from common.arguments import checkpoint_file, device, number, probability
from common.errors import UserError
from common.threads import add_threads_argument
from inspection.name_pattern import name_pattern

# What becomes of an image, in words: a decision, else its status
OUTCOMES = {
    "ok": "ok",
    "defect": "defect",
    "review": "review",
    "not_judged": "not judged",
    "error": "unreadable",
}
BATCH_SIZE = 16  # images in the network at once
HEATMAP_METHODS = (
    "cells",
    "fused",
    "layercam",
    "gradcam",
)  # inspection/heatmap.py has the formulas


NO_GATE_HELP = (
    "judge every picture, also what is no sound photograph of a part like those that the model "
    "was trained on"
)


def add_inspection_arguments(
    parser: argparse.ArgumentParser, model: Callable[[str], Path] = checkpoint_file
) -> None:
    """The options of everything that inspects: which model, its rule, what the log says.

    Args:
        model: reads the name of the model's file, and refuses what is none.
    """
    add = parser.add_argument
    add(
        "--checkpoint",
        type=model,
        metavar="FILE",
        help="checkpoint or .onnx; default: the latest",
    )
    add("--device", type=device, help="cuda, cpu; default: CUDA when there is one")
    add_threads_argument(parser)
    add("--threshold", type=probability, metavar="T", help="default: the checkpoint's")
    add(
        "--review", type=number, nargs=2, metavar=("LOW", "HIGH"),
        help="a person decides parts with LOW <= defect probability < HIGH; default: nobody does",
    )  # fmt: skip
    add("--no-gate", action="store_true", help=NO_GATE_HELP)
    add("--station", default="", metavar="NAME", help="for the log: where the photograph was taken")
    add("--lot", default="", metavar="ID", help="for the log: which lot the parts belong to")


def add_origin_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of what inspects files that tell lot and serial number: see origin.Origins."""
    parser.add_argument(
        "--name-pattern", type=name_pattern, metavar="PATTERN",
        help="read lot and serial number in the files' names: '{lot}_{serial}_*' reads both in "
        "A17_S0042_2.jpeg",
    )  # fmt: skip
    parser.add_argument(
        "--sidecar", action="store_true",
        help='read them in part.json beside part.jpeg: {"lot": "A17", "serial": "S0042"}',
    )  # fmt: skip


def checked_band(bounds: Sequence[float] | None) -> tuple[float, float] | None:
    """The band of --review.

    Raises:
        UserError: it is no interval of probabilities.
    """
    if bounds and not 0 <= bounds[0] < bounds[1] <= 1:
        raise UserError("--review needs 0 <= LOW < HIGH <= 1")
    return tuple(bounds) if bounds else None
