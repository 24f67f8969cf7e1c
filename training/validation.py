"""Validation: the figures of an epoch."""

import math

import torch
from torch import Tensor, nn

from common.errors import EXIT_FAILURE, UserError
from metrics.decisions import count_decisions
from networks.classes import class_logits, defect_flags, defect_probability
from training.distributed import all_gather, broadcast_from_main
from training.setup import Run


@torch.inference_mode()
def evaluate(run: Run, epoch: int) -> dict:
    """Loss, accuracy, missed defects and false alarms on the validation images, as they lie."""
    with run.autocast():
        logits, targets = validation_logits(run, run.model), run.val_batches.targets
    each = nn.functional.cross_entropy(logits, targets, reduction="none")
    loss = float((run.val_weights * each).sum())
    if not math.isfinite(loss):
        raise UserError(
            f"the validation loss is {loss} in epoch {epoch}; start anew with a lower --lr",
            EXIT_FAILURE,
        )
    probabilities = logits.softmax(dim=1)
    is_defect = defect_flags(run.class_names).to(targets.device)[targets]
    counts = count_decisions(
        is_defect.cpu().numpy(),
        defect_probability(probabilities, run.class_names).cpu().numpy(),
        threshold=0.5,
    )
    right = int((probabilities.argmax(dim=1) == targets).sum())
    return {
        "loss": loss,
        "accuracy": right / len(targets),
        "missed": counts.missed,
        "defects": counts.defects,
        "false_alarms": counts.false_alarms,
        "good": counts.good,
    }


@torch.inference_mode()
def validation_logits(run: Run, model: nn.Module) -> Tensor:
    """Logits float32 (N, C) of the validation images, whatever the head, in each process.

    Every image is predicted once, by the process whose share it is.
    """
    model.eval()
    # Each process has gone on from the first one's BatchNorm statistics with its own last batch.
    broadcast_from_main(model.buffers())
    logits, places = [], []
    for step, (images, _) in enumerate(run.val_batches.epoch()):
        share = run.val_batches.share(step)
        found = class_logits(model(images), run.class_names)
        logits.append(found[: share.stop - share.start])
        places.append(torch.arange(share.start, share.stop))
    order = all_gather(torch.cat(places)).argsort()
    return all_gather(torch.cat(logits))[order]
