"""Curves of a run while it trains, for TensorBoard."""

from pathlib import Path

# Columns of history.csv by their names there. All are drawn over the images seen, so that runs
# with other batches, or epochs of another size, can be laid over each other.
SCALARS = {
    "train_loss": "loss/training",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/training",
    "val_accuracy": "accuracy/validation",
    "val_missed": "validation/missed defects",
    "val_false_alarms": "validation/false alarms",
    "learning_rate": "learning rate",
}
LOSS_SO_FAR = "loss/training, the epoch so far"


class LiveCurves:
    """What TensorBoard draws, in files beside last.pth; nothing without a folder."""

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.writer = None

    def add(self, images_seen: int, values: dict[str, float]) -> None:
        """Points of curves, by their names.

        A run that goes on may repeat what a crash took: the first point takes back what was
        written of that many images and more.
        """
        if self.folder is None:
            return
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=images_seen, flush_secs=5)
        for name, value in values.items():
            self.writer.add_scalar(name, value, images_seen)

    def add_epoch(self, images_seen: int, row: dict[str, float]) -> None:
        """A row of history.csv."""
        self.add(images_seen, {name: row[column] for column, name in SCALARS.items()})

    def close(self) -> None:
        """Write what is left."""
        if self.writer:
            self.writer.close()
