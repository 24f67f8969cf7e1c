"""The learning curves of a run."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from common.colours import LINE_COLOUR, PALE_COLOUR
from common.plotting import legend_above, save

STYLES = {
    "training": ("train", {"color": PALE_COLOUR, "linestyle": "--", "marker": "s"}),
    "validation": ("val", {"color": LINE_COLOUR, "linestyle": "-", "marker": "o"}),
}
MOST_EPOCHS_WITH_MARKERS = 40


def plot_curves(path: Path, history: Sequence[dict], best_epoch: int, origin: str) -> None:
    """Loss and accuracy of training and validation over the epochs, the best epoch marked."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axis, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for name, (part, style) in STYLES.items():
            values = [row[f"{part}_{quantity}"] for row in history]
            size = 4 if len(epochs) <= MOST_EPOCHS_WITH_MARKERS else 0
            axis.plot(epochs, values, markersize=size, label=name, **style)
        axis.axvline(best_epoch, color="black", linestyle=":", label=f"best epoch: {best_epoch}")
        axis.set(xlabel="epoch", ylabel=quantity)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        legend_above(axis)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(top=1.01)
    title = f"Learning curves of {len(epochs)} epochs; kept is the lowest validation loss"
    save(figure, path, title, origin)
