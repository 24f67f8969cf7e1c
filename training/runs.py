"""A training run from start to finish, and one a fold."""

import argparse
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch

from common.errors import UserError
from common.files import output_folder
from common.text import format_duration
from data_split import load_split, split_sha256
from dataset.folds import assign_castings
from dataset.sources import find_data
from training import saving
from training.distributed import (
    all_reduce_max,
    barrier,
    is_main_process,
    local_main_process_first,
    process_group,
)
from training.finish import finish_run
from training.loop import fit
from training.report_page import next_command, write_report
from training.restoring import restore
from training.run_files import REPORT
from training.settings import resolve_settings
from training.setup import Run, set_up
from training.state import (
    Progress,
    StopSignal,
    check_folder,
    finished_run,
    load_last,
    raise_out_of_memory,
)


def train_in_processes(args: argparse.Namespace) -> int:
    """Train as the options of train.py say, in as many processes as torchrun has started."""
    with process_group(args.device) as args.device:
        return train_all(args)


def train_all(args: argparse.Namespace) -> int:
    """One model, or with --fold all one a fold; tells what to do next."""
    if args.fold != "all":
        run = train(args)
        print(f"next: {next_command(run)}")
        return 0
    first = one_fold(args, 1)
    finished = finished_run(first.out) if first.resume else None
    splits = splits_of_folds(first, finished and finished["training"])
    for fold in splits:
        train_fold(args, fold, splits)
    named = {"data": args.data, "second-release": args.second_release}
    data = "".join(f" --{name} {shlex.quote(value)}" for name, value in named.items() if value)
    out = shlex.quote(str(args.out))
    print(f"next: python test.py --protocol casting --checkpoint {out}{data}")
    return 0


def one_fold(args: argparse.Namespace, fold: int) -> argparse.Namespace:
    """The options of one fold of all, in a folder of its own; it goes on where it was begun."""
    out = args.out / f"fold{fold}"
    begun = bool(all_reduce_max((out / "last.pth").exists() and not args.overwrite))
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
    # A run of an earlier version has stored no setting that came later
    same = stored and stored.items() <= resolve_settings(one, stored).as_dict().items()
    if same:  # else it is to go on for longer
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
    with output_folder(args.out):
        check_folder(args.out, args.resume, args.overwrite)
        yield


def train(args: argparse.Namespace) -> Run:
    """Train one model into `args.out`, from the beginning or from where last.pth left it."""
    with folder_of_run(args) if is_main_process() else nullcontext():
        barrier()
        last = load_last(args.out) if args.resume else None
        settings = resolve_settings(args, last and last["checkpoint"]["training"])
        run = set_up(args, settings)
        progress = restore(run, last) if last else Progress()
        with StopSignal() as stop:
            if not last:
                saving.save_last(run, progress)
            elif progress.history:  # a crash may have come between last.pth and these
                saving.write_history(run, progress)
                saving.draw_curves(run, progress)
            try:
                fit(run, progress, stop)
                finish_run(run)
                if is_main_process():
                    write_report(run, progress, args.command)
                stop.agree()
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                raise_out_of_memory(error, settings.batch_size)
    seconds = progress.seconds + sum(row["seconds"] for row in progress.history)
    kept = "best epoch" if settings.patience else "kept, as the last one: epoch"
    print(
        f"{kept} {progress.best_epoch} of {progress.epoch}, {format_duration(seconds)}: "
        f"validation loss {progress.best_loss:.4f}; written: best.pth, history.csv, curves.png, "
        f"{REPORT} in {args.out}"
    )
    if stop.agreed:  # it came when nothing was left to stop, but a next fold may be waiting
        stop.leave()
    return run


def splits_of_folds(args: argparse.Namespace, stored: dict | None) -> dict[int, str]:
    """The hash of each fold's split, by its number; so all folds are possible before one trains.

    Args:
        stored: the settings of the first fold if it is finished.

    Raises:
        UserError: a fold has too few castings.
    """
    options = resolve_settings(args, stored).split
    with local_main_process_first():
        rows, _ = load_split(find_data(args.data, args.second_release), options)
    folds = range(1, options.folds + 1)
    return {k: split_sha256(assign_castings(rows, replace(options, fold=k))) for k in folds}
