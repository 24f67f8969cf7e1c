"""Alarms of a process: one for each episode, the worst first; the reject rate apart from drift."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.text import count_of, printable
from metrics.control_charts import RUN_LENGTH, PChart, TrendChart
from traceability.process import Process
from traceability.subgroups import FROZEN

REJECT_RATE, JUDGING, DRIFT = "reject rate", "judging", "drift"
KINDS = (REJECT_RATE, JUDGING, DRIFT)
NEAR = 2  # so many quiet subgroups between two that stand out do not end an episode

Effect = tuple[float, str]  # how large, to rank alarms of one reason; and in words


@dataclass(frozen=True)
class Reason:
    """Why subgroups stand out, which ones (G,), and how far some of them (places) do."""

    kind: str
    text: str
    marked: np.ndarray
    effect: Callable[[np.ndarray], Effect]


@dataclass(frozen=True)
class Alarm:
    """Subgroups near one another that stand out for the same reason."""

    kind: str
    reason: str
    first: int  # places of subgroups
    last: int
    marked: np.ndarray  # places of those of them that stand out
    begin: str  # names of subgroups
    end: str
    begin_time: str  # of the first record, UTC
    effect: str

    @property
    def span(self) -> str:
        """'A17', 'A17 to A19'."""
        begin, end = printable(self.begin), printable(self.end)
        return begin if self.first == self.last else f"{begin} to {end}"

    def describe(self) -> str:
        """'A17 to A19, reject rate above its limits: ...'."""
        return f"{self.span}, {self.headline}: {self.effect}"

    @property
    def headline(self) -> str:
        """'reject rate above its limits', 'brightness below its limits'."""
        return f"{self.kind} {self.reason}" if self.kind == REJECT_RATE else self.reason


def ranked_reasons(process: Process) -> list[list[Reason]]:
    """All there are, by harm: rejects, then what nobody judges, then what may become either.

    Those of one rank are above and below the same limits.
    """
    groups = process.groups
    rejects = _share(process.rejects, "rejected")
    frozen = np.array([process.frozen.get(group.name, 0) for group in groups])
    repeats = np.array([group.repeats if group.only_repeats else 0 for group in groups])
    return [
        [Reason(REJECT_RATE, "above its limits", process.rejects.spikes, rejects)],
        [Reason(REJECT_RATE, f"above its centre {RUN_LENGTH} times or more in a row",
                process.rejects.runs_above, rejects)],
        [Reason(REJECT_RATE, "below its limits", process.rejects.dips, rejects)],
        [Reason(REJECT_RATE, f"below its centre {RUN_LENGTH} times or more in a row",
                process.rejects.runs_below, rejects)],
        *([one] for one in _shares_for_persons(process)),
        [Reason(JUDGING, FROZEN, frozen > 0, _count(frozen, "picture", " like those just before"))],
        [Reason(JUDGING, "only repeated photographs", repeats > 0,
                _count(repeats, "repeated photograph", ""))],
        _drifts(process.probability, "mean probability", "{:.3f}"),
        _drifts(process.brightness, "brightness", "{:.1f}"),
    ]  # fmt: skip


def reasons_of(process: Process) -> list[Reason]:
    """The same in one row."""
    return [reason for rank in ranked_reasons(process) for reason in rank]


def _drifts(chart: TrendChart, quantity: str, form: str) -> list[Reason]:
    effect = _deviation(chart, form)
    return [
        Reason(DRIFT, f"{quantity} above its limits", chart.above, effect),
        Reason(DRIFT, f"{quantity} below its limits", chart.below, effect),
    ]


def _shares_for_persons(process: Process) -> Iterator[Reason]:
    for chart, text, what in (
        (process.reviews, "parts for review above their limit", "for review"),
        (process.not_judged, "parts not judged above their limit", "not judged"),
    ):
        if chart:
            yield Reason(JUDGING, text, chart.spikes, _share(chart, what))


def _share(chart: PChart, what: str) -> Callable[[np.ndarray], Effect]:
    def effect(places: np.ndarray) -> Effect:
        count, size = chart.counts[places].sum(), chart.sizes[places].sum()
        usual = f"{100 * chart.reference:.2g} %"
        if chart.reference != chart.centre:  # which is 0 or 1: the limits are of what it may be
            usual = f"{'at most' if chart.centre == 0 else 'at least'} {usual}"
        text = f"{count:,.0f} of {size:,.0f} {what}, {100 * count / size:.1f} % against {usual}"
        return abs(count - size * chart.reference), text

    return effect


def _deviation(chart: TrendChart, form: str) -> Callable[[np.ndarray], Effect]:
    def effect(places: np.ndarray) -> Effect:
        furthest = max(places, key=lambda place: abs(chart.values[place] - chart.centre))
        value = chart.values[furthest]
        text = f"as far as {form.format(value)} against {form.format(chart.centre)}"
        return abs(value - chart.centre), text

    return effect


def _count(counts: np.ndarray, noun: str, more: str) -> Callable[[np.ndarray], Effect]:
    def effect(places: np.ndarray) -> Effect:
        total = int(counts[places].sum())
        return total, f"{count_of(total, noun)}{more}"

    return effect


def alarms_of(process: Process) -> list[Alarm]:
    """One alarm an episode, the most harmful reason first, then the largest effect."""
    found = []
    reasons = [(rank, one) for rank, own in enumerate(ranked_reasons(process)) for one in own]
    for rank, reason in reasons:
        for places in episodes(reason.marked):
            size, effect = reason.effect(places)
            begin, end = process.groups[places[0]], process.groups[places[-1]]
            alarm = Alarm(
                reason.kind, reason.text, int(places[0]), int(places[-1]), places, begin.name,
                end.name, begin.start, effect + _gaps(places, process.by),
            )  # fmt: skip
            found.append((rank, -size, alarm))
    return [alarm for *_, alarm in sorted(found, key=lambda one: one[:2])]


def _gaps(places: np.ndarray, by: str) -> str:
    """', in 2 of 4 hours': that the numbers are not of all between begin and end."""
    between = places[-1] - places[0] + 1
    return f", in {len(places)} of {between} {by}s" if len(places) < between else ""


def episodes(marked: np.ndarray) -> list[np.ndarray]:
    """Places of what is marked (G,), parted where more than NEAR lie between two."""
    places = np.flatnonzero(marked)
    if not len(places):
        return []
    return np.split(places, np.flatnonzero(np.diff(places) > NEAR + 1) + 1)


def signals(process: Process, kind: str) -> list[str]:
    """Why each subgroup stands out, for one kind of reason; empty where it does not."""
    reasons = [one for one in reasons_of(process) if one.kind == kind]
    return [
        ", ".join(one.text for one in reasons if one.marked[place])
        for place in range(len(process.groups))
    ]


def as_plain_values(alarms: Sequence[Alarm]) -> list[dict]:
    """Alarms as JSON has them."""
    return [
        {
            "kind": one.kind,
            "reason": one.reason,
            "begin": one.begin,
            "end": one.end,
            "begin_time": one.begin_time,
            "subgroups": len(one.marked),
            "effect": one.effect,
        }
        for one in alarms
    ]
