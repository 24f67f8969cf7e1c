"""The note beside the log tells when its end was lost, and costs nothing but itself."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
from log_records import record

import records
from common.files import ROOT
from traceability.log import InspectionLog, warn_of_losses

CRASHING = """
import os, sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from log_records import record
from traceability.log import InspectionLog
log = InspectionLog(Path({path!r}), "create")
for number in range(45):
    log.append([record(number)])
log.add_disposition(7, "defect", "Huber")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "line.db"


@pytest.fixture
def crashed(path):
    """A log of 45 records and a disposition, most of them in the -wal file: its writer was killed.

    Some 20 records more are in the log's own file.
    """
    with InspectionLog(path, "create") as log:
        log.append([record(n) for n in range(100, 120)])
    code = CRASHING.format(root=str(ROOT), tests=str(ROOT / "tests"), path=str(path))
    subprocess.run([sys.executable, "-c", code])
    return path


def note(path):
    return path.with_name("line.db.last")


def problems(path) -> list[str]:
    with InspectionLog(path) as log:
        return log.verify().problems


def test_after_a_crash_nothing_is_missing(crashed):
    assert problems(crashed) == []


@pytest.mark.parametrize("go_on", [False, True])
def test_a_wal_file_that_went_after_a_crash_is_missed(crashed, go_on, capsys):
    for suffix in ("-wal", "-shm"):
        crashed.with_name(f"line.db{suffix}").unlink()
    if go_on:  # until the log is as long as it was, and longer
        with InspectionLog(crashed, "append") as log:
            log.append([record(n) for n in range(200, 300)])
            log.add_disposition(3, "ok", "Huber")
    assert records.main(["verify", "--log", str(crashed)]) == 1
    output = capsys.readouterr()
    assert "row 65 of inspections was acknowledged and is missing" in output.err
    assert "remove line.db.last" in output.err
    assert not json.loads(output.out.splitlines()[-1])["intact"]
    note(crashed).unlink()
    assert problems(crashed) == []


def test_a_loss_is_said_to_whoever_goes_on(crashed, capsys):
    with InspectionLog(crashed, "append") as log:
        warn_of_losses(log)
        assert capsys.readouterr().err == ""
    with sqlite3.connect(crashed) as connection:
        connection.execute("DROP TRIGGER inspections_kept")
        connection.execute("DELETE FROM inspections WHERE id = 65")
    connection.close()
    with InspectionLog(crashed, "append") as log:
        warn_of_losses(log)
    assert "row 65 of inspections was acknowledged and is missing" in capsys.readouterr().err


def test_an_older_copy_in_the_logs_place_is_told_from_it(path, tmp_path):
    with InspectionLog(path, "create") as log:
        log.append([record(1)])
    shutil.copy(path, tmp_path / "copy.db")
    assert problems(tmp_path / "copy.db") == []  # which has no note
    with InspectionLog(path, "append") as log:
        log.append([record(2)])
    os.replace(tmp_path / "copy.db", path)
    assert "row 2 of inspections" in problems(path)[0]


def test_a_log_without_a_note_is_a_log(path):
    with InspectionLog(path, "create") as log:
        log.append([record(1)])
        note(path).unlink()
        assert log.verify().problems == []
        log.append([record(2)])
    assert json.loads(note(path).read_text())["inspections"][0] == 2


def test_the_note_never_moves_back(path):
    with InspectionLog(path, "create") as one, InspectionLog(path, "append") as other:
        one.append([record(1)])
        (hash_of_1,) = next(one.query("SELECT hash FROM inspections"))
        other.append([record(2)])
        noted = note(path).read_text()
        one._acknowledged.note("inspections", 1, hash_of_1, one.holds)  # comes late
        assert note(path).read_text() == noted
        assert one.verify().problems == []


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"inspections": 3}', '{"sqlite_master": [1, "x"]}']
)
def test_a_damaged_note_is_told_and_stays_as_it_is(path, content):
    with InspectionLog(path, "create") as log:
        log.append([record(1)])
        note(path).write_text(content)
        log.append([record(2)])
        assert note(path).read_text() == content
        assert ["cannot be read" in problem for problem in log.verify().problems] == [True]


@pytest.mark.parametrize("content", [b"", bytes(80)])
def test_what_a_power_cut_leaves_of_a_note_is_no_problem(path, content):
    with InspectionLog(path, "create") as log:
        log.append([record(1)])
        note(path).write_bytes(content)
        assert log.verify().problems == []
        log.append([record(2)])
        assert log.verify().problems == []
    assert json.loads(note(path).read_text())["inspections"][0] == 2


def test_a_note_that_cannot_be_written_costs_no_record(path):
    note(path).mkdir()
    with InspectionLog(path, "create") as log:
        assert log.append([record(1)]) == [1]
