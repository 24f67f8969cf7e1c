"""The page Process: control charts of the log, what stands out, the last rejects."""

import tempfile
from pathlib import Path

import streamlit as st

from common import UserError
from images import UnreadableImageError
from log_search import Found, search
from overlays import captioned
from page_parts import WORDS, Desk, heatmaps, open_desk
from predict import Prediction
from process_control import Process, analyse_process, signals
from records import InspectionLog

REJECTS = 12
FIRST, LAST = "the first", "the last"


def show() -> None:
    """The page."""
    desk = open_desk()
    by = st.segmented_control("One point for each", ["lot", "hour", "day"], default="lot", key="by")
    by = by or "lot"
    try:
        with InspectionLog(desk.log) as log:
            show_counts(log)
            show_process(desk, log, by)
            st.subheader("Last rejects", divider="gray")
            show_rejects(desk, search(log, decisions=["defect"], limit=REJECTS))
    except UserError as error:
        st.info(
            f"There is nothing to show yet: {error}. What is inspected on this page, by serve.py, "
            f"watch.py or predict.py --log {desk.log} appears here.",
            icon=":material/timeline:",
        )


def show_process(desk: Desk, log: InspectionLog, by: str) -> None:
    """The charts, or why there are none."""
    try:
        process = analyse_process(log.query, by, None, desk.log.name)
    except UserError as error:
        st.info(f"No charts by {by} yet: {error}.", icon=":material/timeline:")
        return
    show_charts(desk, with_baseline(log, process))


def show_counts(log: InspectionLog) -> None:
    """The log in five numbers."""
    (total, rejected, review, errors) = next(
        log.query(
            "SELECT count(*), total(decision = 'defect'), total(decision = 'review'), "
            "total(status = 'error') FROM inspections"
        )
    )
    (spoken, otherwise) = next(
        log.query(
            "SELECT count(*), total(i.decision IN ('ok', 'defect') AND i.decision <> v.verdict) "
            "FROM verdicts v JOIN inspections i ON i.id = v.inspection_id "
            "WHERE v.id IN (SELECT max(id) FROM verdicts GROUP BY inspection_id)"
        )
    )
    judged = max(total - errors, 1)
    columns = st.columns(5)
    columns[0].metric("Inspections", f"{total:,}")
    columns[1].metric("Rejected", f"{rejected / judged:.1%}")
    columns[2].metric("For review", f"{review:,.0f}")
    columns[3].metric("Unreadable", f"{errors:,.0f}")
    columns[4].metric("Persons disagree", f"{otherwise:.0f} of {spoken}")


def with_baseline(log: InspectionLog, process: Process) -> Process:
    """The charts with limits from the subgroups that the visitor chose."""
    names = list(dict.fromkeys(process.names))
    with st.expander("Limits from a baseline (a time when all was well)"):
        left, right = st.columns(2)
        first = left.selectbox("From", [FIRST, *names], key="baseline from")
        last = right.selectbox("To", [LAST, *names], key="baseline to")
    if first == FIRST and last == LAST:
        return process
    bounds = [names[0] if first == FIRST else first, names[-1] if last == LAST else last]
    try:
        return analyse_process(log.query, process.by, bounds, log.path.name)
    except UserError as error:
        st.warning(f"No such baseline: {error}.")
        return process


def show_charts(desk: Desk, process: Process) -> None:
    """The charts of records.py spc, and in words what stands out."""
    with desk.lock, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spc.png"
        process.draw(path, process.title(desk.log.name))
        picture = path.read_bytes()
    found = [
        {"subgroup": group.name, "rejected": f"{group.rejected}/{group.inspected}", "why": reason}
        for group, reason in zip(process.groups, signals(process), strict=True)
        if reason
    ]
    if found:
        st.warning(
            f"{len(found)} of {len(process.groups)} subgroups stand out.", icon=":material/warning:"
        )
    else:
        st.success("No subgroup stands out.", icon=":material/check:")
    st.image(picture, width="stretch")
    if found:
        columns = {
            "subgroup": st.column_config.TextColumn(process.by, width="small"),
            "rejected": st.column_config.TextColumn(width="small"),
            "why": st.column_config.TextColumn("why it stands out", width="large"),
        }
        st.dataframe(found[::-1], hide_index=True, column_config=columns)


def show_rejects(desk: Desk, rejects: list[Found]) -> None:
    """Rejected parts under their heatmaps, as far as their photographs are still there."""
    if not rejects:
        st.caption("none")
        return
    found = [(one, desk.pictures.find(one.sha256, one.file)) for one in rejects]
    present = [(one, data) for one, data in found if data is not None]
    if missing := len(found) - len(present):
        st.caption(f"{missing} of {len(found)} photographs are not where they were, or changed.")
    columns = st.columns(4)
    for number, (one, picture) in enumerate(pictures(desk, present)):
        said = one.person_says
        lines = [one.file, f"{one.prob_defect:.3f}  {one.time[:16].replace('T', ' ')}"]
        lines.append(f"{said.person}: {WORDS[said.verdict]}" if said else one.lot)
        columns[number % 4].image(captioned(picture, lines, False), width="stretch")


def pictures(desk: Desk, present: list[tuple[Found, bytes]]):
    """Records with their photographs, under heatmaps where the model can make them."""
    if desk.explainer is None or not present:
        return []
    kept = st.session_state.setdefault("reject heatmaps", {})
    new = [(one, data) for one, data in present if one.sha256 not in kept]
    try:
        with st.spinner("drawing heatmaps"):
            judged = [(data, prediction_of(one)) for one, data in new]
            for (one, _), explained in zip(new, heatmaps(desk, judged), strict=True):
                kept[one.sha256] = explained.overlay(300)
    except UnreadableImageError:
        return []
    for sha256 in list(kept)[: -4 * REJECTS]:
        del kept[sha256]
    return [(one, kept[one.sha256]) for one, _ in present if one.sha256 in kept]


def prediction_of(one: Found) -> Prediction:
    """A record as the prediction that it was."""
    return Prediction(
        one.status, one.decision, one.prob_defect, one.predicted_class, (), one.threshold,
        one.latency_ms, one.error, one.sha256, one.brightness,
    )  # fmt: skip
