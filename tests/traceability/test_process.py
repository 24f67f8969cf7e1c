"""Control charts agree with published worked examples, and count what they should."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_records import record

import records
from common.errors import UserError
from metrics.control_charts import p_chart, runs_on_one_side, trend_chart
from traceability.alarms import JUDGING, alarms_of, signals
from traceability.log import InspectionLog
from traceability.process import analyse_process
from traceability.process_tables import figures_of
from traceability.subgroups import Division, frozen_pictures, read_subgroups

# Montgomery, Introduction to Statistical Quality Control: orange juice cans, 30 samples of 50.
# Published: p 0.2313, limits 0.0524 and 0.4102, samples 15 and 23 out.
CANS = [
    12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12,
    7, 13, 9, 6,
]  # fmt: skip

# Anhøj and Mohammed, Mastering Statistical Process Control Charts in Healthcare, table 14.1 (after
# Mohammed, Panesar, Laney and Wilson, BMJ Quality and Safety 22, 2013): 20 weeks of attendances.
# Limits as the R package qicharts2 prints them (0.8.1, chart 'pp' and 'p').
SEEN_IN_TIME = [
    266501, 264225, 276532, 281461, 269071, 261215, 270409, 279778, 270483, 270320, 267923, 271478,
    255353, 256820, 261835, 259144, 255910, 260863, 264465, 260989,
]  # fmt: skip
ATTENDANCES = [
    280443, 276823, 291681, 296155, 282343, 275888, 283867, 295251, 284468, 282529, 279618, 283932,
    266629, 268091, 276803, 271578, 266005, 273520, 278574, 273772,
]  # fmt: skip
LANEY_LOWER = {0: 0.9401296441775141, 3: 0.94047300747792362, 16: 0.93978766173624928}
LANEY_UPPER = {0: 0.96566977851086822, 3: 0.9653264152104587, 16: 0.96601176095213304}
BINOMIAL = {
    0: (0.95169956464601502, 0.9540998580423673),
    16: (0.95166742471343968, 0.95413199797494264),
}
FROZEN_LOWER = {0: 0.93866469138900677, 9: 0.93871053406939875, 19: 0.93851458643658869}
FROZEN_UPPER = {0: 0.96345459627653407, 16: 0.96378653314426965, 19: 0.96360470122895214}


def chart(counts, sizes, baseline=None):
    baseline = np.ones(len(counts), bool) if baseline is None else baseline
    return p_chart(counts, sizes, baseline)


def test_montgomerys_cans():
    found = chart(CANS, [50] * 30)
    assert found.centre == pytest.approx(0.2313, abs=5e-5)
    assert found.lower[0] == pytest.approx(0.0524, abs=5e-5)
    assert found.upper[0] == pytest.approx(0.4102, abs=5e-5)
    assert (np.flatnonzero(found.beyond) + 1).tolist() == [15, 23]


def test_laneys_chart_of_emergency_attendances():
    found = chart(SEEN_IN_TIME, ATTENDANCES)
    assert found.centre == pytest.approx(0.95289971134419116, abs=1e-14)
    for week, limit in LANEY_LOWER.items():
        assert found.laney_lower[week] == pytest.approx(limit, abs=1e-12)
    for week, limit in LANEY_UPPER.items():
        assert found.laney_upper[week] == pytest.approx(limit, abs=1e-12)
    for week, (low, high) in BINOMIAL.items():
        assert found.lower[week] == pytest.approx(low, abs=1e-12)
        assert found.upper[week] == pytest.approx(high, abs=1e-12)
    assert not found.laney_beyond.any()
    assert found.beyond.sum() == 16  # the binomial limits call nearly every week an exception


def test_limits_of_a_frozen_baseline():
    found = chart(SEEN_IN_TIME, ATTENDANCES, np.arange(20) < 10)
    assert found.centre == pytest.approx(0.95105964383277042, abs=1e-14)
    for week, limit in FROZEN_LOWER.items():
        assert found.laney_lower[week] == pytest.approx(limit, abs=1e-12)
    for week, limit in FROZEN_UPPER.items():
        assert found.laney_upper[week] == pytest.approx(limit, abs=1e-12)


def test_limits_follow_the_size_of_the_subgroup_and_stay_shares():
    found = chart([1, 2, 0, 3], [20, 200, 50, 100])
    assert np.all(np.diff(found.upper[[0, 2, 3, 1]]) < 0)  # the larger, the narrower
    assert np.all(found.lower == 0)


def test_without_a_reject_in_the_baseline_limits_are_of_the_highest_rate_it_allows():
    found = chart([0, 0, 0, 1, 9], [50, 60, 50, 50, 50], np.array([True, True, True, False, False]))
    assert found.centre == 0
    assert found.reference == pytest.approx(1 - 0.05 ** (1 / 160))  # Clopper-Pearson, one-sided
    assert np.isfinite(found.z).all()
    assert found.spikes.tolist() == [False] * 4 + [True]  # one reject in 50 is no surprise then


def test_few_parts_are_no_spike_but_many_rejects_among_few_are():
    usual = [(3, 100)] * 20
    counts, sizes = zip(*usual, (1, 1), (2, 10), (6, 10), strict=True)
    found = chart(counts, sizes, np.arange(23) < 20)
    assert found.beyond[20:].all()  # normal limits call each an exception
    assert found.spikes[20:].tolist() == [False, False, True]


def test_one_reject_is_no_spike_however_rare_they_are():
    found = chart([1, 1, 1], [5000, 5000, 1], np.array([True, True, False]))
    assert not found.spikes.any()


def test_hours_with_one_part_make_no_run():
    found = chart([5] + [0] * 30, [100] + [1] * 30)  # none is the usual number of one
    assert not found.runs.any()
    assert chart([3] * 8 + [9] * 8, [100] * 16).runs.all()


def test_equal_shares_leave_the_binomial_limits():
    found = chart([2, 2, 2, 3], [50] * 4, np.array([True, True, True, False]))
    assert found.sigma_z == 1
    assert not found.laney_beyond.any()
    assert np.array_equal(found.laney_upper, found.upper)


def test_a_subgroup_without_parts_has_no_point_and_no_signal():
    found = chart([2, 0, 3, 2], [50, 0, 50, 50])
    assert np.isnan(found.rates[1])
    assert np.isnan(found.upper[1])
    assert not found.beyond[1]
    assert found.centre == pytest.approx(7 / 150)


def test_one_subgroup_gives_no_limits():
    with pytest.raises(UserError, match="at least 2 subgroups"):
        chart([1, 1], [10, 10], np.array([True, False]))


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(40, 400)), min_size=2, max_size=30
    )
)  # fmt: skip
def test_limits_are_shares_around_the_centre(groups):
    found = chart(*zip(*groups, strict=True))
    for low, high in ((found.lower, found.upper), (found.laney_lower, found.laney_upper)):
        assert np.all((low >= 0) & (low <= found.centre + 1e-12))
        assert np.all((high <= 1) & (high >= found.centre - 1e-12))
    assert np.all(found.beyond == (np.abs(found.z) > 3 + 1e-9)) or np.any(
        np.abs(np.abs(found.z) - 3) < 1e-6
    )


def test_runs_of_eight_on_one_side():
    values = np.array([1.0] * 7 + [-1] + [1] * 8 + [0] + [-1] * 9 + [np.nan] + [-1])
    found = runs_on_one_side(np.sign(values))
    expected = [False] * 8 + [True] * 8 + [False] + [True] * 9 + [False] + [True]
    assert found.tolist() == expected


def test_trend_limits_are_those_of_an_individuals_chart():
    # Montgomery's formula: mean +- 3 MR / 1.128
    found = trend_chart([10, 12, 11, 30], [1, 1, 1, 1], np.array([True, True, True, False]))
    assert found.centre == pytest.approx(11)
    assert found.upper == pytest.approx(11 + 3 * 1.5 / 1.128)
    assert found.beyond.tolist() == [False, False, False, True]


def test_the_mean_of_few_parts_is_not_held_against_the_limits_of_many():
    sums, counts = [400, 480, 440, 400, 30, 300], [40, 40, 40, 40, 1, 10]
    found = trend_chart(sums, counts, np.ones(6, bool))
    assert found.values[4] == 30
    assert found.centre == pytest.approx((10 + 12 + 11 + 10 + 30) / 5)  # a quarter is enough
    assert found.few.tolist() == [False] * 4 + [True, False]
    assert not found.beyond[4]


# --- from the log --------------------------------------------------------------------------------


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
        ("hour", ["2026-11-01T22", "2026-11-01T23", "2026-11-02T00"]),
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
    assert result["beyond_p"] == result["beyond_laney"] == ["L10"]
    assert [row["reject_rate_signals"] for row in rows if row["subgroup"] == "L10"] == [
        "above its limits"
    ]
    assert result["centre"] == pytest.approx(9 / 360)
    assert [row["baseline"] for row in rows] == ["1"] * 9 + ["0"] * 4
    assert "L11" in result["brightness_beyond"]
    assert "L10" in result["probability_beyond"]
    assert rows[11]["drift_signals"] == "of the brightness"
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
    _, rows = spc(production, *day, "--baseline", "2026-11-01T15", "2026-11-05", capsys=capsys)
    assert [row["baseline"] for row in rows] == ["1"] * 5 + ["0"] * 8
    bounds = ["--baseline", "2026-11-01T07Z", "2026-11-05"]
    _, rows = spc(production, *day, *bounds, capsys=capsys)
    assert [row["baseline"] for row in rows] == ["0"] + ["1"] * 4 + ["0"] * 8


def test_an_empty_log_has_no_chart(tmp_path):
    with InspectionLog(tmp_path / "a.db", "create"):
        pass
    with pytest.raises(UserError, match="holds no inspections"):
        records.main(["spc", "--log", str(tmp_path / "a.db"), "--by", "lot"])
