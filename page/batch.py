"""The page Batch: a folder or zip file of photographs, sorted by how likely they show defects."""

import csv
import functools
import io
import time
from collections import Counter
from dataclasses import dataclass, field

import pandas
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
from page.dispositions import ask_person, persons_say, spoken_on, tell_conflict
from page.frame import framed, tell_error
from page.heic import HEIC_TYPES
from page.parts import IMAGE_TYPES, ask_for_lot, inspect, show_decision, thumbnail
from page.picture import show_picture
from page.strip import ALL, choose_outcome
from page.uploads import MAX_PARTS, MAX_TOTAL_BYTES, Collected, collect_files, collect_zip
from page.words import SIGNS, WORDS, chance, escape_markdown
from traceability.dispositions import Disposition

THUMBNAIL_PX = 72
FOLDER, ZIP = "Folder", "Zip file"
PROBABILITY, AGAIN = "defect probability", "batch again"  # a column; in the session


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
    """The page: what was found stands above what asks for more."""
    tell_conflict(desk)
    found, asked = st.container(), st.container()
    with asked:
        batch = ask_for_batch(desk)
    if batch and batch.inspected:
        with found:
            show_batch(desk, batch)


def ask_for_batch(desk: Desk) -> Batch | None:
    """The batch that is uploaded, and what is left out; inspects it when that is asked for."""
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
        return None
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
    return batch


def ask_for_parts() -> None:
    """Make a batch of what was uploaded, once; the last one stays until another comes."""
    kind = st.segmented_control("From", [FOLDER, ZIP], default=FOLDER, key="from")
    if kind == ZIP:
        one = st.file_uploader(f"Zip file, up to {MAX_TOTAL_BYTES >> 20} MB", "zip", key="zip")
        files = [one] if one else []
    else:
        files = st.file_uploader(
            f"Folder of photographs, up to {MAX_IMAGE_BYTES >> 20} MB each",
            [*IMAGE_TYPES, *HEIC_TYPES, "pdf"], accept_multiple_files="directory", key="folder",
        )  # fmt: skip
    upload = tuple(file.file_id for file in files)
    batch = st.session_state.get("batch")
    if not upload or (batch is not None and batch.upload == upload):
        return
    try:
        with st.spinner("reading the photographs"):  # of HEIC ones this takes a while
            collected = collect_zip(files[0].getvalue()) if kind == ZIP else collect_files(files)
    except ValueError as error:
        st.session_state.pop("batch", None)
        tell_error(f"{files[0].name} cannot be opened: {error}.")
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
    """The table of an outcome, the CSV of all, and the part that is chosen in the table."""
    said = persons_say(desk, [one.id for one in batch.inspected.values()])
    outcomes = {place: outcome(one, said) for place, one in batch.inspected.items()}
    shown = choose_outcome(Counter(outcomes.values()))
    places = [place for place in batch.order if shown in (ALL, outcomes[place])]
    chosen = show_table(batch, places, said, f"{batch.inspected[batch.order[0]].id} {shown}")
    left, right = st.columns([1, 3], vertical_alignment="center")
    left.download_button(
        "Download CSV", as_csv(batch), "inspections.csv", "text/csv",
        icon=":material/download:", width="stretch",
    )  # fmt: skip
    models = " and ".join(sorted({one.model_id for one in batch.inspected.values()}))
    right.caption(
        f"{count_of(len(batch.inspected), 'part')}, {batch.seconds:.1f} s, model {models}. Choose "
        "a line to look at the part and decide; a column's head sorts."
    )
    again = st.session_state.get(AGAIN)
    if again is not None and again not in spoken_on():
        chosen = next((n for n, one in batch.inspected.items() if one.id == again), chosen)
    if chosen is not None:
        one = batch.inspected[chosen]
        show_chosen(desk, one, batch.collected.parts[chosen][1], said.get(one.id))


def outcome(one: Inspected, said: dict[int, Disposition]) -> str:
    """What a person says of a part, else what the model's inspection came to."""
    return said[one.id].verdict if one.id in said else one.prediction.outcome


def show_table(
    batch: Batch, places: list[int], said: dict[int, Disposition], key: str
) -> int | None:
    """The parts at these places; returns the place of the one that is chosen."""
    table = pandas.DataFrame(rows(batch, places, said))
    # Two decimals to read, all of them to sort by
    shown = table.style.format({PROBABILITY: chance}, na_rep="")
    chosen = st.dataframe(
        shown, height=460, hide_index=True, on_select="rerun", selection_mode="single-row",
        row_height=THUMBNAIL_PX - 8, key=f"table {key} {len(places)}",
        column_config={"photograph": st.column_config.ImageColumn("", width="small")},
    )  # fmt: skip
    return places[chosen.selection.rows[0]] if chosen.selection.rows else None


def show_chosen(desk: Desk, one: Inspected, data: bytes, said: Disposition | None) -> None:
    """A part of the table with its decision, what a person says, and beside it the photograph."""
    decision, picture = st.columns(2, gap="medium")
    with decision:
        show_decision(one.name, one.prediction, desk.predictor.review, said)
        ask_person(desk, one.id, said, show_again, data)
        st.caption(f"{escape_markdown(one.name)} · inspection {one.id}")
    with picture:
        show_picture(desk, one.name, data, one.prediction, one.model_id)


def show_again(inspection_id: int) -> None:
    """Show a part on which this person has taken back his word, until there is a new one."""
    st.session_state[AGAIN] = inspection_id


def rows(batch: Batch, places: list[int], said: dict[int, Disposition]) -> dict[str, list]:
    """The table's columns."""
    new = [place for place in places if place not in batch.thumbnails]
    small = functools.partial(thumbnail, size_px=THUMBNAIL_PX)
    contents = [batch.collected.parts[place][1] for place in new]
    batch.thumbnails.update(zip(new, in_threads(small, contents), strict=True))
    found = [batch.inspected[place] for place in places]
    predictions = [one.prediction for one in found]
    table = {
        "photograph": [batch.thumbnails[place] for place in places],
        "decision": [f"{SIGNS[p.outcome]} {WORDS[p.outcome]}" for p in predictions],
        PROBABILITY: [p.prob_defect for p in predictions],
        "class": [p.predicted_class for p in predictions],
        "file": [one.name for one in found],
        "inspection": [one.id for one in found],
    }
    if any(one.id in said for one in found):
        words = [said.get(one.id) for one in found]
        table["a person says"] = [w and f"{WORDS[w.verdict]}, {w.person}" for w in words]
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
