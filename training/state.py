"""What lets a training run survive: a folder of its own, a saved state, a way to stop."""

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from common.errors import EXIT_FAILURE, Terminated, UserError
from model import checkpoint_from
from networks.tensor_files import load_tensors
from training.distributed import all_reduce_max
from training.run_files import RUN_FILES, refuse_run_in

PARTS_OF_LAST = {"checkpoint": dict, "optimizer": dict, "progress": dict, "rng": Tensor}


@dataclass
class Progress:
    """Where a run stands. It is saved in last.pth, so that a run can go on from any batch."""

    epoch: int = 0  # finished ones
    step: int = 0  # batches done in the present epoch, and what they gave so far:
    loss_sum: float = 0.0
    right: int = 0
    seen: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0
    history: list[dict] = field(default_factory=list)

    def begin_next_epoch(self) -> None:
        self.epoch += 1
        self.step, self.loss_sum, self.right, self.seen, self.seconds = 0, 0.0, 0, 0, 0.0


class StopSignal:
    """Turns the first Ctrl-C or SIGTERM into a request; a second one leaves at once."""

    def __init__(self) -> None:
        self.signum = 0  # that this process has received
        self.agreed = 0  # that all processes act upon

    def __enter__(self) -> "StopSignal":
        numbers = (signal.SIGINT, signal.SIGTERM)
        self.previous = {number: signal.signal(number, self.receive) for number in numbers}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def receive(self, signum, frame) -> None:
        if self.signum:
            os._exit(128 + signum)
        self.signum = signum

    def agree(self) -> int:
        """Whether some process has been asked to stop: the signal, the same in all, or 0."""
        self.agreed = all_reduce_max(self.signum)
        return self.agreed

    def leave(self) -> None:
        raise KeyboardInterrupt if self.agreed == signal.SIGINT else Terminated


def check_folder(out: Path, resume: bool, overwrite: bool) -> None:
    """Remove what an interrupted write left, and make sure that no run is replaced unasked.

    Raises:
        UserError: there is a run, and neither `resume` nor `overwrite` says what to do with it.
    """
    for name in RUN_FILES:
        for leftover in out.glob(f"{name}.*.tmp"):
            leftover.unlink(missing_ok=True)
    if not (resume or overwrite):
        refuse_run_in(out)


def finished_run(out: Path) -> dict | None:
    """What best.json says of the run in this folder if it came to its end, else None."""
    try:
        described = json.loads((out / "best.json").read_text())
        whole = isinstance(described["training"], dict) and "split_sha256" in described
        return described if whole and described["operating_point"] else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def load_last(out: Path) -> dict:
    """The content of last.pth.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = out / "last.pth"
    content, _ = load_tensors(path)
    if not all(isinstance(content.get(name), kind) for name, kind in PARTS_OF_LAST.items()):
        raise UserError(f"{path} was not written by train.py; start anew with --overwrite")
    checkpoint_from(content["checkpoint"], path)
    return content


def refuse_differences(out: Path, now: dict, then: dict) -> None:
    lines = [
        f"{key}: {then.get(key)} in {out / 'last.pth'}, {now[key]} now"
        for key in now
        if now[key] != then.get(key)
    ]
    if lines:
        raise UserError(
            f"cannot go on with other settings: {'; '.join(lines)}; leave these options out, "
            "choose another folder with --out, or start anew with --overwrite"
        )


def raise_out_of_memory(error: Exception, batch_size: int) -> None:
    """Turn the ways of running out of memory into one line; raise anything else again."""
    # PyTorch's and the driver's, a CPU's, those of cuBLAS, cuDNN and their relatives
    known = ("out of memory", "allocate memory", "not enough memory", "ALLOC_FAILED",
             "ALLOCATION_FAILED")  # fmt: skip
    if isinstance(error, RuntimeError) and not any(text in str(error) for text in known):
        raise error
    raise UserError(
        f"out of memory; try --batch-size {max(1, batch_size // 2)} (now {batch_size}) or a "
        "smaller --image-size, with --overwrite: they cannot change within a run",
        EXIT_FAILURE,
    ) from error
