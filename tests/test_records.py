"""The log keeps what was acknowledged, shows what was tampered with, and cannot be changed."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from log_records import record

import records
from common.errors import EXIT_FAILURE, UserError
from common.files import ROOT
from common.text import FORMULA_STARTS, printable
from traceability.log import InspectionLog, Record
from traceability.schema import SCHEMA_VERSION, TABLES
from traceability.verification import BEGINNING


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "inspections.db"


@pytest.fixture
def filled(path) -> Path:
    """A log of six inspections and two predictions."""
    with InspectionLog(path, "create") as log:
        log.append([record(n) for n in range(4)])
        log.append([record(n) for n in range(4, 6)])
        log.add_disposition(2, "defect", "Huber", "burr at the rim")
        log.add_disposition(2, "ok", "Meier")
    return path


def verification(path: Path, *heads: str):
    with InspectionLog(path) as log:
        return log.verify(heads)


def tampered(path: Path, *statements: str) -> None:
    """Change the log as somebody would who knows SQLite: without the rules that forbid it."""
    with closing(sqlite3.connect(path)) as connection:
        rules = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        rules = rules.fetchall()
        for name, _ in rules:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in rules:
            connection.execute(sql)
        connection.commit()


def test_records_come_back_as_they_were_written(path):
    written = [record(1), record(2, prob_defect=0.1 + 0.2, decision="review", lot="Ä '\"\n")]
    failed = record(3, status="error", decision="", prob_defect=None, brightness=None, error="bad")
    with InspectionLog(path, "create") as log:
        assert log.append([*written, failed]) == [1, 2, 3]
        assert log.append([]) == []
        names = list(TABLES["inspections"])
        rows = log.query(f"SELECT {', '.join(names)} FROM inspections ORDER BY id")
        found = [Record(**dict(zip(names, row, strict=True))) for row in rows]
    assert found == [*written, failed]
    assert verification(path).problems == []


def test_the_database_is_durable_and_known_by_its_version(filled):
    with InspectionLog(filled, "append") as log:
        assert next(log.query("PRAGMA journal_mode")) == ("wal",)
        assert next(log.query("PRAGMA synchronous")) == (2,)  # FULL
        assert next(log.query("PRAGMA user_version")) == (SCHEMA_VERSION,)


def test_an_untouched_log_is_intact(filled):
    found = verification(filled)
    assert (found.records, found.verdicts, found.problems) == (6, 2, [])
    assert len(found.head) == 64
    assert verification(filled, found.head, found.verdicts_head, BEGINNING).problems == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE inspections SET decision = 'ok' WHERE id = 3",
        "DELETE FROM inspections WHERE id = 3",
        "DELETE FROM inspections",
        "INSERT OR REPLACE INTO inspections SELECT * FROM inspections WHERE id = 3",
        "INSERT INTO inspections SELECT 9, time, station, lot, file, sha256, status, model, "
        "threshold, prob_defect, decision, predicted_class, brightness, latency_ms, error, serial, "
        "previous_hash, hash FROM inspections WHERE id = 3",
        "UPDATE verdicts SET verdict = 'ok'",
        "DELETE FROM verdicts",
    ],
)
def test_the_database_itself_refuses_changes(filled, statement):
    with closing(sqlite3.connect(filled)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    assert verification(filled).problems == []


COLUMN_CHANGES = {
    "time": "'2026-11-24T10:00:01.000Z'", "station": "'line2'", "lot": "'A2'", "file": "'x.png'",
    "sha256": "'00'", "model": "'n'", "threshold": "0.4", "prob_defect": "0.2500000001",
    "decision": "'defect'", "predicted_class": "'def_front'", "brightness": "1",
    "latency_ms": "17", "error": "'x'", "serial": "'x'", "previous_hash": "'0'", "hash": "'0'",
}  # fmt: skip


@pytest.mark.parametrize("column", COLUMN_CHANGES)
def test_a_change_of_any_value_is_found(filled, column):
    tampered(filled, f"UPDATE inspections SET {column} = {COLUMN_CHANGES[column]} WHERE id = 3")
    (problem,) = verification(filled).problems
    assert problem.startswith("inspection 3 was altered")


@pytest.mark.parametrize("removed", [1, 3])
def test_a_removed_record_is_found(filled, removed):
    tampered(filled, f"DELETE FROM inspections WHERE id = {removed}")
    assert verification(filled).problems == [f"inspection {removed} is missing"]


@pytest.mark.parametrize("change", ["''", "'S2'"])
def test_a_serial_number_is_part_of_its_record(filled, change):
    with InspectionLog(filled, "append") as log:
        log.append([record(6, serial="S1"), record(7)])
    assert verification(filled).problems == []
    tampered(filled, f"UPDATE inspections SET serial = {change} WHERE id = 7")
    (problem,) = verification(filled).problems
    assert problem.startswith("inspection 7 was altered")


def test_the_records_of_one_part_are_exported(filled, tmp_path):
    with InspectionLog(filled, "append") as log:
        log.append([record(6, serial="S1"), record(7, serial="S1", lot="A2")])
    out = tmp_path / "part.csv"

    def files(*options: str) -> list[str]:
        assert records.main(["export", "--log", str(filled), "--csv", str(out), *options]) == 0
        with open(out, newline="") as file:
            return [line["file"] for line in csv.DictReader(file)]

    assert files("--serial", "S1") == ["parts/6.png", "parts/7.png"]
    assert files("--serial", "S1", "--lot", "A2") == ["parts/7.png"]
    assert files("--station", "nowhere") == []
    assert len(files()) == 8


def test_a_removed_record_is_found_when_the_numbers_were_closed_up(filled):
    tampered(
        filled,
        "DELETE FROM inspections WHERE id = 3",
        *(f"UPDATE inspections SET id = {n - 1} WHERE id = {n}" for n in (4, 5, 6)),
    )
    (problem,) = verification(filled).problems
    assert problem.startswith("inspection 3 was altered")


def test_a_cut_off_end_is_found_against_a_head_kept_elsewhere(filled):
    head = verification(filled).head
    tampered(filled, "DELETE FROM inspections WHERE id = 6")
    filled.with_name("inspections.db.last").unlink()
    assert verification(filled).problems == []  # from the log alone it cannot be seen
    (problem,) = verification(filled, head).problems
    assert head in problem


def test_a_head_stays_good_as_the_log_grows(filled):
    head = verification(filled).head
    with InspectionLog(filled, "append") as log:
        log.append([record(6)])
    assert verification(filled, head).problems == []


def test_decisions_are_chained_too(filled):
    tampered(filled, "UPDATE verdicts SET verdict = 'ok' WHERE id = 1")
    (problem,) = verification(filled).problems
    assert problem.startswith("disposition 1 was altered")


def test_missing_rules_are_found(filled):
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("DROP TRIGGER inspections_kept")
    assert any("inspections_kept" in problem for problem in verification(filled).problems)


def test_a_failed_batch_adds_nothing(filled):
    with InspectionLog(filled, "append") as log:
        with pytest.raises(UserError) as failure:
            log.append([record(6), record(7, decision="perhaps")])
        assert failure.value.exit_code == EXIT_FAILURE
        assert log.append([record(6)]) == [7]
    assert verification(filled).records == 7


@pytest.mark.parametrize("changes", [{"decision": ""}, {"status": "error", "decision": "ok"}])
def test_no_unreadable_part_is_ever_recorded_as_ok(path, changes):
    with InspectionLog(path, "create") as log:
        with pytest.raises(UserError, match="CHECK"):
            log.append([record(**changes)])


def test_a_decision_needs_its_inspection(filled):
    with InspectionLog(filled, "append") as log:
        with pytest.raises(UserError, match="no inspection 99"):
            log.add_disposition(99, "ok", "Huber")


def test_foreign_missing_and_newer_files_are_refused(tmp_path, filled):
    with pytest.raises(UserError, match="no inspection log"):
        InspectionLog(tmp_path / "gone.db")
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE parts (id)")
        connection.commit()
    with pytest.raises(UserError, match="is no inspection log"):
        InspectionLog(tmp_path / "other.db", "create")
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 99)
    with pytest.raises(UserError, match="not a database"):
        InspectionLog(tmp_path / "text.db", "create")
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="schema version 99"):
        InspectionLog(filled)


def test_what_a_station_has_recorded_under_a_name_is_known(path):
    odd = os.fsdecode(b"line \xff")
    with InspectionLog(path, "create") as log:
        log.append([record(1), record(2, file="copy.png", station=odd)])
        digests = [record(n).sha256 for n in (1, 2)]
        assert log.has_file("line1", "parts/1.png", digests[0])
        assert log.has_file(odd, "copy.png", digests[1])
        for other in (
            ("line2", "parts/1.png", digests[0]),
            ("line1", "parts/2.png", digests[0]),
            ("line1", "parts/1.png", digests[1]),
        ):
            assert not log.has_file(*other)
        assert log.number_of(record(1)) == 1
        assert log.number_of(record(1, time="2026-11-24T10:00:00.001Z")) is None


def test_reading_changes_nothing(filled, tmp_path):
    copy = tmp_path / "archive" / "log.db"
    copy.parent.mkdir()
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute(f"VACUUM INTO '{copy}'")
    before = copy.read_bytes()
    copy.chmod(0o400)
    assert verification(copy).problems == []
    assert copy.read_bytes() == before
    with InspectionLog(copy) as log:
        with pytest.raises(UserError, match="readonly"):
            log.append([record(7)])


def test_an_emptied_log_is_not_certified(path):
    path.touch()
    with pytest.raises(UserError, match="is no inspection log"):
        InspectionLog(path)


def test_a_foreign_database_stays_as_it_is(tmp_path):
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE parts (id)")
        connection.commit()
    before = other.read_bytes()
    for mode in ("read", "append", "create"):
        with pytest.raises(UserError, match="is no inspection log"):
            InspectionLog(other, mode)
    assert other.read_bytes() == before


@pytest.mark.parametrize("value", ["x'ff'", "9e999"])
def test_values_that_no_record_can_have_are_found(filled, value):
    tampered(filled, f"UPDATE inspections SET brightness = {value} WHERE id = 3")
    (problem,) = verification(filled, "f" * 64).problems  # a head behind it is no second problem
    assert problem.startswith("inspection 3 was altered")


def test_a_rule_that_swallows_records_is_found(filled):
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute(
            "CREATE TRIGGER quiet BEFORE INSERT ON inspections WHEN NEW.decision = 'defect' "
            "BEGIN SELECT RAISE(IGNORE); END"
        )
    assert verification(filled).problems == ["quiet is none of the log's rules"]


def test_texts_that_are_no_unicode_are_kept_readable(path):
    with InspectionLog(path, "create") as log:
        log.append([record(1, lot="A\udcff")])
        assert next(log.query("SELECT lot FROM inspections")) == ("A\\udcff",)
        assert log.verify().problems == []


WRITER = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from log_records import record
from traceability.log import InspectionLog
with InspectionLog(Path({path!r}), "create") as log:
    for number in range({count}):
        print(log.append([record(number, station={station!r})])[0], flush=True)
"""


def writer(path: Path, station: str, count: int) -> subprocess.Popen:
    code = WRITER.format(
        root=str(ROOT), tests=str(Path(__file__).parent), path=str(path), station=station,
        count=count,
    )  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_two_writers_lose_nothing_and_the_chain_does_not_fork(path):
    both = [writer(path, station, 60) for station in ("left", "right")]
    numbers = [int(line) for one in both for line in one.communicate(timeout=60)[0].split()]
    assert sorted(numbers) == list(range(1, 121))
    found = verification(path)
    assert (found.records, found.problems) == (120, [])


def test_after_kill_9_every_acknowledged_record_is_there(path):
    process = writer(path, "line1", 1_000_000)
    acknowledged = [int(process.stdout.readline()) for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.communicate()[0].split()]
    found = verification(path)
    assert found.problems == []
    assert found.records >= max(acknowledged)
    with InspectionLog(path, "append") as log:
        assert next(log.query("PRAGMA integrity_check")) == ("ok",)
        assert log.append([record()]) == [found.records + 1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs file size limits")
def test_a_full_disk_is_one_line_and_loses_nothing(filled):
    code = (
        f"import resource, sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pathlib import Path\nfrom common.errors import run_script\n"
        "from traceability.log import InspectionLog\nfrom log_records import record\n"
        "def main():\n"
        f"    with InspectionLog(Path({str(filled)!r}), 'append') as log:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))\n"
        "        log.append([record(n) for n in range(10, 2000)])\n"
        "run_script(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == EXIT_FAILURE
    assert done.stderr.startswith("error: inspection log")
    assert len(done.stderr.splitlines()) == 1
    assert verification(filled).records == 6


# --- the command line ----------------------------------------------------------------------------


def run(*arguments: str, log: Path) -> int:
    command, *rest = arguments
    return records.main([command, "--log", str(log), *rest])


def test_verify_prints_the_head_and_fails_after_tampering(filled, capsys):
    assert run("verify", log=filled) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["intact"]
    assert last["records"] == 6
    assert run("verify", "--head", last["head"], log=filled) == 0
    assert run("verify", "--head", "f" * 64, log=filled) == EXIT_FAILURE
    tampered(filled, "UPDATE inspections SET decision = 'defect' WHERE id = 1")
    capsys.readouterr()
    assert run("verify", log=filled) == EXIT_FAILURE
    output = capsys.readouterr()
    assert "inspection 1 was altered" in output.err
    assert not json.loads(output.out.splitlines()[-1])["intact"]


def test_export_shows_the_latest_decision_and_disarms_formulas(path, tmp_path, capsys):
    dangerous = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
    with InspectionLog(path, "create") as log:
        log.append([record(n, lot=text) for n, text in enumerate(dangerous)])
        log.append([record(9, prob_defect=0.0)])
    assert run("verdict", "2", "defect", "--by", "=Huber", log=path) == 0
    assert run("verdict", "2", "ok", "--by", "Meier", "--note", "seen twice", log=path) == 0
    out = tmp_path / "log.csv"
    out.symlink_to(path)
    with pytest.raises(UserError, match="it is to be read"):
        run("export", "--csv", str(out), log=path)
    out.unlink()
    assert run("export", "--csv", str(out), log=path) == 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["lot"] for row in rows[:6]] == [
        f"'{text}".replace("\r", "\\r") for text in dangerous
    ]
    assert (rows[1]["verdict"], rows[1]["person"], rows[1]["note"]) == ("ok", "Meier", "seen twice")
    assert rows[0]["verdict"] == ""
    assert [row["id"] for row in rows] == [str(n) for n in range(1, 8)]
    for row in rows:
        assert not any(value.startswith(FORMULA_STARTS) for value in row.values())
    assert rows[6]["sha256"] == record(9).sha256


@pytest.mark.parametrize("name", ["log.xlsx", "log"])
def test_only_a_csv_is_called_one_and_only_png_or_pdf_a_chart(filled, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"must end in \.csv"):
        run("export", "--csv", name, log=filled)
    with pytest.raises(UserError, match=r"must end in \.png or \.pdf"):
        run("spc", "--by", "lot", "--out", name.replace("xlsx", "svg"), log=filled)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_table_on_standard_output_is_the_table_alone(filled, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("export", "--csv", "log.csv", log=filled) == 0
    capsys.readouterr()
    assert run("export", "--csv", "-", log=filled) == 0
    captured = capsys.readouterr()
    assert captured.out == (tmp_path / "log.csv").read_text()
    assert captured.err == ""
    assert not (tmp_path / "-").exists()
    assert run("export", "--csv", "-", "--csv-dialect", "excel-de", log=filled) == 0
    header, first = capsys.readouterr().out.splitlines()[:2]
    assert header.startswith("\ufeffid;time (UTC);")
    assert ";0,25;" in first
    assert first.startswith("1;2026-11-24 10:00:00;")


def test_a_reader_of_the_table_may_leave_early(path):
    with InspectionLog(path, "create") as log:
        log.append([record(n, error="é" * 90) for n in range(2000)])
    command = [sys.executable, str(ROOT / "records.py"), "export", "--log", str(path), "--csv", "-"]
    own = os.environ | {"PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own
    ) as process:
        assert process.stdout.readline().startswith(b"id,time,")
        assert "é".encode() in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_export_into_an_unusable_place_is_one_error(filled, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot use"):
        run("export", "--csv", str(tmp_path / "file" / "log.csv"), log=filled)


@pytest.mark.slow
def test_a_thousand_records_a_second_in_batches(path):
    batches = [[record(n) for n in range(start, start + 100)] for start in range(0, 3000, 100)]
    with InspectionLog(path, "create") as log:
        started = time.perf_counter()
        for batch in batches:
            log.append(batch)
        assert time.perf_counter() - started < 3


def test_names_that_are_no_text_can_be_recorded(path):
    name = printable(Path(os.fsdecode(b"parts/\xff.png")))
    with InspectionLog(path, "create") as log:
        log.append([record(file=name)])
    assert name == "parts/\\xff.png"
