"""The first lines of the page Process: how it stands today, and the last alarm."""

import html
from collections.abc import Sequence

import streamlit as st

from common.text import count_of
from page.words import SIGNS
from traceability.alarms import REJECT_RATE, Alarm
from traceability.clock import Clock
from traceability.log import InspectionLog, now
from traceability.process import Process
from traceability.search import AWAITING
from traceability.subgroups import Division, read_subgroups

ALARM, WATCH, STEADY, UNKNOWN = "defect", "review", "ok", "not_judged"  # colours and signs
STATES = {
    ALARM: "Alarm: reject rate",
    WATCH: "Drift goes on, or nobody judges",
    STEADY: "No alarm now",
}


def today_text(log: InspectionLog, clock: Clock) -> str:
    """'Today: 320 parts, 9 rejected (2.8 %). 3 parts wait for a person.'"""
    today = clock.day(now())
    groups = read_subgroups(log.query, Division("day", clock))
    own = [group for group in groups if group.name == today]
    parts, rejected = (sum(getattr(g, name) for g in own) for name in ("inspected", "rejected"))
    (waiting,) = next(log.query(f"SELECT count(*) FROM inspections WHERE {AWAITING}"))
    verb = "waits" if waiting == 1 else "wait"
    person = f"{count_of(waiting, 'part')} {verb} for a person."
    if parts:
        share = f"{rejected:,} rejected ({100 * rejected / parts:.1f} %)"
        return f"Today: {count_of(parts, 'part')}, {share}. {person}"
    before = f"; the last on {max(group.name for group in groups)}" if groups else ""
    return f"Today: no part{before}. {person}"


def show_state(today: str, process: Process, alarms: Sequence[Alarm]) -> None:
    """How it stands: whether an alarm goes on, and the last one."""
    state = state_of(process, alarms)
    last, *more = last_alarm_lines(process, alarms)
    show_box(state, STATES[state], [last, today, *more])


def show_no_charts(today: str, by: str, reason: str) -> None:
    """That nobody can say how it stands, and why."""
    show_box(UNKNOWN, f"No chart by {by}", [f"{reason[0].upper()}{reason[1:]}.", today])


def show_box(state: str, word: str, lines: Sequence[str]) -> None:
    """A sign and words, in colour; the colour alone says nothing."""
    first, *more = (html.escape(line, quote=False) for line in lines)
    text = f"<div><strong>{first}</strong></div>" + "".join(f"<div>{line}</div>" for line in more)
    st.html(
        f'<div class="verdict {state}" role="status"><span class="mark">{SIGNS[state]}</span>'
        f'<div><div class="word">{html.escape(word, quote=False)}</div>{text}</div></div>'
    )


def state_of(process: Process, alarms: Sequence[Alarm]) -> str:
    """Whether an alarm goes on at the last point, and of which kind."""
    going_on = [one for one in alarms if one.last == len(process.groups) - 1]
    if any(one.kind == REJECT_RATE for one in going_on):
        return ALARM
    return WATCH if going_on else STEADY


def last_alarm_lines(process: Process, alarms: Sequence[Alarm]) -> list[str]:
    """The last alarm of the reject rate, and how many others there are."""
    of_rate = [one for one in alarms if one.kind == REJECT_RATE]
    others = len(alarms) - len(of_rate)
    lines = ["No alarm of the reject rate."]
    if of_rate:
        last = max(of_rate, key=lambda one: one.last)
        begin = process.division.clock.text(last.begin_time)[:16].replace("T", " ")
        since = sum(group.inspected for group in process.groups[last.last + 1 :])
        lines = [
            f"Last alarm: {last.span}, begun {begin}: reject rate {last.reason}, {last.effect}. "
            f"{count_of(since, 'part')} since."
        ]
        if len(of_rate) > 1:
            lines.append(f"{count_of(len(of_rate) - 1, 'other alarm')} of the reject rate.")
    if others:
        lines.append(f"{count_of(others, 'alarm')} of drift or of parts that nobody judged.")
    return lines
