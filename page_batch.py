"""The page Batch: a folder or zip file of photographs, sorted by how likely they show defects."""

import base64
import csv
import io
import time
from dataclasses import dataclass

import streamlit as st
from PIL import Image

from common import harmless
from images import UnreadableImageError, decode_grey, in_threads
from inspector import Inspected, Part
from page_parts import (
    IMAGE_TYPES,
    MARKS,
    WORDS,
    Desk,
    heatmap,
    inspect,
    lot_fields,
    open_desk,
    show_verdict,
)
from predict import COLUMNS, csv_row
from uploads import MAX_PARTS, Collected, collect_files, collect_zip

THUMBNAIL_PX = 72
FOLDER, ZIP = "Folder", "Zip file"


@dataclass(frozen=True)
class Sorted:
    """A judged batch, the likeliest defects first."""

    parts: list[tuple[Inspected, bytes]]
    thumbnails: list[str | None]
    seconds: float
    model_id: str


def show() -> None:
    """The page."""
    desk = open_desk()
    given, lot = st.columns([3, 2], gap="large")
    with lot:
        station, lot_name = lot_fields(desk)
    with given:
        collected = ask_for_parts()
    if collected is None:
        st.info(
            f"A folder or a zip file, up to {MAX_PARTS:,} photographs. They are sorted by how "
            "likely they show a defect, recorded, and written as CSV.",
            icon=":material/grid_view:",
        )
    else:
        for note in collected.notes[:5]:
            st.caption(f"left out: {note}")
        if len(collected.notes) > 5:
            st.caption(f"and {len(collected.notes) - 5} more")
        count = len(collected.parts)
        label = f"Inspect {count:,} photographs" if count != 1 else "Inspect 1 photograph"
        if st.button(label, type="primary", disabled=not count, icon=":material/play_arrow:"):
            st.session_state["batch"] = judged(desk, collected, station, lot_name)
    if batch := st.session_state.get("batch"):
        show_batch(desk, batch)


def ask_for_parts() -> Collected | None:
    """What was uploaded; None when nothing was, or nothing that can be opened (said)."""
    kind = st.segmented_control("From", [FOLDER, ZIP], default=FOLDER, key="from")
    if kind == ZIP:
        file = st.file_uploader("Zip file", "zip", key="zip")
        if file is None:
            return None
        try:
            return collect_zip(file.getvalue())
        except ValueError as error:
            st.error(f"{file.name} cannot be opened: {error}.")
            return None
    files = st.file_uploader("Folder", IMAGE_TYPES, accept_multiple_files="directory", key="folder")
    return collect_files(files) if files else None


def judged(desk: Desk, collected: Collected, station: str, lot: str) -> Sorted | None:
    """Judge and record all, under a progress bar."""
    parts = [Part(name, data, station, lot) for name, data in collected.parts]
    started, bar = time.perf_counter(), st.progress(0.0, "inspecting")

    def progress(done: int) -> None:
        left = (time.perf_counter() - started) / done * (len(parts) - done)
        bar.progress(done / len(parts), f"{done:,} of {len(parts):,}, about {left:.0f} s left")

    found = inspect(desk, parts, progress)
    seconds = time.perf_counter() - started
    if found is None:
        return None
    bar.progress(1.0, "drawing thumbnails")
    pairs = list(zip(found, (part.data for part in parts), strict=True))
    pairs.sort(key=lambda pair: (-likelihood(pair[0]), pair[0].name))
    thumbnails = in_threads(thumbnail, [data for _, data in pairs])
    bar.empty()
    return Sorted(pairs, thumbnails, seconds, desk.predictor.model_id)


def likelihood(one: Inspected) -> float:
    """For sorting: what could not be read comes first, for somebody must look at it."""
    return 2.0 if one.prediction.prob_defect is None else one.prediction.prob_defect


def show_batch(desk: Desk, batch: Sorted) -> None:
    """Counts, the table, the CSV, and the part that is chosen in the table."""
    decisions = [one.prediction.decision for one, _ in batch.parts]
    columns = st.columns(5)
    columns[0].metric("Parts", f"{len(decisions):,}")
    for column, (decision, word) in zip(columns[1:], WORDS.items(), strict=True):
        column.metric(word, f"{decisions.count(decision):,}")
    chosen = st.dataframe(
        rows(batch), height=460, hide_index=True, on_select="rerun", selection_mode="single-row",
        row_height=THUMBNAIL_PX - 8, key=f"table {batch.parts[0][0].id}",
        column_config={
            "photograph": st.column_config.ImageColumn("", width="small"),
            "defect probability": st.column_config.ProgressColumn(
                format="%.3f", min_value=0.0, max_value=1.0
            ),
        },
    )  # fmt: skip
    left, right = st.columns([1, 3], vertical_alignment="center")
    left.download_button(
        "Download CSV", as_csv(batch), "inspections.csv", "text/csv", icon=":material/download:",
        width="stretch",
    )  # fmt: skip
    speed = len(decisions) / max(batch.seconds, 1e-9)
    right.caption(
        f"{batch.seconds:.1f} s, {speed:.0f} parts/s, model {batch.model_id}. Choose a line for "
        "its heatmap."
    )
    if chosen.selection.rows:
        one, data = batch.parts[chosen.selection.rows[0]]
        picture, verdict = st.columns(2, gap="large")
        with verdict:
            show_verdict(one.name, one.prediction, desk.predictor.review)
            st.caption(f"{one.name} · inspection {one.id}")
        with picture:
            explained = heatmap(desk, data, one.prediction) if not one.prediction.error else None
            if explained is not None:
                st.image(explained.overlay(), width="stretch")


def rows(batch: Sorted) -> dict[str, list]:
    """The table's columns."""
    predictions = [one.prediction for one, _ in batch.parts]
    table = {
        "photograph": batch.thumbnails,
        "verdict": [f"{MARKS[p.decision]} {WORDS[p.decision]}" for p in predictions],
        "defect probability": [p.prob_defect for p in predictions],
        "class": [p.predicted_class for p in predictions],
        "file": [one.name for one, _ in batch.parts],
        "inspection": [one.id for one, _ in batch.parts],
    }
    if any(p.error for p in predictions):
        table["error"] = [p.error for p in predictions]
    return table


def thumbnail(data: bytes) -> str | None:
    """A small picture as a data URL, so that the browser asks for nothing more."""
    try:
        picture = decode_grey(data)
    except UnreadableImageError:
        return None
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)
    small = io.BytesIO()
    picture.save(small, "jpeg", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(small.getvalue()).decode()}"


def as_csv(batch: Sorted) -> str:
    """inspections.csv as predict.py writes it, safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one, _ in batch.parts:
        row = csv_row(one.name, one.prediction, batch.model_id)
        writer.writerow([harmless(value) for value in row])
    return text.getvalue()
