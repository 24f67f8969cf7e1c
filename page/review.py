"""The page Review: parts that wait for a person, wherever they were inspected, the oldest first."""

from bisect import bisect_right

import streamlit as st

from common.errors import UserError
from common.text import count_of
from page.clock import plant_clock
from page.desk import Desk
from page.dispositions import CONFLICT, ask_person, spoken_on, tell_conflict
from page.frame import framed, messages
from page.log import PageLog
from page.parts import prediction_of, show_decision, show_scale
from page.picture import show_recorded
from page.words import WORDS, escape_markdown
from traceability.search import AWAITING, Found, search

CARD, AGAIN = "review card", "review again"  # in the session: inspections
LOOK_S = 5.0  # how often an open card looks whether somebody has decided


def waiting_parts(log: PageLog, busy_s: float | None = None) -> list[int]:
    """The inspections of parts that wait for a person, the oldest first.

    Raises:
        UserError: the log cannot be read.
    """
    if not log.exists():
        return []
    with log.open(busy_s=busy_s) as opened:
        rows = opened.query(f"SELECT id FROM inspections WHERE {AWAITING} ORDER BY id")
        return [number for (number,) in rows]


@framed
def show(desk: Desk) -> None:
    """The page: one part at a time."""
    tell_conflict(desk)
    waiting = waiting_parts(desk.log)
    number = card(desk, waiting)
    if number is None:
        st.success("No part waits for a person.", icon=":material/check:")
        return
    with st.container(horizontal=True, vertical_alignment="center", key="review_head"):
        st.markdown(f"**{count_of(len(waiting), 'part')}** to decide, the oldest first")
        for name, key, step in (("Previous", "Left", -1), ("Next", "Right", 1)):
            st.button(
                name, key=name.lower(), shortcut=key, on_click=go, args=(waiting, number, step),
                disabled=len(waiting) < 2,
            )  # fmt: skip
    show_card(desk, found_by(desk, number))


# --- which part ----------------------------------------------------------------------------------


def card(desk: Desk, waiting: list[int]) -> int | None:
    """The inspection to show: the one before, while it waits, else the next one that waits."""
    again, before = st.session_state.get(AGAIN), st.session_state.get(CARD)
    spoken = spoken_on()
    if again is not None and again not in spoken:
        return again
    st.session_state[AGAIN] = None
    if before is not None and before not in waiting:
        if before not in spoken and CONFLICT not in st.session_state:
            tell_who(found_by(desk, before))
        later = waiting[bisect_right(waiting, before) :] or waiting
        before = later[0] if later else None
    st.session_state[CARD] = before if before is not None else next(iter(waiting), None)
    return st.session_state[CARD]


def go(waiting: list[int], number: int, step: int) -> None:
    """Turn to the next part that waits, or to the one before; round the ends."""
    place = bisect_right(waiting, number) - 1
    if number not in waiting and step < 0:
        place += 1
    st.session_state[CARD] = waiting[(place + step) % len(waiting)]
    st.session_state[AGAIN] = None


def found_by(desk: Desk, number: int) -> Found:
    """The record of an inspection.

    Raises:
        UserError: the log is not the one that it was.
    """
    with desk.log.open() as log:
        found = search(log, number=number)
    if not found:
        raise UserError(f"{desk.log.path} is another log now; reload the page")
    return found[0]


def tell_who(one: Found) -> None:
    """That somebody else has decided on the part that this visitor looked at."""
    if said := one.person_says:
        what = f"{said.person} has decided on inspection {one.id} meanwhile: {WORDS[said.verdict]}"
        messages().info(escape_markdown(f"{what}."), icon=":material/group:")


# --- the part ------------------------------------------------------------------------------------


def show_card(desk: Desk, one: Found) -> None:
    """A part: what the model says, what a person is to say, and beside it the photograph."""
    prediction, data = prediction_of(one), desk.images.find(one.sha256, one.file)
    decision, picture = st.columns(2, gap="medium")
    with decision:
        show_decision(one.file, prediction, desk.predictor.review, one.person_says)
        show_scale(prediction, desk.predictor.review)
        ask_person(desk, one.id, one.person_says, show_again, data)
        watch_for_others(desk, one)
    with picture:
        show_recorded(desk, one, data)
        st.caption(escape_markdown(" · ".join(origin(one))))


def origin(one: Found) -> list[str]:
    """Where a part was inspected, and when."""
    clock = plant_clock()
    places = {"station": one.station, "lot": one.lot}
    return [
        one.file,
        f"inspection {one.id}",
        f"{clock.minute(one.time)} {clock.zone_name}",
        *(f"{name} {value}" for name, value in places.items() if value),
    ]


@st.fragment(run_every=LOOK_S)
def watch_for_others(desk: Desk, one: Found) -> None:
    """Say on the open card, without a touch, that somebody else has decided on the part."""
    try:
        with desk.log.open() as log:
            (now,) = search(log, number=one.id)
    except (UserError, ValueError):
        return  # the page says so at the next touch
    if now.person_says and now.person_says != one.person_says:
        said = now.person_says
        text = f"{said.person} has decided already: {WORDS[said.verdict]}"
        st.warning(escape_markdown(f"{text}."), icon=":material/group:")


def show_again(inspection_id: int) -> None:
    """Show a part on which this person has taken back his word, until another is turned to."""
    st.session_state[AGAIN] = inspection_id
