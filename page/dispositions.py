"""A person's word on a part: stored, unless another person was faster; and taken back again."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import streamlit as st

from common.errors import UserError
from inspection.pictures import keep_judged
from inspection.recording import plain
from page.desk import Desk
from page.frame import REFUSED, STORED, messages
from page.parts import kept_field
from page.words import WORDS, escape_markdown
from traceability.dispositions import AlreadyDecidedError, Disposition, NothingToWithdrawError
from traceability.schema import WITHDRAWN
from traceability.search import dispositions_on

KEYS = {"ok": "G", "defect": "D"}  # of the keyboard
# In the session
CONFLICT, NAME, PERSON, SPOKEN = "conflict", "person", "person kept", "spoken on"
UNNAMED = "word without a name"  # the inspection and the verdict
JUST_SPOKEN = "just spoken on"  # the inspection
# A dialog's first element takes the cursor once it is drawn; its field does, so that what is typed
# is a name
CURSOR_SCRIPT = """
const place = (tries) => {
  const field = document.querySelector('[role="dialog"] input');
  if (document.activeElement !== field) field?.focus();
  if (tries) setTimeout(place, 50, tries - 1);
};
place(12);
"""


@dataclass(frozen=True)
class Conflict:
    """A decision that was not stored, because another person's came first."""

    inspection_id: int
    disposition: str
    person: str
    note: str
    last: Disposition


def forget(key: str) -> None:
    """Take something out of the session."""
    st.session_state.pop(key, None)


def record_disposition(
    desk: Desk,
    inspection_id: int,
    disposition: str,
    person: str,
    note: str,
    seen: int,
    photograph: bytes | None = None,
) -> bool:
    """Store a person's disposition, and the photograph; else the page says why not.

    Called by a click, before the page is made anew: it is told then.

    Args:
        person: who decides; not empty.
        seen: number of the last disposition of this part that the person has seen, 0 for none.
        photograph: of the part, where it is at hand.
    """
    person, note = plain(person), plain(note)
    st.session_state[PERSON] = person
    try:
        with desk.log.open("append") as log:
            log.add_disposition(inspection_id, disposition, person, note, seen)
            keep_judged(log, inspection_id, photograph)
    except AlreadyDecidedError as error:
        if (error.last.person, error.last.verdict) != (person, disposition):  # no double click
            own = (inspection_id, disposition, person, note)
            st.session_state[CONFLICT] = Conflict(*own, error.last)
            return False
    except UserError as error:
        st.session_state[REFUSED] = f"The decision was not stored: {error}"
        return False
    st.session_state[STORED] = f"Stored: {WORDS[disposition]}, says {person}."
    forget_word(inspection_id)
    st.session_state[SPOKEN].append((inspection_id, person))
    st.session_state[JUST_SPOKEN] = inspection_id
    return True


def spoken_on() -> list[int]:
    """The inspections on which somebody has spoken in this session, and not taken it back."""
    return [inspection_id for inspection_id, _ in st.session_state.get(SPOKEN, [])]


def just_spoken_on() -> int | None:
    """The inspection on which somebody has spoken since this was asked last."""
    return st.session_state.pop(JUST_SPOKEN, None)


def forget_word(inspection_id: int) -> None:
    """Let nobody have spoken on this inspection in this session."""
    spoken = st.session_state.get(SPOKEN, [])
    st.session_state[SPOKEN] = [one for one in spoken if one[0] != inspection_id]


def persons_say(desk: Desk, ids: list[int]) -> dict[int, Disposition]:
    """The latest words of persons on these inspections, of those that have one.

    Raises:
        UserError: the log is not the one that it was.
    """
    if not ids:
        return {}
    with desk.log.open() as log:
        if log.last()[0] < max(ids):
            raise UserError(f"{desk.log.path} is another log now; reload the page")
        return dispositions_on(log, ids)


def ask_person(
    desk: Desk,
    inspection_id: int,
    said: Disposition | None,
    again: Callable[[int], None],
    photograph: bytes | None = None,
) -> None:
    """Buttons, and keys, for a person's word on a part.

    Args:
        said: the last word on it; who clicks has seen this one.
        again: shows a part, by its inspection, that is undecided again.
    """
    args = (desk, inspection_id, said.id if said else 0, photograph)
    unnamed = unnamed_word_on(inspection_id)
    with st.container(horizontal=True, vertical_alignment="center", key="person_row"):
        for disposition, key in KEYS.items():
            # Its own button for each part: a click that comes late is not one on the next part
            st.button(
                WORDS[disposition], key=f"{disposition} {inspection_id}",
                shortcut=None if unnamed else key,  # what is typed is a name
                on_click=speak, args=(disposition, *args),
            )  # fmt: skip
        st.button(
            "Undo", key="undo", shortcut=None if unnamed else "U",
            disabled=last_word_of(speaker()) is None,
            on_click=take_back, args=(desk, again), help="Takes back what you said last: that part "
            "is undecided again, for everybody. The log keeps your word and that it was withdrawn.",
        )  # fmt: skip
        name = speaker()
        with st.popover(escape_markdown(name or "Your name"), icon=":material/person:"):
            kept_field("Your name", NAME, PERSON, "")
            st.text_input(
                "Note", key=f"note {inspection_id}", max_chars=1000, placeholder="for the log"
            )
    if unnamed:
        ask_for_name(unnamed, *args)


def speak(
    disposition: str, desk: Desk, inspection_id: int, seen: int, photograph: bytes | None
) -> None:
    """Store the word that was clicked, with name and note; or have the name asked for."""
    person, note = speaker(), st.session_state[f"note {inspection_id}"]
    if person:
        record_disposition(desk, inspection_id, disposition, person, note, seen, photograph)
    else:
        st.session_state[UNNAMED] = (inspection_id, disposition)


def unnamed_word_on(inspection_id: int) -> str | None:
    """The verdict that somebody has given on this part without a name; one on others is dropped."""
    number, disposition = st.session_state.get(UNNAMED, (None, None))
    if number == inspection_id:
        return disposition
    st.session_state.pop(UNNAMED, None)
    return None


@st.dialog("Whose decision is it?", on_dismiss=partial(forget, UNNAMED))
def ask_for_name(
    disposition: str, desk: Desk, inspection_id: int, seen: int, photograph: bytes | None
) -> None:
    """Ask for the name that a word lacks, and store both."""
    with st.form("name", border=False):
        person = st.text_input("Your name", max_chars=100, placeholder="for the log")
        given = st.form_submit_button(f"Store: {WORDS[disposition]}", type="primary")
    st.html(f"<script>{CURSOR_SCRIPT}</script>", unsafe_allow_javascript=True)
    if given and plain(person):
        note = st.session_state[f"note {inspection_id}"]
        forget(UNNAMED)
        st.session_state.pop(NAME, None)  # the field shows the name from now on
        record_disposition(desk, inspection_id, disposition, person, note, seen, photograph)
        st.rerun()


def speaker() -> str:
    """Who decides here, as far as a name was given."""
    return plain(st.session_state.get(NAME) or st.session_state.get(PERSON) or "")


def last_word_of(person: str) -> int | None:
    """The inspection on which this person has spoken last in this session."""
    own = [number for number, one in st.session_state.get(SPOKEN, []) if one == person]
    return own[-1] if own else None


def take_back(desk: Desk, again: Callable[[int], None]) -> None:
    """Withdraw what this person said last, and show the part; else the page says why not."""
    person = speaker()
    inspection_id = last_word_of(person)
    if inspection_id is None:  # a second click
        return
    try:
        with desk.log.open("append") as log:
            log.add_disposition(inspection_id, WITHDRAWN, person)
    except NothingToWithdrawError as error:  # somebody has spoken since
        st.session_state[REFUSED] = f"Nothing is withdrawn: {error}"
    except UserError as error:
        st.session_state[REFUSED] = f"Your word was not withdrawn: {error}"
        return
    else:
        st.session_state[STORED] = (
            f"Withdrawn by {person}: inspection {inspection_id} is undecided."
        )
    forget_word(inspection_id)
    again(inspection_id)


def tell_conflict(desk: Desk) -> None:
    """Who was faster, and whether the other decision is to be stored too."""
    conflict: Conflict | None = st.session_state.get(CONFLICT)
    if conflict is None:
        return
    last = conflict.last
    note = f" ({last.note})" if last.note else ""
    at = last.time[:16].replace("T", " ")
    place = messages().container()
    place.warning(
        escape_markdown(
            f"{last.person} has already decided on inspection {conflict.inspection_id}: "
            f"{WORDS[last.verdict]}{note}, at {at} UTC. Your decision, "
            f"{WORDS[conflict.disposition]}, is not stored."
        ),
        icon=":material/group:",
    )
    left, right, _ = place.columns([1, 1, 3])
    left.button("Store mine too", on_click=store_too, args=(desk,), width="stretch")
    right.button("Leave it", on_click=forget, args=(CONFLICT,), width="stretch")


def store_too(desk: Desk) -> None:
    """Store the decision beside the other one, which the person has seen now."""
    one: Conflict | None = st.session_state.pop(CONFLICT, None)
    if one is None:  # a second click
        return
    own = (one.inspection_id, one.disposition, one.person, one.note)
    record_disposition(desk, *own, one.last.id)
