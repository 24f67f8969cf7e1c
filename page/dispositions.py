"""A person's word on a part: stored, unless another person was faster; then both are asked for."""

from dataclasses import dataclass

import streamlit as st

from common.errors import UserError
from inspection.pictures import keep_judged
from inspection.recording import plain
from page.desk import Desk
from page.words import WORDS, escape_markdown
from traceability.dispositions import AlreadyDecidedError, Disposition

DISPOSITIONS = {WORDS["ok"]: "ok", WORDS["defect"]: "defect"}
CONFLICT = "conflict"  # in the session


@dataclass(frozen=True)
class Conflict:
    """A decision that was not stored, because another person's came first."""

    inspection_id: int
    disposition: str
    person: str
    note: str
    last: Disposition


def record_disposition(
    desk: Desk,
    inspection_id: int,
    disposition: str,
    person: str,
    note: str,
    seen: int,
    photograph: bytes | None = None,
) -> bool:
    """Store a person's disposition, and the photograph; whether that worked, else says why not.

    Args:
        seen: number of the last disposition of this part that the person has seen, 0 for none.
        photograph: of the part, where it is at hand.
    """
    person, note = plain(person), plain(note)
    if not person:
        st.warning("Whose decision is it? Please give a name.")
        return False
    st.session_state["person kept"] = person
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
        st.error(f"The decision was not stored: {escape_markdown(str(error))}")
        return False
    st.session_state["stored"] = f"Stored: {WORDS[disposition]}, says {escape_markdown(person)}."
    return True


def tell_conflict(desk: Desk) -> None:
    """Who was faster, and whether the other decision is to be stored too."""
    conflict: Conflict | None = st.session_state.get(CONFLICT)
    if conflict is None:
        return
    last = conflict.last
    note = f" ({last.note})" if last.note else ""
    at = last.time[:16].replace("T", " ")
    st.warning(
        escape_markdown(
            f"{last.person} has already decided on inspection {conflict.inspection_id}: "
            f"{WORDS[last.verdict]}{note}, at {at} UTC. Your decision, "
            f"{WORDS[conflict.disposition]}, is not stored."
        ),
        icon=":material/group:",
    )
    left, right, _ = st.columns([1, 1, 3])
    left.button("Store mine too", on_click=store_too, args=(desk,), width="stretch")
    right.button("Leave it", on_click=st.session_state.pop, args=(CONFLICT, None), width="stretch")


def store_too(desk: Desk) -> None:
    """Store the decision beside the other one, which the person has seen now."""
    one: Conflict | None = st.session_state.pop(CONFLICT, None)
    if one is None:  # a second click
        return
    own = (one.inspection_id, one.disposition, one.person, one.note)
    record_disposition(desk, *own, one.last.id)
