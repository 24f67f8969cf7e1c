"""Statistical process control of the reject rate: subgroups of the inspection log, their charts.

Every part counts once, at its first inspection. Parts that could not be read or not be judged are
in no rate, until a person has spoken on them. A part for review was inspected and is not rejected
unless a person says so. The shares of such parts and of those not judged have charts of their own.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from common.errors import UserError
from common.text import count_of
from metrics.control_charts import PChart, TrendChart, p_chart, trend_chart
from traceability.subgroups import (
    NO_LOT,
    Division,
    Query,
    Subgroup,
    frozen_pictures,
    read_subgroups,
)

TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?Z?")  # Z: UTC


def in_baseline(
    groups: Sequence[Subgroup], bounds: Sequence[str] | None, division: Division
) -> np.ndarray:
    """Bool (G,): subgroups between two bounds, both included; all without bounds.

    A bound is the name of a subgroup or a time; a day or hour stands for all of it.

    Raises:
        UserError: a bound is neither, or nothing lies between them.
    """
    if bounds is None:
        return np.ones(len(groups), bool)
    names = [group.name for group in groups]
    inside = np.ones(len(groups), bool)
    for bound, sign in zip(bounds, (1, -1), strict=True):
        if bound in names:
            place = np.arange(len(groups)) - names.index(bound)
        else:
            time = _time(bound, division.by)
            own = division.clock.text if not bound.endswith("Z") else str
            place = np.array([_order(own(group.start)[: len(time)], time) for group in groups])
        inside &= sign * place >= 0
    if not inside.any():
        raise UserError(f"no {division.by} lies between {bounds[0]} and {bounds[1]}")
    return inside


def _time(bound: str, by: str) -> str:
    try:
        if not TIME.fullmatch(bound):
            raise ValueError
        datetime.fromisoformat(bound)
    except ValueError:
        raise UserError(
            f"--baseline: '{bound}' is no {by} of this log, and no time such as 2026-11-24T13:00"
        ) from None
    return bound.replace(" ", "T").removesuffix("Z")


def _order(a: str, b: str) -> int:
    return (a > b) - (a < b)


@dataclass(frozen=True)
class Process:
    """Subgroups (G,) of a log and their charts."""

    division: Division
    bounds: Sequence[str] | None  # of the baseline
    groups: list[Subgroup]
    without_lot: int  # parts that are in no subgroup
    baseline: np.ndarray  # bool (G,)
    rejects: PChart
    reviews: PChart | None  # None: no part was for review
    not_judged: PChart | None  # share of all readable photographs; None: all were judged
    probability: TrendChart
    brightness: TrendChart
    frozen: dict[str, int]  # equal pictures in a row, by name of the subgroup

    @property
    def by(self) -> str:
        return self.division.by

    @property
    def names(self) -> list[str]:
        return [group.name for group in self.groups]

    @property
    def parts(self) -> int:
        """Parts in the charts, each once."""
        return sum(group.inspected for group in self.groups)

    @property
    def repeats(self) -> int:
        """Records that are left out, because their photograph was inspected before."""
        return sum(group.repeats for group in self.groups)

    def title(self, source: str) -> str:
        """What is charted, what is left out, and where the limits come from."""
        between = f"from {self.bounds[0]} to {self.bounds[1]}" if self.bounds else ""
        repeats = count_of(self.repeats, "repeated photograph") if self.repeats else ""
        return (
            f"{source}{self.only(', ')}: {count_of(self.parts, 'part')} by {self.by}"
            f"{f', {repeats} left out' if repeats else ''}, times in "
            f"{self.division.clock.zone_name}; limits {between or f'from all {self.by}s'}"
        )

    def limits_text(self) -> str:
        """Of which parts the limits are: 'Limits: from 800 parts in 20 lots, A01 to A20.'"""
        used = [group for group, own in zip(self.groups, self.baseline, strict=True) if own]
        parts = count_of(sum(group.inspected for group in used), "part")
        between = f", {used[0].name} to {used[-1].name}" if self.bounds else ""
        lots = f"{'' if self.bounds else 'all '}{count_of(len(used), self.by)}"
        return f"Limits: from {parts} in {lots}{between}{self.only('; ')}."

    def only(self, before: str) -> str:
        """', only lot 'A07'', after what comes before; empty where nothing was chosen."""
        chosen = self.division.selection.describe()
        return f"{before}only {chosen}" if chosen else ""

    def notes(self) -> list[str]:
        """What one has to know to read the charts, in sentences."""
        found = []
        if self.without_lot:
            verb = "is" if self.without_lot == 1 else "are"
            found.append(f"{count_of(self.without_lot, 'part')} without a lot {verb} in no point.")
        if self.rejects.centre == 0:
            used = [group.inspected for group, own in zip(self.groups, self.baseline, strict=True)
                    if own]  # fmt: skip
            found.append(
                f"None of the {count_of(sum(used), 'part')} behind the limits was rejected: so the "
                f"rate is at most {100 * self.rejects.reference:.2g} % with 95 % confidence "
                "(Clopper-Pearson), and the limits are of that rate."
            )
        return found


def analyse_process(
    query: Query, division: Division, bounds: Sequence[str] | None, source: str
) -> Process:
    """The charts of a log.

    Raises:
        UserError: an empty log, or no baseline.
    """
    groups = read_subgroups(query, division)
    if not groups:
        if chosen := division.selection.describe():
            raise UserError(f"no inspection matches: {chosen}")
        raise UserError(f"there are no inspections in {source}")
    without_lot = sum(group.inspected for group in groups if group.name == NO_LOT)
    groups = [group for group in groups if group.name != NO_LOT]
    if not groups:
        raise UserError(f"no part in {source} has a lot; look at it by hour, shift or day")
    baseline = in_baseline(groups, bounds, division)
    sizes = [group.inspected for group in groups]
    judged = [group.judged for group in groups]
    in_review = [group.review for group in groups]
    not_judged = [group.not_judged for group in groups]
    repeats = sum(group.repeats for group in groups)
    note = f"; {count_of(repeats, 'repeated photograph')} left out" if repeats else ""
    readable = [size + count for size, count in zip(judged, not_judged, strict=True)]
    return Process(
        division, bounds, groups, without_lot, baseline,
        rejects=p_chart([group.rejected for group in groups], sizes, baseline, division.by, note),
        reviews=beside(in_review, judged, baseline),
        not_judged=beside(not_judged, readable, baseline),
        probability=trend_chart([group.sum_probability for group in groups], judged, baseline),
        brightness=trend_chart(
            [group.sum_brightness for group in groups],
            [group.measured_brightness for group in groups],
            baseline,
        ),
        frozen=frozen_pictures(query, division),
    )  # fmt: skip


def beside(counts: list[int], sizes: list[int], baseline: np.ndarray) -> PChart | None:
    """A p' chart of what is no reject; None where there is nothing to chart, or no limits."""
    with_parts = baseline & (np.array(sizes) > 0)
    return p_chart(counts, sizes, baseline) if any(counts) and with_parts.sum() > 1 else None


def rejects_by_class(groups: Sequence[Subgroup]) -> dict[str, int]:
    """Rejected parts by class, the most frequent first."""
    total: Counter[str] = Counter()
    for group in groups:
        total.update(group.classes)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
