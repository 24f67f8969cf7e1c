"""Days, hours and shifts are those of a plant's clock."""

import argparse
from zoneinfo import ZoneInfo

import pytest
from log_records import record

from traceability.clock import Clock, clock_of, shift_start, time_zone
from traceability.log import InspectionLog
from traceability.subgroups import Division, Selection, read_subgroups

BERLIN = Clock(ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("time", "day", "hour", "shift"),
    [
        ("2026-11-01T22:59:59.999Z", "2026-11-01", "2026-11-01 23 h", "2026-11-01 22:00"),
        ("2026-11-01T23:00:00.000Z", "2026-11-02", "2026-11-02 00 h", "2026-11-01 22:00"),
        ("2026-11-02T04:59:00.000Z", "2026-11-02", "2026-11-02 05 h", "2026-11-01 22:00"),
        ("2026-07-02T04:00:00.000Z", "2026-07-02", "2026-07-02 06 h", "2026-07-02 06:00"),
        ("2026-10-25T00:30:00.000Z", "2026-10-25", "2026-10-25 02 h", "2026-10-24 22:00"),
        ("2026-10-25T01:30:00.000Z", "2026-10-25", "2026-10-25 02 h B", "2026-10-24 22:00"),
        ("no time", "no time", "no time", "no time"),
    ],
)
def test_the_night_shift_belongs_to_the_day_it_began(time, day, hour, shift):
    assert (BERLIN.day(time), BERLIN.hour(time), BERLIN.shift(time)) == (day, hour, shift)


def test_the_log_is_divided_by_the_clock(tmp_path):
    times = ["2026-11-01T12:59", "2026-11-01T13:00", "2026-11-01T22:30", "2026-11-02T04:59"]
    with InspectionLog(tmp_path / "a.db", "create") as log:
        log.append([record(n, time=f"{time}:00.000Z") for n, time in enumerate(times)])

        def counts(by: str, **wanted) -> dict[str, int]:
            groups = read_subgroups(log.query, Division(by, BERLIN, Selection(**wanted)))
            return {group.name: group.inspected for group in groups}

        shifts = {"2026-11-01 06:00": 1, "2026-11-01 14:00": 1, "2026-11-01 22:00": 2}
        assert counts("shift") == shifts
        assert counts("day") == {"2026-11-01": 3, "2026-11-02": 1}
        assert counts("lot", shift="22:00") == {"A1": 2}
        assert counts("day", first_day="2026-11-02") == {"2026-11-02": 1}
        assert counts("lot", last_day="2026-11-01", lot="a") == {"A1": 3}
        assert counts("lot", station="line2") == {}


def test_options_make_a_clock():
    assert clock_of(None, ["14:00", "06:00", "14:00"]) == Clock(shifts=("06:00", "14:00"))
    assert clock_of(time_zone("Europe/Berlin"), ["22:00"]).zone_name == "Europe/Berlin"
    assert shift_start("6:15") == "06:15"


@pytest.mark.parametrize("wrong", ["Europe/Atlantis", "", "../etc/passwd", "/etc/passwd", "Europe"])
def test_what_is_no_time_zone_is_refused(wrong):
    with pytest.raises(argparse.ArgumentTypeError, match="no time zone"):
        time_zone(wrong)


@pytest.mark.parametrize("wrong", ["24:00", "6", "06:07", "06:60", ""])
def test_what_is_no_beginning_of_a_shift_is_refused(wrong):
    with pytest.raises(argparse.ArgumentTypeError, match="no time of day"):
        shift_start(wrong)
