"""The training loop: epochs, validated, recorded, saved."""

import math
import time
from contextlib import suppress

import torch
from torch import Tensor

from common.errors import EXIT_FAILURE, UserError
from common.progress import ProgressBar
from common.text import format_duration
from dataset.batches import Batches
from training.distributed import all_reduce_sum, barrier, is_main_process, world_size
from training.live import LOSS_SO_FAR
from training.saving import Saving, write_history
from training.schedule import SCHEDULES, set_learning_rate
from training.settings import Settings
from training.setup import Run
from training.state import (
    Progress,
    StopSignal,
)
from training.validation import evaluate

STEPS_BETWEEN_READS = 50  # a GPU's losses are read this seldom, so that it need not wait


# --- the loop ------------------------------------------------------------------------------------


def fit(run: Run, progress: Progress, stop: StopSignal) -> None:
    """Train to the last epoch or until validation loss has not improved for `patience` epochs."""
    saving = Saving(run, progress)
    try:
        train_and_save(run, progress, stop, saving)
    except Exception:  # a loss that is not finite, no memory: the best epoch was a good one
        with suppress(UserError):
            saving.save_best()
        raise
    finally:
        run.live.close()


def train_and_save(run: Run, progress: Progress, stop: StopSignal, saving: Saving) -> None:
    """The epochs, validated, recorded and saved."""
    while not is_finished(progress, run.settings):
        started = time.perf_counter()
        train_one_epoch(run, progress, stop)
        progress.seconds += time.perf_counter() - started
        if stop.agreed:
            saving.save()
            barrier()  # when one has left, the launcher ends the others
            print(
                f"stopped in epoch {progress.epoch + 1} after batch {progress.step} of "
                f"{len(run.train_batches)}; go on with: "
                f"python train.py --resume{run.options_to_repeat()}"
            )
            stop.leave()
        started = time.perf_counter()
        figures = evaluate(run, progress.epoch + 1)
        progress.seconds += time.perf_counter() - started
        started = time.perf_counter()
        finish_epoch(run, progress, figures, saving)
        if saving.is_due() or is_finished(progress, run.settings):
            saving.save()
        progress.seconds += time.perf_counter() - started  # they count with the next epoch's


def is_finished(progress: Progress, settings: Settings) -> bool:
    waited = progress.epoch - progress.best_epoch
    return progress.epoch >= settings.epochs or 0 < settings.patience <= waited


def train_one_epoch(run: Run, progress: Progress, stop: StopSignal) -> None:
    """The rest of an epoch, from batch `progress.step` on; returns early when asked to stop."""
    run.model.train()
    unread = []  # figures of the last batches, still on the device
    batches = run.train_batches
    steps_between_reads = 1 if run.device.type == "cpu" else STEPS_BETWEEN_READS
    title = f"epoch {progress.epoch + 1}/{run.settings.epochs}"
    with ProgressBar(
        total=batches.images, initial=progress.seen, desc=title, unit="img", leave=False,
        disable=not is_main_process(),
    ) as bar:  # fmt: skip
        for images, targets in batches.epoch(progress.epoch, progress.step):
            set_learning_rate(run.optimizer, learning_rate(run, progress))
            share, size = batches.share(progress.step), batches.size_of_batch(progress.step)
            unread.append(run.step(images, targets, share.stop - share.start, size))
            progress.step += 1
            # Several processes have to agree to stop, which they do where they read.
            if len(unread) == steps_between_reads or (stop.signum and world_size() == 1):
                read_figures(unread, progress, batches)
                loss = progress.loss_sum / progress.seen
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                run.live.add(images_seen(run, progress), {LOSS_SO_FAR: loss})
                if stop.agree():
                    return
            bar.update(size)
        read_figures(unread, progress, batches)
        stop.agree()


def images_seen(run: Run, progress: Progress) -> int:
    """By the whole run so far."""
    return progress.epoch * run.train_batches.images + progress.seen


def learning_rate(run: Run, progress: Progress) -> float:
    done = (progress.epoch + progress.step / len(run.train_batches)) / run.settings.epochs
    return run.settings.lr * SCHEDULES[run.settings.schedule](done)


def read_figures(unread: list[Tensor], progress: Progress, batches: Batches) -> None:
    """Add the figures of the last batches, of all processes, to the epoch's; empty the list.

    Raises:
        UserError: a loss is not finite; nothing has been saved since.
    """
    if not unread:
        return
    figures = all_reduce_sum(torch.stack(unread)).tolist()
    first_step = progress.step - len(unread)
    for step, (loss_sum, right) in enumerate(figures, first_step):
        if not math.isfinite(loss_sum):
            raise UserError(
                f"the loss is {loss_sum} in epoch {progress.epoch + 1}, batch {step + 1}; "
                "last.pth is as it was, best.pth that of the best epoch; "
                "start anew with a lower --lr and --overwrite",
                EXIT_FAILURE,
            )
        progress.loss_sum += loss_sum
        progress.right += round(right)
        progress.seen += batches.size_of_batch(step)
    unread.clear()


def finish_epoch(run: Run, progress: Progress, validation: dict, saving: Saving) -> None:
    """Record the epoch, tell, and keep its weights when it is the best so far."""
    row = {
        "epoch": progress.epoch + 1,
        "train_loss": progress.loss_sum / progress.seen,
        "train_accuracy": progress.right / progress.seen,
        "val_loss": validation["loss"],
        "val_accuracy": validation["accuracy"],
        "val_missed": validation["missed"],
        "val_false_alarms": validation["false_alarms"],
        "learning_rate": float(run.optimizer.param_groups[0]["lr"]),
        "seconds": round(progress.seconds, 2),
    }
    progress.history.append(row)
    progress.begin_next_epoch()
    is_best = not run.settings.patience or validation["loss"] < progress.best_loss
    if is_best:
        progress.best_loss, progress.best_epoch = validation["loss"], progress.epoch
    if is_best and is_main_process():
        saving.best = run.checkpoint(progress.epoch, validation)
    write_history(run, progress)
    run.live.add_epoch(images_seen(run, progress), row)
    is_chosen = is_best and run.settings.patience > 0  # else each is kept until the next
    print(epoch_line(row, validation, run.settings.epochs, is_chosen), flush=True)


def epoch_line(row: dict, validation: dict, epochs: int, is_best: bool) -> str:
    left = format_duration(row["seconds"] * (epochs - row["epoch"]))
    return (
        f"epoch {row['epoch']:3d}/{epochs}  "
        f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.2%}  "
        f"val loss {row['val_loss']:.4f} accuracy {row['val_accuracy']:.2%}  "
        f"missed {validation['missed']}/{validation['defects']}  "
        f"false alarms {validation['false_alarms']}/{validation['good']}  "
        f"{row['seconds']:.0f} s (at most {left} left){'  * best' if is_best else ''}"
    )


# --- the command line ----------------------------------------------------------------------------
