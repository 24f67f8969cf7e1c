"""The page Inspect: photographs to verdicts, heatmaps, and the parts that wait for a person."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from PIL import Image

from inspector import MAX_IMAGE_BYTES, Part, file_name
from log_search import search
from overlays import captioned
from page_parts import (
    IMAGE_TYPES,
    MARKS,
    WORDS,
    Desk,
    heatmap,
    inspect,
    lot_fields,
    open_desk,
    person_field,
    record_verdict,
    show_scale,
    show_verdict,
    too_large,
)
from predict import Prediction
from records import InspectionLog
from samples import KINDS, sample_part

THUMBNAIL_PX, THUMBNAILS = 110, 12
WAITING_SHOWN = 9
KEPT = 200  # parts of this visitor that stay on the page


@dataclass(frozen=True)
class Shown:
    """A part on the page; rendered ones have no number in the log."""

    name: str
    data: bytes
    prediction: Prediction
    inspection_id: int | None


def show() -> None:
    """The page."""
    desk = open_desk()
    given, lot = st.columns([3, 2], gap="large")
    with lot:
        station, lot_name = lot_fields(desk)
    with given:
        files = st.file_uploader(
            "Photographs of parts", IMAGE_TYPES, accept_multiple_files=True, key="photographs",
            max_upload_size=MAX_IMAGE_BYTES >> 20,
        )  # fmt: skip
    sample = choose_sample()
    parts = [*judged_uploads(desk, files, station, lot_name), *judged_sample(desk, sample)]
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


def judged_uploads(desk: Desk, files, station: str, lot: str) -> list[Shown]:
    """Each uploaded file, judged and recorded once."""
    kept: dict[str, Shown] = st.session_state.setdefault("judged", {})
    new = [one for one in files if one.file_id not in kept and not too_large(one.name, one.size)]
    parts = [Part(file_name(one.name), one.getvalue(), station, lot) for one in new]
    if parts:
        bar = st.progress(0.0, "judging")
        found = inspect(
            desk, parts, lambda done: bar.progress(done / len(parts), f"{done} of {len(parts)}")
        )
        bar.empty()
        for file, part, one in zip(new, parts, found or [], strict=False):
            kept[file.file_id] = Shown(part.name, part.data, one.prediction, one.id)
    wanted = [one.file_id for one in files]
    for file_id in [one for one in kept if one not in wanted]:
        del kept[file_id]
    return [kept[one] for one in wanted if one in kept]


def judged_sample(desk: Desk, sample: tuple[str, int] | None) -> list[Shown]:
    """The rendered part, if one is chosen."""
    if sample is None:
        return []
    kind, number = sample
    data = rendered(kind, number)
    (prediction,) = desk.predictor.predict([data])
    return [Shown(f"rendered {kind} {number}", data, prediction, None)]


@st.cache_data(max_entries=100, show_spinner="rendering")
def rendered(kind: str, number: int) -> bytes:
    return sample_part(kind, number)


def choose(parts: list[Shown]) -> Shown:
    """One of several parts: thumbnails, and a list to choose from, the likeliest defects first."""
    if len(parts) == 1:
        return parts[0]
    order = sorted(parts, key=lambda one: -1 if one.prediction.status == "error" else
                   one.prediction.prob_defect, reverse=True)  # fmt: skip
    readable = [one for one in order if one.prediction.status == "ok"]
    st.image([thumbnail(one) for one in readable[:THUMBNAILS]], width=THUMBNAIL_PX)

    def label(number: int) -> str:
        p = order[number].prediction
        chance = "" if p.prob_defect is None else f" {p.prob_defect:.3f}"
        return f"{MARKS[p.decision]} {WORDS[p.decision]}{chance} · {order[number].name}"

    number = st.selectbox(f"{len(parts)} parts", range(len(order)), format_func=label, key="part")
    return order[number]


def thumbnail(one: Shown) -> Image.Image:
    """The photograph with its verdict below, small."""
    picture = Image.open(io.BytesIO(one.data)).convert("L").resize((2 * THUMBNAIL_PX,) * 2)
    p = one.prediction
    return captioned(picture, [f"{p.decision} {p.prob_defect:.2f}"], p.decision == "ok")


# --- one part ------------------------------------------------------------------------------------


def show_part(desk: Desk, one: Shown) -> None:
    """A part: photograph with heatmap, verdict, what a person says."""
    picture, verdict = st.columns([1, 1], gap="large")
    with picture:
        show_picture(desk, one)
    with verdict:
        show_verdict(one.name, one.prediction, desk.predictor.review)
        if one.prediction.status == "ok":
            show_scale(one.prediction, desk.predictor.review)
            left, right = st.columns(2)
            left.metric("Defect probability", f"{one.prediction.prob_defect:.4f}")
            right.metric("Threshold", f"{one.prediction.threshold:.4f}")
        if one.inspection_id is not None:
            if one.prediction.status == "ok":
                ask_person(desk, one)
            st.caption(
                f"{one.name} · inspection {one.inspection_id} · model {desk.predictor.model_id} · "
                f"{one.prediction.latency_ms:.0f} ms · SHA-256 {one.prediction.sha256[:12]}…"
            )
        else:
            st.caption(f"{one.name} · not recorded · model {desk.predictor.model_id}")


def show_picture(desk: Desk, one: Shown) -> None:
    """The photograph; over it, as strong as wanted, what speaks for a defect."""
    if one.prediction.status == "error":
        return
    explained = heatmap(desk, one.data, one.prediction)
    if explained is None:
        st.image(one.data, width="stretch")
        st.caption("An ONNX model has no heatmaps; start the page with its checkpoint.")
        return
    place = st.empty()
    strength = st.slider("Heatmap", 0, 100, 70, 5, format="%d %%", key="strength")
    place.image(explained.overlay(strength=strength / 100), width="stretch")
    st.caption(
        "Brighter is hotter: what speaks for a defect, on this part's own scale, so a good part "
        "has a brightest place too. A defect's hottest region is outlined."
    )


def ask_person(desk: Desk, one: Shown) -> None:
    """The form for a person's verdict, and the latest one."""
    with InspectionLog(desk.log) as log:
        (found,) = search(log, number=one.inspection_id)
    said = found.person_says
    if said:
        note = f" ({said.note})" if said.note else ""
        st.success(f"{said.person} says: {WORDS[said.verdict]}{note}", icon=":material/person:")
    waits = one.prediction.decision == "review" and not said
    title = "Waits for a person: what is it?" if waits else "A person says otherwise?"
    with st.expander(title, expanded=waits), st.form(f"verdict {one.inspection_id}", border=False):
        verdict = st.radio("It is", list(VERDICTS), horizontal=True, index=None)
        left, right = st.columns(2)
        with left:
            person = person_field(f"person {one.inspection_id}")
        note = right.text_input("Note", max_chars=1000, key=f"note {one.inspection_id}")
        if st.form_submit_button("Store the verdict", type="primary"):
            if verdict is None:
                st.warning("Good or defect?")
            elif record_verdict(desk, one.inspection_id, VERDICTS[verdict], person, note):
                st.rerun()


VERDICTS = {WORDS["ok"]: "ok", WORDS["defect"]: "defect"}


# --- parts that wait -----------------------------------------------------------------------------


def show_waiting(desk: Desk, shown: set[int | None]) -> None:
    """Parts for review on which nobody has spoken, wherever they were judged."""
    if not desk.log.exists():
        return
    with InspectionLog(desk.log) as log:
        waiting = search(log, awaiting=True, limit=WAITING_SHOWN + len(shown) + 1)
    waiting = [one for one in waiting if one.id not in shown]
    if not waiting:
        return
    more = "+" if len(waiting) > WAITING_SHOWN else ""
    st.subheader(f"Waiting for a person: {min(len(waiting), WAITING_SHOWN)}{more}", divider="gray")
    person = person_field("person for waiting")
    columns = st.columns(3)
    for number, one in enumerate(waiting[:WAITING_SHOWN]):
        with columns[number % 3], st.container(border=True):
            show_one_waiting(desk, one, person)


def show_one_waiting(desk: Desk, one, person: str) -> None:
    """A waiting part with two buttons."""
    data = desk.pictures.find(one.sha256, one.file)
    if data is None:
        st.caption("its photograph is not here any more")
    else:
        st.image(data, width="stretch")
    st.caption(f"{one.prob_defect:.3f} · {one.file} · {one.time[:16].replace('T', ' ')} UTC")
    buttons: list[tuple[str, str, Callable]] = list(zip(st.columns(2), VERDICTS, strict=True))
    for column, word in buttons:
        if column.button(word, key=f"{word} {one.id}", width="stretch"):
            if record_verdict(desk, one.id, VERDICTS[word], person, ""):
                st.rerun()
