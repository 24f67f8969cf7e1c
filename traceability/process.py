"""Statistical process control of the reject rate: subgroups of the inspection log, their charts.

Every part counts once, at its first inspection; parts that could not be read are in no rate. A part
in the review band was inspected and not rejected; the share of such parts has a line of its own.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import CsvFile
from common.text import count_of
from metrics.control_charts import RUN_LENGTH, PChart, TrendChart, p_chart, trend_chart

TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?Z?")  # UTC
# The subgroup of a record, as SQL; times are ISO 8601, so that their beginnings are days and hours
SUBGROUPS = {"lot": "lot", "day": "substr(time, 1, 10)", "hour": "substr(time, 1, 13)"}

Query = Callable[[str], Iterator[tuple]]


@dataclass
class Subgroup:
    """The parts of one lot, hour or day."""

    name: str
    start: str  # time of its first record, UTC
    inspected: int = 0  # readable parts, each once
    rejected: int = 0
    review: int = 0
    errors: int = 0
    sum_probability: float = 0.0
    sum_brightness: float = 0.0
    measured_brightness: int = 0
    classes: dict[str, int] = field(default_factory=dict)  # of the rejected parts


def read_subgroups(query: Query, by: str) -> list[Subgroup]:
    """Subgroups in time order."""
    name = SUBGROUPS[by]
    found: dict[str, Subgroup] = {}
    rows = query(
        f"SELECT {name}, CASE decision WHEN 'defect' THEN predicted_class END, min(time), "
        "count(*), sum(decision = 'defect'), sum(decision = 'review'), sum(prob_defect), "
        "sum(brightness), count(brightness) FROM inspections WHERE id IN "
        # Images without a file have no hash and are all different
        "(SELECT min(id) FROM inspections WHERE status = 'ok' GROUP BY "
        "CASE sha256 WHEN '' THEN id ELSE sha256 END) GROUP BY 1, 2"
    )
    for key, rejected_as, start, *sums in rows:
        group = found.setdefault(key, Subgroup(key or "(none)", start))
        group.start = min(group.start, start)
        group.inspected += sums[0]
        group.rejected += sums[1]
        group.review += sums[2]
        group.sum_probability += sums[3]
        group.sum_brightness += sums[4] or 0.0
        group.measured_brightness += sums[5]
        if rejected_as is not None:
            group.classes[rejected_as] = sums[1]
    errors = query(
        f"SELECT {name}, min(time), count(*) FROM inspections WHERE status = 'error' GROUP BY 1"
    )
    for key, start, count in errors:
        group = found.setdefault(key, Subgroup(key or "(none)", start))
        group.start, group.errors = min(group.start, start), count
    return sorted(found.values(), key=lambda group: (group.start, group.name))


# --- the command ---------------------------------------------------------------------------------


def in_baseline(groups: Sequence[Subgroup], bounds: Sequence[str] | None) -> np.ndarray:
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
            time = _time(bound)
            place = np.array([_order(group.start[: len(time)], time) for group in groups])
        inside &= sign * place >= 0
    if not inside.any():
        raise UserError(f"no subgroup lies between {bounds[0]} and {bounds[1]}")
    return inside


def _time(bound: str) -> str:
    try:
        if not TIME.fullmatch(bound):
            raise ValueError
        datetime.fromisoformat(bound)
    except ValueError:
        raise UserError(
            f"--baseline: '{bound}' is neither a subgroup nor a time such as 2026-11-24T13:00"
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
    reviews: PChart | None  # None: no part was in the review band
    probability: TrendChart
    brightness: TrendChart

    @property
    def names(self) -> list[str]:
        return [group.name for group in self.groups]

    @property
    def parts(self) -> int:
        """Readable parts, each once."""
        return sum(group.inspected for group in self.groups)

    def title(self, source: str) -> str:
        """What is charted, and where the limits come from."""
        between = f"from {self.bounds[0]} to {self.bounds[1]}" if self.bounds else ""
        return (
            f"{source}: {count_of(self.parts, 'part')} by {self.by}, times in UTC; limits "
            f"{between or 'from all subgroups'}"
        )


def analyse_process(query: Query, by: str, bounds: Sequence[str] | None, source: str) -> Process:
    """The charts of a log.

    Raises:
        UserError: an empty log, or no baseline.
    """
    groups = read_subgroups(query, by)
    if not groups:
        raise UserError(f"{source} holds no inspections")
    baseline = in_baseline(groups, bounds)
    sizes = [group.inspected for group in groups]
    in_review = [group.review for group in groups]
    return Process(
        by, bounds, groups, baseline,
        rejects=p_chart([group.rejected for group in groups], sizes, baseline),
        reviews=p_chart(in_review, sizes, baseline) if any(in_review) else None,
        probability=trend_chart([group.sum_probability for group in groups], sizes, baseline),
        brightness=trend_chart(
            [group.sum_brightness for group in groups],
            [group.measured_brightness for group in groups],
            baseline,
        ),
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
        "centre": rejects.centre,
        "sigma_z": rejects.sigma_z,
        "beyond_p": chosen(names, rejects.beyond),
        "beyond_laney": chosen(names, rejects.laney_beyond),
        "runs": chosen(names, rejects.runs),
        "review_beyond": chosen(names, process.reviews.laney_beyond) if process.reviews else [],
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
    found = []
    for i in range(len(groups)):
        reasons = {
            f"beyond 3 sigma (p', z {rejects.laney_z[i]:+.1f})": rejects.laney_beyond[i],
            f"beyond 3 sigma (p, z {rejects.z[i]:+.1f})": rejects.beyond[i],
            f"in a run of {RUN_LENGTH} or more": rejects.runs[i],
            "parts for review": reviews is not None and reviews.laney_beyond[i],
            "mean probability": process.probability.beyond[i],
            "brightness": process.brightness.beyond[i],
        }
        found.append(", ".join(reason for reason, present in reasons.items() if present))
    return found


def write_table(path: Path, process: Process, reasons: Sequence[str]) -> None:
    """One line a subgroup."""
    columns = "subgroup,start,baseline,inspected,rejected,review,errors,rate,lower,upper,z,"
    columns += "laney_lower,laney_upper,laney_z,mean_probability,mean_brightness,signals"
    rejects = process.rejects
    numbers = [
        rejects.rates, rejects.lower, rejects.upper, rejects.z, rejects.laney_lower,
        rejects.laney_upper, rejects.laney_z, process.probability.values,
        process.brightness.values,
    ]  # fmt: skip
    with CsvFile(path, columns.split(",")) as file:
        for i, group in enumerate(process.groups):
            counts = [group.inspected, group.rejected, group.review, group.errors]
            values = [
                "" if np.isnan(column[i]) else float(f"{column[i]:.6g}") for column in numbers
            ]
            row = [group.name, group.start, int(process.baseline[i]), *counts, *values]
            file.write([*row, reasons[i]])
