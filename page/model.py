"""The page Model: what the model is worth on unseen castings, what it is, and the leak."""

import streamlit as st

from common.errors import UserError
from common.files import ROOT, read_json
from common.text import count_of
from dataset.validation_scores import read_validation
from evaluation.published import RESULTS, leak_text, probe_text, results_table, well_formed
from evaluation.released_model import Unseen, unseen_figures
from metrics.decisions import format_rate
from page.desk import Desk
from page.frame import framed
from page.lineage import show_lineage
from page.thresholds import show_thresholds
from page.words import escape_markdown

LEAD = {"accuracy": "Right", "missed_defects": "Missed defects", "false_alarms": "False alarms"}


@framed
def show(desk: Desk) -> None:
    """The page."""
    show_worth(desk)
    show_model(desk)
    show_lineage(desk)
    st.subheader("What another limit would do", divider="gray")
    try:
        show_thresholds(desk, *read_validation(desk.path))
    except UserError as error:
        reason = escape_markdown(str(error))
        st.info(f"Without validation predictions there is nothing to explore: {reason}.")
    show_published()


# --- what it is worth ----------------------------------------------------------------------------


def show_worth(desk: Desk) -> None:
    """The figures to trust: on unseen castings, with their intervals."""
    st.subheader("On castings that it has not seen", divider="gray")
    checkpoint = desk.predictor.checkpoint
    if checkpoint.adaptation:
        st.info(lineage_text(checkpoint.adaptation))
    elif unseen := unseen_figures(checkpoint):
        show_unseen(desk, unseen)
    else:
        st.info(
            "Nobody has measured this model on castings that it has not seen. "
            "`python test.py --protocol casting` does that for the folds of a training with "
            "`--fold all`. The figures below are of validation images, which flatter it, and of "
            "other models.",
            icon=":material/help:",
        )


def show_unseen(desk: Desk, unseen: Unseen) -> None:
    """Three published rates, large, each with its interval; and what they are figures of."""
    figures, review = unseen.figures, desk.predictor.review
    with st.container(key="lead"):
        for column, (rate, name) in zip(st.columns(3), LEAD.items(), strict=True):
            found = figures["rates"][rate]
            column.metric(name, f"{100 * found['rate']:.1f} %")
            column.caption(interval_text(found))
    if review and (text := unseen.band_text(*review)):
        st.markdown(f"With the review band {review[0]:g} to {review[1]:g}: {text}.")
    by_casting = figures["per_casting"]
    st.caption(
        f"Recipe {escape_markdown(unseen.recipe)}, {len(figures['roc_auc']['folds'])} folds: each "
        f"of {figures['images']:,} images of {figures['castings']} castings, "
        f"{figures['castings_good']} of them good, by a model that was not trained on its casting. "
        f"By casting: missed {format_rate(by_casting['missed_defects'])}, false alarms "
        f"{format_rate(by_casting['false_alarms'])}. The model here has seen nearly all castings: "
        "it cannot be tested on them itself."
    )


def interval_text(rate: dict) -> str:
    """'95 % interval: 83.0 to 98.0 %; 7,702 of 8,391 images'."""
    low, high = 100 * rate["low"], 100 * rate["high"]
    return f"95 % interval: {low:.1f} to {high:.1f} %; {rate['count']:,} of {rate['of']:,} images"


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


# --- what it is ----------------------------------------------------------------------------------


def show_model(desk: Desk) -> None:
    """The model that inspects here."""
    predictor, checkpoint = desk.predictor, desk.predictor.checkpoint
    st.subheader("The model", divider="gray")
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


# --- what others are worth -----------------------------------------------------------------------


def show_published() -> None:
    """The published figures of all models, and why the famous one is not the number."""
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
        alt="Three rows of rendered castings: the lower row is the middle one turned and moved "
        "until it looks like the upper one",
    )
