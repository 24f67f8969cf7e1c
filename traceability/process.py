"""Statistical process control of the reject rate: subgroups of the inspection log, their charts.

Every part counts once, at its first inspection. Parts that could not be read or not be judged are
in no rate. A part for review was inspected and not rejected. The shares of such parts and
of those not judged have charts of their own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from common.csv_dialects import PLAIN, CsvDialect
from common.errors import UserError
from common.files import CsvFile
from common.text import count_of
from metrics.control_charts import RUN_LENGTH, PChart, TrendChart, p_chart, trend_chart
from traceability.subgroups import FROZEN, Query, Subgroup, frozen_pictures, read_subgroups

TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?Z?")  # UTC


def in_baseline(groups: Sequence[Subgroup], bounds: Sequence[str] | None, by: str) -> np.ndarray:
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
            time = _time(bound, by)
            place = np.array([_order(group.start[: len(time)], time) for group in groups])
        inside &= sign * place >= 0
    if not inside.any():
        raise UserError(f"no {by} lies between {bounds[0]} and {bounds[1]}")
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

    by: str
    bounds: Sequence[str] | None  # of the baseline
    groups: list[Subgroup]
    baseline: np.ndarray  # bool (G,)
    rejects: PChart
    reviews: PChart | None  # None: no part was for review
    not_judged: PChart | None  # share of all readable photographs; None: all were judged
    probability: TrendChart
    brightness: TrendChart
    frozen: dict[str, int]  # equal pictures in a row, by name of the subgroup

    @property
    def names(self) -> list[str]:
        return [group.name for group in self.groups]

    @property
    def parts(self) -> int:
        """Readable parts, each once."""
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
            f"{source}: {count_of(self.parts, 'part')} by {self.by}"
            f"{f', {repeats} left out' if repeats else ''}, times in UTC; limits "
            f"{between or f'from all {self.by}s'}"
        )


def analyse_process(query: Query, by: str, bounds: Sequence[str] | None, source: str) -> Process:
    """The charts of a log.

    Raises:
        UserError: an empty log, or no baseline.
    """
    groups = read_subgroups(query, by)
    if not groups:
        raise UserError(f"{source} holds no inspections")
    baseline = in_baseline(groups, bounds, by)
    sizes = [group.inspected for group in groups]
    in_review = [group.review for group in groups]
    not_judged = [group.not_judged for group in groups]
    readable = [size + count for size, count in zip(sizes, not_judged, strict=True)]
    return Process(
        by, bounds, groups, baseline,
        rejects=p_chart([group.rejected for group in groups], sizes, baseline, by),
        reviews=p_chart(in_review, sizes, baseline, by) if any(in_review) else None,
        not_judged=p_chart(not_judged, readable, baseline, by) if any(not_judged) else None,
        probability=trend_chart([group.sum_probability for group in groups], sizes, baseline),
        brightness=trend_chart(
            [group.sum_brightness for group in groups],
            [group.measured_brightness for group in groups],
            baseline,
        ),
        frozen=frozen_pictures(query, by),
    )  # fmt: skip


def figures_of(process: Process) -> dict:
    """The charts as plain values."""
    groups, names, rejects = process.groups, process.names, process.rejects
    return {
        "subgroups": len(groups),
        "parts": process.parts,
        "rejected": sum(group.rejected for group in groups),
        "review": sum(group.review for group in groups),
        "errors": sum(group.errors for group in groups),
        "not_judged": sum(group.not_judged for group in groups),
        "repeats": process.repeats,
        "centre": rejects.centre,
        "sigma_z": rejects.sigma_z,
        "beyond_p": chosen(names, rejects.beyond),
        "beyond_laney": chosen(names, rejects.laney_beyond),
        "runs": chosen(names, rejects.runs),
        "review_beyond": chosen(names, process.reviews.laney_beyond) if process.reviews else [],
        "not_judged_beyond": (
            chosen(names, process.not_judged.laney_beyond) if process.not_judged else []
        ),
        "only_repeats": [group.name for group in groups if group.only_repeats],
        "frozen": [name for name in names if name in process.frozen],
        "probability_beyond": chosen(names, process.probability.beyond),
        "brightness_beyond": chosen(names, process.brightness.beyond),
    }


def chosen(names: Sequence[str], wanted: np.ndarray) -> list[str]:
    """The names that `wanted` (G,) picks."""
    return [name for name, keep in zip(names, wanted, strict=True) if keep]


def rejects_by_class(groups: Sequence[Subgroup]) -> dict[str, int]:
    """Rejected parts by class, the most frequent first."""
    total: dict[str, int] = {}
    for group in groups:
        for name, count in group.classes.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def signals(process: Process) -> list[str]:
    """Why each subgroup stands out; empty where it does not."""
    groups, rejects, reviews = process.groups, process.rejects, process.reviews
    not_judged = process.not_judged
    found = []
    for i in range(len(groups)):
        reasons = {
            f"beyond 3 sigma (p', z {rejects.laney_z[i]:+.1f})": rejects.laney_beyond[i],
            f"beyond 3 sigma (p, z {rejects.z[i]:+.1f})": rejects.beyond[i],
            f"in a run of {RUN_LENGTH} or more": rejects.runs[i],
            "parts for review": reviews is not None and reviews.laney_beyond[i],
            "parts not judged": not_judged is not None and not_judged.laney_beyond[i],
            "only repeated photographs": groups[i].only_repeats,
            FROZEN: groups[i].name in process.frozen,
            "mean probability": process.probability.beyond[i],
            "brightness": process.brightness.beyond[i],
        }
        found.append(", ".join(reason for reason, present in reasons.items() if present))
    return found


def write_table(
    path: Path, process: Process, reasons: Sequence[str], dialect: CsvDialect = PLAIN
) -> None:
    """One line a subgroup."""
    columns = "subgroup,start,baseline,inspected,rejected,review,errors,not_judged,repeats,rate,"
    columns += "lower,upper,z,laney_lower,laney_upper,laney_z,mean_probability,mean_brightness,"
    columns += "signals"
    rejects = process.rejects
    numbers = [
        rejects.rates, rejects.lower, rejects.upper, rejects.z, rejects.laney_lower,
        rejects.laney_upper, rejects.laney_z, process.probability.values,
        process.brightness.values,
    ]  # fmt: skip
    with CsvFile(path, columns.split(","), dialect=dialect) as file:
        for i, group in enumerate(process.groups):
            counts = [
                group.inspected, group.rejected, group.review, group.errors, group.not_judged,
                group.repeats,
            ]  # fmt: skip
            values = [
                "" if np.isnan(column[i]) else float(f"{column[i]:.6g}") for column in numbers
            ]
            row = [group.name, group.start, int(process.baseline[i]), *counts, *values]
            file.write([*row, reasons[i]])
