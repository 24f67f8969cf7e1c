"""The station predicts each part once, only when it is complete, and goes on where it stopped."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import promote
from PIL import Image

import watch
from common.errors import UserError
from common.files import ROOT
from imaging.overlays import png
from imaging.reading import UnreadableImageError
from inspection import station as stations
from inspection.name_pattern import name_pattern
from inspection.origin import Origins
from inspection.predictor import load_predictor
from inspection.recording import record_of
from inspection.station import QUIET_S, Station
from traceability.access import LogUnavailableError
from traceability.log import InspectionLog


@pytest.fixture(scope="module")
def predictor(trained):
    return load_predictor(trained / "best.pth", "cpu")


@pytest.fixture(scope="module")
def parts(castings) -> list[Path]:
    return sorted((castings / "test").rglob("*.jpeg"))


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture
def log(tmp_path):
    with InspectionLog(tmp_path / "inspections.db", "create") as log:
        yield log


@pytest.fixture
def station(predictor, folder, log):
    return Station(predictor, folder, log, "line 3", Origins("A17"))


def test_a_picture_of_nothing_is_recorded_without_a_decision(station, folder, log):
    Image.new("L", (64, 64), 128).save(folder / "lamp off.png")
    (one,) = until(station, 1)
    assert watch.line(one).startswith("not_judged")
    assert "     1  " in watch.line(one)  # its number in the log
    (row,) = log.query("SELECT status, decision, prob_defect, error FROM inspections")
    assert row[:3] == ("not_judged", "", None)
    assert row[3]


def until(station: Station, count: int) -> list:
    """What is inspected until there are `count`."""
    found, deadline = [], time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        found += station.tick()
        time.sleep(0.005)
    return found


def ticks(station: Station, seconds: float = 0.15) -> list[str]:
    """Names and decisions of what is predicted within a while."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        found += station.tick()
        time.sleep(0.005)
    return [f"{Path(one.file).name} {one.prediction.decision or 'error'}" for one in found]


def predicted(station: Station, count: int) -> list[str]:
    """What is predicted until there are `count`, however busy the machine, and just after."""
    found, deadline = [], time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        found += ticks(station, 0.01)
    return found + ticks(station, 0.05)


def names(found: list[str]) -> list[str]:
    return [text.split()[0] for text in found]


def recorded(log: InspectionLog) -> list[tuple]:
    return list(log.query("SELECT file, status, decision FROM inspections ORDER BY id"))


def test_parts_are_predicted_as_predict_does_and_recorded(station, predictor, folder, log, parts):
    for number, part in enumerate(parts[:3]):
        shutil.copy(part, folder / f"{number}.jpeg")
    found = ticks(station)
    expected = [one.decision for one in predictor.predict(parts[:3])]
    assert sorted(found) == [f"{n}.jpeg {decision}" for n, decision in enumerate(expected)]
    own = list(log.query("SELECT station, lot, model FROM inspections"))
    assert own == [("line 3", "A17", predictor.sha256)] * 3
    assert ticks(station) == []


def origins_in(log: InspectionLog) -> list[tuple]:
    return list(log.query("SELECT lot, serial FROM inspections ORDER BY id"))


def test_lot_and_serial_number_are_read_in_the_name(predictor, folder, log, parts, capsys):
    station = Station(
        predictor, folder, log, "line 3", Origins(pattern=name_pattern("{lot}_{serial}"))
    )
    shutil.copy(parts[0], folder / "A17_S1.jpeg")
    assert len(predicted(station, 1)) == 1
    assert capsys.readouterr().err == ""
    shutil.copy(parts[1], folder / "IMG0001.jpeg")
    assert len(predicted(station, 1)) == 1
    assert origins_in(log) == [("A17", "S1"), ("", "")]
    (note,) = capsys.readouterr().err.splitlines()
    assert "IMG0001.jpeg: its name does not match {lot}_{serial}" in note


def test_a_side_car_may_come_a_little_later(predictor, folder, log, parts, capsys):
    station = Station(predictor, folder, log, "line 3", Origins("A17", sidecars=True))
    shutil.copy(parts[0], folder / "part.jpeg")
    assert ticks(station) == []
    (folder / "part.json").write_text('{"serial"')  # half-written
    assert ticks(station) == []
    (folder / "part.json").write_text('{"serial": "S1"}')
    assert names(predicted(station, 1)) == ["part.jpeg"]
    assert origins_in(log) == [("A17", "S1")]
    assert capsys.readouterr().err == ""


def test_a_side_car_that_never_comes_costs_no_part(
    predictor, folder, log, parts, capsys, monkeypatch
):
    monkeypatch.setattr(stations, "SIDECAR_S", 0.1)
    station = Station(predictor, folder, log, "line 3", Origins("A17", sidecars=True))
    shutil.copy(parts[0], folder / "a.jpeg")
    (folder / "b.json").write_text("damaged")
    shutil.copy(parts[1], folder / "b.jpeg")
    assert sorted(names(predicted(station, 2))) == ["a.jpeg", "b.jpeg"]
    assert origins_in(log) == [("A17", ""), ("A17", "")]
    notes = capsys.readouterr().err
    assert "no side-car a.json; inspected all the same" in notes
    assert "no side-car b.json: it is damaged" in notes
    again = Station(predictor, folder, log, "line 3", Origins("A17", sidecars=True))
    assert ticks(again, 0.3) == []


def test_a_part_counts_only_when_it_is_complete(station, folder, parts):
    data = parts[0].read_bytes()
    with open(folder / "slow.jpeg", "wb", buffering=0) as file:
        for start in range(0, len(data), 200):
            assert ticks(station, 0.03) == []
            file.write(data[start : start + 200])
    assert names(predicted(station, 1)) == ["slow.jpeg"]


def test_a_renamed_file_is_predicted_at_once(station, folder, parts):
    shutil.copy(parts[0], folder / "camera.tmp")
    os.utime(folder / "camera.tmp", (time.time() - 5, time.time() - 5))
    assert ticks(station) == []
    (folder / "camera.tmp").rename(folder / "part.jpeg")
    station.tick()
    time.sleep(QUIET_S)
    (one,) = station.tick()
    assert Path(one.file).name == "part.jpeg"
    assert one.waited_ms < 5000  # counted from the renaming, not from the exposure


def test_a_name_that_a_terminal_would_obey_is_spelt_out(station, folder, log, parts):
    shutil.copy(parts[0], folder / "a\n\x1b[2J\u202e部品.jpeg")
    station.tick()
    time.sleep(QUIET_S)
    (one,) = station.tick()
    name = r"a\n\x1b[2J\u202e部品.jpeg"
    assert watch.line(one).endswith(f"/{name}")
    assert recorded(log)[0][0].endswith(f"/{name}")


def test_subfolders_are_watched_and_other_files_are_not(station, folder, parts):
    (folder / "late shift").mkdir()
    shutil.copy(parts[0], folder / "late shift" / "a.JPEG")
    (folder / "notes.txt").write_text("call the foundry")
    assert names(predicted(station, 1)) == ["a.JPEG"]


def test_what_never_becomes_an_image_is_an_error_once(station, folder, log, parts, monkeypatch):
    monkeypatch.setattr(stations, "GIVE_UP_S", 0.1)
    (folder / "cut.jpeg").write_bytes(parts[0].read_bytes()[:400])
    (folder / "empty.jpeg").write_bytes(b"")
    found = predicted(station, 2)
    assert sorted(found) == ["cut.jpeg error", "empty.jpeg error"]
    assert {row[1:] for row in recorded(log)} == {("error", "")}


def test_a_file_that_grows_complete_after_it_was_given_up_is_predicted(
    station, folder, parts, monkeypatch
):
    monkeypatch.setattr(stations, "GIVE_UP_S", 0.1)
    data = parts[0].read_bytes()
    (folder / "a.jpeg").write_bytes(data[:400])
    assert predicted(station, 1) == ["a.jpeg error"]
    (folder / "a.jpeg").write_bytes(data)
    assert names(predicted(station, 1)) == ["a.jpeg"]


def test_a_vanishing_file_is_survived(station, folder, log, parts, capsys):
    (folder / "a.jpeg").write_bytes(parts[0].read_bytes()[:400])
    ticks(station, 0.05)
    (folder / "a.jpeg").unlink()
    shutil.copy(parts[1], folder / "b.jpeg")
    assert names(predicted(station, 1)) == ["b.jpeg"]
    assert "not inspected" in capsys.readouterr().err
    assert len(recorded(log)) == 1


def test_a_file_that_vanishes_while_it_is_read_is_survived(station, folder, parts, monkeypatch):
    def vanish(path):
        path.unlink()
        raise UnreadableImageError("No such file or directory")

    monkeypatch.setattr(stations, "read_file", vanish)
    shutil.copy(parts[0], folder / "a.jpeg")
    assert ticks(station) == []
    monkeypatch.undo()
    shutil.copy(parts[0], folder / "a.jpeg")
    assert names(predicted(station, 1)) == ["a.jpeg"]


def test_a_vanishing_subfolder_is_survived(station, folder, parts):
    (folder / "shift").mkdir()
    shutil.copy(parts[0], folder / "shift" / "a.jpeg")
    assert names(predicted(station, 1)) == ["a.jpeg"]
    shutil.rmtree(folder / "shift")
    shutil.copy(parts[1], folder / "b.jpeg")
    assert names(predicted(station, 1)) == ["b.jpeg"]


def test_a_file_written_anew_is_a_new_part_and_a_touched_one_is_not(station, folder, log, parts):
    shutil.copyfile(parts[0], folder / "latest.jpeg")
    assert names(predicted(station, 1)) == ["latest.jpeg"]
    (folder / "latest.jpeg").touch()
    assert ticks(station) == []
    shutil.copyfile(parts[1], folder / "latest.jpeg")
    assert names(predicted(station, 1)) == ["latest.jpeg"]
    assert len(recorded(log)) == 2


def test_after_a_restart_only_what_is_new_is_predicted(predictor, station, folder, log, parts):
    shutil.copy(parts[0], folder / "a.jpeg")
    assert names(predicted(station, 1)) == ["a.jpeg"]
    shutil.copy(parts[1], folder / "b.jpeg")
    again = Station(predictor, folder, log, "line 3", Origins("A17"))
    assert names(predicted(again, 1)) == ["b.jpeg"]


def test_a_file_moved_while_no_station_ran_is_a_new_part(predictor, station, folder, log, parts):
    shutil.copy(parts[0], folder / "a.jpeg")
    until(station, 1)
    (folder / "a.jpeg").rename(folder / "b.jpeg")
    again = Station(predictor, folder, log, "line 3", Origins("A17"))
    (one,) = until(again, 1)
    assert (one.number, Path(one.file).name) == (2, "b.jpeg")


def test_a_file_moved_within_the_folder_is_not_predicted_again(station, folder, log, parts):
    shutil.copy(parts[0], folder / "a.jpeg")
    assert names(predicted(station, 1)) == ["a.jpeg"]
    (folder / "done").mkdir()
    for new in ("done/a.jpeg", "b.jpeg", "done/c.jpeg"):
        (old,) = folder.rglob("*.jpeg")
        old.rename(folder / new)
        assert ticks(station) == []
    (folder / "done").rename(folder / "archive")
    assert ticks(station) == []
    assert len(recorded(log)) == 1


def test_a_file_that_is_moved_as_soon_as_it_is_recorded_is_not_predicted_again(
    station, folder, log, parts, monkeypatch
):
    original = log.append

    def moving(records):
        numbers = original(records)
        if records:
            (folder / "a.jpeg").rename(folder / "done" / "a.jpeg")
        return numbers

    (folder / "done").mkdir()
    monkeypatch.setattr(log, "append", moving)
    shutil.copy(parts[0], folder / "a.jpeg")
    assert names(predicted(station, 1)) == ["a.jpeg"]
    assert len(recorded(log)) == 1


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2])
@pytest.mark.parametrize("name", ["{}.jpeg", "latest.jpeg"])
def test_equal_photographs_that_are_taken_away_are_parts_each(
    station, folder, log, parts, copy, name
):
    """Whether or not the copy has the old file's time, and its inode, as it often has."""
    for number in range(2):
        copy(parts[0], folder / name.format(number))
        assert len(predicted(station, 1)) == 1
        (folder / name.format(number)).unlink()
    for number in range(2, 4):  # before the station sees the other go
        copy(parts[1], folder / name.format(number))
        assert len(predicted(station, 1)) == 1
        (folder / name.format(number)).unlink()
    assert len(recorded(log)) == 4


def test_equal_photographs_side_by_side_are_parts_each(station, folder, log, parts):
    for number in range(2):
        shutil.copy2(parts[0], folder / f"{number}.jpeg")
    os.link(folder / "0.jpeg", folder / "2.jpeg")
    assert len(predicted(station, 3)) == 3
    assert len(recorded(log)) == 3


@pytest.mark.parametrize("elsewhere", ["page", "another station", "predict"])
def test_what_was_tried_elsewhere_is_predicted_here(
    predictor, folder, log, parts, elsewhere, monkeypatch
):
    own = {"page": ("part.jpeg", ""), "another station": (str(folder / "a.jpeg"), "line 4"),
           "predict": ("incoming/a.jpeg", "line 3")}[elsewhere]  # fmt: skip
    (prediction,) = predictor.predict([parts[0]])
    log.append([record_of(own[0], prediction, predictor.sha256, own[1], "A17")])
    shutil.copy(parts[0], folder / "a.jpeg")
    station = Station(predictor, folder, log, "line 3", Origins("A17"))
    assert names(predicted(station, 1)) == ["a.jpeg"]


def test_every_empty_file_is_an_error_of_its_own_also_after_a_restart(
    predictor, station, folder, log, monkeypatch
):
    monkeypatch.setattr(stations, "GIVE_UP_S", 0.05)
    for number in range(2):
        (folder / f"{number}.jpeg").write_bytes(b"")
        assert predicted(station, 1) == [f"{number}.jpeg error"]
        (folder / f"{number}.jpeg").unlink()
    (folder / "2.jpeg").write_bytes(b"")
    again = Station(predictor, folder, log, "line 3", Origins("A17"))
    assert predicted(again, 1) == ["2.jpeg error"]
    again = Station(predictor, folder, log, "line 3", Origins("A17"))
    assert ticks(again) == []


def test_a_frozen_camera_is_told_once_and_judged_no_more(
    predictor, station, folder, log, parts, capsys
):
    for number in range(4):
        shutil.copy2(parts[0], folder / f"{number}.jpeg")
        assert len(predicted(station, 1)) == 1
        (folder / f"{number}.jpeg").unlink()
    rows = list(log.query("SELECT status, decision, error FROM inspections"))
    assert [row[0] for row in rows] == ["ok", "ok", "not_judged", "not_judged"]
    assert rows[2][1:] == ("", "frozen camera? the same picture 3 times in a row")
    assert capsys.readouterr().err.count("alarm: ") == 1
    again = Station(predictor, folder, log, "line 3", Origins("A17"))
    shutil.copy2(parts[0], folder / "4.jpeg")
    assert predicted(again, 1) == ["4.jpeg error"]  # neither ok nor defect
    assert capsys.readouterr().err.count("alarm: ") == 1
    assert ticks(Station(predictor, folder, log, "line 3", Origins("A17"))) == []
    shutil.copy2(parts[1], folder / "5.jpeg")
    predicted(again, 1)
    assert recorded(log)[-1][1] == "ok"


# --- a log that takes nothing for a while --------------------------------------------------------


class Impatient:
    """Ends watch.run after so many looks; what happens before each is told it."""

    def __init__(self, station: Station, *happenings):
        self.station, self.happenings = station, list(happenings)

    @property
    def predictor(self):
        return self.station.predictor

    @predictor.setter
    def predictor(self, new):
        self.station.predictor = new

    def tick(self):
        if not self.happenings:
            raise KeyboardInterrupt
        self.happenings.pop(0)()
        return self.station.tick()


def nothing() -> None:
    time.sleep(QUIET_S)


@pytest.fixture
def troubled(predictor, folder, tmp_path, monkeypatch):
    """A function that runs a station through what happens; returns its records."""
    monkeypatch.setattr(watch, "RETRY_S", 0.01)

    def troubled(*happenings) -> list[tuple]:
        with InspectionLog(tmp_path / "line.db", "create", busy_s=0.02) as log:
            station = Station(predictor, folder, log, "line 3", Origins("A17"))
            with pytest.raises(KeyboardInterrupt):
                watch.run(Impatient(station, *happenings))
            assert log.verify().problems == []
            return recorded(log)

    return troubled


@pytest.mark.parametrize("how", ["renamed", "locked", "disk full"])
def test_while_the_log_takes_nothing_the_station_waits_and_loses_no_part(
    troubled, folder, parts, tmp_path, monkeypatch, capsys, how
):
    path = tmp_path / "line.db"
    other = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
    original = InspectionLog.append

    def arrive(start: int) -> None:
        for number in range(start, start + 20):
            shutil.copy(parts[number % len(parts)], folder / f"{number}.jpeg")

    def begin() -> None:
        arrive(0)
        if how == "renamed":
            path.rename(tmp_path / "elsewhere")
        elif how == "locked":
            other.execute(f"ATTACH '{path}' AS line")
            other.execute("BEGIN IMMEDIATE")
        else:
            monkeypatch.setattr(InspectionLog, "append", full)

    def full(self, records):
        raise LogUnavailableError("database or disk is full")

    def end() -> None:
        assert capsys.readouterr().out == ""  # nothing is told that is not recorded
        if how == "renamed":
            (tmp_path / "elsewhere").rename(path)
        elif how == "locked":
            other.execute("ROLLBACK")
        else:
            monkeypatch.setattr(InspectionLog, "append", original)

    waiting = [nothing] * 6
    found = troubled(begin, *waiting, lambda: arrive(20), *waiting, end, *[nothing] * 20)
    other.close()
    assert sorted(Path(row[0]).name for row in found) == sorted(f"{n}.jpeg" for n in range(40))
    output = capsys.readouterr()
    assert output.out.count(".jpeg") == 40


def test_a_log_in_trouble_is_told_once(troubled, folder, parts, tmp_path, capsys):
    path = tmp_path / "line.db"
    shutil.copy(parts[0], folder / "a.jpeg")
    troubled(
        lambda: path.rename(tmp_path / "elsewhere"), *[nothing] * 8,
        lambda: (tmp_path / "elsewhere").rename(path), *[nothing] * 3,
    )  # fmt: skip
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "put it back, or restart; waiting for the log" in said[0]
    assert said[1] == "the log is back"


def test_equal_size_and_time_do_not_hide_a_new_part(station, folder, log, parts, tmp_path):
    for name, part in (("first", parts[0]), ("second", parts[1])):
        (tmp_path / name).write_bytes(part.read_bytes() + bytes(20000 - part.stat().st_size))
        os.utime(tmp_path / name, (1e9, 1e9))
    shutil.copy2(tmp_path / "first", folder / "a.jpeg")
    assert names(predicted(station, 1)) == ["a.jpeg"]
    shutil.copy2(tmp_path / "second", folder / "a.jpeg")  # into the same inode
    assert names(predicted(station, 1)) == ["a.jpeg"]


def test_a_file_that_cannot_be_opened_is_an_error_once(
    station, folder, log, parts, monkeypatch, capsys
):
    monkeypatch.setattr(stations, "GIVE_UP_S", 0.1)

    def refuse(path):
        raise UnreadableImageError("Permission denied")

    monkeypatch.setattr(stations, "read_file", refuse)
    monkeypatch.setattr("inspection.predictor.read_file", refuse)
    shutil.copy(parts[0], folder / "a.jpeg")
    assert predicted(station, 1) == ["a.jpeg error"]
    assert recorded(log)[0][1:] == ("error", "")
    assert capsys.readouterr().err == ""


def test_a_subfolder_that_cannot_be_read_is_told_once(station, folder, parts, monkeypatch, capsys):
    (folder / "lost+found").mkdir()
    original = os.scandir

    def refuse(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", refuse)
    shutil.copy(parts[0], folder / "a.jpeg")
    assert names(predicted(station, 1)) == ["a.jpeg"]
    assert capsys.readouterr().err.count("not watched") == 1


def test_files_that_are_taken_away_are_forgotten(station, folder, parts, monkeypatch):
    monkeypatch.setattr(stations, "MOVING_S", 0.05)
    for number in range(3):
        shutil.copy(parts[number], folder / f"{number}.jpeg")
    predicted(station, 3)
    for number in range(2):
        (folder / f"{number}.jpeg").unlink()
    ticks(station, 0.3)
    assert list(map(os.path.basename, station._seen)) == ["2.jpeg"]
    assert station._departed == {}


def test_a_burst_is_predicted_completely(station, folder, log, parts):
    for number in range(70):
        shutil.copy(parts[number % len(parts)], folder / f"{number}.jpeg")
    assert len(predicted(station, 70)) == 70
    assert len(recorded(log)) == 70


def test_a_missing_folder_is_refused(tmp_path, trained):
    with pytest.raises(UserError, match="no such folder"):
        watch.main([str(tmp_path / "gone"), "--checkpoint", str(trained / "best.pth")])


def test_a_second_station_for_the_same_folder_is_refused(folder, tmp_path, trained):
    arguments = watch.build_parser().parse_args([str(folder), "--log", str(tmp_path / "a.db")])
    own = ["--log", str(tmp_path / "a.db"), "--checkpoint", str(trained / "best.pth")]
    with watch.only_one(arguments):
        with pytest.raises(UserError, match="another watch"):
            watch.main([str(folder), *own])


# --- a new model ---------------------------------------------------------------------------------


@pytest.fixture
def run_with(model_file, folder, log):
    """A function that runs a station through what happens; gives records and their models."""

    def run_with(*happenings) -> list[tuple[str, str]]:
        station = Station(model_file.load(), folder, log, "line 3", Origins("A17"))
        with pytest.raises(KeyboardInterrupt):
            watch.run(Impatient(station, *happenings), model_file)
        rows = log.query("SELECT file, model FROM inspections ORDER BY id")
        return [(Path(file).name, model) for file, model in rows]

    return run_with


def test_parts_that_come_while_a_model_is_taken_up_are_each_recorded_once(
    run_with, model_file, another, folder, parts, monkeypatch, capsys
):
    load = model_file._load

    def arrive(start: int) -> None:
        for number in range(start, start + 20):
            shutil.copy(parts[number % len(parts)], folder / f"{number}.jpeg")

    def slow():
        arrive(40)
        return load()

    def change() -> None:
        monkeypatch.setattr(model_file, "_load", slow)
        promote(another, model_file.path)
        arrive(20)

    old, new = model_file.load(), load_predictor(another, "cpu")
    found = run_with(lambda: arrive(0), nothing, nothing, nothing, change, *[nothing] * 12)
    assert sorted(name for name, _ in found) == sorted(f"{n}.jpeg" for n in range(60))
    models = [model for _, model in found]
    assert set(models) == {old.sha256, new.sha256}
    assert models == sorted(models, key=[old.sha256, new.sha256].index)  # first one, then the other
    assert {dict(found)[f"{n}.jpeg"] for n in range(40, 60)} == {new.sha256}
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"model {old.model_id} -> {new.model_id}, threshold 0.500 -> 0.900")


def test_a_model_that_cannot_be_used_is_told_once_and_the_station_goes_on(
    run_with, model_file, another, folder, parts, capsys
):
    old = model_file.load()

    def spoil() -> None:
        model_file.path.write_bytes(another.read_bytes()[:-1000])

    def arrive() -> None:
        shutil.copy(parts[0], folder / "a.jpeg")

    found = run_with(nothing, spoil, arrive, *[nothing] * 5, model_file.ask, *[nothing] * 3)
    assert found == [("a.jpeg", old.sha256)]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2  # once, and once more when it was asked for
    assert all(line.startswith(f"warning: model {old.model_id} goes on") for line in said)


def test_what_waits_for_the_log_keeps_the_model_that_judged_it(
    run_with, model_file, another, folder, parts, monkeypatch
):
    original, old = InspectionLog.append, model_file.load()

    def full(self, records):
        raise LogUnavailableError("database or disk is full")

    def begin() -> None:
        monkeypatch.setattr(watch, "RETRY_S", 0.01)
        monkeypatch.setattr(InspectionLog, "append", full)
        shutil.copy(parts[0], folder / "a.jpeg")

    found = run_with(
        begin, nothing, nothing, nothing, lambda: promote(another, model_file.path), nothing,
        lambda: monkeypatch.setattr(InspectionLog, "append", original), nothing, nothing,
    )  # fmt: skip
    assert found == [("a.jpeg", old.sha256)]


def test_a_frozen_camera_is_noticed_over_a_change_of_models(
    run_with, model_file, another, folder, log, parts
):
    def arrive(number: int):
        return lambda: shutil.copy(parts[0], folder / f"{number}.jpeg")

    run_with(
        arrive(0), *[nothing] * 3, arrive(1), *[nothing] * 3,
        lambda: promote(another, model_file.path), arrive(2), *[nothing] * 3,
    )  # fmt: skip
    assert [row[1] for row in recorded(log)] == ["ok", "ok", "not_judged"]


# --- processes -----------------------------------------------------------------------------------


def started(folder: Path, log: Path, model: Path, **more) -> subprocess.Popen:
    own = ["--log", str(log), "--checkpoint", str(model), "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "watch.py"), str(folder), *own],
        stdout=subprocess.PIPE, text=True, **more,
    )  # fmt: skip
    while "watching" not in process.stdout.readline():
        assert process.poll() is None
    return process


@pytest.mark.slow
def test_kill_9_and_sigterm_lose_nothing_and_predict_nothing_twice(
    folder, tmp_path, trained, parts
):
    path = tmp_path / "inspections.db"
    process = started(folder, path, trained / "best.pth")
    for number in range(12):
        shutil.copy(parts[number], folder / f"{number}.jpeg")
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for number in range(12, 16):
        shutil.copy(parts[number], folder / f"{number}.jpeg")
    process = started(folder, path, trained / "best.pth")
    deadline = time.monotonic() + 30
    with InspectionLog(path) as log:
        while len(recorded(log)) < 16 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 143
        assert any(line.startswith(("ok ", "defect ")) for line in output.splitlines())
        files = [row[0] for row in recorded(log)]
        assert len(files) == len(set(files)) == 16
        assert log.verify().problems == []


@pytest.mark.slow
def test_sighup_has_the_model_loaded_anew_and_no_part_is_lost(
    folder, tmp_path, model_file, another, parts
):
    path, new = tmp_path / "inspections.db", load_predictor(another, "cpu")
    process = started(folder, path, model_file.path, stderr=subprocess.PIPE)
    for number in range(30):
        shutil.copy(parts[number % len(parts)], folder / f"{number}.jpeg")
        if number == 10:
            promote(another, model_file.path)
            process.send_signal(signal.SIGHUP)
        time.sleep(0.03)
    said = process.stderr.readline()
    if said.startswith("loading PyTorch"):  # where that takes long, perhaps more than once
        said = next(line for line in process.stderr if not line.startswith("loading PyTorch"))
    assert f"-> {new.model_id}, threshold" in said
    shutil.copy(parts[0], folder / "30.jpeg")
    decided = [process.stdout.readline() for _ in range(31)]
    assert all(".jpeg" in line for line in decided)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143
    with InspectionLog(path) as log:
        rows = list(log.query("SELECT file, model FROM inspections ORDER BY id"))
    assert sorted(Path(file).name for file, _ in rows) == sorted(f"{n}.jpeg" for n in range(31))
    assert len({model for _, model in rows}) == 2
    assert rows[-1][1] == new.sha256


def test_only_photographs_are_watched_and_what_is_left_out_is_said_once(
    station, folder, parts, log, capsys
):
    os.mkfifo(folder / "pipe.jpeg")
    for name in ("._a.jpeg", ".b.jpeg", ".trash/c.jpeg", f"log_pictures/{'0f' * 32}.jpeg"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(parts[1], folder / name)
    (folder / "heatmap.png").write_bytes(png(Image.new("L", (9, 9))))
    shutil.copy(parts[0], folder / "a.jpeg")
    assert names(predicted(station, 1)) == ["a.jpeg"]
    ticks(station, 0.3)
    assert len(recorded(log)) == 1
    said = capsys.readouterr().err
    for reason in ("hidden", "no regular file", "kept by an earlier", "drawn by this program"):
        assert said.count(reason) == 1, reason
