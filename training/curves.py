"""The learning curves of a run."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from common.colours import GOOD_COLOUR, LINE_COLOUR
from common.plotting import save


def plot_curves(path: Path, history: Sequence[dict], best_epoch: int, title: str) -> None:
    """Loss and accuracy of training and validation over the epochs, the best epoch marked."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axis, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for part, colour in (("train", "#8c8c8c"), ("val", LINE_COLOUR)):
            values = [row[f"{part}_{quantity}"] for row in history]
            name = {"train": "training", "val": "validation"}[part]
            axis.plot(epochs, values, marker="o", markersize=3, color=colour, label=name)
        axis.axvline(best_epoch, color=GOOD_COLOUR, linestyle="--", label=f"best: {best_epoch}")
        axis.set(xlabel="epoch", ylabel=quantity)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0].set_ylim(bottom=0)
    figure.suptitle(title)
    save(figure, path)
