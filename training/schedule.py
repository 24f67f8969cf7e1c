"""Learning rates as functions of how much of a run is done, so that resuming needs no state."""

import math

import torch
from torch import Tensor

WARM_UP = 0.25  # of a one-cycle run


def falling_cosine(done: float) -> float:
    """From 1 to 0 along half a cosine."""
    return (1 + math.cos(math.pi * done)) / 2


def one_cycle(done: float) -> float:
    """Rises from a 25th to 1 for a quarter of the run, then falls (Smith and Topin, 2017)."""
    if done < WARM_UP:
        return 0.04 + 0.96 * done / WARM_UP
    return falling_cosine((done - WARM_UP) / (1 - WARM_UP))


SCHEDULES = {"constant": lambda done: 1.0, "cosine": falling_cosine, "onecycle": one_cycle}


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """For the next step; a rate that lies on the device, for recorded steps, is overwritten."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
