"""The page Inspect: photographs to decisions, heatmaps, and the parts that wait for a person."""

from dataclasses import dataclass

import streamlit as st
from PIL import Image

from common.errors import UserError
from inspection.predictor import Prediction
from inspection.recording import MAX_IMAGE_BYTES, Inspected, Part, file_name
from page.desk import Desk
from page.dispositions import CONFLICT, DISPOSITIONS, record_disposition, tell_conflict
from page.frame import framed
from page.parts import (
    IMAGE_TYPES,
    head,
    heatmap,
    inspect,
    person_field,
    show_decision,
    show_scale,
    shown_image,
    tell_other_model,
    too_large,
)
from page.samples import KINDS, sample_part
from page.words import SIGNS, WORDS, chance, decides, escape_markdown
from traceability.dispositions import Disposition
from traceability.search import Found, search

THUMBNAIL_PX, THUMBNAILS = 110, 12
WAITING_SHOWN = 9
PERSON = "person for waiting"  # the field for the name
KEPT, KEPT_BYTES = 200, 256 << 20  # photographs of this visitor that stay on the page


@dataclass(frozen=True)
class Shown:
    """A part on the page; rendered ones have no number in the log."""

    part: Part
    prediction: Prediction
    model_id: str  # of the model that decided
    inspection_id: int | None
    thumbnail: Image.Image | None


@framed
def show(desk: Desk) -> None:
    """The page."""
    tell_conflict(desk)
    given, station, lot = head(desk)
    with given:
        files = st.file_uploader(
            "Photographs of parts", IMAGE_TYPES, accept_multiple_files=True, key="photographs",
            max_upload_size=MAX_IMAGE_BYTES >> 20,
        )  # fmt: skip
    sample = choose_sample()
    inspect_uploads(desk, files, station, lot)
    uploaded = st.session_state.setdefault("inspected", [])
    parts = [*inspected_sample(desk, sample), *uploaded]
    if parts:
        show_part(desk, choose(parts))
    else:
        st.info(
            "Choose photographs, or take one with the tablet's camera, or try a rendered part.",
            icon=":material/photo_camera:",
        )
    show_waiting(desk, {one.inspection_id for one in parts})


# --- what is to be inspected ---------------------------------------------------------------------


def choose_sample() -> tuple[str, int] | None:
    """A kind and a number of a rendered part."""
    left, right = st.columns([6, 1], vertical_alignment="bottom")
    with left:
        kind = st.pills("or a rendered part, which is not recorded", KINDS, key="sample")
    number = st.session_state.setdefault("sample number", 1)
    with right:
        if kind and st.button("Another", icon=":material/refresh:", width="stretch"):
            number = st.session_state["sample number"] = number + 1
    return (kind, number) if kind else None


def inspect_uploads(desk: Desk, files, station: str, lot: str) -> None:
    """Inspect and record what is new; a part that is on the page for the same lot is not."""
    inspected: list[Shown] = st.session_state.setdefault("inspected", [])
    done: set[str] = st.session_state.setdefault("inspected uploads", set())
    on_page = {one.part for one in inspected}
    new, parts = [], []
    for file in files:
        if file.file_id in done or too_large(file.name, file.size):
            continue
        part = Part(file_name(file.name), file.getvalue(), station, lot)
        if part in on_page:
            done.add(file.file_id)
            continue
        new.append(file.file_id)
        parts.append(part)

    def keep(place: int, one: Inspected) -> None:
        done.add(new[place])
        inspected.append(shown(parts[place], one.prediction, one.model_id, one.id))

    if parts:
        inspect(desk, parts, keep, "inspecting")
    while len(inspected) > KEPT or sum(len(one.part.data) for one in inspected) > KEPT_BYTES:
        inspected.pop(0)


def inspected_sample(desk: Desk, sample: tuple[str, int] | None) -> list[Shown]:
    """The rendered part, if one is chosen."""
    if sample is None:
        return []
    kind, number = sample
    if "synthetic" not in desk.predictor.checkpoint.data:
        st.caption(
            "This model was trained on photographs; rendered parts are strange to it. `make demo` "
            "makes one that knows them."
        )
    data = rendered(kind, number)
    (prediction,) = desk.predictor.predict([data])
    part = Part(f"rendered {kind} {number}", data)
    return [shown(part, prediction, desk.predictor.model_id, None)]


@st.cache_data(max_entries=100, show_spinner="rendering")
def rendered(kind: str, number: int) -> bytes:
    return sample_part(kind, number)


def shown(part: Part, prediction: Prediction, model_id: str, inspection_id: int | None) -> Shown:
    """A part with its thumbnail."""
    thumbnail = shown_image(part.data, 2 * THUMBNAIL_PX)
    return Shown(part, prediction, model_id, inspection_id, thumbnail)


def probability(one: Shown) -> float:
    """For sorting: what has no decision comes last; a warning names it."""
    return -1.0 if one.prediction.prob_defect is None else one.prediction.prob_defect


def choose(parts: list[Shown]) -> Shown:
    """One of several parts: thumbnails, and a list to choose from, the likeliest defects first."""
    if len(parts) == 1:
        return parts[0]
    order = sorted(parts, key=probability, reverse=True)
    undecided = [one for one in order if not one.prediction.decision]
    if undecided:
        names = ", ".join(
            f"{escape_markdown(one.part.name)} ({escape_markdown(one.prediction.error)})"
            for one in undecided[:5]
        )
        more = f" and {len(undecided) - 5} more" if len(undecided) > 5 else ""
        st.warning(f"No decision on {names}{more}.")
    images = [one for one in order if one.thumbnail is not None][:THUMBNAILS]
    if images:
        predictions = [one.prediction for one in images]
        captions = [
            f"{SIGNS[p.decision]}{'' if p.prob_defect is None else f' {p.prob_defect:.2f}'}"
            for p in predictions
        ]
        st.image([one.thumbnail for one in images], captions, width=THUMBNAIL_PX)

    def label(number: int) -> str:
        p = order[number].prediction
        found = "" if p.prob_defect is None else f" {chance(p.prob_defect)}"
        return f"{SIGNS[p.decision]} {WORDS[p.decision]}{found} · {order[number].part.name}"

    left, right = st.columns([6, 1], vertical_alignment="bottom")
    with left:
        number = st.selectbox(
            f"{len(parts)} parts", range(len(order)), format_func=label, key=f"part {len(order)}"
        )
    if right.button("Clear", icon=":material/close:", width="stretch"):
        st.session_state["inspected"] = []
        st.rerun()
    return order[number]


# --- one part ------------------------------------------------------------------------------------


def show_part(desk: Desk, one: Shown) -> None:
    """A part: photograph with heatmap, decision, what a person says."""
    image, decision = st.columns([1, 1], gap="large")
    with image:
        show_image(desk, one)
    with decision:
        said, review = disposition_of(desk, one), desk.predictor.review
        show_decision(one.part.name, one.prediction, review, said)
        if one.prediction.status == "ok":
            show_scale(one.prediction, review)
            left, right = st.columns(2)
            left.metric("Defect probability", chance(one.prediction.prob_defect))
            if decides(review, one.prediction.threshold):
                right.metric("A person decides", f"{review[0]:g} to {review[1]:g}")
            else:
                right.metric("Threshold", chance(one.prediction.threshold))
        if one.inspection_id is not None:
            if one.prediction.status == "ok":
                ask_person(desk, one, said)
            st.caption(
                f"{escape_markdown(one.part.name)} · inspection {one.inspection_id} · "
                f"model {one.model_id} · {one.prediction.latency_ms:.0f} ms · "
                f"SHA-256 {one.prediction.sha256[:12]}…"
            )
        else:
            st.caption(f"{escape_markdown(one.part.name)} · not recorded · model {one.model_id}")


def show_image(desk: Desk, one: Shown) -> None:
    """The photograph; over it, as strong as wanted, what speaks for a defect."""
    if one.prediction.status == "error":
        return
    if not one.prediction.decision:
        st.image(shown_image(one.part.data), width="stretch")
        return
    explained = heatmap(desk, one.part.data, one.prediction)
    if explained is None:
        st.image(shown_image(one.part.data), width="stretch")
        st.caption("An ONNX model has no heatmaps; start the page with its checkpoint.")
        return
    place = st.empty()
    strength = st.slider("Heatmap", 0, 100, 50, 5, format="%d %%", key="strength")
    place.image(explained.overlay(strength=strength / 100), width="stretch")
    st.caption(f"{desk.explainer.legend} A defect's hottest region is outlined.")
    tell_other_model(desk, one.model_id)


def disposition_of(desk: Desk, one: Shown) -> Disposition | None:
    """The latest word of a person on a part.

    Raises:
        UserError: the log is not the one that it was.
    """
    if one.inspection_id is None:
        return None
    with desk.log.open() as log:
        found = search(log, number=one.inspection_id)
    if not found:
        raise UserError(f"{desk.log.path} is another log now; reload the page")
    return found[0].person_says


def ask_person(desk: Desk, one: Shown, said: Disposition | None) -> None:
    """The form for a person's disposition."""
    # When the form is sent this runs again, perhaps with somebody else's word by now
    key, last = f"seen {one.inspection_id}", said.id if said else 0
    seen = st.session_state.get(key, last)
    st.session_state[key] = last
    waits = one.prediction.decision == "review" and not said
    title = "Waits for a person: what is it?" if waits else "A person says otherwise?"
    with (
        st.expander(title, expanded=waits),
        st.form(f"disposition {one.inspection_id}", border=False),
    ):
        disposition = st.radio("It is", list(DISPOSITIONS), horizontal=True, index=None)
        left, right = st.columns(2)
        with left:
            person = person_field(f"person {one.inspection_id}")
        note = right.text_input("Note", max_chars=1000, key=f"note {one.inspection_id}")
        if st.form_submit_button("Store the decision", type="primary"):
            if disposition is None:
                st.warning("Good or defect?")
            elif record_disposition(
                desk, one.inspection_id, DISPOSITIONS[disposition], person, note, seen,
                one.part.data,
            ):  # fmt: skip
                st.rerun()
            if CONFLICT in st.session_state:
                st.rerun()


# --- parts that wait -----------------------------------------------------------------------------


def show_waiting(desk: Desk, shown: set[int | None]) -> None:
    """Parts for review on which nobody has spoken, wherever they were inspected."""
    if not desk.log.exists():
        return
    with desk.log.open() as log:
        waiting = search(log, awaiting=True, limit=WAITING_SHOWN + len(shown) + 1)
    waiting = [one for one in waiting if one.id not in shown]
    if not waiting:
        return
    more = "+" if len(waiting) > WAITING_SHOWN else ""
    st.subheader(f"Waiting for a person: {min(len(waiting), WAITING_SHOWN)}{more}", divider="gray")
    person_field(PERSON)
    columns = st.columns(3)
    for number, one in enumerate(waiting[:WAITING_SHOWN]):
        with columns[number % 3], st.container(border=True):
            show_one_waiting(desk, one)


def show_one_waiting(desk: Desk, one: Found) -> None:
    """A waiting part with two buttons."""
    image = waiting_image(desk, one)
    if image is None:
        st.caption("its photograph is not here any more")
    else:
        st.image(image, width="stretch")
    st.caption(
        f"{escape_markdown(chance(one.prob_defect))} · {escape_markdown(one.file)} · "
        f"{one.time[:16].replace('T', ' ')} UTC"
        + (f" · {escape_markdown(one.error)}" if one.error else "")
    )
    for column, word in zip(st.columns(2), DISPOSITIONS, strict=True):
        column.button(
            word, key=f"{word} {one.id}", width="stretch",
            on_click=decide, args=(desk, one.id, DISPOSITIONS[word]),
        )  # fmt: skip


def decide(desk: Desk, inspection_id: int, disposition: str) -> None:
    """Store a decision on a waiting part: nobody had spoken on it when the page showed it.

    Called before the page is made anew, for somebody may have spoken since: then the part waits no
    more, and its buttons would be gone before the click on one is seen.
    """
    record_disposition(desk, inspection_id, disposition, st.session_state[PERSON], "", seen=0)


def waiting_image(desk: Desk, one: Found) -> Image.Image | None:
    """The photograph of a waiting part, read once for this visitor."""
    kept = st.session_state.setdefault("waiting images", {})
    if one.sha256 not in kept:
        data = desk.images.find(one.sha256, one.file)
        kept[one.sha256] = None if data is None else shown_image(data)
        while len(kept) > 4 * WAITING_SHOWN:
            kept.pop(next(iter(kept)))
    return kept[one.sha256]
