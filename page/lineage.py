"""Part of the page Model: the models before this one, the candidate, and how they compared."""

import streamlit as st

from common.files import sha256_of_file
from evaluation.published import well_formed
from page.desk import Desk
from page.words import escape_markdown
from traceability.models import (
    FOUND,
    ID_DIGITS,
    PROMOTED,
    REFUSED,
    ROLLED_BACK,
    Event,
    Models,
    line_of_models,
)

WHAT = {
    FOUND: "found in use",
    PROMOTED: "promoted",
    REFUSED: "candidate, not promoted",
    ROLLED_BACK: "taken back into use",
}
SOURCES = ("verdicts", "frozen castings")


def show_lineage(desk: Desk) -> None:
    """What the folder of models knows, where the model is of one."""
    models = Models(desk.path.parent)
    history = models.history()
    if not history:
        return
    with well_formed(models.folder / "history.jsonl"):
        rows = [row_of(event) for event in history]
        compared = [event for event in history if event.comparison]
        table = comparison_rows(compared[-1]) if compared else []
        candidate = candidate_text(history) if models.candidate.is_file() else ""
    st.subheader("Where it comes from", divider="gray")
    st.markdown(line_text(models.events(desk.predictor.sha256)))
    if models.current.is_file() and sha256_of_file(models.current) != desk.predictor.sha256:
        st.info(f"Another model is in use as {escape_markdown(str(models.current))} by now.")
    if candidate:
        st.warning(candidate, icon=":material/science:")
    st.dataframe(rows[::-1], hide_index=True)
    if table:
        st.markdown(f"**{comparison_title(compared[-1])}**")
        st.dataframe(table, hide_index=True)
        st.caption(
            "Parts that each decides rightly. Verdicts are of persons, decided by models that have "
            "not seen the part; frozen castings are labelled ones of before that no candidate "
            "learns. *At most* is what so few parts leave open, with 95 % confidence."
        )


def line_text(events: list[Event]) -> str:
    """The models in use one after the other, the present one last and in bold."""
    names = [sha256[:ID_DIGITS] for sha256 in line_of_models(events)]
    return " → ".join([*names[:-1], f"**{names[-1]}**"])


def row_of(event: Event) -> dict[str, str]:
    """A line of the history, with both figures of each comparison."""
    row = {
        "at, UTC": event.time[:16].replace("T", " "),
        "model": event.sha256[:ID_DIGITS],
        "what": WHAT.get(event.event, event.event),
        "before": event.before[:ID_DIGITS],
    }
    for source in SOURCES:
        found = event.comparison["right"][source] if event.comparison else None
        row[f"right on {source}"] = (
            f"{found['right_before']} → {found['right']} of {found['parts']}" if found else ""
        )
    return row


def candidate_text(history: list[Event]) -> str:
    """Why the candidate is not in use; empty when the last one is."""
    last = next((event for event in reversed(history) if event.comparison), None)
    if last is None or last.event != REFUSED:
        return ""
    reasons = escape_markdown("; ".join(last.comparison["reasons"]))
    return f"Candidate {last.sha256[:ID_DIGITS]} was not promoted: {reasons}."


def comparison_title(event: Event) -> str:
    """What was compared last."""
    outcome = "promoted" if event.event == PROMOTED else "not promoted"
    return (
        f"Last comparison: model {event.before[:ID_DIGITS]} and candidate "
        f"{event.sha256[:ID_DIGITS]}, {outcome}"
    )


def comparison_rows(event: Event) -> list[dict]:
    """The four groups of a comparison."""
    return [
        {
            "photographs of": f"{one['source']}, {one['kind']}",
            "parts": one["parts"],
            "right before": one["right_before"],
            "right now": one["right"],
            "became wrong": one["became_wrong"],
            "became right": one["became_right"],
            "by chance": f"{100 * one['chance']:.1f} %",
            "become wrong at most": f"{100 * one['worse_at_most']:.0f} %" if one["parts"] else "-",
        }
        for one in event.comparison["groups"]
    ]
