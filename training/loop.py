"""Train a casting inspector: ResNet-18 on the training images, the best epoch by validation loss.

    python train.py                               the reference recipe (ImageNet weights, 224 px)
    python train.py --weights none --image-size 112 --augment flip --epochs 12
    python train.py --recipe fast                 the same split in minutes, without a GPU
    python train.py --resume                      go on where an interrupted run stopped
    python train.py --recipe robust --protocol casting --fold all     the number that is true
    torchrun --nproc-per-node=4 train.py          on several GPUs

Writes into --out: best.pth and best.json (the epoch with the lowest validation loss, with
--patience 0 the last one), last.pth (everything to go on bit-exactly), history.csv, curves.png and
split.csv. Ctrl-C writes last.pth and leaves. With --fold all each fold has a folder fold<K> in
--out; finished folds are skipped, an interrupted one goes on. With the reference recipe at 224 px
two CPU cores need about 12 minutes an epoch; with --recipe robust five folds take an hour.
"""

import argparse

from common.files import run_script
from training.options import build_parser

if __name__ == "__main__":
    # Help and typing errors are answered here, before the seconds that importing torch takes.
    build_parser(__doc__).parse_args()

import math
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict

import torch
from torch import Tensor
from tqdm import tqdm

from common.files import EXIT_FAILURE, UserError, usable_folder, write_atomic, write_csv
from dataset.batches import Batches
from data_split import NO_TEST_PART
from dataset.listing import data_name
from model import Checkpoint, save_checkpoint, to_bytes
from training.distributed import added_up, is_first, joined, largest, ranks, wait_for_all
from training.setup import Run, resolve_settings, set_up, splits_of_folds
from training.state import (
    Progress,
    StopSignal,
    check_folder,
    finished_run,
    format_duration,
    load_last,
    raise_out_of_memory,
    refuse_differences,
    sole_use_of,
)
from training.schedule import SCHEDULES, set_learning_rate
from training.validation import evaluate, finish_run

HISTORY_COLUMNS = [
    "epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_missed",
    "val_false_alarms", "learning_rate", "seconds",
]  # fmt: skip
STEPS_BETWEEN_READS = 50  # a GPU's losses are read this seldom, so that it need not wait
# Saving takes most of a second, as long as an epoch on a fast GPU. A crash costs the epoch under
# way and those that ended within this time of the last saving.
SECONDS_BETWEEN_SAVES = 10


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


def train_and_save(run: Run, progress: Progress, stop: StopSignal, saving: "Saving") -> None:
    """The epochs, validated, recorded and saved."""
    while not is_finished(progress, run.settings):
        started = time.perf_counter()
        train_one_epoch(run, progress, stop)
        progress.seconds += time.perf_counter() - started
        if stop.agreed:
            saving.save()
            wait_for_all()  # when one has left, the launcher ends the others
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


def is_finished(progress: Progress, settings: dict) -> bool:
    waited = progress.epoch - progress.best_epoch
    return progress.epoch >= settings["epochs"] or 0 < settings["patience"] <= waited


def train_one_epoch(run: Run, progress: Progress, stop: StopSignal) -> None:
    """The rest of an epoch, from batch `progress.step` on; returns early when asked to stop."""
    run.model.train()
    unread = []  # figures of the last batches, still on the device
    batches = run.train_batches
    steps_between_reads = 1 if run.device.type == "cpu" else STEPS_BETWEEN_READS
    title = f"epoch {progress.epoch + 1}/{run.settings['epochs']}"
    with tqdm(
        total=batches.images, initial=progress.seen, desc=title, unit="img", leave=False,
        disable=None if is_first() else True,
    ) as bar:  # fmt: skip
        for images, targets in batches.epoch(progress.epoch, progress.step):
            set_learning_rate(run.optimizer, learning_rate(run, progress))
            share, size = batches.share(progress.step), batches.size_of_batch(progress.step)
            unread.append(run.step(images, targets, share.stop - share.start, size))
            progress.step += 1
            # Several processes have to agree to stop, which they do where they read.
            if len(unread) == steps_between_reads or (stop.signum and ranks() == 1):
                read_figures(unread, progress, batches)
                bar.set_postfix(loss=f"{progress.loss_sum / progress.seen:.4f}", refresh=False)
                if stop.agree():
                    return
            bar.update(size)
        read_figures(unread, progress, batches)
        stop.agree()


def learning_rate(run: Run, progress: Progress) -> float:
    done = (progress.epoch + progress.step / len(run.train_batches)) / run.settings["epochs"]
    return run.settings["lr"] * SCHEDULES[run.settings["schedule"]](done)


def read_figures(unread: list[Tensor], progress: Progress, batches: Batches) -> None:
    """Add the figures of the last batches, of all processes, to the epoch's; empty the list.

    Raises:
        UserError: a loss is not finite; nothing has been saved since.
    """
    if not unread:
        return
    figures = added_up(torch.stack(unread)).tolist()
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


def finish_epoch(run: Run, progress: Progress, validation: dict, saving: "Saving") -> None:
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
    is_best = not run.settings["patience"] or validation["loss"] < progress.best_loss
    if is_best:
        progress.best_loss, progress.best_epoch = validation["loss"], progress.epoch
    if is_best and is_first():
        saving.best = run.checkpoint(progress.epoch, validation)
    write_history(run, progress)
    print(epoch_line(row, validation, run.settings["epochs"], is_best), flush=True)


def write_history(run: Run, progress: Progress) -> None:
    if not is_first():
        return
    rows = ([row[name] for name in HISTORY_COLUMNS] for row in progress.history)
    write_csv(run.out / "history.csv", HISTORY_COLUMNS, rows)


def draw_curves(run: Run, progress: Progress) -> None:
    if not (is_first() and progress.history):
        return
    from evaluation.figures import plot_curves  # seaborn takes seconds to import: not before the first epoch

    title = f"Training on {data_name(run.root)}, protocol {run.settings['protocol']}"
    plot_curves(run.out / "curves.png", progress.history, progress.best_epoch, title)


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


# --- saving and going on -------------------------------------------------------------------------


class Saving:
    """Writes best.pth, last.pth and the curves; meanwhile the best epoch's weights are in memory.

    A crash repeats the epochs since then, exactly, also one between best.pth, which goes first, and
    last.pth.
    """

    def __init__(self, run: Run, progress: Progress):
        self.run, self.progress = run, progress
        self.best: Checkpoint | None = None  # not yet written
        self.last_time = time.perf_counter()

    def is_due(self) -> bool:
        """Whether the last time was not just a moment ago."""
        return time.perf_counter() - self.last_time >= SECONDS_BETWEEN_SAVES

    def save_best(self) -> None:
        """Save the best epoch's weights, where they are not yet."""
        if self.best:
            save_checkpoint(self.run.out / "best.pth", self.best)
        self.best = None

    def save(self) -> None:
        """Save what there is."""
        self.save_best()
        save_last(self.run, self.progress)
        draw_curves(self.run, self.progress)
        self.last_time = time.perf_counter()


def save_last(run: Run, progress: Progress) -> None:
    """Everything that the next batch depends on."""
    if not is_first():
        return
    content = {
        "checkpoint": asdict(run.checkpoint(progress.epoch, {})),
        "optimizer": run.optimizer.state_dict(),
        "progress": asdict(progress),
        "rng": torch.get_rng_state(),
    }
    write_atomic(run.out / "last.pth", to_bytes(content))


def restore(run: Run, content: dict) -> Progress:
    """Put a run where last.pth left it.

    Raises:
        UserError: it was another model or other images; every difference is listed.
    """
    stored = content["checkpoint"]
    now = {"classes": run.class_names, "images and split": run.split_sha256}
    then = {"classes": stored["class_names"], "images and split": stored["split_sha256"]}
    refuse_differences(run.out, now, then)
    run.model.load_state_dict(stored["weights"])
    # What it has learned, not how it is to be run: another device may go on.
    options = [{k: v for k, v in g.items() if k != "params"} for g in run.optimizer.param_groups]
    run.optimizer.load_state_dict(content["optimizer"])
    for group, kept in zip(run.optimizer.param_groups, options, strict=True):
        group |= kept
    # Fused Adam walks through memory: its moments must lie there in the order of the weights.
    for weights, state in run.optimizer.state.items():
        for name, value in state.items():
            if value.shape == weights.shape:
                state[name] = torch.empty_like(weights).copy_(value)
    torch.set_rng_state(content["rng"])
    return Progress(**content["progress"])


# --- the command line ----------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    args = build_parser(__doc__).parse_args(argv)
    with joined(args.device) as args.device:
        return train_all(args)


def train_all(args: argparse.Namespace) -> int:
    """One model, or with --fold all one a fold; tells what to do next."""
    if args.fold != "all":
        run = train(args)
        checkpoint = shlex.quote(str(args.out / "best.pth"))
        part = " --split val" if run.settings["fold"] == NO_TEST_PART else ""
        data = shlex.quote(str(run.root))
        print(f"next: python test.py --checkpoint {checkpoint} --data {data}{part}")
        return 0
    if args.protocol != "casting":
        raise UserError("--fold all belongs to --protocol casting")
    first = one_fold(args, 1)
    finished = finished_run(first.out) if first.resume else None
    splits = splits_of_folds(first, finished and finished["training"])
    for fold in splits:
        train_fold(args, fold, splits)
    data = f" --data {shlex.quote(args.data)}" if args.data else ""
    out = shlex.quote(str(args.out))
    print(f"next: python test.py --protocol casting --checkpoint {out}{data}")
    return 0


def one_fold(args: argparse.Namespace, fold: int) -> argparse.Namespace:
    """The options of one fold of all, in a folder of its own; it goes on where it was begun."""
    out = args.out / f"fold{fold}"
    begun = bool(largest((out / "last.pth").exists() and not args.overwrite))
    return argparse.Namespace(**vars(args) | {"fold": fold, "out": out, "resume": begun})


def train_fold(args: argparse.Namespace, fold: int, splits: dict[int, str]) -> None:
    """One fold of all: skipped when finished, continued when begun, else started.

    Args:
        splits: the hash of each fold's split.

    Raises:
        UserError: the finished or begun run had other settings, images or castings.
    """
    one = one_fold(args, fold)
    finished = finished_run(one.out) if one.resume else None
    stored = finished and finished["training"]
    if stored and resolve_settings(one, stored) == stored:  # else it is to go on for longer
        if finished["split_sha256"] != splits[fold]:
            raise UserError(
                f"{one.out} was trained on other images or castings; choose another folder with "
                "--out, or start anew with --overwrite"
            )
        print(f"fold {fold} is finished: {one.out / 'best.pth'}")
        return
    print(f"fold {fold} of {len(splits)}: {one.out}")
    train(one)


@contextmanager
def folder_of_run(args: argparse.Namespace) -> Iterator[None]:
    """Make sure that the output folder is this run's, and its alone."""
    usable_folder(args.out)
    with sole_use_of(args.out):
        check_folder(args.out, args.resume, args.overwrite)
        yield


def train(args: argparse.Namespace) -> Run:
    """Train one model into `args.out`, from the beginning or from where last.pth left it."""
    with folder_of_run(args) if is_first() else nullcontext():
        wait_for_all()
        last = load_last(args.out) if args.resume else None
        settings = resolve_settings(args, last and last["checkpoint"]["training"])
        run = set_up(args, settings)
        progress = restore(run, last) if last else Progress()
        with StopSignal() as stop:
            if not last:
                save_last(run, progress)
            elif progress.history:  # a crash may have come between last.pth and these
                write_history(run, progress)
                draw_curves(run, progress)
            try:
                fit(run, progress, stop)
                finish_run(run)
                stop.agree()
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                raise_out_of_memory(error, settings["batch_size"])
    seconds = progress.seconds + sum(row["seconds"] for row in progress.history)
    print(
        f"best epoch {progress.best_epoch} of {progress.epoch}, {format_duration(seconds)}: "
        f"validation loss {progress.best_loss:.4f}; written: best.pth, history.csv, curves.png "
        f"in {args.out}"
    )
    if stop.agreed:  # it came when nothing was left to stop, but a next fold may be waiting
        stop.leave()
    return run


if __name__ == "__main__":
    run_script(main)
