"""A part's photograph: as it is, or under its heatmap, and larger; always with an alt text."""

import html

import streamlit as st

from imaging.reading import UnreadableImageError
from inspection.explanation import Explained, explain_predicted
from inspection.predictor import Prediction
from page.desk import Desk
from page.parts import SHOWN_PX, prediction_of, shown_image
from page.words import WORDS, chance
from traceability.search import Found

ZOOMS = (1, 2, 4)
# The picture may not have its size yet
LOOK_SCRIPT = """
const look = (x, y, tries) => {
  const box = document.querySelector(".st-key-picture_2, .st-key-picture_4");
  const image = box?.querySelector("img");
  if (image?.complete && image.clientWidth > box.clientWidth)
    box.scrollTo(x * image.clientWidth - box.clientWidth / 2,
                 y * image.clientHeight - box.clientHeight / 2);
  else if (tries) setTimeout(look, 100, x, y, tries - 1);
};
look(%.4f, %.4f, 30); // %s
"""
HEAT, ZOOM = "heatmap", "zoom"  # keys in the session


def show_picture(desk: Desk, name: str, data: bytes, prediction: Prediction, model_id: str) -> None:
    """The photograph; over it, if wanted, what speaks for a defect. Nothing where none can be read.

    Args:
        model_id: of the model that decided.
    """
    explained = heatmap(desk, data, prediction) if prediction.decision else None
    image = shown_image(data) if explained is None else explained.image
    if image is None:
        return
    place = st.empty()
    with st.container(horizontal=True, vertical_alignment="center", key="picture_tools"):
        zoom = choose_zoom(prediction.sha256)
        heat = explained is not None and st.toggle("Heatmap", True, key=HEAT)
    if heat:
        image = explained.overlay()
        st.caption(f"{desk.explainer.legend} A defect's hottest region is outlined.")
        tell_other_model(desk, model_id)
    elif desk.explainer is None:
        st.caption("An ONNX model has no heatmaps; start the page with its checkpoint.")
    with place.container(key=f"picture_{zoom}"):
        st.image(image, width="stretch", alt=alt_text(name, prediction, heat))
        if zoom > 1:
            look_at(hottest_place(explained), f"{zoom} {prediction.sha256}")


def show_recorded(desk: Desk, one: Found, data: bytes | None) -> None:
    """The same of a record of the log; or that its photograph is gone."""
    if data is None:
        st.warning("Its photograph is not here any more.", icon=":material/hide_image:")
    else:
        show_picture(desk, one.file, data, prediction_of(one), one.model[:12])


def hottest_place(explained: Explained | None) -> tuple[float, float]:
    """Where the map is hottest, from the left and from the top, as shares; else the middle."""
    if explained is None or not explained.heat.any():
        return 0.5, 0.5
    height, width = explained.heat.shape
    y, x = divmod(int(explained.heat.argmax()), width)
    return (x + 0.5) / width, (y + 0.5) / height


def look_at(place: tuple[float, float], what: str) -> None:
    """Move the enlarged picture so that a place of it is in the middle; once for each `what`."""
    script = LOOK_SCRIPT % (*place, html.escape(what))
    st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)


def choose_zoom(sha256: str) -> int:
    """How many times as large as it fits; each photograph begins whole, then it scrolls."""
    return st.segmented_control(
        "Zoom", ZOOMS, format_func=lambda times: f"{times} x", default=1, key=f"{ZOOM} {sha256}",
        required=True,
        label_visibility="collapsed",
    )  # fmt: skip


def alt_text(name: str, prediction: Prediction, heat: bool) -> str:
    """'Heatmap over photograph a.png: Defect, probability 0.93'."""
    found = ""
    if prediction.prob_defect is not None:
        found = f", defect probability {chance(prediction.prob_defect)}"
    what = "Heatmap over photograph" if heat else "Photograph"
    return f"{what} {name}: {WORDS[prediction.outcome]}{found}"


def heatmap(desk: Desk, data: bytes, prediction: Prediction) -> Explained | None:
    """The map of one part, computed once for this visitor; None where there can be none."""
    if desk.explainer is None:
        return None
    kept = st.session_state.setdefault("heatmaps", {})
    key = (prediction.sha256, desk.predictor.sha256)
    if key not in kept:
        try:
            with st.spinner("drawing the heatmap"), desk.lock:
                (kept[key],) = explain_predicted(desk.explainer, [(data, prediction)], SHOWN_PX)
        except UnreadableImageError:
            return None
        while len(kept) > 50:
            kept.pop(next(iter(kept)))
    return kept[key]


def tell_other_model(desk: Desk, model_id: str) -> None:
    """Say under a heatmap that the decision beside it is another model's."""
    if model_id != desk.predictor.model_id:
        st.caption(f"The heatmap is of model {desk.predictor.model_id}, taken up since.")
