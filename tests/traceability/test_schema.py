"""A log of an earlier version is read as it is, and upgraded whole or not at all."""

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from log_records import record

import records
from common.errors import UserError
from common.files import ROOT
from traceability.log import InspectionLog
from traceability.opening import APPLICATION_ID
from traceability.schema import SCHEMA_VERSION, TABLES, columns_of, schema, version_of
from traceability.search import search
from traceability.verification import BEGINNING

NOT_JUDGED = {"status": "not_judged", "decision": "", "error": "no casting in the picture"}


@pytest.fixture(params=[1, 2, 3])
def old(request, tmp_path) -> Path:
    """A log of an earlier version."""
    return old_log(tmp_path / "old.db", request.param)


def old_log(path: Path, version: int, count: int = 5) -> Path:
    """A log as an earlier version wrote it, with a disposition of the second part."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in schema(version):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("BEGIN")
        columns = columns_of("inspections", version)
        parts = [[getattr(record(n), name) for name in columns] for n in range(count)]
        fill(connection, "inspections", parts)
        fill(connection, "verdicts", [[record().time, 2, "defect", "Huber", ""]])
        connection.execute("COMMIT")
    return path


def fill(connection: sqlite3.Connection, table: str, rows: list[list]) -> None:
    previous, without_serial = BEGINNING, len(columns_of("inspections", 1))
    for number, row in enumerate(rows, 1):
        hashed = row[:without_serial]  # an empty serial number goes into no hash
        text = json.dumps([previous, number, *hashed], separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        places = ", ".join("?" * (len(row) + 3))
        row = [number, *row, previous, digest]
        connection.execute(f"INSERT INTO {table} VALUES ({places})", row)
        previous = digest


def content(path: Path) -> tuple[list, list, int]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]
        return *tables, version_of(connection)


@pytest.mark.parametrize(
    ("version", "begins"),
    [
        (1, "c9d2d0cd34be130b"),
        (2, "088facf0f333dd1d"),
        (3, "030efaed70eb9726"),
        (4, "bab1a40183b6d71f"),
    ],
)
def test_each_version_is_that_of_the_logs_there_are(version, begins):
    text = "\n".join(sorted(schema(version)))
    assert hashlib.sha256(text.encode()).hexdigest().startswith(begins)


def test_an_old_log_is_read_as_it_is(old, tmp_path, capsys):
    path = old
    before = path.read_bytes()
    assert records.main(["verify", "--log", str(path)]) == 0
    out = tmp_path / "log.csv"
    assert records.main(["export", "--log", str(path), "--csv", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 6
    with InspectionLog(path) as log:
        assert [one.serial for one in search(log, lot="A1")] == [""] * 5
        assert search(log, serial="S1") == []
        assert search(log, number=2)[0].person_says.verdict == "defect"
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER inspections_kept")
    assert records.main(["verify", "--log", str(path)]) == 1


@pytest.mark.parametrize("mode", ["append", "create"])
def test_writing_upgrades_an_old_log_and_changes_no_record(old, mode):
    path = old
    *rows, _ = content(path)
    with InspectionLog(path, mode) as log:
        assert log.append([record(9, **NOT_JUDGED, serial="S9")]) == [6]
        assert log.add_disposition(2, "ok", "Maier") == 2
        assert log.add_disposition(2, "withdrawn", "Maier") == 3
        with pytest.raises(UserError, match="FOREIGN KEY"):
            log._append("verdicts", [[record().time, 99, "ok", "Maier", ""]])
        assert log.verify([rows[0][-1][-1], rows[1][-1][-1]]).problems == []
    inspections, verdicts, version = content(path)
    values = [(*row[:-3], *row[-2:]) for row in inspections[:-1]]  # without the serial number
    before = [(*row[:-3], *row[-2:]) if len(row) == len(inspections[0]) else row for row in rows[0]]
    assert [values, verdicts[:-2]] == [before, rows[1]]
    assert [row[-3] for row in inspections] == ["", "", "", "", "", "S9"]
    assert version == SCHEMA_VERSION
    with closing(sqlite3.connect(path)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("DELETE FROM inspections")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("DELETE FROM verdicts")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_an_upgrade_hides_no_change_of_the_rules(old):
    path = old
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER inspections_kept")
    before = content(path)
    with pytest.raises(UserError, match="inspections_kept"):
        InspectionLog(path, "append")
    assert content(path) == before


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from traceability import opening, schema
def dying(table):
    os.kill(os.getpid(), signal.SIGKILL)  # the rows are copied, the rules are not
opening.changed_rules = lambda connection: []
schema._rules = dying
from traceability.log import InspectionLog
InspectionLog(Path({path!r}), "append")
"""


def test_kill_9_amid_an_upgrade_leaves_the_old_log(tmp_path):
    path = old_log(tmp_path / "old.db", 2)
    before = content(path)
    code = KILLED.format(root=str(ROOT), path=str(path))
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL
    assert content(path) == before
    with InspectionLog(path, "append") as log:
        assert log.append([record(9)]) == [6]
        assert log.verify().problems == []


@pytest.mark.parametrize(
    "changes",
    [
        NOT_JUDGED | {"decision": "ok"},
        {"status": "not_judged"},
        {"status": "ok", "decision": ""},
        {"status": "error"},
        {"status": "skipped", "decision": ""},
    ],
)
def test_what_was_not_judged_has_no_decision(tmp_path, changes):
    with InspectionLog(tmp_path / "log.db", "create") as log:
        with pytest.raises(UserError, match="CHECK"):
            log.append([record(**changes)])
        log.append([record(1, **NOT_JUDGED), record(2, **NOT_JUDGED, prob_defect=None)])
        log.append([record(3, decision="review", error="darker than any part before")])
        assert log.verify().problems == []
