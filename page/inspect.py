"""The page Inspect: photographs to decisions, where these come from, and what a person says."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from inspection.predictor import Prediction
from inspection.recording import Inspected, Part
from page import strip
from page.desk import Desk
from page.dispositions import ask_person, just_spoken_on, persons_say, tell_conflict
from page.frame import framed, scroll_up, tell_warning
from page.intake import SAMPLE_KIND, Given, ask_for_parts, rendered
from page.parts import inspect, show_decision, show_scale, thumbnail
from page.picture import show_picture
from page.words import escape_markdown
from traceability.dispositions import Disposition

THUMBNAIL_PX = 72
KEPT, KEPT_BYTES = 200, 256 << 20  # photographs of this visitor that stay on the page
PARTS, DONE = "inspected", "inspected uploads"  # in the session
REFUSED = "refused uploads"  # why, of those that came last
SAMPLE, SAMPLE_SHOWN = "sample", "sample shown"


@dataclass(frozen=True)
class Shown:
    """A part on the page; rendered ones have no number in the log."""

    part: Part
    prediction: Prediction
    model_id: str  # of the model that decided
    inspection_id: int | None
    thumbnail: str | None

    @property
    def id(self) -> str:
        """What the film strip calls it."""
        return SAMPLE if self.inspection_id is None else str(self.inspection_id)


@framed
def show(desk: Desk) -> None:
    """The page: what was found stands above what asks for more."""
    tell_conflict(desk)
    found, asked = st.container(), st.container()
    with asked:
        given = ask_for_parts(desk)
        if st.session_state.get(PARTS) or given.sample or st.session_state.get(REFUSED):
            st.button("Clear the parts", icon=":material/close:", on_click=clear)
    all_inspected = inspect_new(desk, given)
    for why in st.session_state.get(REFUSED, []):
        tell_warning(why)
    parts = [*inspected_sample(desk, given), *st.session_state.setdefault(PARTS, [])]
    with found:
        if parts:
            show_parts(desk, parts)
        else:
            st.info(
                "Choose photographs, or take one with the camera, or try a rendered part.",
                icon=":material/photo_camera:",
            )
    if all_inspected:
        st.rerun()  # the header has counted before; the decision does not wait for that


def clear() -> None:
    """Take all parts off the page; the log keeps those that were inspected."""
    st.session_state[PARTS], st.session_state[REFUSED] = [], []
    st.session_state[SAMPLE_KIND] = st.session_state[SAMPLE_SHOWN] = None


# --- what is to be inspected ---------------------------------------------------------------------


def inspect_new(desk: Desk, given: Given) -> bool:
    """Inspect and record what is new; a part that is on the page for the same lot is not.

    Returns whether there was something new, and all of it is inspected.
    """
    inspected: list[Shown] = st.session_state.setdefault(PARTS, [])
    done: set[str] = st.session_state.setdefault(DONE, set())
    on_page = {one.part for one in inspected}
    came = dict(given.new_parts(done))
    if came:
        st.session_state[REFUSED] = [why for why in came.values() if isinstance(why, str)]
        scroll_up()
    new = {k: part for k, part in came.items() if isinstance(part, Part) and part not in on_page}
    done |= came.keys() - new.keys()
    if not new:
        return False
    keys, parts, found = list(new), list(new.values()), []

    def keep(place: int, one: Inspected) -> None:
        done.add(keys[place])
        found.append(shown(parts[place], one.prediction, one.model_id, one.id))
        inspected.append(found[-1])

    complete = inspect(desk, parts, keep, "inspecting")
    while len(inspected) > KEPT or sum(len(one.part.data) for one in inspected) > KEPT_BYTES:
        inspected.pop(0)
    if found:
        strip.show_part(strip.in_order([frame_of(one, None) for one in found])[0].id)
    return complete


def inspected_sample(desk: Desk, given: Given) -> list[Shown]:
    """The rendered part, if one is chosen."""
    if given.sample is None:
        return []
    if st.session_state.get(SAMPLE_SHOWN) != given.sample:
        st.session_state[SAMPLE_SHOWN] = given.sample
        strip.show_part(SAMPLE)
        scroll_up()
    kind, number = given.sample
    data = rendered(kind, number)
    (prediction,) = desk.predictor.predict([data])
    part = Part(f"rendered {kind} {number}", data)
    return [shown(part, prediction, desk.predictor.model_id, None)]


def shown(part: Part, prediction: Prediction, model_id: str, inspection_id: int | None) -> Shown:
    """A part with its thumbnail."""
    return Shown(part, prediction, model_id, inspection_id, thumbnail(part.data, THUMBNAIL_PX))


# --- what was found ------------------------------------------------------------------------------


def show_parts(desk: Desk, parts: Sequence[Shown]) -> None:
    """The film strip, where there are several parts, and the part that is chosen."""
    said = persons_say(desk, [one.inspection_id for one in parts if one.inspection_id])
    chosen = parts[0].id
    decided = just_spoken_on()
    if len(parts) > 1:
        frames = [frame_of(one, said.get(one.inspection_id)) for one in parts]
        chosen = strip.choose(strip.in_order(frames), decided and str(decided))
    for one in parts:
        if one.id == chosen:
            show_part(desk, one, said.get(one.inspection_id))


def frame_of(one: Shown, said: Disposition | None) -> strip.Frame:
    """A part as the film strip has it."""
    p = one.prediction
    outcome = said.verdict if said else p.outcome
    return strip.Frame(
        one.id, one.part.name, one.thumbnail, p.outcome, outcome, p.prob_defect, said is not None
    )


def show_part(desk: Desk, one: Shown, said: Disposition | None) -> None:
    """A part: the decision, what a person says, and beside it the photograph."""
    p, recorded = one.prediction, one.inspection_id is not None
    decision, picture = st.columns(2, gap="medium")
    with decision:
        show_decision(one.part.name, p, desk.predictor.review, said)
        if p.status == "ok":
            show_scale(p, desk.predictor.review)
        if recorded:
            ask_person(desk, one.inspection_id, said, show_again, one.part.data)
        else:
            tell_of_sample(desk)
    with picture:
        show_picture(desk, one.part.name, one.part.data, p, one.model_id)
        what = f"inspection {one.inspection_id}" if recorded else "not recorded"
        st.caption(
            f"{escape_markdown(one.part.name)} · {what} · model {one.model_id} · "
            f"{p.latency_ms:.0f} ms · SHA-256 {p.sha256[:12]}…"
        )


def show_again(inspection_id: int) -> None:
    """Choose a part on which this person has taken back his word."""
    strip.show_part(str(inspection_id))


def tell_of_sample(desk: Desk) -> None:
    """What a rendered part is to a model that has seen none."""
    if "synthetic" not in desk.predictor.checkpoint.data:
        st.caption(
            "This model was trained on photographs; rendered parts are strange to it. `make demo` "
            "makes one that knows them: app.py --checkpoint checkpoints/demo/best.pth"
        )
