"""Figures of predictions on held-out images. Each takes plain data and a path."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import NullFormatter, ScalarFormatter

from common.colours import DEFECT_COLOUR, GOOD_COLOUR, LINE_COLOUR, RIGHT_COLOUR, WRONG_COLOUR
from common.plotting import save


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
        left.plot(alarms, recall, color=LINE_COLOUR, label=f"AUC {auc(alarms, recall):.4f}")
        precision, recall, _ = precision_recall_curve(is_defect, prob_defect)
        mean_precision = average_precision_score(is_defect, prob_defect)
        label = f"average precision {mean_precision:.4f}"
        right.plot(recall, precision, color=LINE_COLOUR, label=label)
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
    """Images of parts `(grey (H, W), caption, right?)`, framed green when right, red when not."""
    lines = max(1, -(-len(parts) // columns))
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.6 * columns, 3.1 * lines + 0.5), layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (image, caption, right) in zip(axes.flat, parts, strict=False):
        axis.set_axis_on()
        axis.set(xticks=[], yticks=[])
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(caption, fontsize=9)
        for spine in axis.spines.values():
            spine.set(color=RIGHT_COLOUR if right else WRONG_COLOUR, linewidth=4)
    figure.suptitle(title)
    save(figure, path)


def plot_threshold(
    path: Path, is_defect: np.ndarray, prob_defect: np.ndarray, thresholds: Sequence[float],
    title: str,
) -> None:  # fmt: skip
    """Missed defects and false alarms against the threshold; the chosen ones marked."""
    figure, axis = plt.subplots(figsize=(8, 4.4), layout="constrained")
    grid = 1 / (1 + np.exp(-np.linspace(-9, 9, 721)))  # even steps of the logit
    scores = (np.sort(prob_defect[is_defect]), np.sort(prob_defect[~is_defect]))
    missed = np.searchsorted(scores[0], grid) / max(len(scores[0]), 1)
    alarms = 1 - np.searchsorted(scores[1], grid) / max(len(scores[1]), 1)
    axis.plot(grid, 100 * missed, color=DEFECT_COLOUR, label=f"missed of {len(scores[0])} defects")
    axis.plot(grid, 100 * alarms, color=GOOD_COLOUR, label=f"rejected of {len(scores[1])} good")
    for number, threshold in enumerate(sorted(set(thresholds))):
        label = "chosen threshold" + ("s, one a fold" if len(set(thresholds)) > 1 else "")
        place = float(np.clip(threshold, grid[0], grid[-1]))
        style = {"color": "black", "linestyle": "--", "linewidth": 1}
        axis.axvline(place, label=label if number == 0 else None, **style)
    axis.set_xscale("logit")
    axis.set(xlabel="threshold on the defect probability", ylabel="% of images", title=title)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    axis.legend()
    save(figure, path)


def plot_reliability(path: Path, curves: Sequence[tuple], title: str) -> None:
    """Share of defects against predicted probability, `(name, counts, means, rates)` a curve."""
    figure, (axis, below) = plt.subplots(
        2, 1, figsize=(6, 6.4), layout="constrained", height_ratios=(3, 1), sharex=True
    )
    axis.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":")
    for (name, counts, means, rates), colour in zip(curves, ("#8c8c8c", LINE_COLOUR), strict=False):
        axis.plot(means, rates, marker="o", color=colour, label=name)
        below.plot(means, counts, marker="o", color=colour)
    axis.set(ylabel="share of defects", title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    below.set(xlabel="predicted defect probability", ylabel="images", yscale="log")
    below.yaxis.set_minor_formatter(NullFormatter())
    for each in (axis, below):
        each.grid(alpha=0.3)
    axis.legend(loc="upper left")
    save(figure, path)


def plot_probes(path: Path, probes: dict[str, dict | None], title: str) -> None:
    """ROC-AUC with its interval under each probe, and how many decisions it changed.

    `probes` are the figures of probe.py, by name; one without figures is left out.
    """
    shown = {name: probe for name, probe in probes.items() if probe}
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 1.6 + 0.3 * len(shown)), layout="constrained", sharey=True
    )
    for line, probe in enumerate(shown.values()):
        auc = probe["roc_auc"]
        if auc["mean"] is not None:
            left.plot([auc["low"], auc["high"]], [line, line], color=LINE_COLOUR, linewidth=2)
            left.plot(auc["mean"], line, marker="o", color=LINE_COLOUR)
        share = 100 * probe["decisions_changed"]["rate"]
        right.barh(line, share, height=0.6, color="#8c8c8c")
        right.text(share, line, f" {share:.1f} %", va="center", fontsize=9)
    left.axvline(0.5, color=DEFECT_COLOUR, linestyle="--", label="0.5: tells nothing")
    left.set(xlabel="ROC-AUC, interval 95 %", xlim=(-0.02, 1.02))
    left.set_yticks(range(len(shown)), list(shown))
    left.invert_yaxis()  # the right one shares it
    left.legend(loc="lower left", fontsize=8)
    right.set(xlabel="decisions changed, % of images", xlim=(0, 100))
    for axis in (left, right):
        axis.grid(axis="x", alpha=0.3)
    figure.suptitle(title)
    save(figure, path)
