"""Where a network computes, and in which precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from common.errors import UserError


def choose_device(name: str | None) -> torch.device:
    """The named device, else CUDA when there is one, else the CPU.

    Raises:
        UserError: there is no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).tolist()  # 'meta' fails here only
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's ways to say no
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise UserError(
            f"cannot use device '{name}': this machine, or this build of PyTorch, has "
            f"{' and '.join(there)}"
        ) from error
    return device


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether it is a CPU with matrix units for bfloat16 (Intel's AMX), of any operating system.

    There training in bfloat16 is some three times faster than in float32; a CPU without them
    emulates it, ten times slower. On a GPU it is the user's to choose.
    """
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device.type == "cpu" and supported is not None and supported()


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Whether cuDNN may round the factors of float32 convolutions within to 10 bits (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
