"""Figures of predictions on held-out images. Each takes plain data, a path, and its origin."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from common.colours import (
    DEFECT_COLOUR,
    GOOD_COLOUR,
    LINE_COLOUR,
    PALE_COLOUR,
)
from common.plotting import escape_mathtext, legend_above, save
from evaluation.errors import ALARM, COLOURS, MISSED, WRONG_KIND
from metrics.calibration import CALIBRATION_BINS
from metrics.exact import exact_rate

FEW_IMAGES = 50  # in the highest bar
PROBABILITIES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # ticks, evenly spaced by their logit
LARGEST_LOGIT = 7.5
CAPTION_LETTERS = 30
# Frames of parts that were predicted wrongly: in grey print they are apart, too
FRAMES = {MISSED: (4, "-"), ALARM: (4, "--"), WRONG_KIND: (4, ":")}


def draw_thresholds(axis: Axes, thresholds: Sequence[float], low: float, high: float) -> None:
    """Upright lines where the models decide, between the ends of an axis of probabilities."""
    places = sorted(set(thresholds))
    label = f"threshold {places[0]:.3g}"
    if len(places) > 1:
        label = f"thresholds, one a fold: {places[0]:.3g} to {places[-1]:.3g}"
    for number, place in enumerate(places):
        axis.axvline(
            float(np.clip(place, low, high)), color="black", linestyle=":", linewidth=1.5,
            label=None if number else label,
        )  # fmt: skip


def plot_roc_pr(
    path: Path, is_defect: np.ndarray, prob_defect: np.ndarray, rejected: np.ndarray, origin: str
) -> None:
    """ROC and precision-recall curves of 'defect', what was decided (N,) marked on both."""
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    recall_at = (rejected & is_defect).sum() / max(is_defect.sum(), 1)
    alarms_at = (rejected & ~is_defect).sum() / max((~is_defect).sum(), 1)
    precision_at = (rejected & is_defect).sum() / max(rejected.sum(), 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.2), layout="constrained")
    if 0 < is_defect.sum() < len(is_defect):
        alarms, recall, _ = roc_curve(is_defect, prob_defect)
        left.plot(alarms, recall, color=LINE_COLOUR, label=f"AUC {auc(alarms, recall):.4f}")
        precision, recall, _ = precision_recall_curve(is_defect, prob_defect)
        mean_precision = average_precision_score(is_defect, prob_defect)
        label = f"average precision {mean_precision:.4f}"
        right.plot(recall, precision, color=LINE_COLOUR, label=label)
    mark = {"color": DEFECT_COLOUR, "marker": "D", "linestyle": "", "zorder": 3}
    left.plot(alarms_at, recall_at, label="as decided", **mark)
    right.plot(recall_at, precision_at, label="as decided", **mark)
    left.plot([0, 1], [0, 1], color=PALE_COLOUR, linestyle=":", label="guessing")
    left.set(xlabel="false-alarm rate", ylabel="recall (share of defects caught)")
    right.set(xlabel="recall (share of defects caught)", ylabel="precision")
    for axis in (left, right):
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
        legend_above(axis)
    save(figure, path, "ROC, and precision against recall", origin)


def plot_score_histogram(
    path: Path, is_defect: np.ndarray, prob_defect: np.ndarray, thresholds: Sequence[float],
    origin: str,
) -> None:  # fmt: skip
    """How defective and good parts spread over the defect probability; counts on a log scale."""
    figure, axis = plt.subplots(figsize=(8, 4.6), layout="constrained")
    edges = np.linspace(0, 1, 41)
    good, defective = (
        np.histogram(np.clip(prob_defect[chosen], 0, 1), edges)[0]
        for chosen in (~is_defect, is_defect)
    )
    axis.stairs(good, edges, fill=True, color=GOOD_COLOUR, alpha=0.6,
                label=f"{good.sum():,} good")  # fmt: skip
    axis.stairs(defective, edges, fill=True, facecolor="none", edgecolor=DEFECT_COLOUR,
                hatch="////", linewidth=1.2, label=f"{defective.sum():,} defective")  # fmt: skip
    draw_thresholds(axis, thresholds, 0, 1)
    counts_on_log_scale(axis, max(good.max(), defective.max()))
    axis.set(xlabel="defect probability", ylabel="images (log scale)", xlim=(-0.01, 1.01))
    legend_above(axis)
    save(figure, path, "Predictions on good and on defective parts", origin)


def counts_on_log_scale(axis: Axes, highest: int) -> None:
    """A vertical axis from 0 over 1, 10, 100 to the highest count; 1, 2, 5 where it is small."""
    axis.set_yscale("symlog", linthresh=1, linscale=0.5)  # 0 to 1 is half as high as 1 to 10
    top = max(2 * highest, 15)
    steps = (1, 2, 5) if highest < FEW_IMAGES else (1,)
    decades = [10**power for power in range(len(str(top)))]
    ticks = [0, *(step * ten for ten in decades for step in steps if step * ten <= top)]
    axis.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set_ylim(0, top)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)


def plot_parts(
    path: Path,
    parts: Sequence[tuple[np.ndarray, str, str]],
    title: str,
    origin: str,
    columns: int = 4,
) -> None:
    """Images of parts `(grey (H, W), caption, sort)`; each sort of errors has its thick frame."""
    lines = max(1, -(-len(parts) // columns))
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.6 * columns, 3.3 * lines + 0.7), layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (image, caption, sort) in zip(axes.flat, parts, strict=False):
        axis.set_axis_on()
        axis.set(xticks=[], yticks=[])
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        lines_of_text = map(caption_line, caption.split("\n"))
        axis.set_title("\n".join(lines_of_text), fontsize=9)
        width, line = FRAMES.get(sort, (1, "-"))
        for spine in axis.spines.values():
            spine.set(color=COLOURS[sort], linewidth=width, linestyle=line)
    save(figure, path, title, origin)


def caption_line(text: str) -> str:
    """A line below a picture; of a long name its beginning and its end."""
    if len(text) > CAPTION_LETTERS:
        half = CAPTION_LETTERS // 2
        text = f"{text[: half - 1]}…{text[-half:]}"
    return escape_mathtext(text)


def around_scores(
    prob_defect: np.ndarray, thresholds: Sequence[float]
) -> tuple[np.ndarray, list[float]]:
    """Thresholds in even steps of the logit over all scores, and which of them to name."""
    values = np.clip([*prob_defect, *thresholds], 1e-9, 1 - 1e-9)
    logits = np.clip(np.log(values / (1 - values)), -LARGEST_LOGIT, LARGEST_LOGIT)
    low, high = logits.min() - 0.3, logits.max() + 0.3
    grid = 1 / (1 + np.exp(-np.linspace(low, high, 721)))
    ticks = [value for value in PROBABILITIES if grid[0] <= value <= grid[-1]]
    if len(ticks) < 4:
        even = MaxNLocator(6).tick_values(grid[0], grid[-1])
        ticks = [float(value) for value in even if grid[0] <= value <= grid[-1]]
    return grid, ticks


def plot_threshold(
    path: Path, is_defect: np.ndarray, prob_defect: np.ndarray, thresholds: Sequence[float],
    origin: str,
) -> None:  # fmt: skip
    """Missed defects and false alarms against the threshold; the chosen ones marked."""
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    grid, ticks = around_scores(prob_defect, thresholds)
    scores = (np.sort(prob_defect[is_defect]), np.sort(prob_defect[~is_defect]))
    missed = np.searchsorted(scores[0], grid) / max(len(scores[0]), 1)
    alarms = 1 - np.searchsorted(scores[1], grid) / max(len(scores[1]), 1)
    axis.plot(
        grid, 100 * missed, color=DEFECT_COLOUR, label=f"missed of {len(scores[0]):,} defects"
    )
    axis.plot(grid, 100 * alarms, color=GOOD_COLOUR, linestyle="--",
              label=f"rejected of {len(scores[1]):,} good")  # fmt: skip
    draw_thresholds(axis, thresholds, grid[0], grid[-1])
    axis.set_xscale("logit")
    axis.set_xticks(ticks, [f"{value:.6g}" for value in ticks])
    axis.minorticks_off()
    axis.set(xlim=(grid[0], grid[-1]), ylim=(0, None))
    axis.set(xlabel="threshold on the defect probability", ylabel="% of images")
    axis.grid(alpha=0.3)
    legend_above(axis)
    save(figure, path, "Missed defects and false alarms at other thresholds", origin)


def plot_reliability(path: Path, curves: Sequence[tuple], origin: str) -> None:
    """Share of defects against predicted probability, `(name, counts, means, rates)` a curve.

    The last is that of the model as it is: with intervals, and how many images each bin holds.
    """
    figure, (axis, below) = plt.subplots(
        2, 1, figsize=(7, 5.8), layout="constrained", height_ratios=(3, 1), sharex=True
    )
    axis.plot([0, 1], [0, 1], color=PALE_COLOUR, linestyle=":", label="perfectly calibrated")
    *earlier, (name, counts, means, rates) = curves
    for other, _, *points in earlier:
        axis.plot(*points, "s--", color=PALE_COLOUR, markersize=5, label=other)
    bounds = [exact_rate(round(n * rate), int(n)) for n, rate in zip(counts, rates, strict=True)]
    errors = [
        np.maximum(0, [rate - bound["low"], bound["high"] - rate])
        for rate, bound in zip(rates, bounds, strict=True)
    ]
    axis.errorbar(
        means, rates, np.transpose(errors), fmt="o-", color=LINE_COLOUR, capsize=3, label=name
    )
    middles = (
        np.minimum(means * CALIBRATION_BINS, CALIBRATION_BINS - 1) // 1 + 0.5
    ) / CALIBRATION_BINS
    bins = below.bar(middles, counts, width=0.8 / CALIBRATION_BINS, color=LINE_COLOUR)
    below.bar_label(bins, [f"{count:,}" for count in counts], fontsize=8, padding=2)
    counts_on_log_scale(below, 4 * int(counts.max()))
    axis.set(ylabel="share of defects", xlim=(-0.05, 1.05), ylim=(-0.02, 1.02))
    below.set(xlabel="predicted defect probability", ylabel="images (log scale)")
    axis.grid(alpha=0.3)
    legend_above(axis, columns=1)
    save(figure, path, "Can the probabilities be believed?", origin)


def plot_probes(path: Path, probes: dict[str, dict | None], title: str, origin: str) -> None:
    """ROC-AUC with its interval under each probe, and how many decisions it changed.

    `probes` are the figures of probe.py, by name; one without figures is left out.
    """
    shown = {name: probe for name, probe in probes.items() if probe}
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 2.2 + 0.3 * len(shown)), layout="constrained", sharey=True
    )
    for line, probe in enumerate(shown.values()):
        auc = probe["roc_auc"]
        if auc["mean"] is not None:
            left.plot([auc["low"], auc["high"]], [line, line], color=LINE_COLOUR, linewidth=2)
            left.plot(auc["mean"], line, marker="o", color=LINE_COLOUR)
        share = 100 * probe["decisions_changed"]["rate"]
        right.barh(line, share, height=0.6, color=PALE_COLOUR)
        right.text(share, line, f" {share:.1f} %", va="center", fontsize=9)
    left.axvline(0.5, color=DEFECT_COLOUR, linestyle="--", label="0.5: tells nothing")
    left.set(xlabel="ROC-AUC, interval 95 %", xlim=(-0.02, 1.02))
    left.set_yticks(range(len(shown)), list(shown))
    left.invert_yaxis()  # the right one shares it
    legend_above(left)
    right.set(xlabel="decisions changed, % of images", xlim=(0, 100))
    for axis in (left, right):
        axis.grid(axis="x", alpha=0.3)
    save(figure, path, title, origin)
