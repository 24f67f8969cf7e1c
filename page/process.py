"""The page Process: control charts of the log, what stands out, the last rejects."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from common.errors import UserError
from common.text import count_of
from page.desk import Desk
from page.frame import framed
from page.parts import prediction_of
from page.picture import heatmap
from page.words import WORDS, chance, escape_markdown
from traceability.alarms import alarms_of
from traceability.log import InspectionLog
from traceability.process import analyse_process
from traceability.process_figures import draw_process
from traceability.search import AWAITING, Found, search
from traceability.subgroups import Division, read_subgroups

REJECTS = 12
FIRST, LAST = "the first", "the last"


@framed
def show(desk: Desk) -> None:
    """The page."""
    by = st.segmented_control("One point for each", ["lot", "hour", "day"], default="lot", key="by")
    by = by or "lot"
    if not desk.log.exists():
        st.info(
            f"There is nothing to show yet. What is inspected on this page, by serve.py, watch.py "
            f"or predict.py with --log {escape_markdown(str(desk.log.path))} appears here.",
            icon=":material/timeline:",
        )
        return
    with desk.log.open() as log:
        show_counts(log)
        show_process(desk, log, by)
        st.subheader("Last rejects", divider="gray")
        newest = {one.sha256: one for one in reversed(search(log, outcomes=["defect"], limit=200))}
        show_rejects(desk, list(newest.values())[: -REJECTS - 1 : -1])


def show_counts(log: InspectionLog) -> None:
    """The log in six numbers; a part inspected twice counts once, as in the charts."""
    groups = read_subgroups(log.query, Division("day"))
    parts = sum(group.inspected for group in groups)
    errors = sum(group.errors for group in groups)
    rejected = sum(group.rejected for group in groups)
    (waiting,) = next(log.query(f"SELECT count(*) FROM inspections WHERE {AWAITING}"))
    (spoken, otherwise) = next(
        log.query(
            "SELECT count(*), total(i.decision <> v.verdict) "
            "FROM verdicts v JOIN inspections i ON i.id = v.inspection_id "
            "WHERE i.decision IN ('ok', 'defect') "
            "AND v.id IN (SELECT max(id) FROM verdicts GROUP BY inspection_id)"
        )
    )
    not_judged = sum(group.not_judged for group in groups)
    columns = st.columns(6)
    columns[0].metric("Parts", f"{parts:,}")
    columns[1].metric("Rejected", f"{rejected / max(parts, 1):.1%}")
    columns[2].metric("Waiting for a person", f"{waiting:,}")
    columns[3].metric("Not judged", f"{not_judged:,}")
    columns[4].metric("Unreadable", f"{errors:,}")
    columns[5].metric("Persons disagree", f"{otherwise:.0f} of {spoken}")


def show_process(desk: Desk, log: InspectionLog, by: str) -> None:
    """The charts, or why there are none."""
    newest = next(log.query("SELECT ifnull(max(id), 0) FROM inspections"))[0]
    try:
        charts = drawn(desk, newest, by, None)
    except UserError as error:
        st.info(
            f"No charts by {by} yet: {escape_markdown(str(error))}.", icon=":material/timeline:"
        )
        return
    if bounds := asked_baseline(charts.names):
        try:
            charts = drawn(desk, newest, by, bounds)
        except UserError as error:
            st.warning(f"No such baseline: {escape_markdown(str(error))}.")
    show_charts(charts, by)


@dataclass(frozen=True)
class Charts:
    """The charts of a log, drawn."""

    image: bytes  # PNG
    names: list[str]  # of the subgroups, in time order
    standing_out: list[dict[str, str]]  # alarms, as lines of a table
    notes: list[str]


@st.cache_data(max_entries=8, show_spinner="drawing the charts")
def drawn(_desk: Desk, newest: int, by: str, bounds: tuple[str, str] | None) -> Charts:
    """The charts as of record `newest`; drawn once for all visitors.

    Raises:
        UserError: too few subgroups, or no such baseline.
    """
    with _desk.log.open() as log:
        process = analyse_process(log.query, Division(by), bounds, _desk.log.path.name)
    alarms = alarms_of(process)
    # One at a time: matplotlib is not made for threads
    with _desk.lock, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spc.png"
        draw_process(path, process, alarms, _desk.log.path.name)
        image = path.read_bytes()
    standing_out = [
        {"where": one.span, "kind": one.kind, "why": one.reason, "effect": one.effect}
        for one in alarms
    ]
    return Charts(image, process.names, standing_out, process.notes())


def asked_baseline(names: list[str]) -> tuple[str, str] | None:
    """The subgroups between which the limits are to be taken; None: from all."""
    names = list(dict.fromkeys(names))
    with st.expander("Limits from a baseline (a time when all was well)"):
        left, right = st.columns(2)
        first = left.selectbox("From", [FIRST, *names], key="baseline from")
        last = right.selectbox("To", [LAST, *names], key="baseline to")
    if first == FIRST and last == LAST:
        return None
    return names[0] if first == FIRST else first, names[-1] if last == LAST else last


def show_charts(charts: Charts, by: str) -> None:
    """The charts of records.py spc, and in words what stands out."""
    found = charts.standing_out
    if found:
        worst = escape_markdown(", ".join(found[0].values()))
        text = f"{count_of(len(found), 'alarm')}, the worst first: {worst}."
        st.warning(text, icon=":material/warning:")
    else:
        st.success(f"No {by} stands out.", icon=":material/check:")
    st.image(charts.image, width="stretch", alt=f"Control charts of the log by {by}")
    for note in charts.notes:
        st.caption(escape_markdown(note))
    if found:
        st.dataframe(found, hide_index=True)


def show_rejects(desk: Desk, rejects: list[Found]) -> None:
    """Rejected parts under their heatmaps, as far as their photographs are still there."""
    if not rejects:
        st.caption("none")
        return
    found = [(one, desk.images.find(one.sha256, one.file)) for one in rejects]
    if missing := [one for one, data in found if data is None]:
        st.caption(
            f"{len(missing)} of {len(found)} photographs are not where they were, or changed."
        )
    explained = [
        (one, heatmap(desk, data, prediction_of(one))) for one, data in found if data is not None
    ]
    present = [(one, heat) for one, heat in explained if heat is not None]
    columns = st.columns(4)
    for number, (one, heat) in enumerate(present):
        said = one.person_says
        lines = [
            f"{chance(one.prob_defect)} · {one.file}",
            f"{one.time[:16].replace('T', ' ')} UTC",
        ]
        if one.lot:
            lines.append(f"lot {one.lot}")
        if said:
            lines.append(f"{said.person}: {WORDS[said.verdict]}")
        if one.model != desk.predictor.sha256:
            lines.append("inspected by another model")
        columns[number % 4].image(
            heat.overlay(300), escape_markdown(" · ".join(lines)), width="stretch",
            alt=f"Heatmap of the rejected part {one.file}",
        )  # fmt: skip
