"""Subgroups of the inspection log, lots, hours, shifts or days, and what is counted of each.

Every part counts once, at its first inspection: records of a photograph that was inspected before
are repeats. What a person says of a part last, at whichever inspection, is its outcome; else the
model's decision is. Parts that could not be read or not be judged are in no rate until then.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from common.text import printable
from traceability.clock import Clock

RUN = 3  # so many equal pictures in a row at one station: its camera may have frozen
FROZEN = "frozen camera?"  # begins the reason of records that were not judged for that
UNITS = ("lot", "hour", "shift", "day")
NO_LOT = ""  # the name of what has no lot
BY_PERSON = "by a person"  # the class of a reject that the model had not rejected

# Those without a file have no hash and are all different
PHOTOGRAPH = "CASE sha256 WHEN '' THEN id ELSE sha256 END"
# A damaged log may hold other kinds of values, hence the casts
STATION, LOT = "CAST(station AS TEXT)", "trim(CAST(lot AS TEXT))"
# Hours, days and shifts of all time zones begin with a quarter of an hour
QUARTER = "printf('%s%02d', CAST(substr(time, 1, 14) AS TEXT), substr(time, 15, 2) / 15 * 15)"
# Each part with its outcome: 'ok', 'defect' or, while it waits for a person, 'review'
PARTS = f"""WITH said AS (
    SELECT photograph, verdict, max(id) FROM standing GROUP BY 1),
firsts AS (
    SELECT {PHOTOGRAPH} AS photograph, ifnull(min(id) FILTER (WHERE status = 'ok'), min(id)) AS id
    FROM inspections GROUP BY 1),
parts AS (
    SELECT inspections.*, ifnull(verdict, decision) AS outcome
    FROM firsts JOIN inspections USING (id) LEFT JOIN said USING (photograph)
    WHERE status = 'ok' OR verdict IS NOT NULL)
"""

Query = Callable[[str], Iterator[tuple]]


@dataclass(frozen=True)
class Selection:
    """Which records are looked at; None: all. Days are the clock's, both included."""

    station: str | None = None
    lot: str | None = None  # a text in its name
    shift: str | None = None  # when it begins, HH:MM
    first_day: str | None = None
    last_day: str | None = None

    @property
    def by_time(self) -> bool:
        return any((self.shift, self.first_day, self.last_day))

    def describe(self) -> str:
        """'station 'line2', lot 'A07', shift from 22:00, days from 2026-11-24'; empty: all."""
        given = {
            "station '{}'": self.station,
            "lot '{}'": self.lot,
            "shift from {}": self.shift,
            "days from {}": self.first_day,
            "to {}": self.last_day,
        }
        return ", ".join(text.format(printable(value)) for text, value in given.items() if value)

    def takes(self, station: str, lot: str, quarter: str, clock: Clock) -> bool:
        """Whether a record is one of them."""
        return (
            self.station in (None, station)
            and (self.lot is None or self.lot.casefold() in (lot or "").casefold())
            and (self.shift is None or clock.shift(quarter).endswith(f" {self.shift}"))
            and (self.first_day is None or clock.day(quarter) >= self.first_day)
            and (self.last_day is None or clock.day(quarter) <= self.last_day)
        )


@dataclass(frozen=True)
class Division:
    """How a log is divided into subgroups, and what of it."""

    by: str = "lot"
    clock: Clock = field(default_factory=Clock)
    selection: Selection = field(default_factory=Selection)

    @property
    def place(self) -> str:
        """Station, lot and quarter of an hour of a record, as SQL; empty what need not be known."""
        station = STATION if self.selection.station is not None else "''"
        lot = LOT if self.by == "lot" or self.selection.lot else "''"
        quarter = QUARTER if self.by != "lot" or self.selection.by_time else "''"
        return f"{station} AS at, {lot} AS of_lot, {quarter} AS quarter"

    def name(self, station: str, lot: str, quarter: str) -> str | None:
        """The subgroup of a record by its place; None for one that is not looked at."""
        if not self.selection.takes(station, lot, quarter, self.clock):
            return None
        return (lot or NO_LOT) if self.by == "lot" else self.clock.named_by(self.by)(quarter)


@dataclass
class Subgroup:
    """The parts of one lot, hour, shift or day."""

    name: str
    start: str  # time of its first record, UTC
    inspected: int = 0  # parts with an outcome, or that wait for a person; each once
    judged: int = 0  # those of them that the model judged
    rejected: int = 0  # by the model or, if one has spoken, by a person
    review: int = 0  # those that the model left to a person
    waiting: int = 0  # those of them on which no person has spoken
    errors: int = 0  # unreadable photographs
    not_judged: int = 0  # photographs that the model was not asked about
    repeats: int = 0  # records left out, because their photograph was inspected before
    sum_probability: float = 0.0
    sum_brightness: float = 0.0
    measured_brightness: int = 0
    classes: Counter[str] = field(default_factory=Counter)  # of the rejected parts

    @property
    def only_repeats(self) -> bool:
        """Whether all its readable photographs had been inspected before."""
        return bool(self.repeats and not self.inspected)


def _count(column: str, value: str) -> str:
    return f"count(*) FILTER (WHERE {column} = '{value}')"


def _of_judged(aggregate: str) -> str:
    return f"{aggregate} FILTER (WHERE status = 'ok')"


SUMS = {  # what is added up of parts, as SQL
    "inspected": "count(*)",
    "judged": _of_judged("count(*)"),
    "rejected": _count("outcome", "defect"),
    "review": _count("decision", "review"),
    "waiting": _count("outcome", "review"),
    "sum_probability": _of_judged("total(prob_defect)"),
    "sum_brightness": _of_judged("total(brightness)"),
    "measured_brightness": _of_judged("count(brightness)"),
}


def read_subgroups(query: Query, division: Division) -> list[Subgroup]:
    """Subgroups in time order; parts without a lot are one, too, whose name is empty."""
    found: dict[str, Subgroup] = {}
    for row in query(
        f"{PARTS}SELECT {division.place}, CASE outcome WHEN 'defect' THEN CASE decision "
        f"WHEN 'defect' THEN CAST(predicted_class AS TEXT) ELSE '{BY_PERSON}' END END, "
        f"min(time), {', '.join(SUMS.values())} FROM parts GROUP BY 1, 2, 3, 4"
    ):
        place, (rejected_as, start), sums = row[:3], row[3:5], row[5:]
        if group := _group(found, division.name(*place), start):
            for name, value in zip(SUMS, sums, strict=True):
                setattr(group, name, getattr(group, name) + value)
            if rejected_as is not None:
                group.classes[rejected_as] += sums[0]
    _count_records(query, division, found)
    return sorted(found.values(), key=lambda group: (group.start, group.name))


def _count_records(query: Query, division: Division, found: dict[str, Subgroup]) -> None:
    """Add what is counted in records, and the subgroups of which nothing else is known."""
    rows = query(
        f"SELECT {division.place}, min(time), "
        f"{_count('status', 'ok')}, {_count('status', 'error')}, "
        "count(*) FILTER (WHERE id IN (SELECT min(id) FROM inspections "
        f"WHERE status = 'not_judged' GROUP BY {PHOTOGRAPH})) FROM inspections GROUP BY 1, 2, 3"
    )
    for *place, start, readable, errors, not_judged in rows:
        if group := _group(found, division.name(*place), start):
            group.repeats += readable
            group.errors += errors
            group.not_judged += not_judged
    for group in found.values():
        group.repeats -= group.judged


def _group(found: dict[str, Subgroup], name: str | None, start: object) -> Subgroup | None:
    """The subgroup of this name, which begins no later than `start`."""
    if name is None:
        return None
    start = str(start or "")
    if name not in found:
        found[name] = Subgroup(name, start)
    found[name].start = min(found[name].start, start)
    return found[name]


def frozen_pictures(query: Query, division: Division) -> dict[str, int]:
    """How many pictures of each subgroup were at least the third equal one in a row at a station.

    Of pictures whose files differ only the station could see that they are equal. Without a station
    there is no camera, but a person who tries a photograph several times.
    """
    rows = query(
        f"SELECT station, {division.place}, sha256, substr(error, 1, {len(FROZEN)}) = '{FROZEN}' "
        "FROM inspections WHERE status <> 'error' AND station <> '' ORDER BY id"
    )
    found: Counter[str] = Counter()
    runs: dict[str, tuple[str, int]] = {}  # the last picture of each station, how often in a row
    for station, *place, sha256, is_told in rows:
        last, count = runs.get(station, ("", 0))
        count = count + 1 if sha256 and sha256 == last else 1
        runs[station] = (sha256, count)
        if count >= RUN or is_told:
            name = division.name(*place)
            if name is not None:
                found[name] += 1
    return found
