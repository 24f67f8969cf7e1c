"""The inspection log's tables and rules as SQL, and how a log of an earlier version gets those.

Version 2 adds the status 'not_judged', version 3 the serial number of a part, version 4 verdicts
that are withdrawn. An empty serial number goes into no hash, so that records keep theirs: a log
that is upgraded still has the heads that were noted before.
"""

import sqlite3
from collections.abc import Callable

SCHEMA_VERSION = 4
READABLE = (1, 2, 3, SCHEMA_VERSION)  # versions

TEXT, REAL = "TEXT NOT NULL", "REAL"
TABLES = {
    "inspections": {
        "time": TEXT, "station": TEXT, "lot": TEXT, "file": TEXT, "sha256": TEXT,
        "status": TEXT, "model": TEXT, "threshold": "REAL NOT NULL", "prob_defect": REAL,
        "decision": TEXT, "predicted_class": TEXT, "brightness": REAL, "latency_ms": REAL,
        "error": TEXT, "serial": TEXT,
    },
    "verdicts": {
        "time": TEXT, "inspection_id": "INTEGER NOT NULL REFERENCES inspections (id)",
        "verdict": TEXT, "person": TEXT, "note": TEXT,
    },
}  # fmt: skip
STATUSES = {1: "'ok', 'error'", 2: "'ok', 'error', 'not_judged'"}  # from a version on
SERIAL_SINCE, WITHDRAWN_SINCE = 3, 4
WITHDRAWN = "withdrawn"  # in the place of a verdict: those on the photograph count no more
# The verdicts that count. Whoever wants to know what persons say reads these, not the table
STANDING = f"""CREATE TEMP VIEW standing AS
    WITH spoken AS (
        SELECT v.id, v.time, inspection_id, verdict, person, note, sha256,
            CASE sha256 WHEN '' THEN i.id ELSE sha256 END AS photograph  -- without a file: its own
        FROM verdicts v JOIN inspections i ON i.id = inspection_id),
    last_withdrawal AS (
        SELECT photograph, max(id) AS number FROM spoken WHERE verdict = '{WITHDRAWN}' GROUP BY 1)
    SELECT spoken.* FROM spoken LEFT JOIN last_withdrawal USING (photograph)
    WHERE id > ifnull(number, 0)"""


def schema(version: int = SCHEMA_VERSION) -> list[str]:
    """Tables whose rows are numbered 1, 2, 3 and never changed, whoever writes; their rules."""
    rules = [statement for table in TABLES for statement in _rules(table)]
    return [*(_table(table, version) for table in TABLES), *rules]


def columns_of(table: str, version: int) -> list[str]:
    """The columns that hold a record's values in a log of a version."""
    return [name for name in TABLES[table] if name != "serial" or version >= SERIAL_SINCE]


def _table(table: str, version: int) -> str:
    declared = ", ".join(f"{name} {TABLES[table][name]}" for name in columns_of(table, version))
    verdicts = "'ok', 'defect'" + (f", '{WITHDRAWN}'" if version >= WITHDRAWN_SINCE else "")
    checks = {
        "inspections": ", CHECK (decision IN ('ok', 'defect', 'review', ''))"
        f", CHECK (status IN ({STATUSES[min(version, 2)]}) AND (status = 'ok') = (decision <> ''))",
        "verdicts": f", CHECK (verdict IN ({verdicts}))",
    }
    return (
        f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {declared}, "
        f"previous_hash TEXT NOT NULL, hash TEXT NOT NULL{checks[table]})"
    )


def _rules(table: str) -> list[str]:
    """What makes a table append-only, and its index."""
    statements = []
    if table == "inspections":
        statements.append("CREATE INDEX inspections_by_content ON inspections (sha256)")
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
    return statements


def version_of(connection: sqlite3.Connection) -> int:
    """The version that a log says it has."""
    return connection.execute("PRAGMA user_version").fetchone()[0]


def changed_rules(connection: sqlite3.Connection) -> list[str]:
    """How the tables and rules of a log differ from those that its version has."""
    rows = connection.execute("SELECT sql FROM sqlite_master")
    present = {sql for (sql,) in rows if sql}
    expected = set(schema(version_of(connection)))
    return [
        *(f"{sql.split()[2]}, a rule of the log, is missing" for sql in expected - present),
        *(f"{sql.split()[2]} is none of the log's rules" for sql in present - expected),
    ]


def upgrade(connection: sqlite3.Connection) -> None:
    """Give a log of an earlier version the present tables; for use inside a transaction.

    Its rows go over as they are, with their numbers and hashes.
    """
    version = version_of(connection)
    for table in TABLES:
        if _table(table, version) != _table(table, SCHEMA_VERSION):
            _make_anew(connection.execute, table, version)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _make_anew(execute: Callable[[str], object], table: str, version: int) -> None:
    """Give a table of an earlier version its present columns and rules."""
    rows = _present_rows(table, f"{table}_before", version)
    execute(f"ALTER TABLE {table} RENAME TO {table}_before")
    execute(_table(table, SCHEMA_VERSION))
    execute(f"INSERT INTO {table} {rows} ORDER BY id")
    execute(f"DROP TABLE {table}_before")  # with its index and triggers
    for statement in _rules(table):
        execute(statement)


def show_as_present(connection: sqlite3.Connection) -> None:
    """Let a connection that only reads see a log of an earlier version with the present columns."""
    rows = _present_rows("inspections", "main.inspections", version_of(connection))
    connection.execute(f"CREATE TEMP VIEW inspections AS {rows}")


def _present_rows(table: str, source: str, version: int) -> str:
    """A SELECT of a table's rows from where they are, in the present columns."""
    own = columns_of(table, version)
    values = [name if name in own else f"'' AS {name}" for name in TABLES[table]]
    return f"SELECT {', '.join(['id', *values, 'previous_hash', 'hash'])} FROM {source}"
