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

from common.files import CsvFile, UserError, count_of, harmless
from traceability.process_figures import plot_process

SIGMAS = 3.0
RUN_LENGTH = 8  # so many in a row on one side of the centre line are a signal (Western Electric)
TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?Z?")  # UTC
MOVING_RANGE_D2 = 1.128  # mean range of two normal values, in standard deviations
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
        # Pictures without a file have no hash and are all different
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


# --- charts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PChart:
    """Shares (G,) with limits (G,) for each subgroup's own size; NaN where it has no parts."""

    rates: np.ndarray
    centre: float
    sigma_z: float  # Laney's: deviation of the standardised shares; 1 where they vary as binomials
    z: np.ndarray  # standardised by the binomial deviation
    lower: np.ndarray
    upper: np.ndarray
    laney_z: np.ndarray  # z / sigma_z
    laney_lower: np.ndarray
    laney_upper: np.ndarray
    runs: np.ndarray  # bool: in a run on one side of the centre

    @property
    def beyond(self) -> np.ndarray:
        """Bool (G,): outside the binomial limits."""
        return _outside(self.rates, self.lower, self.upper)

    @property
    def laney_beyond(self) -> np.ndarray:
        """Bool (G,): outside Laney's limits."""
        return _outside(self.rates, self.laney_lower, self.laney_upper)


def p_chart(counts: Sequence[int], sizes: Sequence[int], baseline: np.ndarray) -> PChart:
    """The p chart and Laney's p' chart of `counts` out of `sizes` (G,), in time order.

    Limits come from the subgroups in `baseline` (G,) alone and are clipped to 0..1. For subgroup i
    of n_i parts: sigma_i = sqrt(p (1 - p) / n_i), limits p +- 3 sigma_i; Laney (Improved control
    charts for attributes, Quality Engineering 14, 2002) widens them by sigma_z, the mean moving
    range of z_i = (p_i - p) / sigma_i over 1.128, because shares of large subgroups vary more than
    coin tosses do.

    Raises:
        UserError: fewer than two subgroups with parts in the baseline.
    """
    counts, sizes = np.asarray(counts, float), np.asarray(sizes, float)
    used = baseline & (sizes > 0)
    if used.sum() < 2:
        raise UserError(
            f"limits need at least 2 subgroups with parts in the baseline, it holds {used.sum()}"
        )
    centre = counts[used].sum() / sizes[used].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = counts / sizes
        sigma = np.sqrt(centre * (1 - centre) / sizes)
        z = np.where(rates == centre, 0.0, (rates - centre) / sigma)  # no variation at all: +-inf
    z[sizes == 0] = np.nan
    sigma[sizes == 0] = np.nan
    # Equal shares have no variation to measure: then as binomials
    sigma_z = float(np.abs(np.diff(z[used])).mean() / MOVING_RANGE_D2) or 1.0
    lower, upper = _limits(centre, SIGMAS * sigma)
    laney_lower, laney_upper = _limits(centre, SIGMAS * sigma * sigma_z)
    laney_z = z / sigma_z
    runs = runs_on_one_side(rates, centre)
    return PChart(rates, centre, sigma_z, z, lower, upper, laney_z, laney_lower, laney_upper, runs)


def _limits(centre: float, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)


def _outside(values: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    slack = 1e-12  # a point on its limit is inside, whatever the rounding
    return (values > upper + slack) | (values < lower - slack)


def runs_on_one_side(values: np.ndarray, centre: float) -> np.ndarray:
    """Bool (G,): whether a value belongs to RUN_LENGTH or more in a row on one side of the centre.

    A value on the centre ends a run; a subgroup without parts (NaN) neither ends nor extends one.
    """
    found = np.zeros(len(values), bool)
    present = np.flatnonzero(~np.isnan(values))
    sides = np.sign(values[present] - centre)
    start = 0
    for end in range(1, len(sides) + 1):
        if end == len(sides) or sides[end] != sides[start]:
            if end - start >= RUN_LENGTH and sides[start] != 0:
                found[present[start:end]] = True
            start = end
    return found


@dataclass(frozen=True)
class TrendChart:
    """Means (G,) of subgroups as an individuals chart; NaN where nothing was measured."""

    values: np.ndarray
    centre: float
    lower: float
    upper: float

    @property
    def beyond(self) -> np.ndarray:
        """Bool (G,): outside the limits."""
        return _outside(self.values, self.lower, self.upper)


def trend_chart(sums: Sequence[float], counts: Sequence[int], baseline: np.ndarray) -> TrendChart:
    """Means `sums / counts` (G,) with limits of 3 moving-range deviations from the baseline."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.asarray(sums, float) / np.asarray(counts, float)
    known = values[baseline & ~np.isnan(values)]
    if len(known) < 2:
        return TrendChart(values, np.nan, np.nan, np.nan)
    reach = SIGMAS * np.abs(np.diff(known)).mean() / MOVING_RANGE_D2
    centre = known.mean()
    return TrendChart(values, float(centre), float(centre - reach), float(centre + reach))


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

    def draw(self, path: Path, title: str) -> None:
        """All charts above one another, as PNG."""
        plot_process(
            path, self.names, self.by, self.baseline, self.rejects, self.reviews,
            self.probability, self.brightness, rejects_by_class(self.groups), title,
        )  # fmt: skip


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


def chart_process(
    query: Query, by: str, bounds: Sequence[str] | None, out: Path, source: str
) -> dict:
    """Draw the charts of a log, write their numbers beside them as CSV, print what stands out.

    Raises:
        UserError: an empty log, or no baseline.
    """
    process = analyse_process(query, by, bounds, source)
    title = process.title(source)
    process.draw(out, title)
    table = out.with_name(f"{out.stem}_numbers.csv")
    found = signals(process)
    write_table(table, process, found)
    print_signals(process.groups, found)
    print(f"{title}\ncharts in {out}, numbers in {table}")
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
        "out": str(out),
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


def print_signals(groups: Sequence[Subgroup], reasons: Sequence[str]) -> None:
    """A line for each subgroup that stands out, the last twenty of them."""
    found = [(group, text) for group, text in zip(groups, reasons, strict=True) if text]
    if len(found) > 20:
        print(f"... {len(found) - 20} earlier ones")
    for group, text in found[-20:]:
        share = f"{group.rejected}/{group.inspected}"
        print(f"{group.name:16s} {share:>12s} rejected: {text}")
    if not found:
        print("no subgroup stands out")


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
            values = ["" if np.isnan(column[i]) else f"{column[i]:.6g}" for column in numbers]
            row = [harmless(group.name), group.start, int(process.baseline[i]), *counts, *values]
            file.write([*row, reasons[i]])
