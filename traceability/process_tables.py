"""A process as numbers: the values of its charts for programs, a table with a line a subgroup."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.csv_dialects import PLAIN, CsvDialect
from common.files import CsvFile
from traceability.alarms import KINDS, Alarm, as_plain_values, signals
from traceability.process import Process

COUNTS = (
    "inspected", "rejected", "review", "waiting", "errors", "not_judged", "repeats",
)  # fmt: skip


def figures_of(process: Process, alarms: Sequence[Alarm]) -> dict:
    """The charts as plain values."""
    groups, names, rejects = process.groups, process.names, process.rejects
    totals = {name: sum(getattr(group, name) for group in groups) for name in COUNTS}
    reviews, not_judged = process.reviews, process.not_judged
    return {
        "subgroups": len(groups),
        "parts": totals.pop("inspected"),
        "without_lot": process.without_lot,
        **totals,
        "centre": rejects.centre,
        "limits_of": rejects.reference,
        "sigma_z": rejects.sigma_z,
        "alarms": as_plain_values(alarms),
        "beyond_p": chosen(names, rejects.beyond),
        "beyond_limits": chosen(names, rejects.beyond_limits),
        "runs": chosen(names, rejects.runs),
        "review_beyond": chosen(names, reviews.spikes) if reviews else [],
        "not_judged_beyond": chosen(names, not_judged.spikes) if not_judged else [],
        "only_repeats": [group.name for group in groups if group.only_repeats],
        "frozen": [name for name in names if name in process.frozen],
        "probability_beyond": chosen(names, process.probability.beyond),
        "brightness_beyond": chosen(names, process.brightness.beyond),
        "notes": process.notes(),
    }


def chosen(names: Sequence[str], wanted: np.ndarray) -> list[str]:
    """The names that `wanted` (G,) picks."""
    return [name for name, keep in zip(names, wanted, strict=True) if keep]


def write_table(path: Path, process: Process, dialect: CsvDialect = PLAIN) -> None:
    """One line a subgroup; why it stands out has a column for each kind of reason."""
    rejects = process.rejects
    numbers = {
        "rate": rejects.rates, "lower": rejects.lower, "upper": rejects.upper, "z": rejects.z,
        "laney_lower": rejects.laney_lower, "laney_upper": rejects.laney_upper,
        "laney_z": rejects.laney_z, "alarm_lower": rejects.alarm_lower,
        "alarm_upper": rejects.alarm_upper, "mean_probability": process.probability.values,
        "mean_brightness": process.brightness.values,
    }  # fmt: skip
    reasons = {f"{kind.replace(' ', '_')}_signals": signals(process, kind) for kind in KINDS}
    columns = ["subgroup", "start", "baseline", *COUNTS, *numbers, *reasons]
    with CsvFile(path, columns, dialect=dialect) as file:
        for i, group in enumerate(process.groups):
            counts = [getattr(group, name) for name in COUNTS]
            values = [
                "" if np.isnan(column[i]) else float(f"{column[i]:.6g}")
                for column in numbers.values()
            ]
            why = [column[i] for column in reasons.values()]
            row = [group.name, group.start, int(process.baseline[i]), *counts, *values, *why]
            file.write(row)
