"""The learning curves of a run."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from common.colours import LINE_COLOUR, PALE_COLOUR
from common.plotting import legend_above, save
from common.text import count_of

STYLES = {
    "training": ("train", {"color": PALE_COLOUR, "linestyle": "--", "marker": "s"}),
    "validation": ("val", {"color": LINE_COLOUR, "linestyle": "-", "marker": "o"}),
}
MOST_EPOCHS_WITH_MARKERS = 40


def plot_curves(
    path: Path, history: Sequence[dict], kept_epoch: int, chosen: bool, origin: str
) -> None:
    """Loss and accuracy of training and validation over the epochs, the kept epoch marked.

    Args:
        chosen: whether it was kept for its validation loss; else it is the last one.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axis, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for name, (part, style) in STYLES.items():
            values = [row[f"{part}_{quantity}"] for row in history]
            size = 4 if len(epochs) <= MOST_EPOCHS_WITH_MARKERS else 0
            axis.plot(epochs, values, markersize=size, label=name, **style)
        axis.axvline(kept_epoch, color="black", linestyle=":", label=f"kept: epoch {kept_epoch}")
        axis.set(xlabel="epoch", ylabel=quantity)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        legend_above(axis)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(top=1.01)
    kept = "that of the lowest validation loss" if chosen else "the last one"
    title = f"Learning curves of {count_of(len(epochs), 'epoch')}; kept is {kept}"
    save(figure, path, title, origin)
