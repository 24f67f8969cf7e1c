"""Figures of the audit: the castings, and held-out images beside what train shows."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from common.colours import GOOD_COLOUR, LINE_COLOUR
from common.labels import is_defect
from common.plotting import save


def plot_audit(
    path: Path, result: dict, scores: dict[str, np.ndarray], threshold: float, title: str
) -> None:
    """Castings by size and class, share of held-out images of known castings, score histogram."""
    figure, (sizes, known, scored) = plt.subplots(
        1, 3, figsize=(15, 4.4), layout="constrained", width_ratios=(2.2, 0.8, 1.6)
    )
    bottom = np.zeros(len(result["casting_table"]))
    labels = sorted({label for line in result["casting_table"] for label in line["labels"]})
    defect_colours = iter(sns.color_palette("Reds_r", len(labels)))
    for label in labels:
        counts = np.array([line["labels"].get(label, 0) for line in result["casting_table"]])
        colour = next(defect_colours) if is_defect(label) else GOOD_COLOUR
        sizes.bar(range(len(counts)), counts, bottom=bottom, width=1, color=colour, label=label)
        bottom += counts
    sizes.set(xlabel="castings, largest first", ylabel="images")
    sizes.set_title(f"{result['castings']} castings, {result['castings_good']} of them good")
    sizes.legend()
    shares = {
        {"val": "validation", "test": "test"}[split]: 100 * line["count"] / max(line["of"], 1)
        for split, line in result["held_out_known"].items()
    }
    bars = known.bar(list(shares), list(shares.values()), color=LINE_COLOUR, width=0.6)
    known.bar_label(bars, fmt="%.1f %%")
    known.set(ylim=(0, 112), ylabel="% of images", title="casting also in train")
    for (name, values), colour in zip(scores.items(), (LINE_COLOUR, "#e08a2b"), strict=False):
        sns.histplot(
            x=values, bins=np.linspace(0, 1, 51), color=colour, label=name, alpha=0.6, ax=scored
        )
    scored.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    baseline = result["copy_lookup"]["val and test"]
    scored.set(xlabel="correlation of the rings", ylabel="images")
    scored.set_title(f"nearest-neighbour baseline: {100 * baseline['accuracy']:.1f} % right")
    scored.legend(loc="upper left")
    figure.suptitle(title)
    save(figure, path)


def plot_copies(path: Path, lines: Sequence[Sequence[tuple[np.ndarray, str]]], title: str) -> None:
    """Images `(grey (H, W), caption)` side by side, one column for each line."""
    figure, axes = plt.subplots(
        len(lines[0]),
        len(lines),
        figsize=(2.7 * len(lines), 3.1 * len(lines[0])),
        layout="constrained",
        squeeze=False,
    )
    for column, line in zip(axes.T, lines, strict=True):
        for axis, (image, caption) in zip(column, line, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            axis.set_title(caption, fontsize=9)
            axis.set_axis_off()
    figure.suptitle(title)
    save(figure, path)
