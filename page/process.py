"""The page Process: today's state, one chart with the way down to the parts, alarms, rejects."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from common.errors import UserError
from page.clock import plant_clock
from page.desk import Desk
from page.dispositions import tell_conflict
from page.frame import framed
from page.parts import prediction_of
from page.picture import heatmap
from page.process_chart import RATE, VIEWS, show_chart
from page.process_parts import show_parts
from page.process_state import count_waiting, show_no_charts, show_state, today_text
from page.words import WORDS, chance, escape_markdown
from traceability.alarms import Alarm, alarms_of
from traceability.clock import Clock
from traceability.log import InspectionLog
from traceability.process import Process, analyse_process
from traceability.process_figures import draw_process
from traceability.search import Found, search
from traceability.subgroups import STATION, UNITS, Division, Selection, read_subgroups

REJECTS, IN_A_ROW = 12, 4
FIRST, LAST = "the first", "the last"
ALL, NONE = "all", "none"
BASELINES = "baselines"  # in the session: bounds by unit


@framed
def show(desk: Desk) -> None:
    """The page."""
    if not desk.log.exists():
        st.info(
            f"There is nothing to show yet. What is inspected on this page, by serve.py, watch.py "
            f"or predict.py with --log {escape_markdown(str(desk.log.path))} appears here.",
            icon=":material/timeline:",
        )
        return
    tell_conflict(desk)
    clock = plant_clock()
    with desk.log.open() as log:
        head = st.container()
        division = ask_division(log, clock)
        show_process(desk, log, division, head)
        show_counts(log)
        st.subheader("Last rejects", divider="gray")
        newest = {one.sha256: one for one in reversed(search(log, outcomes=["defect"], limit=200))}
        show_rejects(desk, list(newest.values())[: -REJECTS - 1 : -1], clock)


def ask_division(log: InspectionLog, clock: Clock) -> Division:
    """One point for each what, and of which records."""
    stations = sorted(row[0] for row in log.query(f"SELECT DISTINCT {STATION} FROM inspections"))
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        by = st.segmented_control(
            "One point for each", UNITS, default="lot", key="by", required=True
        )
        station = st.selectbox("Station", [ALL, *filter(None, stations)], key="of station")
        lot = st.text_input("Lot", key="of lot", placeholder="all, or a part of the name")
        shift = st.selectbox("Shift from", [ALL, *clock.shifts], key="of shift")
        days = st.date_input("Days", value=(), key="of days")
    selection = Selection(
        None if station == ALL else station,
        lot.strip() or None,
        None if shift == ALL else shift,
        *(str(day) for day in days[:2]),
    )
    return Division(by, clock, selection)


def show_counts(log: InspectionLog) -> None:
    """The log in six numbers; a part inspected twice counts once, as in the charts."""
    division = Division("day")
    groups = read_subgroups(log.query, division)
    parts, errors, rejected, not_judged = (
        sum(getattr(group, name) for group in groups)
        for name in ("inspected", "errors", "rejected", "not_judged")
    )
    waiting = count_waiting(log, division)
    (spoken, otherwise) = next(
        log.query(
            "SELECT count(*), total(i.decision <> v.verdict) "
            "FROM standing v JOIN inspections i ON i.id = v.inspection_id "
            "WHERE i.decision IN ('ok', 'defect') "
            "AND v.id IN (SELECT max(id) FROM standing GROUP BY inspection_id)"
        )
    )
    st.subheader("The whole log", divider="gray")
    with st.container(key="counts"):
        columns = st.columns(6)
    columns[0].metric("Parts", f"{parts:,}")
    columns[1].metric("Rejected", f"{100 * rejected / max(parts, 1):.1f} %")
    columns[2].metric("For review", f"{waiting:,}")
    columns[3].metric("Not judged", f"{not_judged:,}")
    columns[4].metric("Unreadable", f"{errors:,}")
    columns[5].metric("Persons disagree", f"{otherwise:.0f} of {spoken}")


# --- charts and alarms ---------------------------------------------------------------------------


def show_process(desk: Desk, log: InspectionLog, division: Division, head: DeltaGenerator) -> None:
    """The state in the head of the page; below it chart, alarms, parts; or why there are none."""
    today = today_text(log, division)
    newest = next(
        log.query(
            "SELECT (SELECT ifnull(max(id), 0) FROM inspections), "
            "(SELECT ifnull(max(id), 0) FROM verdicts)"
        )
    )
    try:
        process = analysed(desk, newest, division, repr(division), None)
    except UserError as error:
        with head:
            show_no_charts(today, division, str(error))
        return
    place = st.container()
    if bounds := asked_baseline(process):
        try:
            process = analysed(desk, newest, division, repr(division), bounds)
        except UserError as error:
            st.warning(f"No such baseline: {escape_markdown(str(error))}.")
    alarms = alarms_of(process)
    with head:
        show_state(today, process, alarms)
    with place:
        show_charts(desk, process, alarms)


@st.cache_data(max_entries=8, show_spinner="reading the log")
def analysed(
    _desk: Desk,
    newest: tuple[int, int],
    _division: Division,
    as_text: str,
    bounds: tuple[str, str] | None,
) -> Process:
    """The charts as of record and verdict `newest`; once for all visitors.

    Raises:
        UserError: too few subgroups, or no such baseline.
    """
    with _desk.log.open() as log:
        return analyse_process(log.query, _division, bounds, _desk.log.path.name)


def asked_baseline(process: Process) -> tuple[str, str] | None:
    """The subgroups between which the limits are to be taken; None: from all.

    Each unit, lot or hour, has its own, which is there again when one comes back to it.
    """
    names, by = process.names, process.by
    kept = st.session_state.setdefault(BASELINES, {})
    before = kept.get(by, (FIRST, LAST))
    with st.expander("Limits from a baseline (a time when all was well)"):
        left, right = st.columns(2)
        bounds = (
            choose_bound(left, "From", FIRST, names, before[0], by),
            choose_bound(right, "To", LAST, names, before[1], by),
        )
    kept[by] = bounds
    if bounds == (FIRST, LAST):
        if others := [unit for unit in kept if kept[unit] != bounds]:
            st.caption(f"By {by} no baseline is chosen; that by {' and '.join(others)} is kept.")
        return None
    first, last = (names[0] if bounds[0] == FIRST else bounds[0],
                   names[-1] if bounds[1] == LAST else bounds[1])  # fmt: skip
    if not {first, last} <= set(names):
        text = f"The baseline from {' to '.join(bounds)} is not among what is chosen above"
        st.caption(f"{escape_markdown(text)}: the limits are from all {by}s here.")
        return None
    return first, last


def choose_bound(
    place: DeltaGenerator, label: str, none: str, names: list[str], before: str, by: str
) -> str:
    """One end of the baseline; what was chosen before stays, also where a filter leaves it out."""
    key = f"baseline {label.lower()} {by}"
    st.session_state.setdefault(key, before)
    options = [none, *names]
    return place.selectbox(label, options + [before] * (before not in options), key=key)


def show_charts(desk: Desk, process: Process, alarms: Sequence[Alarm]) -> None:
    """The chart, the alarms, and the parts of what is chosen in either."""
    by, key = process.by, repr(process.division.selection)
    with st.container(horizontal=True, vertical_alignment="bottom", key="chart_tools"):
        view = st.segmented_control(
            "Chart", VIEWS, default=RATE, key="view", required=True, label_visibility="collapsed"
        )
    points = show_chart(process, view, f"{by} {key}")
    if points:
        show_parts(desk, process.division, points, ", ".join(points))
    alarm = show_alarms(process, alarms, f"{by} {key}")
    with st.container(horizontal=True, vertical_alignment="bottom", key="below_chart"):
        point = st.selectbox(f"Parts of {by}", [NONE, *process.names[::-1]], key=f"parts by {by}")
        for kind in ("pdf", "png"):
            st.download_button(
                f"{kind.upper()} of all charts", lambda kind=kind: drawn(desk, process, kind),
                f"spc.{kind}", key=f"download {kind}", icon=":material/download:",
                on_click="ignore",
            )  # fmt: skip
    if points:  # two lists could show one part, with its buttons, twice
        return
    if alarm:
        names = process.names[alarm.first : alarm.last + 1]
        show_parts(desk, process.division, names, alarm.span)
    elif point != NONE:
        show_parts(desk, process.division, [point], point)


def drawn(desk: Desk, process: Process, kind: str) -> bytes:
    """The charts of records.py spc; one at a time, for matplotlib is not made for threads."""
    source = desk.log.path.name
    with desk.lock, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"spc.{kind}"
        draw_process(path, process, alarms_of(process), source)
        return path.read_bytes()


def show_alarms(process: Process, alarms: Sequence[Alarm], key: str) -> Alarm | None:
    """One line an episode, the worst first; returns the one that is chosen."""
    if not alarms:
        st.success(f"No {process.by} stands out.", icon=":material/check:")
        return None
    clock = process.division.clock
    lines = [
        {
            "kind": one.kind,
            process.by: one.span,
            "why": one.reason,
            "size": one.effect,
            "begin": clock.minute(one.begin_time),
        }
        for one in alarms
    ]
    st.caption("Alarms, the worst first. Choose a line, or a point of the chart, to see its parts.")
    event = st.dataframe(
        lines, hide_index=True, on_select="rerun", selection_mode="single-row",
        key=f"alarms {key} {len(lines)}",
    )  # fmt: skip
    return alarms[event.selection.rows[0]] if event.selection.rows else None


# --- rejects -------------------------------------------------------------------------------------


def show_rejects(desk: Desk, rejects: list[Found], clock: Clock) -> None:
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
    for number, (one, heat) in enumerate(present):
        if number % IN_A_ROW == 0:  # by rows: in order where columns stand below one another
            columns = st.columns(IN_A_ROW)
        said = one.person_says
        lines = [
            f"{chance(one.prob_defect)} · {one.file}",
            clock.minute(one.time),
        ]
        if one.lot:
            lines.append(f"lot {one.lot}")
        if said:
            lines.append(f"{said.person}: {WORDS[said.verdict]}")
        if one.model != desk.predictor.sha256:
            lines.append("inspected by another model")
        columns[number % IN_A_ROW].image(
            heat.overlay(300), escape_markdown(" · ".join(lines)), width="stretch",
            alt=f"Heatmap of the rejected part {one.file}",
        )  # fmt: skip
