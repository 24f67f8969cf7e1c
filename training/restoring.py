"""How a run goes on from last.pth, once all that it holds has proved to fit."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from common.errors import UserError
from model import load_checkpoint
from networks.description import Check, check_values, is_number, number, whole
from networks.tensor_files import check_finite
from training.saving import HISTORY_COLUMNS
from training.setup import Run
from training.state import Progress, refuse_differences

MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # of Adam
NOT_NEGATIVE = number(0, math.inf)
PROGRESS: dict[str, Check] = {
    **dict.fromkeys(("epoch", "step", "seen", "best_epoch"), whole(0)),
    **dict.fromkeys(("loss_sum", "right", "seconds"), NOT_NEGATIVE),
    "best_loss": (lambda value: value == math.inf or is_number(value, 0), "a loss"),
    "history": (lambda value: isinstance(value, list), "a list"),
}
HISTORY: dict[str, Check] = dict.fromkeys(HISTORY_COLUMNS, NOT_NEGATIVE)


def restore(run: Run, content: dict) -> Progress:
    """Put a run where last.pth left it.

    Raises:
        UserError: it was another model or other images, of which every difference is listed; or
            last.pth or best.pth does not fit this run.
    """
    stored = content["checkpoint"]
    now = {"classes": run.class_names, "images and split": run.split_sha256}
    then = {"classes": stored["class_names"], "images and split": stored["split_sha256"]}
    refuse_differences(run.out, now, then)
    try:
        run.model.load_state_dict(stored["weights"])
        restore_optimizer(run.optimizer, content["optimizer"])
        progress = restored_progress(content["progress"], run.train_batches)
        if (progress.epoch or progress.step) and not run.optimizer.state:
            raise ValueError("its optimizer has not done a step")
        if progress.best_epoch:
            refuse_another_runs_best(run)
        torch.set_rng_state(content["rng"])  # after the last network that was made to look at it
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{run.out / 'last.pth'} does not fit this run: {reason}; start anew with --overwrite"
        ) from error
    return progress


def restore_optimizer(optimizer: torch.optim.Optimizer, content: dict) -> None:
    """What it has learned, not how it is to be run: another device may go on.

    Raises:
        ValueError: the moments are not those of these weights.
    """
    options = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    optimizer.load_state_dict(content)
    for group, kept in zip(optimizer.param_groups, options, strict=True):
        group |= kept
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    if optimizer.state and len(optimizer.state) != len(parameters):
        raise ValueError(f"{len(optimizer.state)} of {len(parameters)} weights have moments")
    for weights, state in optimizer.state.items():
        check_moments(state, weights)
        # Fused Adam walks through memory: moments must lie there in the order of the weights.
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = torch.empty_like(weights).copy_(state[name])


def check_moments(state: Mapping[str, Tensor], weights: Tensor) -> None:
    """Raise ValueError unless this can be what Adam knows about these weights."""
    if state.keys() != MOMENTS:
        raise ValueError(f"moments are called {', '.join(sorted(MOMENTS))}, not {list(state)!r}")
    for name, value in state.items():
        shape = () if name == "step" else weights.shape
        if not isinstance(value, Tensor) or value.shape != shape:
            raise ValueError(f"{name} is no tensor of shape {tuple(shape)}")
        check_finite(name, value, not_negative=name != "exp_avg")


def restored_progress(stored: dict, batches) -> Progress:
    """Where the run stood.

    Raises:
        ValueError: nowhere that a run of these batches can be.
    """
    if stored.keys() != PROGRESS.keys():
        raise ValueError(f"its progress has the fields {sorted(map(str, stored))!r:.200}")
    check_values(stored, PROGRESS, "progress's ")
    progress = Progress(**stored)
    for number_of_row, row in enumerate(progress.history, 1):
        if not isinstance(row, dict) or not HISTORY.keys() <= row.keys():
            raise ValueError(f"row {number_of_row} of its history lacks columns")
        check_values(row, HISTORY, f"history's row {number_of_row}: ")
    epochs = [row["epoch"] for row in progress.history]
    if epochs != list(range(1, progress.epoch + 1)) or progress.best_epoch > progress.epoch:
        raise ValueError("its history is not that of its epochs")
    if progress.step > len(batches) or (progress.step > 0) != (progress.seen > 0):
        raise ValueError(f"its step is {progress.step} of {len(batches)} batches")
    return progress


def refuse_another_runs_best(run: Run) -> None:
    """Raise UserError unless best.pth can be used at the end of this run."""
    best = load_checkpoint(run.out / "best.pth")
    if (best.class_names, best.split_sha256) != (run.class_names, run.split_sha256):
        raise UserError(
            f"{run.out / 'best.pth'} is not of the run in {run.out}: other classes, images or "
            "split; put its own back, or start anew with --overwrite"
        )
