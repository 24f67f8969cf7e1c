"""The page Batch: a folder or zip file of photographs, sorted by how likely they show defects."""

import csv
import functools
import io
import time
from dataclasses import dataclass, field

import streamlit as st

from common.text import count_of, csv_cells
from imaging.reading import in_threads
from inspection.recording import (
    INSPECTION_COLUMNS,
    MAX_IMAGE_BYTES,
    Inspected,
    Part,
    inspection_row,
)
from page.desk import Desk
from page.frame import framed
from page.parts import IMAGE_TYPES, ask_for_lot, inspect, show_decision, thumbnail
from page.picture import show_picture
from page.uploads import MAX_PARTS, Collected, collect_files, collect_zip
from page.words import SIGNS, WORDS, escape_markdown

THUMBNAIL_PX = 72
FOLDER, ZIP = "Folder", "Zip file"


@dataclass
class Batch:
    """An upload and what has been inspected of it; a visitor may interrupt and go on."""

    upload: tuple[str, ...]  # Streamlit's names of the files
    collected: Collected
    inspected: dict[int, Inspected] = field(default_factory=dict)  # by place in the upload
    thumbnails: dict[int, str | None] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def left(self) -> list[int]:
        """Places of the parts that are not inspected yet."""
        return [n for n in range(len(self.collected.parts)) if n not in self.inspected]

    @property
    def order(self) -> list[int]:
        """Places of the inspected parts, the likeliest defects first."""
        return sorted(self.inspected, key=lambda n: (-likelihood(self.inspected[n]), n))


@framed
def show(desk: Desk) -> None:
    """The page."""
    ask_for_parts()
    with st.container(horizontal=True):
        station, lot = ask_for_lot(desk)
    batch: Batch | None = st.session_state.get("batch")
    if batch is None:
        st.info(
            f"A folder or a zip file, up to {MAX_PARTS:,} photographs. They are sorted by how "
            "likely they show a defect, recorded, and written as CSV.",
            icon=":material/grid_view:",
        )
        return
    for note in batch.collected.notes:
        st.caption(f"Left out: {escape_markdown(note)}")
    if not batch.collected.parts:
        st.warning("There are no photographs in it.")
    if batch.left:
        count = count_of(len(batch.left), "photograph")
        label = f"Go on with {count}" if batch.inspected else f"Inspect {count}"
        if st.button(label, type="primary", icon=":material/play_arrow:"):
            inspect_batch(desk, batch, station, lot)
            st.rerun()
    if batch.inspected:
        show_batch(desk, batch)


def ask_for_parts() -> None:
    """Make a batch of what was uploaded, once; the last one stays until another comes."""
    kind = st.segmented_control("From", [FOLDER, ZIP], default=FOLDER, key="from")
    if kind == ZIP:
        one = st.file_uploader("Zip file", "zip", key="zip")
        files = [one] if one else []
    else:
        files = st.file_uploader(
            "Folder", IMAGE_TYPES, accept_multiple_files="directory", key="folder",
            max_upload_size=MAX_IMAGE_BYTES >> 20,
        )  # fmt: skip
    upload = tuple(file.file_id for file in files)
    batch = st.session_state.get("batch")
    if not upload or (batch is not None and batch.upload == upload):
        return
    try:
        collected = collect_zip(files[0].getvalue()) if kind == ZIP else collect_files(files)
    except ValueError as error:
        st.session_state.pop("batch", None)
        st.error(
            f"{escape_markdown(files[0].name)} cannot be opened: {escape_markdown(str(error))}."
        )
        return
    st.session_state["batch"] = Batch(upload, collected)


def inspect_batch(desk: Desk, batch: Batch, station: str, lot: str) -> None:
    """Inspect and record what is left of a batch."""
    places, started = batch.left, time.perf_counter()
    parts = [Part(*batch.collected.parts[place], station, lot) for place in places]

    def keep(number: int, one: Inspected) -> None:
        batch.inspected[places[number]] = one

    inspect(desk, parts, keep, "inspecting")
    batch.seconds += time.perf_counter() - started


def likelihood(one: Inspected) -> float:
    """For sorting: what has no decision comes first, for somebody must look at it."""
    return 2.0 if one.prediction.prob_defect is None else one.prediction.prob_defect


def show_batch(desk: Desk, batch: Batch) -> None:
    """Counts, the table, the CSV, and the part that is chosen in the table."""
    decisions = [one.prediction.decision for one in batch.inspected.values()]
    columns = st.columns(5)
    columns[0].metric("Parts", f"{len(decisions):,}")
    for column, (decision, word) in zip(columns[1:], WORDS.items(), strict=True):
        column.metric(word, f"{decisions.count(decision):,}")
    order = batch.order
    chosen = st.dataframe(
        rows(batch), height=460, hide_index=True, on_select="rerun", selection_mode="single-row",
        row_height=THUMBNAIL_PX - 8, key=f"table {batch.inspected[order[0]].id} {len(order)}",
        column_config={
            "photograph": st.column_config.ImageColumn("", width="small"),
            "defect probability": st.column_config.ProgressColumn(
                format="%.3f", min_value=0.0, max_value=1.0
            ),
        },
    )  # fmt: skip
    left, right = st.columns([1, 3], vertical_alignment="center")
    left.download_button(
        "Download CSV", as_csv(batch), "inspections.csv", "text/csv",
        icon=":material/download:", width="stretch",
    )  # fmt: skip
    models = " and ".join(sorted({one.model_id for one in batch.inspected.values()}))
    right.caption(f"{batch.seconds:.1f} s, model {models}. Choose a line for its heatmap.")
    if chosen.selection.rows:
        place = order[chosen.selection.rows[0]]
        show_chosen(desk, batch.inspected[place], batch.collected.parts[place][1])


def show_chosen(desk: Desk, one: Inspected, data: bytes) -> None:
    """A part of the table with its decision, and beside it the photograph."""
    decision, picture = st.columns(2, gap="medium")
    with decision:
        show_decision(one.name, one.prediction, desk.predictor.review)
        st.caption(f"{escape_markdown(one.name)} · inspection {one.id}")
    with picture:
        show_picture(desk, one.name, data, one.prediction, one.model_id)


def rows(batch: Batch) -> dict[str, list]:
    """The table's columns."""
    order = batch.order
    new = [place for place in order if place not in batch.thumbnails]
    small = functools.partial(thumbnail, size_px=THUMBNAIL_PX)
    contents = [batch.collected.parts[place][1] for place in new]
    batch.thumbnails.update(zip(new, in_threads(small, contents), strict=True))
    found = [batch.inspected[place] for place in order]
    predictions = [one.prediction for one in found]
    table = {
        "photograph": [batch.thumbnails[place] for place in order],
        "decision": [f"{SIGNS[p.decision]} {WORDS[p.decision]}" for p in predictions],
        "defect probability": [p.prob_defect for p in predictions],
        "class": [p.predicted_class for p in predictions],
        "file": [one.name for one in found],
        "inspection": [one.id for one in found],
    }
    if any(p.error for p in predictions):
        table["why"] = [p.error for p in predictions]
    return table


def as_csv(batch: Batch) -> str:
    """inspections.csv as predict.py writes it, safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(INSPECTION_COLUMNS)
    for place in batch.order:
        one = batch.inspected[place]
        writer.writerow(csv_cells(inspection_row(one.name, one.prediction, one.model_id)))
    return text.getvalue()
