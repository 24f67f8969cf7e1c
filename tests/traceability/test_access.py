"""A log that is renamed, deleted, replaced, locked or damaged while it is open takes nothing."""

import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from log_records import record

from common.errors import EXIT_FAILURE, UserError
from traceability import access
from traceability.access import LogUnavailableError
from traceability.log import InspectionLog


@pytest.fixture
def path(tmp_path):
    return tmp_path / "line.db"


@pytest.fixture
def log(path):
    with InspectionLog(path, "create", busy_s=0.05) as log:
        log.append([record(1)])
        yield log


def refused(log: InspectionLog, text: str) -> None:
    """Neither records nor dispositions are taken, and it is said why."""
    for take in (lambda: log.append([record(9)]), lambda: log.add_disposition(1, "ok", "Huber")):
        with pytest.raises(LogUnavailableError, match=text) as failure:
            take()
        assert failure.value.exit_code == EXIT_FAILURE
        assert "\n" not in str(failure.value)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_file_that_was_renamed_is_missed_until_it_is_back(log, path, suffix):
    file = path.with_name(path.name + suffix)
    file.rename(path.with_name("elsewhere"))
    refused(log, rf"line\.db{suffix} is gone .*put it back, or restart")
    path.with_name("elsewhere").rename(file)
    assert log.append([record(2)]) == [2]
    assert log.verify().problems == []


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_file_that_was_deleted_is_not_made_anew(log, path, suffix):
    file = path.with_name(path.name + suffix)
    file.unlink()
    refused(log, "is gone")
    assert not file.exists()


def test_another_log_in_its_place_takes_nothing_for_it(log, path):
    os.rename(path, path.with_name("elsewhere"))
    with InspectionLog(path.with_name("other.db"), "create") as other:
        other.append([record(7)])
    os.rename(path.with_name("other.db"), path)
    refused(log, r"line\.db is not the file any more that was opened: put it back, or restart")
    shutil.copy(path.with_name("elsewhere"), path)  # nor does a copy
    refused(log, "not the file any more")


def test_a_folder_that_was_renamed_is_missed(tmp_path):
    folder = tmp_path / "data"
    with InspectionLog(folder / "line.db", "create") as log:
        log.append([record(1)])
        folder.rename(tmp_path / "moved")
        refused(log, "is gone")


@pytest.mark.parametrize("moment", [1, 2])
def test_a_file_that_goes_around_the_commit_is_missed(log, path, monkeypatch, moment):
    """Just before the commit nothing is recorded, just after it nothing is acknowledged."""
    original, looks = access.OpenedFiles.check, []

    def check(self):
        looks.append(1)
        if len(looks) == moment:
            path.rename(path.with_name("elsewhere"))
        original(self)

    monkeypatch.setattr(access.OpenedFiles, "check", check)
    with pytest.raises(LogUnavailableError, match="is gone"):
        log.append([record(2)])
    assert next(log.query("SELECT count(*) FROM inspections")) == (moment,)


def test_a_lock_passes_and_costs_no_record(log, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused(log, "locked")
        other.execute("ROLLBACK")
    assert log.append([record(2)]) == [2]


def test_readers_are_not_held_up(log, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with InspectionLog(path) as reading:
            assert reading.verify().records == 1


def test_damage_is_no_passing_matter(path):
    with InspectionLog(path, "create") as log:
        log.append([record(n) for n in range(200)])
    with open(path, "r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096 * 3)
    with InspectionLog(path, "append") as log:
        with pytest.raises(UserError, match="malformed") as failure:
            log.verify()
        assert not isinstance(failure.value, LogUnavailableError)
        assert failure.value.exit_code == EXIT_FAILURE


def test_no_log_is_begun_over_the_rest_of_another(path, capsys):
    with InspectionLog(path, "create") as log:
        log.append([record(1)])
        os.rename(path, path.with_name("elsewhere"))
        with pytest.raises(UserError, match=r"line\.db-wal holds records"):
            InspectionLog(path, "create")
        assert not path.exists()
        os.rename(path.with_name("elsewhere"), path)
        assert log.append([record(2)]) == [2]
    path.unlink()
    assert "begins anew" not in capsys.readouterr().err
    with InspectionLog(path, "create"):
        assert "line.db.last says that there was a log" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("Could not decode column 'a\nb'"),
        UnicodeDecodeError("utf-8", b"\xc8", 0, 1, "invalid continuation byte"),  # its own words
        OSError(5, "Input/output error"),
    ],
)
def test_whatever_goes_wrong_is_one_line(path, error):
    with pytest.raises(UserError, match=r"line\.db") as failure, access.reported(path):
        raise error
    assert "\n" not in str(failure.value)


def test_rows_that_nobody_read_to_the_end_make_no_noise(path):
    """As an exception is told with its traceback, which keeps them until the log is closed."""
    with InspectionLog(path, "create") as log:
        log.append([record(1), record(2)])
        rows = log.query("SELECT id FROM inspections")
        next(rows)
    del rows
