"""The inspection log's tables and rules as SQL, and how a log of an earlier version gets those.

Version 2 adds the status 'not_judged', version 3 the serial number of a part. An empty one goes
into no hash, so that records keep theirs: a log that is upgraded still has the heads that were
noted before.
"""

import sqlite3

SCHEMA_VERSION = 3
READABLE = (1, 2, SCHEMA_VERSION)  # versions

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
SERIAL_SINCE = 3


def schema(version: int = SCHEMA_VERSION) -> list[str]:
    """Tables whose rows are numbered 1, 2, 3 and never changed, whoever writes; their rules."""
    rules = [statement for table in TABLES for statement in _rules(table)]
    return [*(_table(table, version) for table in TABLES), *rules]


def columns_of(table: str, version: int) -> list[str]:
    """The columns that hold a record's values in a log of a version."""
    return [name for name in TABLES[table] if name != "serial" or version >= SERIAL_SINCE]


def _table(table: str, version: int) -> str:
    declared = ", ".join(f"{name} {TABLES[table][name]}" for name in columns_of(table, version))
    checks = {
        "inspections": ", CHECK (decision IN ('ok', 'defect', 'review', ''))"
        f", CHECK (status IN ({STATUSES[min(version, 2)]}) AND (status = 'ok') = (decision <> ''))",
        "verdicts": ", CHECK (verdict IN ('ok', 'defect'))",
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
    execute = connection.execute
    rows = _present_rows("inspections_before", version_of(connection))
    execute("DROP INDEX inspections_by_content")
    execute("ALTER TABLE inspections RENAME TO inspections_before")
    execute(_table("inspections", SCHEMA_VERSION))
    execute(f"INSERT INTO inspections {rows} ORDER BY id")
    execute("DROP TABLE inspections_before")  # and its triggers
    for statement in _rules("inspections"):
        execute(statement)
    execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def show_as_present(connection: sqlite3.Connection) -> None:
    """Let a connection that only reads see a log of an earlier version with the present columns."""
    rows = _present_rows("main.inspections", version_of(connection))
    connection.execute(f"CREATE TEMP VIEW inspections AS {rows}")


def _present_rows(table: str, version: int) -> str:
    """A SELECT of the rows of an earlier version, in the present columns."""
    own = columns_of("inspections", version)
    values = [name if name in own else f"'' AS {name}" for name in TABLES["inspections"]]
    return f"SELECT {', '.join(['id', *values, 'previous_hash', 'hash'])} FROM {table}"
