"""Distributed training: torchrun starts the processes, and they agree by these few functions.

    torchrun --nproc-per-node=2 train.py ...

Without torchrun there is one process, and every function is the identity.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from common.errors import EXIT_FAILURE, UserError

PATIENCE = timedelta(minutes=10)  # the first process may recognise castings, the others wait


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


@contextmanager
def process_group(device: str | None) -> Iterator[str | None]:
    """Join the processes that torchrun started and yield the device of this one.

    All but the first are silent on stdout.

    Raises:
        UserError: fewer GPUs than processes, or another process has ended.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield device
        return
    on_gpu = torch.cuda.is_available() if device is None else device.startswith("cuda")
    options = {"backend": "nccl" if on_gpu else "gloo", "timeout": PATIENCE}
    if on_gpu:
        device = gpu_of_this_process()
        options["device_id"] = torch.device(device)
    try:
        dist.init_process_group(**options)
        with open(os.devnull, "w") as nowhere:
            with redirect_stdout(sys.stdout if is_main_process() else nowhere):
                yield device
    except RuntimeError as error:
        if not is_loss_of_a_process(error):
            raise
        raise UserError(
            f"the processes have lost each other ({str(error).splitlines()[0]}); if one ended, see "
            "its message, then go on with --resume, in any number of processes",
            EXIT_FAILURE,
        ) from error
    # Not after a failure: nccl would wait for the others, which wait for this process.
    dist.destroy_process_group()


def gpu_of_this_process() -> str:
    """'cuda:N' for the N-th process of this machine, made the current device.

    Raises:
        UserError: this machine has fewer GPUs.
    """
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= gpus:
        raise UserError(f"{gpus} GPUs here for more processes; set --nproc-per-node={gpus}")
    torch.cuda.set_device(number)
    return f"cuda:{number}"


def is_loss_of_a_process(error: RuntimeError) -> bool:
    """Whether gloo or nccl lost the connection; they raise no type of their own everywhere."""
    signs = ("Connection closed by peer", "Connection reset", "gloo", "NCCL", "Broken pipe")
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs)


@contextmanager
def local_main_process_first() -> Iterator[None]:
    """Let one process of each machine do what the others then find done: fill a cache."""
    leads = int(os.environ.get("LOCAL_RANK", 0)) == 0
    if not leads:
        barrier()
    yield
    if leads:
        barrier()


def barrier() -> None:
    """Return when every process has come here."""
    if world_size() > 1:
        dist.barrier()


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum over all processes, in each of them."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def all_reduce_max(value: int) -> int:
    """The largest value of all processes, in each of them."""
    if world_size() == 1:
        return value
    values: list[int] = [0] * world_size()
    dist.all_gather_object(values, value)
    return max(values)


def broadcast_from_main(tensors: Iterable[Tensor]) -> None:
    """Overwrite these tensors with those of the first process."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def all_gather(part: Tensor) -> Tensor:
    """The parts (N_r, ...) of all processes, one behind the other, on this one's device."""
    if world_size() == 1:
        return part
    parts: list[Tensor] = [part] * world_size()
    dist.all_gather_object(parts, part.cpu())
    return torch.cat(parts).to(part.device)
