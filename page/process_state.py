"""The first lines of the page Process: how it stands today, and the last alarm."""

import html
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from common.text import count_of
from page.words import SIGNS
from traceability.alarms import REJECT_RATE, Alarm
from traceability.log import InspectionLog, now
from traceability.process import Process
from traceability.search import AWAITING
from traceability.subgroups import Division, read_subgroups

ALARM, WATCH, STEADY, UNKNOWN = "defect", "review", "ok", "not_judged"  # colours and signs


def today_text(log: InspectionLog, division: Division) -> str:
    """'Today: 320 parts, 9 rejected (2.8 %). 3 parts wait for a person.'"""
    division = replace(division, by="day")
    today = division.clock.day(now())
    groups = read_subgroups(log.query, division)
    own = [group for group in groups if group.name == today]
    parts, rejected = (sum(getattr(g, name) for g in own) for name in ("inspected", "rejected"))
    waiting = count_waiting(log, division)
    verb = "waits" if waiting == 1 else "wait"
    person = f"{count_of(waiting, 'part')} {verb} for a person."
    if parts:
        share = f"{rejected:,} rejected ({100 * rejected / parts:.1f} %)"
        return f"Today: {count_of(parts, 'part')}, {share}. {person}"
    before = f"; the last on {max(group.name for group in groups)}" if groups else ""
    return f"Today: no part{before}. {person}"


def count_waiting(log: InspectionLog, division: Division) -> int:
    """How many parts wait for a person, as the page Review counts them, of those looked at."""
    rows = log.query(f"SELECT {division.place} FROM inspections WHERE {AWAITING}")
    return sum(division.name(*row) is not None for row in rows)


def show_state(today: str, process: Process, alarms: Sequence[Alarm]) -> None:
    """How it stands: what goes on or that nothing does, the last alarm, today."""
    worst = next(iter(going_on(process, alarms)), None)
    first, *more = alarm_lines(process, alarms)
    only = f"{capitalised(chosen)}." if (chosen := process.only("")) else ""
    show_box(state_of(worst), word_of(worst), [first, *filter(None, [only]), today, *more])


def show_no_charts(today: str, division: Division, reason: str) -> None:
    """That nobody can say how it stands, and why."""
    chosen = division.selection.describe()
    only = [f"Only {chosen}."] if chosen and chosen not in reason else []
    show_box(UNKNOWN, f"No chart by {division.by}", [f"{capitalised(reason)}.", *only, today])


def show_box(state: str, word: str, lines: Sequence[str]) -> None:
    """A sign and words, in colour; the colour alone says nothing."""
    first, *more = (html.escape(line, quote=False) for line in lines)
    text = f"<div><strong>{first}</strong></div>" + "".join(f"<div>{line}</div>" for line in more)
    st.html(
        f'<div class="verdict {state}" role="status"><span class="mark">{SIGNS[state]}</span>'
        f'<div><div class="word">{html.escape(word, quote=False)}</div>{text}</div></div>'
    )


def going_on(process: Process, alarms: Sequence[Alarm]) -> list[Alarm]:
    """The alarms that reach to the last point, the worst first."""
    return [one for one in alarms if one.last == len(process.groups) - 1]


def state_of(worst: Alarm | None) -> str:
    """The state by the worst alarm that goes on."""
    if worst is None:
        return STEADY
    return ALARM if worst.kind == REJECT_RATE else WATCH


def word_of(worst: Alarm | None) -> str:
    """'Brightness below its limits: A105 to A111'."""
    return f"{capitalised(worst.headline)}: {worst.span}" if worst else "No alarm now"


def alarm_lines(process: Process, alarms: Sequence[Alarm]) -> list[str]:
    """The worst alarm that goes on, the last one of the reject rate, the worst of all others."""
    lines, told = [], going_on(process, alarms)[:1]
    if told:
        begin = begin_of(process, told[0])
        lines.append(f"Goes on since {begin}: {told[0].effect}.")
    of_rate = [one for one in alarms if one.kind == REJECT_RATE]
    last = max(of_rate, key=lambda one: one.last, default=None)
    if last is None:
        lines.append("No alarm of the reject rate.")
    elif not any(one is last for one in told):
        told.append(last)
        since = sum(group.inspected for group in process.groups[last.last + 1 :])
        lines.append(
            f"Last alarm of the reject rate: {last.span}, begun {begin_of(process, last)}: "
            f"{last.reason}, {last.effect}. {count_of(since, 'part')} since."
        )
    others = [one for one in alarms if not any(one is known for known in told)]
    if others:
        worst = f"{others[0].headline}, {others[0].span}"
        number = count_of(len(others), "other alarm")
        lines.append(f"{number}: {worst}." if len(others) == 1 else f"{number}, first: {worst}.")
    return lines


def begin_of(process: Process, alarm: Alarm) -> str:
    """'2026-11-20 06:00'."""
    return process.division.clock.minute(alarm.begin_time)


def capitalised(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
