"""The inspection log: every decision kept in an SQLite file that shows when it was tampered with.

Records are only ever added, each with a hash over its own values and the hash before it: to change
one unnoticed, all later ones have to be made anew, and the last hash, the head, becomes another.
Times are UTC.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from common.errors import UserError, tell
from common.files import refuse_no_folder
from common.text import UNPRINTABLE
from traceability.access import OpenedFiles, reported, transaction
from traceability.acknowledged import Acknowledged
from traceability.dispositions import LATEST, Disposition, check_may_speak
from traceability.opening import open_log, refuse_foreign
from traceability.schema import REAL, TABLES, changed_rules
from traceability.verification import BEGINNING, Verification, chained, walk

DEFAULT_LOG = Path("inspections.db")
BUSY_S = 30.0  # how long a writer waits for another one
SHORT_BUSY_S = 2.0  # and whoever tells a person meanwhile, and tries again


def storable(value: object) -> object:
    """A text in characters that SQLite takes; other values as they are."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def now() -> str:
    """The time in UTC, as '2026-11-24T09:30:00.123Z'."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Record:
    """One inspection; the fields are the log's columns."""

    station: str
    lot: str
    file: str
    sha256: str  # of the image file; empty when it could not be read
    status: str  # 'ok' (inspected), 'error' (unreadable) or 'not_judged' (nothing to ask a model)
    model: str  # SHA-256 of the model's file
    threshold: float
    prob_defect: float | None
    decision: str  # 'ok', 'defect', 'review'; empty unless the status is 'ok'
    predicted_class: str
    brightness: float | None  # mean grey value, 0 to 255
    latency_ms: float
    error: str = ""  # why there is no decision, or why a person is to decide
    serial: str = ""  # number of the part; empty when nobody knows it
    time: str = field(default_factory=now)


class InspectionLog:
    """An open log. Any number of processes may write the same one; each thread opens its own.

    Args:
        mode: 'read' never changes the file; 'append' adds to an existing log; 'create' makes one
            if need be.
        busy_s: how long to wait for another program's lock; by default 30 s to write.
        tell: called with each inspection that has been added, when it is on the disk.

    Raises:
        UserError: the file is missing, foreign, damaged or of a newer version. One of an earlier
            version is upgraded when it is opened to be written to.
    """

    def __init__(
        self,
        path: Path,
        mode: str = "read",
        busy_s: float | None = None,
        tell: Callable[[int, Record], object] | None = None,
    ):
        self.path, self._tell = Path(path), tell
        self._acknowledged = Acknowledged(self.path)
        with reported(self.path):
            busy_s = busy_s or (SHORT_BUSY_S if mode == "read" else BUSY_S)
            self._connection = open_log(self.path, mode, busy_s)
            self.files = None if mode == "read" else OpenedFiles(self.path)

    def __enter__(self) -> "InspectionLog":
        return self

    def __exit__(self, *error) -> None:
        self._connection.close()

    # --- writing ---------------------------------------------------------------------------------

    def append(self, records: Sequence[Record]) -> list[int]:
        """Add inspections in one transaction; returns their ids. On return they are on the disk.

        Raises:
            UserError: the disk or another writer refuses; then none is added.
        """
        columns = list(TABLES["inspections"])
        numbers = self._append(
            "inspections", [[getattr(record, name) for name in columns] for record in records]
        )
        if self._tell:
            for number, record in zip(numbers, records, strict=True):
                self._tell(number, record)
        return numbers

    def add_disposition(
        self, inspection_id: int, verdict: str, person: str, note: str = "", seen: int | None = None
    ) -> int:
        """Add a person's disposition of a part; returns its id.

        Args:
            verdict: 'ok', 'defect', or 'withdrawn': whoever spoke last on the photograph takes that
                back, and the part is undecided as if nobody had spoken.
            seen: id of the last disposition on this photograph that the person knows of, 0 for
                none. By default nobody cares.

        Raises:
            AlreadyDecidedError: there is a later one.
            NothingToWithdrawError: the last word is not this person's.
            UserError: no such inspection, or a person without a name: it would stay so for good.
        """
        if not UNPRINTABLE.sub("", person).strip():
            raise UserError("a verdict needs the name of the person who gives it")
        last_id = self.last()[0]
        if not 0 < inspection_id <= last_id:
            raise UserError(f"{self.path} has no inspection {inspection_id}")

        def check() -> None:
            last = self._connection.execute(LATEST, [inspection_id]).fetchone()
            said = Disposition(*last) if last else None
            check_may_speak(inspection_id, verdict, storable(person), seen, said)

        row = [now(), inspection_id, verdict, person, note]
        return self._append("verdicts", [row], check)[0]

    def _append(
        self, table: str, rows: list[list], check: Callable[[], None] = lambda: None
    ) -> list[int]:
        if not rows:
            return []
        real = [kind.startswith(REAL) for kind in TABLES[table].values()]
        places = ", ".join("?" * (len(real) + 3))
        with reported(self.path), transaction(self._connection, self.files):
            check()
            last, previous = self._last(table)
            complete = []
            for number, row in enumerate(rows, last + 1):
                # SQLite gives back floats from these columns: the hash must be of the same text
                values = [
                    float(value) if is_real and value is not None else storable(value)
                    for value, is_real in zip(row, real, strict=True)
                ]
                digest = chained(table, previous, [number, *values])
                complete.append([number, *values, previous, digest])
                previous = digest
            self._connection.executemany(f"INSERT INTO {table} VALUES ({places})", complete)
        self._acknowledged.note(table, complete[-1][0], previous, self.holds)
        return [row[0] for row in complete]

    def _last(self, table: str) -> tuple[int, str]:
        query = f"SELECT id, hash FROM {table} ORDER BY id DESC LIMIT 1"
        return self._connection.execute(query).fetchone() or (0, BEGINNING)

    def last(self) -> tuple[int, str]:
        """Id and hash of the last inspection; 0 where there is none."""
        with reported(self.path):
            return self._last("inspections")

    # --- reading ---------------------------------------------------------------------------------

    def query(self, sql: str, values: Sequence = ()) -> Iterator[tuple]:
        """Rows of a SELECT."""
        with reported(self.path):
            # Not `yield from`: it would close the cursor at its end, perhaps after the database
            for row in self._connection.execute(sql, values):  # noqa: UP028
                yield row

    def has_file(self, station: str, file: str, sha256: str) -> bool:
        """Whether a station has recorded this content under this name."""
        sql = "SELECT 1 FROM inspections WHERE sha256 = ? AND file = ? AND station = ? LIMIT 1"
        return next(self.query(sql, [sha256, file, storable(station)]), None) is not None

    def number_of(self, record: Record) -> int | None:
        """The number of this very record, to the millisecond; None when it is not here."""
        sql = "SELECT id FROM inspections WHERE sha256 = ? AND file = ? AND time = ? LIMIT 1"
        values = [record.sha256, storable(record.file), record.time]
        return next(self.query(sql, values), (None,))[0]

    def holds(self, table: str, number: int, digest: str) -> bool:
        """Whether a row of a table has this number and this hash."""
        rows = self.query(f"SELECT hash FROM {table} WHERE id = ?", [number])
        return next(rows, None) == (digest,)

    def lost(self) -> list[str]:
        """What was acknowledged once and is not here any more."""
        return self._acknowledged.problems(self.holds)

    def verify(self, heads: Sequence[str] = ()) -> Verification:
        """Walk both chains from the beginning; see `verification.walk`."""
        lost = self.lost()  # what others write meanwhile is acknowledged later
        found = walk(self.query, heads)
        with reported(self.path):
            changed = changed_rules(self._connection)
        return replace(found, problems=[*(found.problems or lost), *changed])


def warn_of_losses(log: InspectionLog) -> None:
    """Say what was acknowledged once and is not there any more."""
    for problem in log.lost():
        tell(f"warning: {log.path}: {problem}")


def log_file(text: str) -> Path:
    """The name of a log that there is, or of one to begin, for argparse.

    Raises:
        UserError: it is empty, or stands for something else.
    """
    path = Path(text)
    if not text.strip():
        raise UserError(f"the name of the log is empty; name a file, such as {DEFAULT_LOG}")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a folder or a device; name a file for the log")
    refuse_no_folder(path.parent)
    if path.exists():
        refuse_foreign(path)
    return path


def add_log_argument(
    parser: argparse.ArgumentParser, log: Callable[[str], Path] = log_file
) -> None:
    """The option of everything that cannot do without a log: which one.

    Args:
        log: reads the name of its file, and refuses what is none.
    """
    parser.add_argument(
        "--log", type=log, default=str(DEFAULT_LOG), metavar="FILE",
        help=f"default: {DEFAULT_LOG}",
    )  # fmt: skip
