"""The end of a run: predict the validation images once more, fit operating point and gate, save."""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from common.origin import for_product
from common.progress import announced
from dataset.sources import data_name
from dataset.validation_scores import write_validation
from metrics.decisions import count_decisions
from metrics.operating_point import fit_operating_point
from model import (
    CHECKPOINT_FORMAT,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    with_logit_bias,
)
from networks.classes import class_probabilities, defect_flags, defect_probability
from networks.devices import tf32
from training.distributed import barrier, is_main_process
from training.gating import fit_gate
from training.setup import Run
from training.unusual import with_unusual, without_unusual
from training.validation import validation_logits

DRAWN = "the defective ones are good ones with drawn defects"


def finish_run(run: Run) -> None:
    """Fit the best epoch's gate and, if the recipe has one, operating point, into best.pth.

    best.pth without an operating point is that of an unfinished run. The predictions on the
    validation images go into best_validation.csv.
    """
    barrier()  # until the main process has written it
    checkpoint = unfitted(load_checkpoint(run.out / "best.pth"))
    checkpoint.training = run.settings.as_dict()  # which a run that went on may have changed
    if run.settings.good_only and run.settings.network == "multiscale":
        checkpoint.weights = with_unusual(run, checkpoint)
    logits = final_logits(run, checkpoint)
    if run.settings.operating_point != "none":
        logits = fit_point(run, checkpoint, logits)
    save(run, checkpoint, logits)


def unfitted(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint without the operating point that an earlier end of its run has fitted."""
    bias_before = (checkpoint.operating_point or {}).get("cut", 0.0)
    checkpoint.weights = with_logit_bias(checkpoint, bias_before)
    checkpoint.weights = without_unusual(checkpoint)
    checkpoint.operating_point = {"fitted": False, "threshold": 0.5, "temperature": 1.0}
    return checkpoint


def final_logits(run: Run, checkpoint: Checkpoint) -> Tensor:
    """Validation logits float64 (N, C), on the CPU, in full float32 precision."""
    model = checkpoint.model().to(run.device)
    with tf32(allowed=False):
        return validation_logits(run, model).cpu().double()


def fit_point(run: Run, checkpoint: Checkpoint, logits: Tensor) -> Tensor:
    """Put the fitted operating point into the checkpoint; returns the logits that it gives now."""
    defects = defect_flags(run.class_names)
    point = fit_operating_point(
        logits.numpy(),
        run.val_batches.targets.cpu().numpy(),
        defects.numpy(),
        run.val_batches.castings,
        run.settings.operating_point,
    )
    if run.settings.good_only:
        point = replace(point, note="; ".join(filter(None, (DRAWN, point.note))))
    checkpoint.temperature, checkpoint.threshold = point.temperature, point.threshold
    checkpoint.weights = with_logit_bias(checkpoint, -point.logit_bias)
    checkpoint.operating_point = {"fitted": True, **point.as_dict()}
    print(for_product(point.describe(), data_name(run.root)))
    return logits - point.logit_bias * defects


@dataclass(frozen=True)
class Predicted:
    """Validation images (N,) and what the finished model makes of them."""

    labels: list[str]
    is_defect: np.ndarray  # bool
    prob_defect: np.ndarray
    right: np.ndarray  # bool: the most probable class is the true one


def predicted(run: Run, checkpoint: Checkpoint, logits: Tensor) -> Predicted:
    """Predictions from logits (N, C), at the checkpoint's temperature."""
    targets = run.val_batches.targets.cpu()
    probabilities = class_probabilities(logits, run.class_names, checkpoint.temperature)
    return Predicted(
        labels=[run.class_names[target] for target in targets],
        is_defect=defect_flags(run.class_names)[targets].numpy(),
        prob_defect=defect_probability(probabilities, run.class_names).double().numpy(),
        right=(probabilities.argmax(dim=1) == targets).numpy(),
    )


def save(run: Run, checkpoint: Checkpoint, logits: Tensor) -> None:
    """Write best.pth with its final validation figures, and best_validation.csv."""
    found = predicted(run, checkpoint, logits)
    counts = count_decisions(found.is_defect, found.prob_defect, checkpoint.threshold)
    # Until now they were those of the epoch: at 0.5, temperature 1
    checkpoint.validation |= {"missed": counts.missed, "false_alarms": counts.false_alarms}
    checkpoint.validation["accuracy"] = float(found.right.mean())
    if is_main_process():
        with announced("fitting the gate"):
            checkpoint.gate, checkpoint.format = fit_gate(run, checkpoint), CHECKPOINT_FORMAT
        path, count = run.out / "best.pth", len(found.labels)
        save_checkpoint(path, checkpoint)
        castings = run.val_batches.castings or [""] * count
        write_validation(path, found.labels, castings, found.prob_defect)
