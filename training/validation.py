"""Validation: the figures of an epoch, and at the end the operating point."""

import math

import torch
from torch import Tensor, nn

from common.files import EXIT_FAILURE, UserError
from metrics.decisions import count_decisions
from model import (
    class_logits,
    class_probabilities,
    defect_flags,
    defect_probability,
    load_checkpoint,
    save_checkpoint,
    tf32,
    with_cut,
)
from metrics.operating_point import fit_operating_point
from training.distributed import as_in_first, in_order_of_ranks, is_first, wait_for_all
from training.setup import Run
from dataset.validation_scores import write_validation


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

    Every image is judged once, by the process whose share it is.
    """
    model.eval()
    # Each process has gone on from the first one's BatchNorm statistics with its own last batch.
    as_in_first(model.buffers())
    logits, places = [], []
    for step, (images, _) in enumerate(run.val_batches.epoch()):
        share = run.val_batches.share(step)
        found = class_logits(model(images), run.class_names)
        logits.append(found[: share.stop - share.start])
        places.append(torch.arange(share.start, share.stop))
    order = in_order_of_ranks(torch.cat(places)).argsort()
    return in_order_of_ranks(torch.cat(logits))[order]


def finish_run(run: Run) -> None:
    """Fit the operating point of the best epoch, if the recipe has one, and store it in best.pth.

    best.pth without an operating point is that of an unfinished run. The verdicts on the validation
    images go into best_validation.csv.
    """
    path = run.out / "best.pth"
    wait_for_all()  # until the first has written it
    checkpoint = load_checkpoint(path)
    checkpoint.training = run.settings  # a run that went on for longer may have found none better
    cut_before = (checkpoint.operating_point or {}).get("cut", 0.0)
    checkpoint.weights = with_cut(checkpoint, -cut_before)
    checkpoint.operating_point = {"fitted": False, "threshold": 0.5, "temperature": 1.0}
    model = checkpoint.model().to(run.device)  # as it will judge, not as it has been trained
    with tf32(allowed=False):  # as it will judge, whatever it was trained in
        logits = validation_logits(run, model).cpu().double()
    targets, castings = run.val_batches.targets.cpu().numpy(), run.val_batches.castings
    aim = run.settings["operating_point"]
    if aim != "none":
        point = fit_operating_point(
            logits.numpy(),
            targets,
            defect_flags(run.class_names).numpy(),
            castings,
            aim,
        )
        checkpoint.temperature, checkpoint.threshold = point.temperature, point.threshold
        checkpoint.weights = with_cut(checkpoint, point.cut)
        logits -= point.cut * defect_flags(run.class_names)
        checkpoint.operating_point = {"fitted": True, **point.as_dict()}
        print(point.describe())
    probabilities = class_probabilities(logits, run.class_names, checkpoint.temperature)
    prob_defect = defect_probability(probabilities, run.class_names).double().numpy()
    is_defect = defect_flags(run.class_names).numpy()[targets]
    counts = count_decisions(is_defect, prob_defect, checkpoint.threshold)
    # Until now they were those of the epoch: at 0.5, temperature 1, and of pictures as they lie
    checkpoint.validation |= {"missed": counts.missed, "false_alarms": counts.false_alarms}
    right = probabilities.argmax(dim=1).numpy() == targets
    checkpoint.validation["accuracy"] = float(right.mean())
    if is_first():
        save_checkpoint(path, checkpoint)
        labels = [run.class_names[target] for target in targets]
        write_validation(path, labels, castings or [""] * len(targets), prob_defect)
