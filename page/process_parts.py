"""The parts behind a point or an alarm of the page Process: a table, and the part chosen in it."""

import pandas
import streamlit as st

from common.text import count_of
from page.desk import Desk
from page.dispositions import ask_person
from page.parts import prediction_of, show_decision
from page.picture import show_recorded
from page.words import SIGNS, WORDS, chance, escape_markdown
from traceability.part_list import ListedPart, parts_of
from traceability.search import search
from traceability.subgroups import Division

MOST_PARTS = 500
PROBABILITY = "defect probability"


def show_parts(desk: Desk, division: Division, names: list[str], title: str) -> None:
    """The parts of these points, rejects first."""
    st.subheader(f"Parts of {escape_markdown(title)}", divider="gray")
    with desk.log.open() as log:
        found = parts_of(log, division, names)
    if len(found) > MOST_PARTS:
        st.caption(f"The first {MOST_PARTS:,} of {count_of(len(found), 'part')}, rejects first.")
    chosen = show_table(found[:MOST_PARTS], division, f"{division.by} {names}")
    if chosen is None:
        st.caption("Choose a line to look at the part and decide.")
    else:
        show_part(desk, chosen)


def show_table(parts: list[ListedPart], division: Division, key: str) -> int | None:
    """The table; returns the inspection that is chosen in it."""
    table = pandas.DataFrame(
        {
            "outcome": [f"{SIGNS[one.outcome]} {WORDS[one.outcome]}" for one in parts],
            PROBABILITY: [one.prob_defect for one in parts],
            "the model": [WORDS.get(one.decision, one.decision) for one in parts],
            "file": [one.file for one in parts],
            "time": [division.clock.text(one.time).replace("T", " ") for one in parts],
            "lot": [one.lot for one in parts],
            "station": [one.station for one in parts],
            "inspection": [one.id for one in parts],
        }
    )
    shown = table.style.format({PROBABILITY: chance}, na_rep="")
    event = st.dataframe(
        shown, hide_index=True, on_select="rerun", selection_mode="single-row",
        key=f"parts {key} {len(parts)}",
    )  # fmt: skip
    return parts[event.selection.rows[0]].id if event.selection.rows else None


def show_part(desk: Desk, number: int) -> None:
    """A part with its decision, what a person says, and beside it the photograph."""
    with desk.log.open() as log:
        (one,) = search(log, number=number)
    prediction, data = prediction_of(one), desk.images.find(one.sha256, one.file)
    decision, picture = st.columns(2, gap="medium")
    with decision:
        show_decision(one.file, prediction, desk.predictor.review, one.person_says)
        ask_person(desk, one.id, one.person_says, lambda _: None, data)
    with picture:
        show_recorded(desk, one, data)
