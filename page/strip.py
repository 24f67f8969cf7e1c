"""The film strip: all parts of a visitor, by outcome, one of them chosen; arrow keys go on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from page.words import SIGNS, WORDS, chance, escape_markdown

ALL = "all"
# In the session; the last: to be shown whatever the filter is
CHOSEN, PLACE, SHOWN, WANTED = "strip", "place in strip", "outcome", "wanted in strip"
LONGEST_NAME = 40


@dataclass(frozen=True)
class Frame:
    """A part in the strip."""

    id: str
    name: str
    thumbnail: str | None  # a data URL
    model_says: str  # an outcome
    outcome: str  # the same, or what a person says
    prob_defect: float | None
    by_person: bool = False

    @property
    def label(self) -> str:
        """Its image above its outcome, in Markdown: a person's in a word, else the figure."""
        word, name = WORDS[self.outcome], self.name[:LONGEST_NAME]
        found = word if self.by_person or self.prob_defect is None else chance(self.prob_defect)
        text = escape_markdown(f"{SIGNS[self.outcome]} {found}")
        if self.thumbnail is None:
            return f"{text} {escape_markdown(name)}"
        said = f"{word}, {name}" if found == word else f"{word} {found}, {name}"
        return f"![{escape_markdown(said)}]({self.thumbnail})\n\n{text}"


def in_order(frames: Sequence[Frame]) -> list[Frame]:
    """By what the model says: those for review first, then the likeliest defects first."""
    ranks = list(WORDS)
    return sorted(frames, key=lambda one: (ranks.index(one.model_says), -(one.prob_defect or 0)))


def choose(frames: Sequence[Frame], decided: str | None = None) -> str | None:
    """The id of the part that is chosen; None when none has the outcome that is to be shown.

    Args:
        decided: a part on which a person has just spoken; from it the choice goes on.
    """
    make_way(frames)
    with st.container(horizontal=True, vertical_alignment="center", key="strip_head"):
        outcome = choose_outcome(Counter(one.outcome for one in frames))
        shown = [one for one in frames if outcome in (ALL, one.outcome)]
        ids = [one.id for one in shown]
        if ids:
            keep_place(ids)
        if decided and decided == st.session_state.get(CHOSEN) and ids[1:]:
            go(ids, 1)
        for name, key, step in (("Previous", "Left", -1), ("Next", "Right", 1)):
            st.button(
                name, key=name.lower(), shortcut=key, on_click=go, args=(ids, step),
                disabled=len(ids) < 2,
            )  # fmt: skip
    if not ids:
        st.caption(f"{WORDS[outcome]}: none is left.")
        return None
    labels = {one.id: one.label for one in shown}
    return st.pills(
        "Parts", ids, format_func=labels.get, key=CHOSEN, required=True, wrap=False,
        label_visibility="collapsed", width="stretch",
    )  # fmt: skip


def choose_outcome(counts: Counter[str]) -> str:
    """Which parts are shown, each choice with how many there are."""
    labels = {ALL: f"All {counts.total()}"}
    usual = [key for key in WORDS if counts[key] or key != "error"]
    labels |= {key: f"{WORDS[key]} {counts[key]}" for key in usual}
    if st.session_state.get(SHOWN) not in labels:  # no default: Streamlit warns of both
        st.session_state[SHOWN] = ALL
    return st.segmented_control(
        "Outcome", list(labels), format_func=labels.get, key=SHOWN, required=True,
        label_visibility="collapsed",
    )  # fmt: skip


def keep_place(ids: list[str]) -> None:
    """Choose what stands now where the chosen part stood, if that is not shown any more."""
    chosen = st.session_state.get(CHOSEN)
    if chosen not in ids:
        chosen = ids[min(st.session_state.get(PLACE, 0), len(ids) - 1)]
        st.session_state[CHOSEN] = chosen
    st.session_state[PLACE] = ids.index(chosen)


def go(ids: list[str], step: int) -> None:
    """Choose the next part, or the one before; round the ends."""
    place = (st.session_state[PLACE] + step) % len(ids)
    st.session_state[CHOSEN], st.session_state[PLACE] = ids[place], place


def show_part(id: str) -> None:
    """Choose a part, whatever the filter is; before the strip is drawn."""
    st.session_state[WANTED] = id


def make_way(frames: Sequence[Frame]) -> None:
    """Choose the part that is wanted; all are shown if the filter would hide it."""
    for one in frames:
        if one.id == st.session_state.get(WANTED):
            st.session_state[CHOSEN] = st.session_state.pop(WANTED)
            if st.session_state.get(SHOWN) not in (ALL, one.outcome):
                st.session_state[SHOWN] = ALL
            return
