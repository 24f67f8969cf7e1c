"""The inspection log: every decision kept in an SQLite file that shows when it was tampered with.

    python records.py verify                     nothing altered, nothing removed?
    python records.py verify --head HASH         nor cut off? HASH: a head noted earlier, elsewhere
    python records.py export --csv log.csv       all records, with a person's later verdict
    python records.py verdict 17 ok --by Huber   what a person found about inspection 17
    python records.py spc --by lot --out spc.png     control charts of the reject rate

predict.py --log and watch.py write it. Records are only ever added, each with a hash over its own
values and the hash before it: to change one unnoticed, all later ones have to be made anew, and the
last hash, the head, becomes another. So note the head from time to time where nobody who can write
the log can change it. Times are UTC. Exit code 1: the log is not intact.
"""

import argparse
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from common.files import (
    EXIT_FAILURE,
    EXIT_OK,
    CsvFile,
    UserError,
    count_of,
    harmless,
    run_script,
    script_parser,
)

DEFAULT_LOG = Path("inspections.db")
SCHEMA_VERSION = 1
APPLICATION_ID = 0x43415354  # 'CAST': marks the file as an inspection log
BEGINNING = "0" * 64  # stands for the hash before the first record's
BUSY_S = 30.0  # how long a writer waits for another one

_TEXT, _REAL = "TEXT NOT NULL", "REAL"
_TABLES = {
    "inspections": {
        "time": _TEXT, "station": _TEXT, "lot": _TEXT, "file": _TEXT, "sha256": _TEXT,
        "status": _TEXT, "model": _TEXT, "threshold": "REAL NOT NULL", "prob_defect": _REAL,
        "decision": _TEXT, "predicted_class": _TEXT, "brightness": _REAL, "latency_ms": _REAL,
        "error": _TEXT,
    },
    "verdicts": {
        "time": _TEXT, "inspection_id": "INTEGER NOT NULL REFERENCES inspections (id)",
        "verdict": _TEXT, "person": _TEXT, "note": _TEXT,
    },
}  # fmt: skip
_CHECKS = {
    "inspections": ", CHECK (decision IN ('ok', 'defect', 'review', ''))"
    ", CHECK (status IN ('ok', 'error') AND (status = 'ok') = (decision <> ''))",
    "verdicts": ", CHECK (verdict IN ('ok', 'defect'))",
}


def _schema() -> list[str]:
    """Tables whose rows are numbered 1, 2, 3 and never changed, whoever writes."""
    statements = ["CREATE INDEX inspections_by_content ON inspections (sha256)"]
    for table, columns in _TABLES.items():
        declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        statements.append(
            f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {declared}, "
            f"previous_hash TEXT NOT NULL, hash TEXT NOT NULL{_CHECKS[table]})"
        )
        rules = {
            f"{table}_unchanged": "BEFORE UPDATE",
            f"{table}_kept": "BEFORE DELETE",
            # INSERT OR REPLACE would delete without asking the trigger above
            f"{table}_numbered": "BEFORE INSERT",
        }
        for name, when in rules.items():
            condition = ""
            if when == "BEFORE INSERT":
                condition = f" WHEN NEW.id IS NOT (SELECT ifnull(max(id), 0) + 1 FROM {table})"
            statements.append(
                f"CREATE TRIGGER {name} {when} ON {table}{condition} "
                "BEGIN SELECT RAISE(ABORT, 'the inspection log is append-only'); END"
            )
    return sorted(statements, key=lambda text: "CREATE TABLE" not in text)


def now() -> str:
    """The time in UTC, as '2026-11-24T09:30:00.123Z'."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def storable(value: object) -> object:
    """A text in characters that SQLite takes; other values as they are."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def printable(path: Path) -> str:
    """A path with slashes, in characters that any file can hold."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Record:
    """One inspection; the fields are the log's columns."""

    station: str
    lot: str
    file: str
    sha256: str  # of the image file; empty when it could not be read
    status: str  # 'ok' (judged) or 'error'
    model: str  # SHA-256 of the model's file
    threshold: float
    prob_defect: float | None
    decision: str  # 'ok', 'defect', 'review', or empty
    predicted_class: str
    brightness: float | None  # mean grey value, 0 to 255
    latency_ms: float
    error: str = ""
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
        UserError: the file is missing, foreign, damaged or of a newer version.
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
                for statement in _schema():
                    execute(statement)
                execute(f"PRAGMA application_id = {APPLICATION_ID}")
                execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check_identity(self) -> None:
        (identity,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if identity != APPLICATION_ID:
            raise UserError(f"{self.path} is no inspection log; name another file")
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{self.path} has schema version {version}, this program reads "
                f"{SCHEMA_VERSION}; use the program that wrote it"
            )

    def _make_durable(self) -> None:
        # Other journals lock readers out; FULL: what is acknowledged survives a power cut.
        (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise UserError(f"{self.path} lies where SQLite cannot share a log; use a local disk")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")

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
        columns = list(_TABLES["inspections"])
        return self._append(
            "inspections", [[getattr(record, name) for name in columns] for record in records]
        )

    def add_verdict(self, inspection_id: int, verdict: str, person: str, note: str = "") -> int:
        """Add what a person found about an inspection, 'ok' or 'defect'; returns the verdict's id.

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
        real = [kind.startswith(_REAL) for kind in _TABLES[table].values()]
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
        for table in _TABLES:
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
        problems += self._changed_rules()
        return Verification(*counts.values(), *last.values(), problems)

    def _changed_rules(self) -> list[str]:
        present = {sql for (sql,) in self.query("SELECT sql FROM sqlite_master") if sql}
        expected = set(_schema())
        return [
            *(f"{sql.split()[2]}, a rule of the log, is missing" for sql in expected - present),
            *(f"{sql.split()[2]} is none of the log's rules" for sql in present - expected),
        ]


def chained(previous: str, values: Sequence) -> str:
    """SHA-256 over the hash before and a record's values, written as JSON."""
    text = json.dumps([previous, *values], allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _problem(table: str, row: tuple, number: int, previous: str) -> str | None:
    """What is wrong with the record that should be `number` and follow the hash `previous`."""
    what = table.removesuffix("s")
    if row[0] != number:
        return f"{what} {number} is missing"
    try:
        sound = row[-2] == previous and row[-1] == chained(previous, row[:-2])
    except (TypeError, ValueError):  # values that no record can have
        sound = False
    return None if sound else f"{what} {number} was altered, or one before it removed"


# --- the command line ----------------------------------------------------------------------------


def export_csv(log: InspectionLog, path: Path) -> int:
    """Write all inspections, each with the latest verdict of a person; returns how many."""
    columns = ["id", *_TABLES["inspections"], "hash"]
    verdict = ["verdict", "person", "note"]
    names = ", ".join([f"i.{name}" for name in columns] + [f"v.{name}" for name in verdict])
    rows = log.query(
        f"SELECT {names}, v.time FROM inspections i LEFT JOIN verdicts v ON v.id IN "
        "(SELECT max(id) FROM verdicts GROUP BY inspection_id) AND v.inspection_id = i.id "
        "ORDER BY i.id"
    )
    count = 0
    with CsvFile(path, [*columns, *verdict, "verdict_time"]) as file:
        for row in rows:
            file.write([harmless(value) for value in row])
            count += 1
    return count


def run_verify(args: argparse.Namespace) -> int:
    with InspectionLog(args.log) as log:
        found = log.verify(args.head or [])
    for problem in found.problems:
        print(f"error: {args.log}: {problem}", file=sys.stderr)
    counts = f"{count_of(found.records, 'record')}, {count_of(found.verdicts, 'verdict')}"
    if not found.problems:
        print(f"{args.log}: {counts}, none altered or removed")
        heads = " ".join(h for h in (found.head, found.verdicts_head) if h != BEGINNING)
        print(f"note elsewhere, to prove later that nothing was cut off:\nverify --head {heads}")
    result = {field.name: getattr(found, field.name) for field in fields(found)}
    print(json.dumps(result | {"intact": not found.problems}))
    return EXIT_FAILURE if found.problems else EXIT_OK


def run_export(args: argparse.Namespace) -> int:
    if args.csv.resolve() == args.log.resolve():
        raise UserError(f"--csv {args.csv} is the log itself; name another file")
    with InspectionLog(args.log) as log:
        count = export_csv(log, args.csv)
    print(f"{count_of(count, 'record')} -> {args.csv}")
    return EXIT_OK


def run_verdict(args: argparse.Namespace) -> int:
    with InspectionLog(args.log, "append") as log:
        number = log.add_verdict(args.inspection, args.verdict, args.by, args.note)
    print(f"verdict {number}: inspection {args.inspection} is {args.verdict}, says {args.by}")
    return EXIT_OK


def run_spc(args: argparse.Namespace) -> int:
    from traceability.process import chart_process  # draws, which takes a second to import

    with InspectionLog(args.log) as log:
        result = chart_process(log.query, args.by, args.baseline, args.out, str(args.log))
    print(json.dumps(result))
    return EXIT_OK


def add_log_argument(parser: argparse.ArgumentParser) -> None:
    """The option of everything that cannot do without a log: which one."""
    parser.add_argument(
        "--log", type=Path, default=DEFAULT_LOG, metavar="FILE", help=f"default: {DEFAULT_LOG}"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = script_parser(__doc__)
    commands = parser.add_subparsers(required=True, metavar="{verify,export,verdict,spc}")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.set_defaults(run=run)
        add_log_argument(one)
        return one

    verify = command("verify", run_verify, "walk the chain of hashes from the first record")
    verify.add_argument("--head", nargs="+", metavar="HASH", help="must still be in the chain")
    export = command("export", run_export, "all records as CSV, safe to open in a spreadsheet")
    export.add_argument(
        "--csv", type=Path, nargs="?", metavar="FILE", default=Path("log.csv"),
        const=Path("log.csv"), help="default: log.csv",
    )  # fmt: skip
    verdict = command("verdict", run_verdict, "add what a person found about an inspected part")
    verdict.add_argument("inspection", type=int, help="its id, as export shows it")
    verdict.add_argument("verdict", choices=("ok", "defect"))
    verdict.add_argument("--by", required=True, metavar="NAME", help="the person")
    verdict.add_argument("--note", default="", metavar="TEXT")
    spc = command("spc", run_spc, "p chart and Laney p' chart of the reject rate, and trends")
    spc.add_argument("--by", choices=("lot", "hour", "day"), required=True, help="one point each")
    spc.add_argument(
        "--baseline", nargs=2, metavar=("FROM", "TO"),
        help="the limits come from these subgroups alone, both ends included: names of lots, days "
        "(2026-11-24) or hours (2026-11-24T13), in UTC; default: all",
    )  # fmt: skip
    spc.add_argument("--out", type=Path, default=Path("spc.png"), help="default: spc.png")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return args.run(args)


if __name__ == "__main__":
    run_script(main)
