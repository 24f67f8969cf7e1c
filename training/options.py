"""The command line of train.py, and the values that --recipe sets; light to import."""

import argparse
import math
from pathlib import Path

from common.files import CHECKPOINTS, script_parser
from data_split import add_data_arguments

RECIPES = {
    # The published system: ImageNet transfer learning, no augmentation, constant learning rate.
    "reference": {
        "weights": "imagenet",
        "network": "resnet18",
        "head": "softmax",
        "image_size": 224,
        "epochs": 100,
        "patience": 10,
        "batch_size": 16,
        "lr": 1e-3,
        "schedule": "constant",
        "weight_decay": 1e-4,
        "augment": "none",
        "drawn_defects": None,
        "label_smoothing": 0.0,
        "sampler": "image",
        "epoch_size": None,
        "operating_point": "none",
        "seed": 42,
    },
    # The same split in a fraction of the time, on two CPU cores and from random weights.
    "fast": {
        "weights": "none",
        "network": "resnet18",
        "head": "softmax",
        "image_size": 64,
        "epochs": 5,
        "patience": 5,
        "batch_size": 32,
        "lr": 1e-3,
        "schedule": "onecycle",
        "weight_decay": 1e-4,
        "augment": "flip",
        "drawn_defects": None,
        "label_smoothing": 0.1,
        "sampler": "image",
        "epoch_size": None,
        "operating_point": "none",
        "seed": 42,
    },
    # For two CPU cores, without pretrained weights, and for castings never seen: small images,
    # short epochs in which every casting counts alike, a fitted operating point.
    "small": {
        "weights": "none",
        "network": "resnet18",
        "head": "softmax",
        "image_size": 112,
        "epochs": 10,
        "patience": 10,
        "batch_size": 32,
        "lr": 5e-4,
        "schedule": "cosine",
        "weight_decay": 1e-4,
        "augment": "full",
        "drawn_defects": None,
        "label_smoothing": 0.0,
        "sampler": "casting",
        "epoch_size": 1280,
        "operating_point": 0.99,
        "seed": 42,
    },
    # For castings never seen: a network that judges cell by cell, from photographs of good parts
    # with and without defects drawn on them, and of defective ones.
    "robust": {
        "weights": "none",
        "network": "local",
        "head": "softmax",
        "image_size": 300,
        "epochs": 2,
        "patience": 0,
        "batch_size": 16,
        "lr": 1e-3,
        "schedule": "onecycle",
        "weight_decay": 1e-4,
        "augment": "strong",
        "drawn_defects": 0.5,
        "label_smoothing": 0.0,
        "sampler": "class",
        "epoch_size": 3072,
        "operating_point": "balanced",
        "seed": 42,
    },
}
# A run that goes on may only change these.
CHANGEABLE_ON_RESUME = ("epochs", "patience")


def build_parser(description: str) -> argparse.ArgumentParser:
    """All options of train.py; those of the recipe are None unless given."""
    parser = script_parser(description)
    default = RECIPES["reference"]
    add_data_arguments(parser, folds=("all",))
    recipe = parser.add_argument_group("recipe (explicit values win over --recipe)")
    recipe.add_argument(
        "--recipe",
        choices=sorted(RECIPES),
        help="reference (default): the published system; fast: the same split in minutes, from "
        "scratch; small: castings never seen, a first attempt; robust: castings never seen, by "
        "looking for defects; the last three from random weights",
    )
    add = recipe.add_argument
    add("--weights", metavar="W", help="imagenet (default), none (random), or a weights file")
    add(
        "--network",
        choices=("resnet18", "local"),
        help="resnet18 (default), or local: two stages, half as wide, each cell of the picture "
        "judged by itself, in use in four turns, the most suspicious ones count; needs "
        "--drawn-defects",
    )
    add("--head", choices=("softmax", "sigmoid"), help="two outputs (default) or one with BCE")
    add("--image-size", type=image_size, metavar="PX", help=f"default {default['image_size']}")
    add("--epochs", type=positive, metavar="N", help=f"at most; default {default['epochs']}")
    add(
        "--patience",
        type=whole_number_or_0,
        metavar="N",
        help="stop after N epochs without a better one; 0: never, and the last epoch is kept",
    )
    add("--batch-size", type=positive, metavar="N", help=f"default {default['batch_size']}")
    add(
        "--lr",
        type=positive_number,
        metavar="X",
        help=f"Adam's learning rate; default {default['lr']}",
    )
    add(
        "--schedule",
        choices=("constant", "cosine", "onecycle"),
        help="learning rate over the run: constant (default), falling to 0 at --epochs, or rising "
        "for a quarter of the run before it falls",
    )
    add("--weight-decay", type=not_negative, metavar="X", help=f"default {default['weight_decay']}")
    add(
        "--augment",
        choices=("none", "flip", "full", "strong"),
        help="none (default); flip: mirror and quarter turns; full: rotation by any angle, "
        "mirror, shift, zoom, light, noise; strong: more of it, with stretch, highlights, blur",
    )
    add(
        "--drawn-defects",
        type=share,
        metavar="X",
        help="draw defects on this share of the good parts, and call them defective",
    )
    add(
        "--label-smoothing",
        type=part_below_one,
        metavar="X",
        help="share of the target that goes to all classes alike; default 0",
    )
    add(
        "--sampler",
        choices=("image", "casting", "class"),
        help="what counts alike in an epoch: each image (default), each casting, or good parts and "
        "defects, and in either each casting",
    )
    add("--epoch-size", type=positive, metavar="N", help="images in an epoch; default: all")
    add(
        "--operating-point",
        type=operating_point,
        metavar="P",
        help="what temperature and threshold are fitted for at the end, on the validation "
        "castings: balanced, both errors weighing alike; a number, the largest threshold that "
        "catches this share of the defects; or none (default), nothing is fitted, it stays 0.5",
    )
    add("--seed", type=seed, metavar="N", help=f"default {default['seed']}")
    run = parser.add_argument_group("run")
    run.add_argument("--device", help="cuda, cuda:1, cpu; default: CUDA when there is one")
    run.add_argument(
        "--amp", action=argparse.BooleanOptionalAction, help="bfloat16 autocast (default: off)"
    )
    run.add_argument(
        "--cuda-graph", action="store_true", help="record a step's GPU kernels and replay them"
    )
    run.add_argument("--deterministic", action="store_true", help="same bits on every CUDA run")
    run.add_argument("--no-cache", action="store_true", help="do not keep decoded images on disk")
    run.add_argument("--out", type=Path, default=CHECKPOINTS, help="default: checkpoints")
    run.add_argument("--resume", action="store_true", help="go on from last.pth in --out")
    run.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    return parser


def whole_number(text: str, low: int, high: int = 2**63 - 1) -> int:
    value = int(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
    return value


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    return whole_number(text, 1)


def whole_number_or_0(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    return whole_number(text, 0)


def seed(text: str) -> int:
    """A whole number that seeds a generator, for argparse."""
    return whole_number(text, 0)


def image_size(text: str) -> int:
    """Pixels: at least 32, which ResNet-18 reduces to one; more than 2,048 fit no memory."""
    return whole_number(text, 32, 2048)


def positive_number(text: str) -> float:
    """A finite number above 0, for argparse."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError("must be a finite number above 0")
    return value


def share(text: str) -> float:
    """A number above 0 and up to 1, for argparse."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("must lie above 0 and be at most 1")
    return value


def operating_point(text: str) -> float | str:
    """'none', 'balanced' or the share of defects to catch, for argparse."""
    if text in ("none", "balanced"):
        return text
    try:
        return share(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be none, balanced or a share of defects") from None


def part_below_one(text: str) -> float:
    """A number from 0 to below 1, for argparse."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("must be at least 0 and below 1")
    return value


def not_negative(text: str) -> float:
    """A finite number of at least 0, for argparse."""
    return 0.0 if float(text) == 0 else positive_number(text)
