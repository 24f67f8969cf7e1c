"""Every figure of the repository. Each takes plain data and a path, and writes a PNG atomically."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no screen needed

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from common import write_atomic

GOOD_COLOUR, DEFECT_COLOUR = "#2a9d5c", "#c8413a"
RIGHT_COLOUR, WRONG_COLOUR = GOOD_COLOUR, DEFECT_COLOUR


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically, and free it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    write_atomic(path, buffer.getvalue())


def plot_curves(path: Path, history: Sequence[dict], best_epoch: int, title: str) -> None:
    """Loss and accuracy of training and validation over the epochs, the best epoch marked."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axis, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for part, colour in (("train", "#8c8c8c"), ("val", "#1f5fa8")):
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


def plot_confusion(path: Path, matrix: np.ndarray, class_names: Sequence[str], title: str) -> None:
    """Confusion matrix (C, C): counts, and percentages of each true class."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    cells = [
        [f"{count}\n{part:.1%}" for count, part in zip(counts, parts, strict=True)]
        for counts, parts in zip(matrix, share, strict=True)
    ]
    side = 2.5 + 1.1 * len(class_names)
    figure, axis = plt.subplots(figsize=(side + 1, side), layout="constrained")
    sns.heatmap(
        share, annot=np.array(cells), fmt="", cmap="Blues", vmin=0, vmax=1, square=True,
        linewidths=1, xticklabels=class_names, yticklabels=class_names, ax=axis,
        cbar_kws={"label": "share of the true class", "shrink": 0.8},
    )  # fmt: skip
    axis.set(xlabel="predicted", ylabel="true")
    axis.tick_params(axis="x", rotation=30 if len(class_names) > 2 else 0)
    axis.tick_params(axis="y", rotation=0)
    axis.set_title(title, fontsize=10, wrap=True)
    save(figure, path)


def plot_roc_pr(
    path: Path, is_defect: np.ndarray, prob_defect: np.ndarray, threshold: float, title: str
) -> None:
    """ROC and precision-recall curves of 'defect', the chosen threshold marked on both."""
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    rejected = prob_defect >= threshold
    recall_at = (rejected & is_defect).sum() / max(is_defect.sum(), 1)
    alarms_at = (rejected & ~is_defect).sum() / max((~is_defect).sum(), 1)
    precision_at = (rejected & is_defect).sum() / max(rejected.sum(), 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    if 0 < is_defect.sum() < len(is_defect):
        alarms, recall, _ = roc_curve(is_defect, prob_defect)
        left.plot(alarms, recall, color="#1f5fa8", label=f"AUC {auc(alarms, recall):.4f}")
        precision, recall, _ = precision_recall_curve(is_defect, prob_defect)
        mean_precision = average_precision_score(is_defect, prob_defect)
        label = f"average precision {mean_precision:.4f}"
        right.plot(recall, precision, color="#1f5fa8", label=label)
    mark = {"color": DEFECT_COLOUR, "marker": "o", "linestyle": "", "zorder": 3}
    left.plot(alarms_at, recall_at, label=f"threshold {threshold:.2f}", **mark)
    right.plot(recall_at, precision_at, label=f"threshold {threshold:.2f}", **mark)
    left.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":")
    left.set(xlabel="false-alarm rate", ylabel="recall (defects caught)", title="ROC")
    right.set(xlabel="recall (defects caught)", ylabel="precision", title="precision and recall")
    for axis in (left, right):
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right" if axis is left else "lower center")
    figure.suptitle(title)
    save(figure, path)


def plot_score_histogram(
    path: Path, is_defect: np.ndarray, prob_defect: np.ndarray, threshold: float, title: str
) -> None:
    """How defective and good parts spread over the defect probability; counts on a log scale."""
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    classes = ((~is_defect, "good", GOOD_COLOUR), (is_defect, "defective", DEFECT_COLOUR))
    for chosen, name, colour in classes:
        label = f"{name} ({chosen.sum()})"
        sns.histplot(
            x=prob_defect[chosen], bins=np.linspace(0, 1, 41), color=colour, label=label,
            alpha=0.6, ax=axis,
        )  # fmt: skip
    axis.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.set(xlabel="defect probability", ylabel="images", title=title, ylim=(0, None))
    axis.legend(loc="upper center")
    save(figure, path)


def plot_parts(
    path: Path, parts: Sequence[tuple[np.ndarray, str, bool]], title: str, columns: int = 4
) -> None:
    """Pictures of parts `(grey (H, W), caption, right?)`, framed green when right, red when not."""
    lines = max(1, -(-len(parts) // columns))
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.6 * columns, 3.1 * lines + 0.5), layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (picture, caption, right) in zip(axes.flat, parts, strict=False):
        axis.set_axis_on()
        axis.set(xticks=[], yticks=[])
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(caption, fontsize=9)
        for spine in axis.spines.values():
            spine.set(color=RIGHT_COLOUR if right else WRONG_COLOUR, linewidth=4)
    figure.suptitle(title)
    save(figure, path)
