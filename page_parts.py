"""What the pages of app.py share: the model and the log, verdicts in words and colour, heatmaps."""

import argparse
import html
import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from PIL import Image

from common import ROOT, UserError
from explain import Explained, explain_judged
from heatmap import Explainer
from images import IMAGE_SUFFIXES, UnreadableImageError
from inspector import MAX_IMAGE_BYTES, Inspected, Inspector, Part, Pictures
from predict import BATCH_SIZE, Prediction, Predictor, checked_band, find_model, load_predictor
from records import InspectionLog
from samples import GOOD, sample_part

IMAGE_TYPES = sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)
SHOWN_PX = 900  # the longer side of a photograph on the page, at most
WORDS = {"ok": "Good", "defect": "Defect", "review": "A person decides", "": "Not judged"}
MARKS = {"ok": "✓", "defect": "✕", "review": "?", "": "!"}
STYLE = (ROOT / "page.css").read_text()


@dataclass(frozen=True)
class Desk:
    """The model and the log that the page works with; one for all who look at it."""

    predictor: Predictor
    explainer: Explainer | None  # none for an ONNX file
    path: Path  # of the model
    log: Path
    station: str
    lot: str
    lock: threading.Lock  # around drawing and heatmaps, which several visitors may ask for at once

    @property
    def pictures(self) -> Pictures:
        return Pictures(self.log)


def set_up(options: argparse.Namespace) -> None:
    """The options of app.py; title, width and style of every page."""
    st.session_state["options"] = options
    # A picture: Streamlit fetches icons for a browser's tab from another host
    st.set_page_config("Casting inspection", _icon(), layout="wide")
    st.html(f"<style>{STYLE}</style>")


@st.cache_data
def _icon() -> Image.Image:
    return Image.open(io.BytesIO(sample_part(GOOD, 1))).resize((64, 64))


def open_desk() -> Desk:
    """The desk; without a model a sentence takes the page's place."""
    options = st.session_state["options"]
    try:
        path = find_model(options.checkpoint, options.engine)
        return _desk(options, str(vars(options)), path, path.stat().st_mtime_ns)
    except UserError as error:
        st.error(f"There is no model to inspect with yet. {error}", icon=":material/error:")
        st.markdown(
            "`make demo` makes a small one in about three minutes, `python train.py` a real one; "
            "then reload this page."
        )
        st.stop()


@st.cache_resource(max_entries=1, show_spinner="loading the model")
def _desk(_options, as_text: str, path: Path, changed: int) -> Desk:
    options = _options
    predictor = load_predictor(
        path, options.device, options.engine, options.threshold, checked_band(options.review)
    )
    explainer = None
    if predictor.checkpoint.weights:
        explainer = Explainer(predictor.checkpoint, predictor.device)
    own = (options.log, options.station, options.lot, threading.Lock())
    return Desk(predictor, explainer, path, *own)


def inspect(
    desk: Desk, parts: Sequence[Part], progress: Callable[[int], object] = lambda done: None
) -> list[Inspected] | None:
    """Judge and record; `progress` is told how many are done. None when the log refuses: said."""
    found = []
    try:
        with InspectionLog(desk.log, "create") as log:
            inspector = Inspector(desk.predictor, log)
            for start in range(0, len(parts), BATCH_SIZE):
                found += inspector.inspect(parts[start : start + BATCH_SIZE])
                progress(len(found))
    except UserError as error:
        st.error(f"Nothing was decided, because it could not be recorded: {error}")
        return None
    return found


def too_large(name: str, size: int) -> bool:
    """Whether a photograph is refused for its size; then says so."""
    if size <= MAX_IMAGE_BYTES:
        return False
    st.warning(f"{name} has {size / 1e6:.0f} MB; a photograph may have {MAX_IMAGE_BYTES >> 20} MB.")
    return True


# --- heatmaps ------------------------------------------------------------------------------------


def heatmaps(desk: Desk, judged: Sequence[tuple[bytes, Prediction]]) -> list[Explained]:
    """Maps of judged photographs, for showing: pictures no larger than the page needs."""
    with desk.lock:
        found = explain_judged(desk.explainer, judged)
    for one in found:
        one.picture.thumbnail((SHOWN_PX, SHOWN_PX), Image.Resampling.BILINEAR)
    return found


def heatmap(desk: Desk, data: bytes, prediction: Prediction) -> Explained | None:
    """The map of one part, computed once for this visitor; None where there can be none."""
    if desk.explainer is None:
        return None
    kept = st.session_state.setdefault("heatmaps", {})
    key = (prediction.sha256, desk.predictor.sha256)
    if key not in kept:
        try:
            with st.spinner("drawing the heatmap"):
                (kept[key],) = heatmaps(desk, [(data, prediction)])
        except UnreadableImageError:
            return None
        while len(kept) > 50:
            kept.pop(next(iter(kept)))
    return kept[key]


# --- verdicts ------------------------------------------------------------------------------------


def sentence(name: str, prediction: Prediction, review: tuple[float, float] | None) -> str:
    """The verdict in words."""
    p = prediction
    if p.status == "error":
        return f"{name} cannot be read: {p.error}. It counts as not inspected."
    if p.decision == "review":
        return f"{p.prob_defect:.3f} lies between {review[0]:g} and {review[1]:g}: look at it."
    relation = "reaches" if p.decision == "defect" else "stays below"
    return f"{p.prob_defect:.3f} {relation} the threshold {p.threshold:.3f}."


def show_verdict(name: str, prediction: Prediction, review: tuple[float, float] | None) -> None:
    """The verdict in colour, in a word and in a sentence; the colour alone says nothing."""
    p = prediction
    kind = p.decision or "error"
    st.html(
        f'<div class="verdict {kind}" role="status"><span class="mark">{MARKS[p.decision]}</span>'
        f'<div><div class="word">{WORDS[p.decision]}</div>'
        f"<div>{html.escape(sentence(name, p, review))}</div></div></div>"
    )


def show_scale(prediction: Prediction, review: tuple[float, float] | None) -> None:
    """The probability on a line from 0 to 1, with threshold and review band."""
    p, band = prediction, ""
    if review:
        left, width = 100 * review[0], 100 * (review[1] - review[0])
        band = f'<div class="band" style="left:{left:.1f}%;width:{width:.1f}%"></div>'
    st.html(
        f'<div class="scale" role="img" aria-label="defect probability {p.prob_defect:.3f}, '
        f'threshold {p.threshold:.3f}"><div class="line">{band}'
        f'<div class="limit" style="left:{100 * p.threshold:.1f}%"><span>threshold</span></div>'
        f'<div class="dot {p.decision}" style="left:{100 * p.prob_defect:.1f}%"></div></div>'
        '<div class="ends"><span>0 good</span><span>defect 1</span></div></div>'
    )


def record_verdict(desk: Desk, inspection_id: int, verdict: str, person: str, note: str) -> bool:
    """Store what a person found; whether that worked, else says why not."""
    if not person.strip():
        st.warning("Whose verdict is it? Please give a name.")
        return False
    st.session_state["person kept"] = person.strip()
    try:
        with InspectionLog(desk.log, "append") as log:
            log.add_verdict(inspection_id, verdict, person.strip(), note.strip())
    except UserError as error:
        st.error(f"The verdict was not stored: {error}")
        return False
    return True


def person_field(key: str) -> str:
    """Who is speaking; asked once."""
    kept = st.session_state.get("person kept", "")
    return st.text_input("Your name", kept, key=key, max_chars=100, placeholder="for the log")


def lot_fields(desk: Desk) -> tuple[str, str]:
    """Station and lot for the log, kept while pages change."""
    given = []
    for column, name in zip(st.columns(2), ("station", "lot"), strict=True):
        kept = st.session_state.get(f"{name} kept", getattr(desk, name))
        with column:
            text = st.text_input(name.capitalize(), kept, max_chars=100, placeholder="for the log")
        st.session_state[f"{name} kept"] = text
        given.append(text)
    return given[0], given[1]
