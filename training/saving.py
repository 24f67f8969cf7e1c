"""What a run writes while it trains."""

import time
from dataclasses import asdict

import torch

from common.files import write_atomic, write_csv
from common.origin import for_product, origin, seen_text
from common.text import count_of
from dataset.casting_table import with_told_castings
from dataset.sources import data_name
from model import Checkpoint, save_checkpoint
from networks.tensor_files import to_bytes
from training.distributed import is_main_process
from training.setup import Run
from training.state import Progress

HISTORY_COLUMNS = [
    "epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_missed",
    "val_false_alarms", "learning_rate", "seconds",
]  # fmt: skip
# Saving takes most of a second, as long as an epoch on a fast GPU. A crash costs the epoch under
# way and those that ended within this time of the last saving.
SECONDS_BETWEEN_SAVES = 10
NOT_LOOKED_AT = "which castings are also in training is told by test.py"


def write_history(run: Run, progress: Progress) -> None:
    if not is_main_process():
        return
    rows = ([row[name] for name in HISTORY_COLUMNS] for row in progress.history)
    write_csv(run.out / "history.csv", HISTORY_COLUMNS, rows)


def draw_curves(run: Run, progress: Progress) -> None:
    if not (is_main_process() and progress.history):
        return
    from training.curves import plot_curves

    chosen = run.settings.patience > 0
    path, kept = run.out / "curves.png", progress.best_epoch
    plot_curves(path, progress.history, kept, chosen, origin_of(run))


def origin_of(run: Run) -> str:
    """What stands below the curves."""
    rows = with_told_castings(run.root, run.rows)
    train, val = ([row for row in rows if row.split == part] for part in ("train", "val"))
    castings = {row.casting for row in train}
    known = all(row.casting for row in (*train, *val))
    seen = sum(row.casting in castings for row in val)
    settings = run.settings
    text = origin(
        f"model: {run.out.resolve().name}/best.pth, recipe {settings.recipe}",
        f"data: {data_name(run.root)}, {count_of(len(train), 'training image')}",
        seen_text(seen, len(val), "validation image") if known else NOT_LOOKED_AT,
        protocol=settings.protocol,
        split_sha256=run.split_sha256,
        folds=f"fold {settings.fold} of {settings.folds}" if settings.fold else "",
    )
    return for_product(text, data_name(run.root))


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
    if not is_main_process():
        return
    content = {
        "checkpoint": asdict(run.checkpoint(progress.epoch, {})),
        "optimizer": run.optimizer.state_dict(),
        "progress": asdict(progress),
        "rng": torch.get_rng_state(),
    }
    write_atomic(run.out / "last.pth", to_bytes(content))
