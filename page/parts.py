"""What the pages of app.py share: inspecting, decisions in words and colour, heatmaps."""

import base64
import html
import io
import time
from collections.abc import Callable, Sequence

import streamlit as st
from PIL import Image

from common.errors import UserError
from imaging.photographs import IMAGE_SUFFIXES
from imaging.reading import UnreadableImageError, decode_grey
from inspection.options import BATCH_SIZE
from inspection.predictor import Prediction
from inspection.recording import Inspected, Inspector, Part, plain
from page.desk import Desk
from page.frame import messages, tell_error
from page.words import SIGNS, WORDS, chance, decides, sentence
from traceability.dispositions import Disposition
from traceability.search import Found

IMAGE_TYPES = sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)
SHOWN_PX = 1200  # the longer side of a photograph on the page, at most


def inspect(
    desk: Desk, parts: Sequence[Part], keep: Callable[[int, Inspected], object], bar_text: str
) -> bool:
    """Inspect and record, under a progress bar; `keep` is given each part's place and decision.

    Returns whether all are; else the page says why not.

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
                    bar = bar or messages().progress(0.0)
                    bar.progress(done / len(parts), text)
    except UserError as error:
        tell_error(
            f"{done:,} of {len(parts):,} photographs are inspected and recorded. The others are "
            f"not inspected, because they could not be recorded: {error}"
        )
        messages().button("Try again", icon=":material/refresh:")
    if bar is not None:
        bar.empty()
    return done == len(parts)


def shown_image(data: bytes, largest_px: int = SHOWN_PX) -> Image.Image | None:
    """A photograph as the model sees it, grey and upright, no larger than the page needs."""
    try:
        image = decode_grey(data)
    except UnreadableImageError:
        return None
    image.thumbnail((largest_px, largest_px), Image.Resampling.BILINEAR)
    return image


def thumbnail(data: bytes, size_px: int) -> str | None:
    """A small image as a data URL, so that the browser asks for nothing more."""
    image = shown_image(data, size_px)
    if image is None:
        return None
    small = io.BytesIO()
    image.save(small, "jpeg", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(small.getvalue()).decode()}"


# --- decisions -----------------------------------------------------------------------------------


def prediction_of(one: Found) -> Prediction:
    """A record as the prediction that it was."""
    return Prediction(
        one.status, one.decision, one.prob_defect, one.predicted_class, (), one.threshold,
        one.latency_ms, one.error, one.sha256, one.brightness,
    )  # fmt: skip


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
    outcome = said.verdict if said else p.outcome
    text = sentence(name, p, review)
    if said:
        note = f" ({said.note})" if said.note else ""
        text = f"{said.person} says: {WORDS[said.verdict]}{note}. The model: {text}"
    st.html(
        f'<div class="verdict {outcome}" role="status">'
        f'<span class="mark">{SIGNS[outcome]}</span>'
        f'<div><div class="word">{WORDS[outcome]}</div><div>{html.escape(text)}</div></div></div>'
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


def ask_for_lot(desk: Desk) -> tuple[str, str]:
    """Station and lot for the log; what was said last stays."""
    station = kept_field("Station", "station", "station kept", desk.station)
    lot = kept_field("Lot", "lot", "lot kept", desk.lot)
    st.session_state["station kept"], st.session_state["lot kept"] = station, lot
    return plain(station), plain(lot)


def kept_field(label: str, key: str, kept: str, default: str) -> str:
    """A field that begins with what was said before: Streamlit forgets it when the page changes."""
    if key not in st.session_state:
        st.session_state[key] = st.session_state.get(kept, default)
    return st.text_input(label, key=key, max_chars=100, placeholder="for the log")
