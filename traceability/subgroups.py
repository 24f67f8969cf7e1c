"""Subgroups of the inspection log, lots, days or hours, and what is counted of each.

Every part counts once, at its first inspection: records of a photograph that was inspected before
are repeats. Parts that could not be read or not be judged are in no rate.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

RUN = 3  # so many equal pictures in a row at one station: its camera may have frozen
FROZEN = "frozen camera?"  # begins the reason of records that were not judged for that
# The subgroup of a record, as SQL; times are ISO 8601, so that their beginnings are days and hours.
# A damaged log may hold other kinds of values.
SUBGROUPS = {
    "lot": "CAST(lot AS TEXT)",
    "day": "CAST(substr(time, 1, 10) AS TEXT)",
    "hour": "CAST(substr(time, 1, 13) AS TEXT)",
}
START = "ifnull(CAST(min(time) AS TEXT), '')"
NAMELESS = "(none)"

Query = Callable[[str], Iterator[tuple]]


@dataclass
class Subgroup:
    """The parts of one lot, hour or day."""

    name: str
    start: str  # time of its first record, UTC
    inspected: int = 0  # readable parts, each once
    rejected: int = 0
    review: int = 0
    errors: int = 0  # unreadable photographs
    not_judged: int = 0  # photographs that the model was not asked about
    repeats: int = 0  # records left out, because their photograph was inspected before
    sum_probability: float = 0.0
    sum_brightness: float = 0.0
    measured_brightness: int = 0
    classes: dict[str, int] = field(default_factory=dict)  # of the rejected parts

    @property
    def only_repeats(self) -> bool:
        """Whether all its readable photographs had been inspected before."""
        return bool(self.repeats and not self.inspected)


def read_subgroups(query: Query, by: str) -> list[Subgroup]:
    """Subgroups in time order."""
    name = SUBGROUPS[by]
    found: dict[str, Subgroup] = {}
    rows = query(
        f"SELECT {name}, CASE decision WHEN 'defect' THEN CAST(predicted_class AS TEXT) END, "
        f"{START}, count(*), {_count('decision', 'defect')}, {_count('decision', 'review')}, "
        "total(prob_defect), total(brightness), count(brightness) FROM inspections WHERE id IN "
        # Images without a file have no hash and are all different
        "(SELECT min(id) FROM inspections WHERE status = 'ok' GROUP BY "
        "CASE sha256 WHEN '' THEN id ELSE sha256 END) GROUP BY 1, 2"
    )
    for key, rejected_as, start, *sums in rows:
        group = found.setdefault(key, Subgroup(key or NAMELESS, start))
        group.inspected += sums[0]
        group.rejected += sums[1]
        group.review += sums[2]
        group.sum_probability += sums[3]
        group.sum_brightness += sums[4]
        group.measured_brightness += sums[5]
        if rejected_as is not None:
            group.classes[rejected_as] = sums[1]
    records = query(
        f"SELECT {name}, {START}, {_count('status', 'ok')}, {_count('status', 'error')}, "
        # Each picture once, as above; those without a file are all different
        "count(DISTINCT CASE WHEN status = 'not_judged' THEN "
        "CASE sha256 WHEN '' THEN id ELSE sha256 END END) FROM inspections GROUP BY 1"
    )
    for key, start, readable, errors, not_judged in records:
        group = found.setdefault(key, Subgroup(key or NAMELESS, start))
        group.start, group.repeats = start, readable - group.inspected
        group.errors, group.not_judged = errors, not_judged
    return sorted(found.values(), key=lambda group: (group.start, group.name))


def _count(column: str, value: str) -> str:
    return f"count(*) FILTER (WHERE {column} = '{value}')"


def frozen_pictures(query: Query, by: str) -> dict[str, int]:
    """How many pictures of each subgroup were at least the third equal one in a row at a station.

    Of pictures whose files differ only the station could see that they are equal. Without a station
    there is no camera, but a person who tries a photograph several times.
    """
    rows = query(
        f"SELECT {SUBGROUPS[by]}, station, sha256, substr(error, 1, {len(FROZEN)}) = '{FROZEN}' "
        "FROM inspections WHERE status <> 'error' AND station <> '' ORDER BY id"
    )
    found: Counter[str] = Counter()
    runs: dict[str, tuple[str, int]] = {}  # the last picture of each station, how often in a row
    for key, station, sha256, is_told in rows:
        last, count = runs.get(station, ("", 0))
        count = count + 1 if sha256 and sha256 == last else 1
        runs[station] = (sha256, count)
        if count >= RUN or is_told:
            found[key or NAMELESS] += 1
    return found
