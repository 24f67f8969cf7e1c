"""The inspection log: every decision kept in an SQLite file that shows when it was tampered with.

Records are only ever added, each with a hash over its own values and the hash before it: to change
one unnoticed, all later ones have to be made anew, and the last hash, the head, becomes another.
Times are UTC.
"""

import argparse
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from common.errors import EXIT_FAILURE, UserError
from traceability.schema import (
    READABLE,
    REAL,
    SCHEMA_VERSION,
    TABLES,
    changed_rules,
    schema,
    upgrade,
    version_of,
)

DEFAULT_LOG = Path("inspections.db")
APPLICATION_ID = 0x43415354  # 'CAST': marks the file as an inspection log
BEGINNING = "0" * 64  # stands for the hash before the first record's
BUSY_S = 30.0  # how long a writer waits for another one


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
    time: str = field(default_factory=now)


@dataclass(frozen=True)
class Verification:
    """What `verify` found."""

    records: int
    verdicts: int
    head: str  # the last inspection's hash
    verdicts_head: str
    problems: list[str]


class InspectionLog:
    """An open log. Any number of processes may write the same one; each thread opens its own.

    Args:
        mode: 'read' never changes the file; 'append' adds to an existing log; 'create' makes one
            if need be.

    Raises:
        UserError: the file is missing, foreign, damaged or of a newer version. One of an earlier
            version is upgraded when it is opened to be written to.
    """

    def __init__(self, path: Path, mode: str = "read"):
        self.path = Path(path)
        if mode != "create" and not self.path.is_file():
            raise UserError(f"no inspection log {path}; predict.py --log and watch.py write one")
        with self._reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect(mode)
            try:
                if mode == "create":
                    self._create_if_empty()
                self._check_identity()
                if mode != "read":
                    self._make_durable()
                    self._upgrade_if_old()
                    self._connection.execute("PRAGMA foreign_keys = ON")
            except BaseException:
                self._connection.close()
                raise

    def _connect(self, mode: str) -> sqlite3.Connection:
        access = {"read": "ro", "append": "rw", "create": "rwc"}[mode]
        address = f"{self.path.resolve().as_uri()}?mode={access}"
        options = {"timeout": BUSY_S, "isolation_level": None, "uri": True}
        connection = sqlite3.connect(address, **options)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError:
            # A copy in a place where nothing can be written: SQLite wants to be told
            if mode != "read" or os.path.exists(f"{self.path}-wal"):
                raise
            connection.close()
            connection = sqlite3.connect(f"{address}&immutable=1", **options)
        return connection

    def _create_if_empty(self) -> None:
        execute = self._connection.execute
        (objects,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if objects:
            return
        self._make_durable()
        with self._transaction():
            (objects,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not objects:  # else another process was faster
                for statement in schema():
                    execute(statement)
                execute(f"PRAGMA application_id = {APPLICATION_ID}")
                execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check_identity(self) -> None:
        (identity,) = self._connection.execute("PRAGMA application_id").fetchone()
        version = version_of(self._connection)
        if identity != APPLICATION_ID:
            raise UserError(f"{self.path} is no inspection log; name another file")
        if version not in READABLE:
            raise UserError(
                f"{self.path} has schema version {version}, this program reads "
                f"{' and '.join(map(str, READABLE))}; use the program that wrote it"
            )

    def _make_durable(self) -> None:
        # Other journals lock readers out; FULL: what is acknowledged survives a power cut.
        (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise UserError(f"{self.path} lies where SQLite cannot share a log; use a local disk")
        self._connection.execute("PRAGMA synchronous = FULL")

    def _upgrade_if_old(self) -> None:
        if version_of(self._connection) == SCHEMA_VERSION:
            return
        # Else the dispositions would follow the old table under its new name
        self._connection.execute("PRAGMA foreign_keys = OFF")
        self._connection.execute("PRAGMA legacy_alter_table = ON")
        with self._transaction():
            if version_of(self._connection) == SCHEMA_VERSION:  # another process was faster
                return
            if problems := changed_rules(self._connection):  # which new rules would hide
                raise UserError(f"{self.path}: {problems[0]}; see records.py verify", EXIT_FAILURE)
            upgrade(self._connection)

    def __enter__(self) -> "InspectionLog":
        return self

    def __exit__(self, *error) -> None:
        self._connection.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"inspection log {self.path}: {error}", EXIT_FAILURE) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; no other writer in between, so that the chain cannot fork."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # --- writing ---------------------------------------------------------------------------------

    def append(self, records: Sequence[Record]) -> list[int]:
        """Add inspections in one transaction; returns their ids. On return they are on the disk.

        Raises:
            UserError: the disk or another writer refuses; then none is added.
        """
        columns = list(TABLES["inspections"])
        return self._append(
            "inspections", [[getattr(record, name) for name in columns] for record in records]
        )

    def add_disposition(self, inspection_id: int, verdict: str, person: str, note: str = "") -> int:
        """Add a person's disposition of a part, 'ok' or 'defect'; returns its id.

        Raises:
            UserError: no such inspection.
        """
        with self._reported():
            found = self._connection.execute(
                "SELECT 1 FROM inspections WHERE id = ?", [inspection_id]
            ).fetchone()
        if not found:
            raise UserError(f"{self.path} has no inspection {inspection_id}")
        return self._append("verdicts", [[now(), inspection_id, verdict, person, note]])[0]

    def _append(self, table: str, rows: list[list]) -> list[int]:
        if not rows:
            return []
        real = [kind.startswith(REAL) for kind in TABLES[table].values()]
        places = ", ".join("?" * (len(real) + 3))
        with self._reported(), self._transaction():
            last, previous = self._last(table)
            complete = []
            for number, row in enumerate(rows, last + 1):
                # SQLite gives back floats from these columns: the hash must be of the same text
                values = [
                    float(value) if is_real and value is not None else storable(value)
                    for value, is_real in zip(row, real, strict=True)
                ]
                digest = chained(previous, [number, *values])
                complete.append([number, *values, previous, digest])
                previous = digest
            self._connection.executemany(f"INSERT INTO {table} VALUES ({places})", complete)
        return [row[0] for row in complete]

    def _last(self, table: str) -> tuple[int, str]:
        query = f"SELECT id, hash FROM {table} ORDER BY id DESC LIMIT 1"
        return self._connection.execute(query).fetchone() or (0, BEGINNING)

    # --- reading ---------------------------------------------------------------------------------

    def query(self, sql: str, values: Sequence = ()) -> Iterator[tuple]:
        """Rows of a SELECT."""
        with self._reported():
            yield from self._connection.execute(sql, values)

    def files_with(self, sha256: str) -> set[str]:
        """Names under which a content has been inspected."""
        rows = self.query("SELECT file FROM inspections WHERE sha256 = ?", [sha256])
        return {file for (file,) in rows}

    def verify(self, heads: Sequence[str] = ()) -> Verification:
        """Walk both chains from the beginning.

        Args:
            heads: hashes noted earlier; each must still be in a chain, else its end was cut off.
        """
        problems, counts, last = [], {}, {}
        missing = set(heads) - {BEGINNING}
        for table in TABLES:
            count, head = 0, BEGINNING
            (total,) = next(self.query(f"SELECT count(*) FROM {table}"))
            rows = self.query(f"SELECT * FROM {table} ORDER BY id")
            for row in tqdm(rows, table, total, unit="record", disable=None, leave=False):
                count += 1
                problem = _problem(table, row, count, head)
                if problem:  # all after it hang on it
                    problems.append(problem)
                    break
                head = row[-1]
                missing.discard(head)
            counts[table], last[table] = total, head
        if not problems:  # else the walk ended early
            problems += [
                f"no record has the hash {head}: the end was cut off, or this is another log"
                for head in sorted(missing)
            ]
        with self._reported():
            problems += changed_rules(self._connection)
        return Verification(*counts.values(), *last.values(), problems)


def chained(previous: str, values: Sequence) -> str:
    """SHA-256 over the hash before and a record's values, written as JSON."""
    text = json.dumps([previous, *values], allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _problem(table: str, row: tuple, number: int, previous: str) -> str | None:
    """What is wrong with the record that should be `number` and follow the hash `previous`."""
    what = {"inspections": "inspection", "verdicts": "disposition"}[table]
    if row[0] != number:
        return f"{what} {number} is missing"
    try:
        sound = row[-2] == previous and row[-1] == chained(previous, row[:-2])
    except (TypeError, ValueError):  # values that no record can have
        sound = False
    return None if sound else f"{what} {number} was altered, or one before it removed"


def add_log_argument(parser: argparse.ArgumentParser) -> None:
    """The option of everything that cannot do without a log: which one."""
    parser.add_argument(
        "--log", type=Path, default=DEFAULT_LOG, metavar="FILE", help=f"default: {DEFAULT_LOG}"
    )
