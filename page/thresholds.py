"""Part of the page Model: what another threshold, or another review band, would do."""

import altair
import numpy as np
import streamlit as st

from common.colours import DEFECT_COLOUR, GOOD_COLOUR
from metrics.castings import casting_names
from metrics.decisions import Parts, format_rate, summarise
from metrics.review import review_band
from page.desk import Desk
from page.words import decides

RULE_COLOUR = "#7d8896"  # can be seen on white and on black


def show_thresholds(
    desk: Desk, defective: np.ndarray, castings: list[str], prob_defect: np.ndarray
) -> None:
    """Missed defects and false alarms on the validation images (N,), as the model decides here."""
    review, threshold = desk.predictor.review, desk.predictor.threshold
    images = (defective, castings, prob_defect)
    edges = show_band(review, *images) if decides(review, threshold) else show_one(desk, *images)
    st.altair_chart(curves(defective, prob_defect, edges))
    known = len(set(castings) - {""})
    st.caption(
        f"{len(prob_defect):,} validation images of {known or 'unknown'} castings. The best epoch, "
        "and the threshold where it is fitted, were chosen on them, so they flatter the model a "
        "little."
    )


def show_one(
    desk: Desk, defective: np.ndarray, castings: list[str], prob_defect: np.ndarray
) -> list[float]:
    """A slider for the threshold, and what it does; returns where it stands."""
    threshold = st.slider(
        "Threshold", 0.0, 1.0, float(desk.predictor.threshold), 0.01, format="%.2f",
        key="threshold",
    )  # fmt: skip
    figures = summarise(parts_at(threshold, defective, castings, prob_defect))
    left, right = st.columns(2)
    left.metric("Missed defects", rate_text(figures["rates"]["missed_defects"]))
    right.metric("Good parts rejected", rate_text(figures["rates"]["false_alarms"]))
    if set(castings) - {""}:
        by_casting = figures["per_casting"]
        left.caption(f"by casting {format_rate(by_casting['missed_defects'])}")
        right.caption(f"by casting {format_rate(by_casting['false_alarms'])}")
    return [threshold]


def show_band(
    review: tuple[float, float],
    defective: np.ndarray,
    castings: list[str],
    prob_defect: np.ndarray,
) -> list[float]:
    """A slider for both ends of the review band, and what it does; returns where they stand."""
    low, high = st.slider(
        "A person decides between", 0.0, 1.0, review, 0.01, format="%.2f", key="band"
    )
    # At its lower end: what lies outside is accepted below it, and rejected above the upper one
    found = review_band(parts_at(low, defective, castings, prob_defect), low, high)
    defects = int(defective.sum())
    shares = {
        "Missed defects": (found["missed_outside"], defects),
        "Good parts rejected": (found["false_alarms_outside"], len(defective) - defects),
        "For a person": (found["for_review"], found["images"]),
    }
    for column, (name, (count, of)) in zip(st.columns(3), shares.items(), strict=True):
        rate = count / of if of else None
        column.metric(name, rate_text({"count": count, "of": of, "rate": rate}))
    return [low, high]


def rate_text(rate: dict) -> str:
    """'14 of 973 = 1.4 %'."""
    share = f" = {100 * rate['rate']:.1f} %" if rate["of"] else ""
    return f"{rate['count']:g} of {rate['of']:g}{share}"


def parts_at(
    threshold: float, defective: np.ndarray, castings: list[str], prob_defect: np.ndarray
) -> Parts:
    """The validation images, decided at a threshold; one of unknown casting is its own."""
    return Parts(
        is_defect=defective,
        prob_defect=prob_defect,
        threshold=np.full(len(prob_defect), threshold),
        castings=casting_names(castings),
        folds=np.zeros(len(prob_defect), int),
        sessions=np.full(len(prob_defect), ""),
    )


def curves(defective: np.ndarray, prob_defect: np.ndarray, edges: list[float]) -> altair.LayerChart:
    """Both rates over the threshold, and lines where it, or the band's ends, stand."""
    grid = np.linspace(0, 1, 201)
    bad, good = np.sort(prob_defect[defective]), np.sort(prob_defect[~defective])
    missed = np.searchsorted(bad, grid) / max(len(bad), 1)
    alarms = 1 - np.searchsorted(good, grid) / max(len(good), 1)
    rows = [
        {"threshold": x, "share": 100 * y, "what": what}
        for what, values in (("missed defects", missed), ("good parts rejected", alarms))
        for x, y in zip(grid.tolist(), values.tolist(), strict=True)
    ]
    colours = altair.Scale(
        domain=["missed defects", "good parts rejected"], range=[DEFECT_COLOUR, GOOD_COLOUR]
    )
    lines = (
        altair.Chart(altair.Data(values=rows))
        .mark_line(strokeWidth=2.5)
        .encode(
            x=altair.X("threshold:Q", title="threshold on the defect probability"),
            y=altair.Y("share:Q", title="% of images"),
            color=altair.Color("what:N", title=None, scale=colours),
            strokeDash=altair.StrokeDash("what:N", title=None),
        )
        .properties(description="Missed defects and good parts rejected over the threshold")
    )
    here = altair.Chart(altair.Data(values=[{"threshold": edge} for edge in edges]))
    rules = here.mark_rule(strokeWidth=2, color=RULE_COLOUR).encode(x="threshold:Q")
    return (lines + rules).properties(height=280).configure_legend(orient="bottom", symbolSize=200)
