"""The command line of benchmark.py; light to import."""

import argparse
from pathlib import Path

from common.arguments import (
    batch_size,
    checkpoint_file,
    device,
    image_size,
    positive,
    script_parser,
    seed,
    share,
)
from common.threads import add_threads_argument
from dataset.arguments import parts_to_learn
from rendering.options import DEFECT_SIZES

RESULT = "gpu.json"
# The parts of `benchmark.py gpu`: those that measure time have the machine for themselves
TIMED = ("eager", "graph", "train", "infer", "fast", "accuracy")
SIDE_BY_SIDE = ("reference", "robust", "tests", "deterministic", "nccl", "heatmaps")
NAMES = TIMED + SIDE_BY_SIDE
USUAL = tuple(name for name in NAMES if name != "accuracy")  # which takes as long as all others


def build_parser(description: str) -> argparse.ArgumentParser:
    """All benchmarks, each with its options; `benchmark` is the chosen one's name."""
    parser = script_parser(description)
    names = "{train,infer,accuracy,heatmaps,serve,adapt,curve,gpu}"
    benchmarks = parser.add_subparsers(required=True, metavar=names, dest="benchmark")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        one = benchmarks.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.add_argument("--device", type=device, help="cuda, cpu; default: CUDA when there is one")
        return one

    train_options(add("train", "training speed, variants interleaved"))
    infer_options(add("infer", "latency and throughput"))
    accuracy_options(
        add(
            "accuracy",
            "seconds to a validation accuracy: the reference recipe in the plain loop, recipe fast "
            "in ours (with --device cpu on a CPU too: hours)",
        )
    )
    heatmaps_options(
        add("heatmaps", "pointing game of the heatmap methods, on castings that it renders")
    )
    serve_options(
        add(
            "serve",
            "latency, throughput, memory and answers of serve.py under load from this machine",
        )
    )
    adapt_options(
        add(
            "adapt",
            "what adapt.py reaches on the session that a model was trained without, some four "
            "minutes a draw on two cores",
        )
    )
    curve_options(
        add(
            "curve",
            "how many parts are enough: a model of 5, 10, 20 ... good and as many defective parts, "
            "each a run of train.py; curve.png and curve.json in --out",
        )
    )
    gpu_options(
        add(
            "gpu",
            "tests, speeds and whole trainings on a CUDA GPU, part by part, some 8 minutes on an "
            f"H200; figures go into {RESULT} in --out as soon as a part has ended",
        )
    )
    return parser


def train_options(parser: argparse.ArgumentParser) -> None:
    """Of training speed."""
    data_option(parser)
    loop_options(parser)
    rounds_option(parser)
    parser.add_argument(
        "--batches", type=positive, metavar="N", help="a round; default 13, on a GPU an epoch"
    )


def infer_options(parser: argparse.ArgumentParser) -> None:
    """Of inference speed."""
    data_option(parser)
    rounds_option(parser)
    parts_options(parser, 64)
    add_threads_argument(parser)


def accuracy_options(parser: argparse.ArgumentParser) -> None:
    """Of the time to an accuracy."""
    data_option(parser)
    loop_options(parser)
    parser.add_argument("--target", type=share, default=0.99, metavar="X", help="default 0.99")
    parser.add_argument("--epochs", type=positive, default=30, metavar="N", help="of plain")
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0, 1, 2], metavar="N")


def heatmaps_options(parser: argparse.ArgumentParser) -> None:
    """Of the pointing game."""
    parts_options(parser, 120)
    parser.add_argument(
        "--sizes", nargs="+", choices=DEFECT_SIZES, default=["medium", "large"], help="of defects"
    )


def serve_options(parser: argparse.ArgumentParser) -> None:
    """Of the service under load."""
    data_option(parser)
    rounds_option(parser)
    parts_options(parser, 64)


def adapt_options(parser: argparse.ArgumentParser) -> None:
    """Of adaptations to a session."""
    data_option(parser)
    add = parser.add_argument
    add(
        "--checkpoint", type=checkpoint_file, metavar="FILE", help="trained with --hold-out-session"
    )
    add("--draws", type=positive, default=10, metavar="N", help="default 10")
    add("--castings", type=positive, default=3, metavar="N", help="to adapt by; default 3")
    text = "of them; default 10"
    add("--photographs", type=positive, default=10, metavar="N", help=text)


def curve_options(parser: argparse.ArgumentParser) -> None:
    """Of the learning curve."""
    data_option(parser)
    add = parser.add_argument
    add("--parts", type=parts_to_learn, nargs="+", default=[5, 10, 20, 40, 80], metavar="N",
        help="of either class; default 5 10 20 40 80")  # fmt: skip
    add("--recipe", metavar="NAME", help="as for train.py")
    add("--castings", metavar="FILE", help="table path,casting; as for train.py")
    add("--fold", type=positive, nargs="+", default=[1], metavar="K",
        help="whose parts are tested; of several a point is the mean; default 1")  # fmt: skip
    add("--good-only", action="store_true", help="learn from good parts alone")
    add("--options", nargs=argparse.REMAINDER, default=[], metavar="...",
        help="more for train.py; last")  # fmt: skip
    add("--out", type=Path, default=Path("results/curve"), help="default: results/curve")


def gpu_options(parser: argparse.ArgumentParser) -> None:
    """Of everything that wants a GPU."""
    data_option(parser)
    add = parser.add_argument
    add("--parts", nargs="+", choices=NAMES, default=USUAL, help="default: all but accuracy")
    text = "table path,casting, such as a split.csv; default: castings are recognised first"
    add("--castings", type=Path, metavar="FILE", help=text)
    add("--out", type=Path, default=Path("results/gpu"), help="default: results/gpu")
    add("--tiny", action="store_true", help="as little as shows that all commands work")


def data_option(parser: argparse.ArgumentParser) -> None:
    """Which images."""
    parser.add_argument("--data", metavar="PATH", help="as for train.py; 'synthetic' renders")


def loop_options(parser: argparse.ArgumentParser) -> None:
    """Of a training loop."""
    parser.add_argument("--image-size", type=image_size, default=224, metavar="PX")
    parser.add_argument("--batch-size", type=batch_size, default=16, metavar="N")


def rounds_option(parser: argparse.ArgumentParser) -> None:
    """How often each variant is measured."""
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="default 5")


def parts_options(parser: argparse.ArgumentParser, parts: int) -> None:
    """Which model, on how many parts."""
    parser.add_argument(
        "--checkpoint", type=checkpoint_file, metavar="FILE", help="default: the latest"
    )
    parser.add_argument(
        "--parts", type=positive, default=parts, metavar="N", help=f"default {parts}"
    )
