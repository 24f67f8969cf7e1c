"""How many cores a process computes on: all, or as many as --threads says."""

import argparse
import os

from common.arguments import positive

VARIABLE = "OMP_NUM_THREADS"  # PyTorch's, NumPy's and ONNX Runtime's, too


def add_threads_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--threads, for a machine that has other work to do."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="cores to compute on; default: all"
    )


def limit_threads(count: int | None) -> None:
    """Let this process, and those that it starts, compute on so many cores; None: as before.

    To be called before PyTorch and NumPy are imported.
    """
    if count:
        os.environ[VARIABLE] = str(count)


def thread_count() -> int:
    """How many threads of ours may work at once."""
    text = os.environ.get(VARIABLE, "")
    return int(text) if text.isdecimal() and int(text) else os.cpu_count() or 1
