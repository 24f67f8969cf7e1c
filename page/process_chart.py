"""The interactive chart of the page Process: one point a lot, hour, shift or day."""

from collections.abc import Iterable

import altair
import numpy as np
import pandas
import streamlit as st

from common.colours import DEFECT_COLOUR, GOOD_COLOUR, REVIEW_COLOUR, UNDECIDED_COLOUR
from common.text import printable
from metrics.control_charts import FEW, RUN_LENGTH
from page.words import escape_markdown
from traceability.process import Process

RATE, PROBABILITY, BRIGHTNESS = "Reject rate", "Drift: probability", "Drift: brightness"
VIEWS = (RATE, PROBABILITY, BRIGHTNESS)
MOST_POINTS = 500  # a browser draws them at once, and a person can still choose one
QUIET, RUN, FEW_PARTS, BEYOND = "within", "in a run", "too few parts", "beyond its limits"
MARKS = {  # shape, size
    QUIET: ("circle", 40), RUN: ("diamond", 110), FEW_PARTS: ("cross", 60),
    BEYOND: ("triangle-up", 220),
}  # fmt: skip
LEGEND = {
    BEYOND: "Triangle: beyond its limits.",
    RUN: f"Diamond: one of {RUN_LENGTH} or more in a row on one side of the centre.",
    FEW_PARTS: f"Cross: fewer than {FEW:.0%} of the usual number of parts, too few to be judged.",
}
# Lines of the chart: column, name, and how far above or below the line the name stands, in px
LINES = (("upper", "upper limit", -8), ("centre", "centre", -8), ("lower", "lower limit", 9))
POINT, CHOSEN = "point", "chosen"  # a column; the name of the selection


def show_chart(process: Process, view: str, key: str) -> list[str]:
    """The chart with what a click chooses in it; returns the points that are chosen."""
    table = chart_table(process, view)
    if len(process.groups) > len(table):
        st.caption(
            f"The last {len(table):,} of {len(process.groups):,} points; choose days for earlier."
        )
    event = st.altair_chart(
        chart(table, view, process.by), on_select="rerun", key=f"chart {key} {view}",
        alt=f"{view} by {process.by}: {len(table)} points, {(table.state == BEYOND).sum()} "
        "beyond limits",
    )  # fmt: skip
    times = f"Times are of {process.division.clock.zone_name}."
    told = [text for state, text in LEGEND.items() if (table.state == state).any()]
    st.caption(escape_markdown(" ".join([*told, process.limits_text(), *process.notes(), times])))
    return [one[POINT] for one in event.selection.get(CHOSEN, [])]


def chart_table(process: Process, view: str) -> pandas.DataFrame:
    """A line a point, the last ones: shares in %, or means, with their limits."""
    rejects, count = process.rejects, len(process.groups)
    if view == RATE:
        values, lower, upper = (
            100 * column for column in (rejects.rates, rejects.alarm_lower, rejects.alarm_upper)
        )
        centre = 100 * rejects.centre
        marked = ((RUN, rejects.runs), (BEYOND, rejects.beyond_limits))
    else:
        trend = process.probability if view == PROBABILITY else process.brightness
        values, centre = trend.values, trend.centre
        lower, upper = np.full(count, trend.lower), np.full(count, trend.upper)
        marked = ((FEW_PARTS, trend.few), (BEYOND, trend.beyond))
    state = np.full(count, QUIET, dtype=object)
    for name, places in marked:
        state[places] = name
    groups = process.groups
    table = pandas.DataFrame(
        {
            POINT: process.names,
            "shown": [printable(name) for name in process.names],
            "begin": [process.division.clock.minute(group.start)
                      for group in groups],
            "value": values, "lower": lower, "upper": upper, "centre": centre,
            "parts": [group.inspected for group in groups],
            "rejected": [group.rejected for group in groups],
            "state": state,
        }
    )  # fmt: skip
    return table[-MOST_POINTS:]


def chart(table: pandas.DataFrame, view: str, by: str) -> altair.LayerChart:
    """Points in time order, between limits; alarms are told by shape, size and colour.

    The colours stand out on a light ground and on a dark one: an open page may change.
    """
    title = "rejected, %" if view == RATE else view.replace("Drift:", "mean")
    x = altair.X(f"{POINT}:N", sort=None, title=by, axis=altair.Axis(labelOverlap=True))
    base = altair.Chart(table).encode(x=x)
    axis = altair.Scale(zero=view == RATE)
    limits = base.mark_line(interpolate="step", strokeDash=[5, 3], color=UNDECIDED_COLOUR)
    chosen = altair.selection_point(name=CHOSEN, fields=[POINT])
    alarm = DEFECT_COLOUR if view == RATE else REVIEW_COLOUR
    shapes, sizes = zip(*MARKS.values(), strict=True)
    colours = {QUIET: GOOD_COLOUR, RUN: alarm, FEW_PARTS: UNDECIDED_COLOUR, BEYOND: alarm}

    def scale(values: Iterable) -> altair.Scale:
        return altair.Scale(domain=list(MARKS), range=list(values))

    points = (
        base.mark_point(filled=True, opacity=1)
        .encode(
            y="value:Q",
            shape=altair.Shape("state:N", scale=scale(shapes), legend=None),
            color=altair.Color("state:N", scale=scale(colours[one] for one in MARKS), legend=None),
            size=altair.Size("state:N", scale=scale(sizes), legend=None),
            tooltip=[
                altair.Tooltip("shown", title=by), "begin", "parts", "rejected",
                altair.Tooltip("value", title=title, format=".3~f"), "state",
            ],
        )
        .add_params(chosen)
    )  # fmt: skip
    band = base.mark_rule(strokeWidth=16, opacity=0.3, color=GOOD_COLOUR)
    return altair.layer(
        limits.encode(y=altair.Y("upper:Q", title=title, scale=axis)),
        limits.encode(y="lower:Q"),
        base.mark_line(color=UNDECIDED_COLOUR, strokeWidth=1).encode(y="centre:Q"),
        base.mark_line(color=GOOD_COLOUR, strokeWidth=1).encode(y="value:Q"),
        band.transform_filter(chosen, empty=False),
        points,
        *(label(base, table, view, *line) for line in LINES),
    ).properties(height=300)


def label(
    base: altair.Chart, table: pandas.DataFrame, view: str, column: str, name: str, dy: int
) -> altair.Chart:
    """What a line is, and its last value, above or below the line's end."""
    last = table[table[column] > 0][-1:]  # none without limits, or at the lower end of shares
    values = " ".join(f"{value:.3g}" for value in last[column])
    here = altair.FieldOneOfPredicate(field=POINT, oneOf=list(last[POINT]))
    text = f"{name} {values}{' %' if view == RATE else ''}"
    return (
        base.transform_filter(here)
        .mark_text(align="right", dy=dy, text=text, color=UNDECIDED_COLOUR)
        .encode(y=f"{column}:Q")
    )
