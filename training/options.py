"""The command line of train.py; light to import."""

import argparse
from pathlib import Path

from common.arguments import (
    FITS,
    batch_size,
    device,
    image_size,
    not_negative,
    part_below_one,
    positive,
    positive_number,
    script_parser,
    seed,
    share,
    weights,
    whole_number,
    whole_number_or_0,
)
from common.errors import UserError, tell
from common.files import CHECKPOINTS, refuse_no_folder
from common.packages import require_packages
from common.threads import add_threads_argument
from dataset.arguments import add_data_arguments, split_options
from networks.description import NETWORKS
from training.combinations import refuse_combinations
from training.recipes import RECIPES
from training.run_files import refuse_no_run_in, refuse_run_in

DEFAULT = RECIPES["reference"]
AUGMENTATIONS = ("none", "flip", "light", "full", "strong")
SAMPLERS = ("image", "casting", "class", "kind")
MOST_EPOCHS = 100_000
DRAWN_WHERE = ("ring", "anywhere")
AMP = "bfloat16 autocast; default: on a CPU that multiplies it (AMX), nowhere else"


def build_parser(description: str) -> argparse.ArgumentParser:
    """All options of train.py; those of the recipe are None unless given."""
    parser = script_parser(description)
    add_data_arguments(parser, folds=("all",))
    recipe = parser.add_argument_group("recipe (explicit values win over --recipe)")
    recipe.add_argument(
        "--recipe",
        choices=sorted(RECIPES),
        help="reference (default): the published system; fast: the same split in minutes; robust: "
        "unseen castings, by looking for defects; product: any product (default for layouts other "
        "than Kaggle's); the last three from random weights",
    )
    add_network_options(recipe)
    add_optimiser_options(recipe)
    add_epoch_options(recipe)
    add_run_options(parser.add_argument_group("run"))
    parser.set_defaults(command="train.py")  # who starts a run by itself, tells no more of it
    return parser


def choose_recipe(args: argparse.Namespace) -> None:
    """Fill in --recipe for another product's photographs, and say so."""
    if args.recipe is None:
        args.recipe = "product"
        tell("note: the recipe is that for any product (--recipe product)")


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for options that contradict each other."""
    if args.resume and args.overwrite:
        raise UserError("--resume goes on with the run in --out, --overwrite replaces it; give one")
    if args.fold == "all" and args.protocol != "casting":
        raise UserError("--fold all belongs to --protocol casting")
    if args.tensorboard:
        require_packages("tensorboard", install="tensorboard")
    refuse_no_folder(args.out)
    if args.resume:  # the rest is known already
        refuse_no_run_in(args.out, args.fold == "all")
        return
    explicit = {name: value for name, value in vars(args).items() if value is not None}
    if args.fold != "all":
        split_options(explicit)
    recipe = RECIPES[args.recipe or "reference"]
    refuse_combinations(recipe | explicit, {k: v for k, v in explicit.items() if k in recipe})
    if args.fold != "all" and not args.overwrite:
        refuse_run_in(args.out)


def add_network_options(group: argparse._ArgumentGroup) -> None:
    """Which network, and what it sees."""
    add = group.add_argument
    add(
        "--weights",
        type=weights,
        metavar="W",
        help="imagenet (default), none (random), or a weights file",
    )
    add(
        "--network",
        choices=NETWORKS,
        help="resnet18 (default); local: two stages, half as wide, logits for each cell of the "
        "image, top-k pooling, needs --drawn-defects; multiscale: two stages more, for defects of "
        "any size",
    )
    add("--head", choices=("softmax", "sigmoid"), help="two outputs (default) or one with BCE")
    add("--image-size", type=image_size, metavar="PX", help=f"default {DEFAULT['image_size']}")
    add(
        "--fit",
        choices=FITS,
        help="how a photograph becomes a square: stretch (default), or letterbox, which keeps its "
        "sides' ratio",
    )


def add_optimiser_options(group: argparse._ArgumentGroup) -> None:
    """How long, and in which steps."""
    add = group.add_argument
    add("--epochs", type=epochs, metavar="N", help=f"at most; default {DEFAULT['epochs']}")
    add(
        "--patience",
        type=whole_number_or_0,
        metavar="N",
        help="stop after N epochs without a better one; 0: never, and the last epoch is kept",
    )
    add("--batch-size", type=batch_size, metavar="N", help=f"default {DEFAULT['batch_size']}")
    rate = f"Adam's learning rate; default {DEFAULT['lr']}"
    add("--lr", type=positive_number, metavar="X", help=rate)
    add(
        "--schedule",
        choices=("constant", "cosine", "onecycle"),
        help="learning rate over the run: constant (default), falling to 0 at --epochs, or rising "
        "for a quarter of the run before it falls",
    )
    add("--weight-decay", type=not_negative, metavar="X", help=f"default {DEFAULT['weight_decay']}")
    add("--seed", type=seed, metavar="N", help=f"default {DEFAULT['seed']}")


def add_epoch_options(group: argparse._ArgumentGroup) -> None:
    """What an epoch is made of, and what the validation castings decide."""
    add = group.add_argument
    add(
        "--augment",
        choices=AUGMENTATIONS,
        help="none (default); flip: mirror and quarter turns; light: these, turned, zoomed and "
        "shifted a little, and other light and noise; full: rotation by any angle, mirror, shift, "
        "zoom, light, noise; strong: more of it, with stretch, highlights, glints",
    )
    add(
        "--drawn-defects",
        type=share,
        metavar="X",
        help="put synthetic defects on this share of the good parts, and call them defective",
    )
    add(
        "--drawn-where",
        choices=DRAWN_WHERE,
        help="ring (default): where pump impellers have metal; anywhere: on any product, of any "
        "size, with cracks and patches of another surface",
    )
    add(
        "--real-defects",
        type=share,
        metavar="X",
        help="share of an epoch that shows defective parts, with --sampler class or kind; "
        "default 0.5",
    )
    add(
        "--label-smoothing",
        type=part_below_one,
        metavar="X",
        help="share of the target that goes to all classes alike; default 0",
    )
    add(
        "--sampler",
        choices=SAMPLERS,
        help="what counts alike in an epoch: each image (default), each casting, or, among good "
        "and among defective parts, each session (class) or each kind of defect (kind), and "
        "therein each casting",
    )
    add("--epoch-size", type=positive, metavar="N", help="images in an epoch; default: all")
    add(
        "--operating-point",
        type=operating_point,
        metavar="P",
        help="what temperature and decision threshold are fitted for at the end, on the validation "
        "castings: balanced, both errors weighing alike; a number, the largest threshold that "
        "catches this share of the defects; or none (default), nothing is fitted, it stays 0.5",
    )


def add_run_options(group: argparse._ArgumentGroup) -> None:
    """Where and how it runs, which its result does not depend on."""
    add = group.add_argument
    add("--device", type=device, help="cuda, cuda:1, cpu; default: CUDA when there is one")
    add_threads_argument(group)
    add("--amp", action=argparse.BooleanOptionalAction, help=AMP)
    add("--cuda-graph", action="store_true", help="record a step's GPU kernels and replay them")
    live = "write curves for TensorBoard into --out while it trains: tensorboard --logdir ."
    add("--tensorboard", action="store_true", help=live)
    add("--deterministic", action="store_true", help="same bits on every CUDA run")
    add("--no-cache", action="store_true", help="do not keep decoded images on disk")
    add("--out", type=Path, default=CHECKPOINTS, help="default: checkpoints")
    add("--resume", action="store_true", help="go on from last.pth in --out")
    add("--overwrite", action="store_true", help="replace the run in --out")


def epochs(text: str) -> int:
    """A number of epochs, for argparse."""
    return whole_number(text, 1, MOST_EPOCHS)


def operating_point(text: str) -> float | str:
    """'none', 'balanced' or the share of defects to catch, for argparse."""
    if text in ("none", "balanced"):
        return text
    try:
        return share(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError("must be none, balanced or a share of defects") from None
