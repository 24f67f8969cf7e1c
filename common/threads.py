"""How many cores a process computes on: all, or as many as --threads says."""

import argparse
import os

from common.arguments import whole_number
from common.text import count_of

MOST_A_CORE = 4  # threads: more only wait for one another
VARIABLE = "OMP_NUM_THREADS"  # PyTorch's, NumPy's and ONNX Runtime's, too


def add_threads_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--threads, for a machine that has other work to do."""
    parser.add_argument(
        "--threads", type=threads, metavar="N", help="cores to compute on; default: all"
    )


def threads(text: str) -> int:
    """A number of threads that this machine has cores for, for argparse."""
    cores = os.cpu_count() or 1
    try:
        return whole_number(text, 1, MOST_A_CORE * cores)
    except argparse.ArgumentTypeError as error:
        here = f"this machine has {count_of(cores, 'core')}"
        raise argparse.ArgumentTypeError(f"{error}; {here}") from None


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
