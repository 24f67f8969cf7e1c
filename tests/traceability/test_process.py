"""Subgroups of the log, and what records.py spc makes of them, count what they should."""

import csv
import json
from dataclasses import replace

import pytest
from log_records import record

import records
from common.errors import UserError
from traceability.alarms import JUDGING, alarms_of, signals
from traceability.log import InspectionLog
from traceability.process import analyse_process
from traceability.process_tables import figures_of
from traceability.subgroups import Division, frozen_pictures, read_subgroups


@pytest.fixture
def log(tmp_path):
    with InspectionLog(tmp_path / "inspections.db", "create") as log:
        yield log


def defect(number, **changes):
    own = {"decision": "defect", "predicted_class": "def_front", "prob_defect": 0.9}
    return record(number, **(own | changes))


def test_subgroups_are_in_time_order_whatever_their_names(log):
    log.append([record(1, lot="B", time="2026-11-02T00:00:00.000Z")])
    log.append([record(2, lot="C", time="2026-11-01T00:00:00.000Z")])
    log.append([record(3, lot="A", time="2026-11-03T00:00:00.000Z")])
    assert [group.name for group in read_subgroups(log.query, Division("lot"))] == ["C", "B", "A"]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("day", ["2026-11-01", "2026-11-02"]),
        ("hour", ["2026-11-01 22 h", "2026-11-01 23 h", "2026-11-02 00 h"]),
    ],
)  # fmt: skip
def test_days_and_hours_are_those_of_utc(log, by, names):
    hours = ["2026-11-01T22:59:59.999Z", "2026-11-01T23:00:00.000Z", "2026-11-02T00:00:00.000Z"]
    log.append([record(n, time=time) for n, time in enumerate(hours)])
    assert [group.name for group in read_subgroups(log.query, Division(by))] == names


def test_a_part_inspected_again_counts_once_and_errors_do_not_count(log):
    unreadable = {"status": "error", "decision": "", "prob_defect": None, "brightness": None}
    log.append([record(1), defect(2), record(3, decision="review"), record(4, **unreadable)])
    log.append([record(1), replace(defect(1), lot="A2"), record(4, **unreadable, sha256="")])
    group, again = read_subgroups(log.query, Division("lot"))
    counts = (group.inspected, group.rejected, group.review, group.errors, group.repeats)
    assert counts == (3, 1, 1, 2, 1)
    assert (again.inspected, again.rejected, again.repeats) == (0, 0, 1)


def test_a_part_that_could_be_read_the_second_time_counts(log):
    unreadable = {"status": "error", "decision": "", "prob_defect": None, "brightness": None}
    log.append([record(1, **unreadable), defect(1)])
    (group,) = read_subgroups(log.query, Division("lot"))
    assert (group.inspected, group.rejected, group.errors) == (1, 1, 1)


def test_parts_that_were_not_judged_are_in_no_rate_and_have_a_chart(production, capsys):
    blank = {"status": "not_judged", "decision": "", "predicted_class": "", "error": "no casting"}
    with InspectionLog(production, "append") as log:
        times = {"lot": "L11", "time": "2026-11-12T07:00:00.000Z"}
        log.append([record(1000 + n, **blank, **times) for n in range(15)])
        log.append([record(2000, **blank, prob_defect=None, lot="L13")])
    result, rows = spc(production, "--by", "lot", capsys=capsys)
    assert (result["parts"], result["rejected"], result["not_judged"]) == (481, 31, 16)
    assert "L11" in result["not_judged_beyond"]
    by_lot = {row["subgroup"]: row for row in rows}
    assert (by_lot["L11"]["inspected"], by_lot["L11"]["not_judged"]) == ("40", "15")
    assert "parts not judged" in by_lot["L11"]["judging_signals"]
    assert (by_lot["L13"]["inspected"], by_lot["L13"]["rate"]) == ("0", "")


def test_images_without_a_file_are_all_different(log):
    log.append([record(n, sha256="") for n in range(3)])
    (group,) = read_subgroups(log.query, Division("lot"))
    assert group.inspected == 3


@pytest.fixture
def production(tmp_path):
    """A log of twelve lots of 40 parts; the last but one is bad, light falls from lot to lot."""
    path = tmp_path / "inspections.db"
    rows = []
    for lot in range(12):
        for part in range(40):
            bad = part < (20 if lot == 10 else lot % 3)
            make = defect if bad else record
            kind = {"predicted_class": ["burr", "scratch"][part % 2]} if bad else {}
            rows.append(
                make(
                    len(rows), lot=f"L{lot:02d}", time=f"2026-11-{lot + 1:02d}T06:00:00.000Z",
                    brightness=150.0 - lot * (lot > 5), **kind,
                )
            )  # fmt: skip
    rows.append(record(-1, lot="L12", decision="review", time="2026-11-13T06:00:00.000Z"))
    with InspectionLog(path, "create") as log:
        log.append(rows)
    return path


def spc(path, *arguments, capsys):
    out = path.with_name("charts.png")
    assert records.main(["spc", "--log", str(path), "--out", str(out), *arguments]) == 0
    with open(out.with_name("charts_numbers.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert out.read_bytes()[:4] == b"\x89PNG"
    return json.loads(capsys.readouterr().out.splitlines()[-1]), rows


def test_the_numbers_are_for_a_german_excel_when_asked(production, capsys):
    out = production.with_name("charts.png")
    own = ["--by", "lot", "--out", str(out), "--csv-dialect", "excel-de"]
    assert records.main(["spc", "--log", str(production), *own]) == 0
    with open(out.with_name("charts_numbers.csv"), newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert (rows[10]["subgroup"], rows[10]["rate"]) == ("L10", "0,5")


@pytest.mark.parametrize("bounds", [("L00", "L08"), ("2026-11-01", "2026-11-09")])
def test_the_bad_lot_stands_out_against_a_frozen_baseline(production, bounds, capsys):
    result, rows = spc(production, "--by", "lot", "--baseline", *bounds, capsys=capsys)
    assert result["beyond_p"] == result["beyond_limits"] == ["L10"]
    assert [row["reject_rate_signals"] for row in rows if row["subgroup"] == "L10"] == [
        "above its limits"
    ]
    assert result["centre"] == pytest.approx(9 / 360)
    assert [row["baseline"] for row in rows] == ["1"] * 9 + ["0"] * 4
    assert "L11" in result["brightness_beyond"]
    assert "L10" in result["probability_beyond"]
    assert rows[11]["drift_signals"] == "brightness below its limits"
    assert (rows[12]["review"], rows[12]["judging_signals"]) == ("1", "")  # of one part
    assert float(rows[10]["z"]) > 3
    assert (result["parts"], result["rejected"], result["review"]) == (481, 31, 1)


def test_without_a_baseline_all_subgroups_make_the_limits(production, capsys):
    result, _ = spc(production, "--by", "day", capsys=capsys)
    assert result["centre"] == pytest.approx(31 / 481)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (("L00", "nonsense"), "no lot of this log, and no time"),
        (("2026-11-01T00:00+02:00", "L05"), "no lot of this log, and no time"),
        (("20261101", "L05"), "no lot of this log, and no time"),
        (("2026-11-40", "L05"), "no lot of this log, and no time"),
        (("L08", "L02"), "no lot lies"),
    ],
)
def test_wrong_baselines_are_refused(production, bounds, message):
    with pytest.raises(UserError, match=message):
        records.main(["spc", "--log", str(production), "--by", "lot", "--baseline", *bounds])


@pytest.mark.parametrize("by", ["lot", "day", "hour"])
def test_one_subgroup_is_too_few_and_no_baseline_is_blamed_that_nobody_named(tmp_path, by):
    with InspectionLog(tmp_path / "a.db", "create") as log:
        log.append([record(1), record(2)])
    with pytest.raises(UserError) as failure:
        records.main(["spc", "--log", str(tmp_path / "a.db"), "--by", by])
    assert str(failure.value) == f"limits need at least 2 {by}s with inspected parts, not 1"


def test_where_photographs_were_inspected_before_too_few_lots_are_explained(tmp_path):
    with InspectionLog(tmp_path / "a.db", "create") as log:
        log.append([record(1, lot="A17", sha256="ab"), record(2, lot="A18", sha256="ab")])
    with pytest.raises(UserError, match="not 1; 1 repeated photograph left out"):
        records.main(["spc", "--log", str(tmp_path / "a.db"), "--by", "lot"])


def test_a_baseline_of_one_lot_is_blamed(production):
    with pytest.raises(UserError, match="2 lots with inspected parts in the baseline, not 1"):
        records.main(["spc", "--log", str(production), "--by", "lot", "--baseline", "L00", "L00"])


def test_lots_of_repeated_photographs_stand_out(tmp_path):
    rows = []
    for lot in range(14):
        for part in range(4):
            number = part if lot % 2 else 100 * lot + part  # every second lot as the one before
            time = f"2026-11-{lot + 1:02d}T06:00:00.000Z"
            rows.append(record(number, lot=f"L{lot:02d}", station="", time=time))
    with InspectionLog(tmp_path / "log.db", "create") as log:
        log.append(rows)
        process = analyse_process(log.query, Division("lot"), None, "log.db")
    repeated = [f"L{lot:02d}" for lot in range(1, 14, 2)]
    found = figures_of(process, alarms_of(process))
    assert (found["parts"], found["repeats"], found["only_repeats"]) == (28, 28, repeated)
    assert found["frozen"] == []  # without a station there is no camera
    for group, reasons in zip(process.groups, signals(process, JUDGING), strict=True):
        assert ("only repeated photographs" in reasons) == (group.name in repeated)


def test_repeats_are_told_in_words_and_numbers(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("traceability.process_figures.draw_process", lambda *given: None)
    with InspectionLog(tmp_path / "log.db", "create") as log:
        log.append([record(1, lot="A"), record(2, lot="B"), record(1, lot="C"), record(2, lot="B")])
    out = str(tmp_path / "spc.png")
    records.main(["spc", "--log", str(tmp_path / "log.db"), "--by", "lot", "--out", out])
    text = capsys.readouterr().out
    assert "log.db: 2 parts by lot, 2 repeated photographs left out, times in UTC" in text
    assert "judging      C: only repeated photographs, 1 repeated photograph" in text
    with open(tmp_path / "spc_numbers.csv", newline="") as file:
        found = [
            (row["subgroup"], row["inspected"], row["repeats"]) for row in csv.DictReader(file)
        ]
    assert found == [("A", "1", "0"), ("B", "1", "1"), ("C", "0", "1")]


def test_equal_pictures_in_a_row_at_a_station_are_a_frozen_camera(log):
    frozen = {"status": "not_judged", "decision": "", "error": "frozen camera? the same picture"}
    log.append([record(n % 2, lot="to and fro") for n in range(6)])
    log.append([record(7, lot="twice"), record(7, lot="twice"), record(8, lot="twice")])
    for _ in range(3):  # two stations, each in its own row
        log.append([record(20, lot="frozen", station=f"line {n}") for n in range(2, 4)])
    log.append([record(30 + n, lot="pixels", station="line 5", **frozen) for n in range(2)])
    log.append([record(40, lot="a person", station="") for _ in range(5)])
    log.append([record(50, lot="no file", sha256="") for _ in range(3)])
    assert frozen_pictures(log.query, Division("lot")) == {"frozen": 2, "pixels": 2}


def test_a_pdf_by_shift_has_both_limits_when_asked(production, capsys):
    out = production.with_name("charts.pdf")
    own = ["--by", "shift", "--time-zone", "Europe/Berlin", "--both-limits", "--out", str(out)]
    assert records.main(["spc", "--log", str(production), *own]) == 0
    assert out.read_bytes()[:5] == b"%PDF-"
    text = capsys.readouterr().out
    assert "reject rate  2026-11-11 06:00: above its limits, 20 of 40 rejected" in text
    assert "481 parts by shift, times in Europe/Berlin" in text


def test_a_baseline_is_read_on_the_clock_that_is_named(production, capsys):
    day = ["--by", "hour", "--time-zone", "Asia/Tokyo"]  # 06:00 UTC is 15:00 there
    for first in ("2026-11-01T15", "2026-11-01 15 h"):
        _, rows = spc(production, *day, "--baseline", first, "2026-11-05", capsys=capsys)
        assert [row["baseline"] for row in rows] == ["1"] * 5 + ["0"] * 8
    bounds = ["--baseline", "2026-11-01T07Z", "2026-11-05"]
    _, rows = spc(production, *day, *bounds, capsys=capsys)
    assert [row["baseline"] for row in rows] == ["0"] + ["1"] * 4 + ["0"] * 8


def test_an_empty_log_has_no_chart(tmp_path):
    with InspectionLog(tmp_path / "a.db", "create"):
        pass
    with pytest.raises(UserError, match="there are no inspections in"):
        records.main(["spc", "--log", str(tmp_path / "a.db"), "--by", "lot"])
