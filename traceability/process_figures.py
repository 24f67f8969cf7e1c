"""The figure of a process over time: control charts, trends, defect classes."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from common.colours import DEFECT_COLOUR, LINE_COLOUR
from common.plotting import escape_mathtext, save
from metrics.control_charts import PChart, TrendChart
from traceability.process import Process, rejects_by_class

LIMIT_COLOUR, RUN_COLOUR = "#8c8c8c", "#e08a2b"
MOST_POINTS_WITH_MARKERS = 200
LABEL_LETTERS = 40


def draw_process(path: Path, process: Process, title: str) -> None:
    """All charts of a process above one another, on one time axis, as PNG.

    The baseline is shaded unless it is everything; classes are drawn when there are several.
    """
    names, baseline, classes = process.names, process.baseline, rejects_by_class(process.groups)
    rejects = process.rejects
    beside = [
        (chart, title, what)
        for chart, title, what in (
            (process.reviews, "parts for review, p' limits", "in review"),
            (process.not_judged, "parts not judged, p' limits", "not judged"),
        )
        if chart
    ]
    heights = [2, 2, 1.6] + [1.3] * (len(beside) + 2)
    width = float(np.clip(0.28 * len(names), 9, 20))
    figure = plt.figure(figsize=(width, 1.45 * sum(heights) + 1), layout="constrained")
    below = None
    upper = figure
    if len(classes) > 1:
        upper, below = figure.subfigures(2, 1, height_ratios=(sum(heights), 2.2))
        draw_pareto(below.subplots(), classes)
    axes = list(upper.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    draw_p(axes[0], rejects, rejects.lower, rejects.upper, rejects.beyond, "p chart")
    laney = (rejects.laney_lower, rejects.laney_upper, rejects.laney_beyond)
    draw_p(axes[1], rejects, *laney, f"Laney p' chart, sigma_z {rejects.sigma_z:.2f}")
    draw_z(axes[2], rejects)
    for axis, (chart, chart_title, what) in zip(axes[3:-2], beside, strict=True):
        limits = (chart.laney_lower, chart.laney_upper, chart.laney_beyond)
        draw_p(axis, chart, *limits, chart_title, what)
    draw_trend(axes[-2], process.probability, "mean defect\nprobability")
    draw_trend(axes[-1], process.brightness, "mean brightness\n(0 to 255)")
    for axis in axes:
        if not baseline.all():
            shade(axis, baseline)
        axis.grid(alpha=0.3)
        axis.margins(x=0.01)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    name_subgroups(axes[-1], names, process.by)
    figure.suptitle(escape_mathtext(title), fontsize=11)
    save(figure, path)


def draw_p(
    axis: Axes, chart: PChart, lower: np.ndarray, upper: np.ndarray, beyond: np.ndarray, title: str,
    what: str = "rejected",
) -> None:  # fmt: skip
    """Shares in %, stepped limits, the centre line, and the marks of what stands out."""
    x = np.arange(len(chart.rates))
    axis.plot(x, 100 * chart.rates, color=LINE_COLOUR, linewidth=1, **dots(x))
    axis.axhline(100 * chart.centre, color=LIMIT_COLOUR, linewidth=1, label="centre")
    for number, limit in enumerate((lower, upper)):
        label = None if number else "3 sigma limits"
        axis.step(x, 100 * limit, where="mid", color=DEFECT_COLOUR, linewidth=1, label=label)
    mark(axis, x, 100 * chart.rates, chart.runs, beyond)
    axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    axis.set(ylabel=f"{what}, %")
    axis.set_title(f"{title}: centre {100 * chart.centre:.3g} %", fontsize=10, loc="left")


def draw_z(axis: Axes, chart: PChart) -> None:
    """Standardised shares of both charts, between 3 sigma lines; far ones at the edge."""
    x = np.arange(len(chart.z))
    for z, colour, name in (
        (chart.z, LIMIT_COLOUR, "z, binomial (p)"),
        (chart.laney_z, LINE_COLOUR, "z, Laney (p')"),
    ):
        axis.plot(x, np.clip(z, -8, 8), color=colour, linewidth=1, label=name, **dots(x))
    for sign in (-1, 1):
        axis.axhline(3 * sign, color=DEFECT_COLOUR, linewidth=1)
    axis.axhline(0, color=LIMIT_COLOUR, linewidth=1)
    mark(axis, x, np.clip(chart.laney_z, -8, 8), np.zeros(len(x), bool), chart.laney_beyond)
    axis.set(ylim=(-8.5, 8.5), ylabel="z, cut at 8")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def draw_trend(axis: Axes, chart: TrendChart, name: str) -> None:
    """Means with the limits of an individuals chart."""
    x = np.arange(len(chart.values))
    axis.plot(x, chart.values, color=LINE_COLOUR, linewidth=1, **dots(x))
    if not np.isnan(chart.centre):
        axis.axhline(chart.centre, color=LIMIT_COLOUR, linewidth=1)
        for limit in (chart.lower, chart.upper):
            axis.axhline(limit, color=DEFECT_COLOUR, linewidth=1)
    mark(axis, x, chart.values, np.zeros(len(x), bool), chart.beyond)
    axis.set_ylabel(name)


def draw_pareto(axis: Axes, classes: dict[str, int]) -> None:
    """Rejected parts by class, the most frequent first, and their cumulative share."""
    counts = np.array(list(classes.values()))
    x = np.arange(len(counts))
    bars = axis.bar(x, counts, color=LINE_COLOUR, width=0.7)
    axis.bar_label(bars, fmt="{:,.0f}")
    axis.set_xticks(x, [escape_mathtext(name, LABEL_LETTERS) for name in classes])
    axis.set(ylabel="rejected parts", ylim=(0, 1.15 * counts.max()))
    axis.set_title("rejects by class", fontsize=10, loc="left")
    share = axis.twinx()
    share.plot(x, 100 * counts.cumsum() / counts.sum(), color=RUN_COLOUR, marker="o", markersize=4)
    share.set(ylim=(0, 108), ylabel="cumulative, %")


def dots(x: np.ndarray) -> dict:
    """Markers, where there is room for them."""
    return {"marker": "o", "markersize": 3} if len(x) <= MOST_POINTS_WITH_MARKERS else {}


def mark(axis: Axes, x: np.ndarray, y: np.ndarray, runs: np.ndarray, beyond: np.ndarray) -> None:
    """Rings around points in runs, red dots on points beyond the limits."""
    for chosen, label, style in (
        (runs, "run of 8 or more", {"facecolors": "none", "edgecolors": RUN_COLOUR, "s": 46}),
        (beyond, "beyond 3 sigma", {"color": DEFECT_COLOUR, "s": 26}),
    ):
        if chosen.any():
            axis.scatter(x[chosen], y[chosen], label=label, zorder=3, linewidths=1.5, **style)


def shade(axis: Axes, baseline: np.ndarray) -> None:
    """Grey behind the baseline."""
    inside = np.flatnonzero(baseline)
    axis.axvspan(inside[0] - 0.5, inside[-1] + 0.5, color="black", alpha=0.06, label="baseline")


def name_subgroups(axis: Axes, names: Sequence[str], by: str) -> None:
    """Names below the lowest chart, as many as there is room for."""

    def name_at(place: float, _=None) -> str:
        whole = round(place)
        there = abs(place - whole) < 1e-6 and 0 <= whole < len(names)
        return escape_mathtext(names[whole], LABEL_LETTERS) if there else ""

    axis.xaxis.set_major_locator(MaxNLocator(nbins=24, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(name_at))
    axis.tick_params(axis="x", rotation=60)
    for text in axis.get_xticklabels():
        text.set(horizontalalignment="right", rotation_mode="anchor")
    axis.set_xlabel(by)
