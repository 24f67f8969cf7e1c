"""Find records of the inspection log, the newest first, with a person's disposition; export."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from traceability.dispositions import PHOTOGRAPH_ASKED, Disposition
from traceability.log import InspectionLog, storable
from traceability.schema import TABLES

MAX_ROWS = 500
# Parts for review: each photograph once, at its last inspection, until a person has spoken on it
AWAITING = """decision = 'review'
    AND sha256 NOT IN (SELECT sha256 FROM standing)
    AND id = (SELECT max(again.id) FROM inspections again
              WHERE again.sha256 = inspections.sha256 AND again.decision = 'review')"""
FIELDS = ("id", *TABLES["inspections"])


@dataclass(frozen=True)
class Found:
    """A record of the log; see `log.Record` for its fields."""

    id: int
    time: str
    station: str
    lot: str
    file: str
    sha256: str
    status: str
    model: str
    threshold: float
    prob_defect: float | None
    decision: str
    predicted_class: str
    brightness: float | None
    latency_ms: float
    error: str
    serial: str
    person_says: Disposition | None = None  # the last word on the photograph


def search(
    log: InspectionLog,
    *,
    number: int | None = None,
    outcomes: Sequence[str] = (),
    station: str | None = None,
    lot: str | None = None,
    serial: str | None = None,
    sha256: str | None = None,
    since: str | None = None,
    until: str | None = None,
    awaiting: bool = False,
    before: int | None = None,
    limit: int = 50,
) -> list[Found]:
    """The newest records that match all that is given.

    Args:
        number: the id.
        outcomes: one of these decisions, or of the statuses of what has none.
        since, until: times in UTC, ISO 8601 or its beginning; `until` is not included.
        awaiting: only parts for review on which no person has spoken, each photograph once.
        before: only records with a smaller id: the last one of the page before.
    """
    conditions, values = ["1"], []
    for condition, value in (
        ("id = ?", number),
        ("station = ?", station),
        ("lot = ?", lot),
        ("serial = ?", serial),
        ("sha256 = ?", sha256),
        ("time >= ?", since),
        ("time < ?", until),
        ("id < ?", before),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if outcomes:
        conditions.append(f"coalesce(nullif(decision, ''), status) IN ({places(outcomes)})")
        values += outcomes
    if awaiting:
        conditions.append(AWAITING)
    rows = list(
        log.query(
            f"SELECT {', '.join(FIELDS)} FROM inspections WHERE {' AND '.join(conditions)} "
            "ORDER BY id DESC LIMIT ?",
            [*values, limit],
        )
    )
    spoken = dispositions_on(log, [row[0] for row in rows])
    return [Found(*row, spoken.get(row[0])) for row in rows]


def dispositions_on(log: InspectionLog, ids: Sequence[int]) -> dict[int, Disposition]:
    """The last word on the photograph of each of these inspections, where there is one.

    At whichever inspection it was spoken: the same photograph shows the same part.
    """
    rows = log.query(
        "SELECT asked.id, verdict, person, note, standing.time, standing.id "
        f"FROM inspections asked JOIN standing ON photograph = {PHOTOGRAPH_ASKED} "
        f"WHERE asked.id IN ({places(ids)}) ORDER BY standing.id",
        ids,
    )
    return {inspection: Disposition(*rest) for inspection, *rest in rows}


def last_pictures(log: InspectionLog, station: str) -> list[tuple[str, float | None]]:
    """SHA-256 and brightness of the last readable photographs of a station, the oldest first."""
    rows = log.query(
        # Among the last records only: a station that has none would be sought in the whole log
        "SELECT sha256, brightness FROM inspections WHERE station = ? AND status <> 'error' "
        "AND id > (SELECT ifnull(max(id), 0) FROM inspections) - 1000 ORDER BY id DESC LIMIT 3",
        [storable(station)],
    )
    return list(rows)[::-1]


def places(values: Sequence) -> str:
    return ", ".join("?" * len(values))


DISPOSITION = ("verdict", "person", "note")
EXPORTED = ("id", *TABLES["inspections"], "hash", *DISPOSITION, "verdict_time")


def exported(log: InspectionLog, **wanted: str | None) -> Iterator[tuple]:
    """Inspections, each with the latest disposition by a person; the columns are `EXPORTED`.

    Args:
        wanted: values of columns; only records that have them all, None: any.
    """
    chosen = {name: value for name, value in wanted.items() if value is not None}
    condition = " AND ".join(f"i.{name} = ?" for name in chosen) or "1"
    own = [f"i.{name}" for name in ("id", *TABLES["inspections"], "hash")]
    names = ", ".join([*own, *(f"v.{name}" for name in DISPOSITION)])
    return log.query(
        f"SELECT {names}, v.time FROM inspections i LEFT JOIN standing v ON v.id IN "
        "(SELECT max(id) FROM standing GROUP BY inspection_id) AND v.inspection_id = i.id "
        f"WHERE {condition} ORDER BY i.id",
        [storable(value) for value in chosen.values()],
    )
