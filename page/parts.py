"""What the pages of app.py share: inspecting, decisions in words and colour, heatmaps."""

import html
import time
from collections.abc import Callable, Sequence

import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from common.errors import UserError
from imaging.photographs import IMAGE_SUFFIXES
from imaging.reading import UnreadableImageError, decode_grey
from inspection.explanation import Explained, explain_predicted
from inspection.options import BATCH_SIZE
from inspection.predictor import Prediction
from inspection.recording import MAX_IMAGE_BYTES, Inspected, Inspector, Part, plain
from page.desk import Desk
from page.frame import tell_error, tell_warning
from page.words import SIGNS, WORDS, chance, decides, sentence
from traceability.dispositions import Disposition

IMAGE_TYPES = sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)
SHOWN_PX = 900  # the longer side of a photograph on the page, at most


def inspect(
    desk: Desk, parts: Sequence[Part], keep: Callable[[int, Inspected], object], bar_text: str
) -> None:
    """Inspect and record, under a progress bar; `keep` is given each part's place and decision.

    It is called as soon as a part is recorded and before the page is touched: whoever clicks
    meanwhile interrupts this function, and what is recorded must not be inspected again.
    """
    started, bar, done = time.perf_counter(), None, 0
    try:
        with desk.log.open("create") as log:
            inspector = Inspector(desk.predictor, log)
            while done < len(parts):
                for one in inspector.inspect(parts[done : done + BATCH_SIZE]):
                    keep(done, one)
                    done += 1
                if len(parts) > BATCH_SIZE:
                    left = (time.perf_counter() - started) / done * (len(parts) - done)
                    text = f"{bar_text}: {done:,} of {len(parts):,}, about {left:.0f} s left"
                    bar = bar or st.progress(0.0)
                    bar.progress(done / len(parts), text)
    except UserError as error:
        tell_error(
            f"{done:,} of {len(parts):,} photographs are inspected and recorded. The others are "
            f"not inspected, because they could not be recorded: {error}"
        )
    if bar is not None:
        bar.empty()


def shown_image(data: bytes, largest_px: int = SHOWN_PX) -> Image.Image | None:
    """A photograph as the model sees it, grey and upright, no larger than the page needs."""
    try:
        image = decode_grey(data)
    except UnreadableImageError:
        return None
    image.thumbnail((largest_px, largest_px), Image.Resampling.BILINEAR)
    return image


def too_large(name: str, size: int) -> bool:
    """Whether a photograph is refused for its size; then says so."""
    if size <= MAX_IMAGE_BYTES:
        return False
    tell_warning(
        f"{name} has {size / 1e6:.0f} MB; a photograph may have {MAX_IMAGE_BYTES >> 20} MB."
    )
    return True


# --- heatmaps ------------------------------------------------------------------------------------


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


# --- decisions -----------------------------------------------------------------------------------


def show_decision(
    name: str,
    prediction: Prediction,
    review: tuple[float, float] | None,
    said: Disposition | None = None,
) -> None:
    """The decision in colour, a word and a sentence; a person's word stands above the model's.

    The colour alone says nothing.
    """
    p = prediction
    decision = said.verdict if said else p.decision
    text = sentence(name, p, review)
    if said:
        note = f" ({said.note})" if said.note else ""
        text = f"{said.person} says: {WORDS[said.verdict]}{note}. The model: {text}"
    st.html(
        f'<div class="verdict {decision or "error"}" role="status">'
        f'<span class="mark">{SIGNS[decision]}</span>'
        f'<div><div class="word">{WORDS[decision]}</div><div>{html.escape(text)}</div></div></div>'
    )


def show_scale(prediction: Prediction, review: tuple[float, float] | None) -> None:
    """The probability on a line from 0 to 1, with threshold and review band."""
    p, band = prediction, ""
    limit = f'<div class="limit" style="left:{100 * p.threshold:.1f}%"><span>threshold</span></div>'
    if decides(review, p.threshold):
        limit = ""
    if review:
        left, width = 100 * review[0], 100 * (review[1] - review[0])
        place = f"left:{left:.1f}%;width:{width:.1f}%"
        band = f'<div class="band" style="{place}"><span>a person decides</span></div>'
    st.html(
        f'<div class="scale" role="img" aria-label="defect probability {chance(p.prob_defect)}, '
        f'threshold {chance(p.threshold)}"><div class="line">{band}{limit}'
        f'<div class="dot {p.decision}" style="left:{100 * p.prob_defect:.1f}%"></div></div>'
        '<div class="ends"><span>0 good</span><span>defect 1</span></div></div>'
    )


def person_field(key: str) -> str:
    """Who is speaking; asked once."""
    return _kept_field("Your name", key, "person kept", "")


def head(desk: Desk) -> tuple[DeltaGenerator, str, str]:
    """The head of a page that inspects: a place for what is given, station and lot for the log."""
    given, lot_fields = st.columns([3, 2], gap="large")
    with lot_fields:
        left, right = st.columns(2)
    with left:
        station = _kept_field("Station", "station", "station kept", desk.station)
    with right:
        lot = _kept_field("Lot", "lot", "lot kept", desk.lot)
    st.session_state["station kept"], st.session_state["lot kept"] = station, lot
    return given, plain(station), plain(lot)


def _kept_field(label: str, key: str, kept: str, default: str) -> str:
    """A field that begins with what was said before: Streamlit forgets it when the page changes."""
    if key not in st.session_state:
        st.session_state[key] = st.session_state.get(kept, default)
    return st.text_input(label, key=key, max_chars=100, placeholder="for the log")
