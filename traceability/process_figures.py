"""The figure of a process over time: control charts, trends, defect classes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from common.colours import DEFECT_COLOUR, LINE_COLOUR, REVIEW_COLOUR
from common.plotting import escape_mathtext, save
from metrics.control_charts import PChart, TrendChart
from traceability.alarms import REJECT_RATE, Alarm
from traceability.process import Process, rejects_by_class

LIMIT_COLOUR, RUN_COLOUR = "#8c8c8c", "#e08a2b"
MOST_POINTS_WITH_MARKERS = 200
LABEL_LETTERS = 40
Chart = tuple[float, Callable[[Axes], None]]  # its height, and what draws it


def draw_process(
    path: Path, process: Process, alarms: Sequence[Alarm], source: str, both_limits: bool = False
) -> None:
    """All charts of a process above one another, on one time axis, as PNG or PDF.

    The reject rate comes first, then what may become one: shares for a person, then drift. The
    baseline is shaded unless it is everything; classes are drawn when there are several.
    """
    names, baseline, classes = process.names, process.baseline, rejects_by_class(process.groups)
    charts = charts_of(process, alarms, both_limits)
    heights = [height for height, _ in charts]
    width = float(np.clip(0.28 * len(names), 9, 20))
    figure = plt.figure(figsize=(width, 1.45 * sum(heights) + 1.5), layout="constrained")
    upper = figure
    if len(classes) > 1:
        upper, below = figure.subfigures(2, 1, height_ratios=(sum(heights), 2.2))
        draw_pareto(below.subplots(), classes)
    axes = list(upper.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    for axis, (_, draw) in zip(axes, charts, strict=True):
        draw(axis)
        if not baseline.all():
            shade(axis, baseline)
        axis.grid(alpha=0.3)
        axis.margins(x=0.01)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    name_subgroups(axes[-1], names, process.by)
    lines = [process.title(source), *(one.describe() for one in alarms[:1]), *process.notes()]
    figure.suptitle("\n".join(map(escape_mathtext, lines)), fontsize=11)
    save(figure, path)


def charts_of(process: Process, alarms: Sequence[Alarm], both_limits: bool) -> list[Chart]:
    """The charts in their order."""
    rejects = process.rejects
    limits = (rejects.alarm_lower, rejects.alarm_upper)
    title = f"reject rate, Laney p' chart, sigma_z {rejects.sigma_z:.2f}"

    def draw_rejects(axis: Axes) -> None:
        draw_p(axis, rejects, limits, rejects.beyond_limits, title)
        mark_episodes(axis, alarms)

    charts: list[Chart] = [(2, draw_rejects)]
    if both_limits:
        plain = ((rejects.lower, rejects.upper), rejects.beyond, "reject rate, p chart")
        charts.append((2, lambda axis: draw_p(axis, rejects, *plain)))
    for chart, title_beside, what in (
        (process.reviews, "parts for review, p' limit", "in review"),
        (process.not_judged, "parts not judged, p' limit", "not judged"),
    ):
        if chart:
            given = (chart, (chart.alarm_upper,), chart.spikes, title_beside, what)
            charts.append((1.3, lambda axis, given=given: draw_p(axis, *given)))
    for chart, name in (
        (process.probability, "drift: mean\nprobability"),
        (process.brightness, "drift: mean\nbrightness\n(0 to 255)"),
    ):
        charts.append((1.3, lambda axis, given=(chart, name): draw_trend(axis, *given)))
    return charts


def mark_episodes(axis: Axes, alarms: Sequence[Alarm]) -> None:
    """Vermillion behind the alarms of the reject rate."""
    label = "alarm: reject rate"
    for one in alarms:
        if one.kind == REJECT_RATE:
            axis.axvspan(
                one.first - 0.5, one.last + 0.5, color=DEFECT_COLOUR, alpha=0.15, label=label
            )
            label = None


def draw_p(
    axis: Axes,
    chart: PChart,
    limits: Sequence[np.ndarray],
    beyond: np.ndarray,
    title: str,
    what: str = "rejected",
) -> None:
    """Shares in %, stepped limits, the centre line, and the marks of what stands out."""
    x = np.arange(len(chart.rates))
    axis.plot(x, 100 * chart.rates, color=LINE_COLOUR, linewidth=1, **dots(x))
    axis.axhline(100 * chart.centre, color=LIMIT_COLOUR, linewidth=1, label="centre")
    for number, limit in enumerate(limits):
        label = None if number else "limits"
        axis.step(x, 100 * limit, where="mid", color=DEFECT_COLOUR, linewidth=1, label=label)
    mark(axis, x, 100 * chart.rates, chart.runs, beyond)
    axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    axis.set(ylabel=f"{what}, %")
    axis.set_title(f"{title}: centre {100 * chart.centre:.3g} %", fontsize=10, loc="left")


def draw_trend(axis: Axes, chart: TrendChart, name: str) -> None:
    """Means with the limits of an individuals chart."""
    x = np.arange(len(chart.values))
    axis.plot(x, chart.values, color=LINE_COLOUR, linewidth=1, **dots(x))
    if not np.isnan(chart.centre):
        axis.axhline(chart.centre, color=LIMIT_COLOUR, linewidth=1)
        for limit in (chart.lower, chart.upper):
            axis.axhline(limit, color=DEFECT_COLOUR, linewidth=1)
    for chosen, label, style in (
        (chart.few, "too few parts to be judged", {"color": "white", "edgecolors": LINE_COLOUR}),
        (chart.beyond, "beyond its limits", {"color": REVIEW_COLOUR, "marker": "D"}),
    ):
        if chosen.any():
            axis.scatter(x[chosen], chart.values[chosen], s=26, zorder=3, label=label, **style)
            axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
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
    """Rings around points in runs, vermillion dots on points beyond the limits."""
    for chosen, label, style in (
        (runs, "run of 8 or more", {"facecolors": "none", "edgecolors": RUN_COLOUR, "s": 46}),
        (beyond, "beyond its limits", {"color": DEFECT_COLOUR, "s": 26}),
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
