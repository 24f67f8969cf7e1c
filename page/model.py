"""The page Model: what the model is worth, what another threshold would do, and the leak."""

import altair
import numpy as np
import streamlit as st

from common.errors import UserError
from common.files import ROOT, read_json
from common.text import count_of
from dataset.validation_scores import read_validation
from evaluation.published import RESULTS, leak_text, probe_text, results_table, well_formed
from metrics.castings import casting_names
from metrics.decisions import Parts, format_rate, summarise
from page.lineage import show_lineage
from page.parts import Desk, escape_markdown, open_desk, tells_errors


@tells_errors
def show() -> None:
    """The page."""
    desk = open_desk()
    show_model(desk)
    show_lineage(desk)
    st.subheader("What another threshold would do", divider="gray")
    try:
        show_thresholds(desk, *read_validation(desk.path))
    except UserError as error:
        reason = escape_markdown(str(error))
        st.info(f"Without validation predictions there is nothing to explore: {reason}.")
    results = read_json(RESULTS)
    with well_formed(RESULTS):
        table = results_table({k: v for k, v in results.items() if k != "probes"})
        probes, leak = probe_text(results), leak_text(results)
    st.subheader("Figures of all models", divider="gray")
    st.markdown(table)
    st.caption(
        "Brackets: 95 % intervals, castings resampled; by casting Clopper-Pearson. " + probes
    )
    st.subheader("Why 99.4 % is not the number", divider="gray")
    show_leak(leak)


def show_model(desk: Desk) -> None:
    """The model that inspects here."""
    predictor, checkpoint = desk.predictor, desk.predictor.checkpoint
    columns = st.columns(4)
    columns[0].metric("Model", predictor.model_id)
    columns[1].metric("Input", f"{checkpoint.image_size_px} px")
    columns[2].metric("Trained on", checkpoint.data)
    columns[3].metric("Threshold", f"{predictor.threshold:.3f}")
    point, limits = checkpoint.operating_point or {}, ""
    resampled = "without some of its parts" if checkpoint.adaptation else "on resampled castings"
    if {"threshold_low", "threshold_high"} <= point.keys():
        limits = (
            f" · its own threshold {checkpoint.threshold:.3f} ({point['threshold_low']:.3f} to "
            f"{point['threshold_high']:.3f} {resampled})"
        )
    weights = str(checkpoint.training.get("weights"))
    weights = "random weights" if weights == "none" else escape_markdown(weights)
    st.caption(
        f"{escape_markdown(str(desk.path))} · protocol {escape_markdown(checkpoint.protocol)} · "
        f"started from {weights}{limits} · temperature {checkpoint.temperature:.2f}"
    )
    if checkpoint.adaptation:
        st.info(lineage_text(checkpoint.adaptation))


def lineage_text(adaptation: dict) -> str:
    """What an adapted model was made from, and what it made of parts that it had not seen."""
    what = "tuned" if adaptation["mode"] == "network" else "with another threshold"
    found = adaptation["figures"]["held_out"]
    text = (
        f"Model {adaptation['parent'][:12]}, {what} for a line by "
        f"{count_of(len(adaptation['good']), 'photograph')} of good parts"
    )
    if bad := len(adaptation["defective"]):
        text += f" and {bad} of defective ones"
    if "verdicts" in adaptation:
        text += ", on which persons decided"
    if found:
        text += f". Of good parts that it had not seen it rejected {format_rate(found['parts'])}"
    return text + ". The figures below are those of other models."


def show_thresholds(
    desk: Desk, defective: np.ndarray, castings: list[str], prob_defect: np.ndarray
) -> None:
    """Missed defects and false alarms on the validation images (N,), at any threshold."""
    threshold = st.slider(
        "Threshold", 0.0, 1.0, float(desk.predictor.threshold), 0.001, format="%.3f",
        key="threshold",
    )  # fmt: skip
    figures = summarise(parts_at(threshold, defective, castings, prob_defect))
    left, right = st.columns(2)
    left.metric("Missed defects", rate_text(figures["rates"]["missed_defects"]))
    right.metric("Good parts rejected", rate_text(figures["rates"]["false_alarms"]))
    known = len(set(castings) - {""})
    if known:
        by_casting = figures["per_casting"]
        left.caption(f"by casting {format_rate(by_casting['missed_defects'])}")
        right.caption(f"by casting {format_rate(by_casting['false_alarms'])}")
    st.altair_chart(curves(defective, prob_defect, threshold))
    st.caption(
        f"{len(prob_defect):,} validation images of {known or 'unknown'} castings. The best epoch, "
        "and the threshold where it is fitted, were chosen on them, so they flatter the model a "
        "little."
    )


def rate_text(rate: dict) -> str:
    """'14 of 973 = 1.4 %'."""
    share = f" = {rate['rate']:.1%}" if rate["of"] else ""
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


def curves(defective: np.ndarray, prob_defect: np.ndarray, threshold: float) -> altair.LayerChart:
    """Both rates over the threshold, and where it stands."""
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
        domain=["missed defects", "good parts rejected"], range=["#b3312a", "#a86a00"]
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
    )
    here = altair.Chart(altair.Data(values=[{"threshold": threshold}]))
    rule = here.mark_rule(strokeWidth=2, color="#1c2430").encode(x="threshold:Q")
    return (lines + rule).properties(height=280)


def show_leak(text: str) -> None:
    """The leak of the famous test folder, in words and with rendered castings."""
    left, right = st.columns([2, 3], gap="large")
    left.markdown(text)
    left.markdown(
        "On castings that it has not seen the same network does far worse: the lines *unseen "
        "castings* above. `python data_split.py --audit` finds the copies in any set."
    )
    right.image(
        str(ROOT / "docs" / "img" / "copies.png"),
        "Rendered castings, as the licence of the real ones asks. Above: held-out images; in the "
        "middle: the training image most alike; below: that image moved onto the held-out one.",
        width="stretch",
    )
