"""What the pages of app.py share: model and log, decisions in words and colour, heatmaps."""

import argparse
import functools
import html
import io
import re
import time
from collections.abc import Callable, Sequence

import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from common.errors import UserError
from common.files import ROOT
from common.text import printable
from gate.limits import NOT_JUDGED
from imaging.photographs import IMAGE_SUFFIXES
from imaging.reading import UnreadableImageError, decode_grey
from inspection.explanation import Explained, explain_predicted
from inspection.model_file import ModelFile, cautions
from inspection.options import BATCH_SIZE, checked_band
from inspection.predictor import Prediction
from inspection.recording import (
    MAX_IMAGE_BYTES,
    Inspected,
    Inspector,
    Part,
    plain,
)
from page.desk import Desk, DeskKeeper
from page.log import PageLog
from page.samples import GOOD, sample_part
from traceability.dispositions import Disposition

IMAGE_TYPES = sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)
SHOWN_PX = 900  # the longer side of a photograph on the page, at most
WORDS = {"ok": "Good", "defect": "Defect", "review": "A person decides", "": "Not inspected"}
SIGNS = {"ok": "✓", "defect": "✕", "review": "?", "": "!"}
STYLE = (ROOT / "page" / "style.css").read_text(encoding="utf-8")


def set_up(options: argparse.Namespace) -> None:
    """The options of app.py; title, width and style of every page."""
    st.session_state["options"] = options
    # An image: Streamlit fetches icons for a browser's tab from another host
    st.set_page_config("Casting inspection", _icon(), layout="wide")
    st.html(f"<style>{STYLE}</style>")


@st.cache_data
def _icon() -> Image.Image:
    return Image.open(io.BytesIO(sample_part(GOOD, 1))).resize((64, 64))


def tells_errors(show: Callable[[], None]) -> Callable[[], None]:
    """A page on which what the disk or a person can cause becomes a sentence."""

    @functools.wraps(show)
    def told() -> None:
        try:
            show()
        except UserError as error:
            st.error(escape_markdown(str(error)), icon=":material/error:")
        except OSError as error:  # a disk, or a folder that has changed meanwhile
            where = f"{error.filename}: " if error.filename else ""
            st.error(escape_markdown(f"{where}{error.strerror or error}"), icon=":material/error:")

    return told


def open_desk() -> Desk:
    """The desk; without a model a sentence takes the page's place.

    Raises:
        UserError: an option is wrong.
    """
    options = st.session_state["options"]
    checked_band(options.review)
    try:
        keeper = _keeper(options, str(vars(options)))
    except UserError as error:
        st.error(
            f"There is no model to inspect with yet: {escape_markdown(str(error))}",
            icon=":material/error:",
        )
        st.markdown("`make demo` makes a small one in about three minutes; then reload this page.")
        st.stop()
    desk = keeper.desk()
    if stored := st.session_state.pop("stored", None):
        st.toast(stored, icon=":material/check:")
    for doubt in filter(None, (*cautions(desk.predictor), keeper.refusal)):
        text = escape_markdown(f"{doubt[0].upper()}{doubt[1:]}.")
        st.warning(text, icon=":material/warning:")
    return desk


@st.cache_resource(max_entries=1, show_spinner="loading the model")
def _keeper(_options, as_text: str) -> DeskKeeper:
    """Once for all visitors; from then on the desk follows the model's file."""
    places = (plain(_options.station), plain(_options.lot))
    return DeskKeeper(ModelFile.of(_options), PageLog(_options.log), *places)


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
        st.error(
            f"{done:,} of {len(parts):,} photographs are inspected and recorded. The others are "
            f"not inspected, because they could not be recorded: {escape_markdown(str(error))}"
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


def escape_markdown(text: str) -> str:
    """A text in Markdown that says itself: no links, images, formulas, icons, broken lines."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|$<>~:&])", r"\\\1", printable(text))


def too_large(name: str, size: int) -> bool:
    """Whether a photograph is refused for its size; then says so."""
    if size <= MAX_IMAGE_BYTES:
        return False
    st.warning(
        f"{escape_markdown(name)} has {size / 1e6:.0f} MB; a photograph may have "
        f"{MAX_IMAGE_BYTES >> 20} MB."
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


def sentence(name: str, prediction: Prediction, review: tuple[float, float] | None) -> str:
    """The decision in words."""
    p = prediction
    if p.status == "error":
        return f"{name} cannot be read: {p.error}. It counts as not inspected."
    if p.status == NOT_JUDGED:
        return f"{name} is not judged: {p.error}. Take another photograph, or look at the part."
    if p.error:
        return f"{p.prob_defect:.3f}, but the part is {p.error}: look at it."
    if p.decision == "review":
        return f"{p.prob_defect:.3f} lies between {review[0]:g} and {review[1]:g}: look at it."
    above = p.decision == "defect"
    if decides(review, p.threshold):
        edge = f"{'above' if above else 'below'} {review[above]:g}, where no person is asked"
    else:
        edge = f"{'at or above' if above else 'below'} the threshold {p.threshold:.3f}"
    return f"{p.prob_defect:.3f} lies {edge}."


def decides(review: tuple[float, float] | None, threshold: float) -> bool:
    """Whether the review band holds the threshold, and so decides in its place."""
    return review is not None and review[0] <= threshold <= review[1]


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
        f'<div class="scale" role="img" aria-label="defect probability {p.prob_defect:.3f}, '
        f'threshold {p.threshold:.3f}"><div class="line">{band}{limit}'
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
