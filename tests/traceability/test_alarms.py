"""One alarm an episode, the worst first; persons' verdicts count; parts without a lot do not."""

import json
import time

import numpy as np
import pytest
from log_records import record

import records
from common.errors import UserError
from traceability.alarms import DRIFT, REJECT_RATE, alarms_of, episodes
from traceability.log import InspectionLog
from traceability.process import analyse_process
from traceability.process_tables import figures_of
from traceability.subgroups import BY_PERSON, NO_LOT, Division, read_subgroups


def parts(lot: int, rejected: int, count: int = 40, light: float = 150.0) -> list:
    bad = {"decision": "defect", "predicted_class": "def_front"}
    return [
        record(
            1000 * lot + part, lot=f"L{lot:02d}", brightness=light,
            time=f"2026-11-{lot + 1:02d}T06:00:00.000Z", **(bad if part < rejected else {}),
        )
        for part in range(count)
    ]  # fmt: skip


@pytest.fixture
def log(tmp_path):
    with InspectionLog(tmp_path / "line.db", "create") as log:
        yield log


def analysed(log, by: str = "lot", bounds=None):
    return analyse_process(log.query, Division(by), bounds, "line.db")


def test_marks_with_up_to_two_quiet_subgroups_between_are_one_episode():
    marked = np.zeros(20, bool)
    marked[[0, 3, 7, 8, 19]] = True
    assert [list(places) for places in episodes(marked)] == [[0, 3], [7, 8], [19]]
    assert episodes(np.zeros(3, bool)) == []


def test_a_scrap_event_of_two_lots_is_the_first_alarm_however_long_the_light_drifts(log):
    for lot in range(28):
        log.append(parts(lot, 12 if lot in (20, 21) else 1 + lot % 2, light=150.0 - lot / 4))
    first, *others = alarms_of(analysed(log))
    assert (first.kind, first.begin, first.end) == (REJECT_RATE, "L20", "L21")
    assert first.effect.startswith("24 of 80 rejected, 30.0 % against")
    assert first.begin_time == "2026-11-21T06:00:00.000Z"
    drifts = [one for one in others if one.kind == DRIFT]
    assert {one.reason for one in drifts} == {"brightness above its limits",
                                              "brightness below its limits"}  # fmt: skip
    assert len(drifts) == 2
    assert drifts[0].effect == "as far as 150.0 against 146.6"


def test_alarms_are_printed_and_told_to_programs(log, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("traceability.process_figures.draw_process", lambda *given: None)
    for lot in range(12):
        log.append(parts(lot, 20 if lot == 7 else 1, light=100.0 if lot == 3 else 150.0 + lot % 2))
    own = ["spc", "--log", str(log.path), "--out", str(tmp_path / "spc.png")]
    assert records.main([*own, "--by", "lot"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("reject rate  L07: above its limits, 20 of 40 rejected, 50.0 %")
    drift = "drift        L03: brightness below its limits, as far as 100.0"
    assert any(line.startswith(drift) for line in lines)
    alarm = json.loads(lines[-1])["alarms"][0]
    assert (alarm["kind"], alarm["begin"], alarm["end"]) == (REJECT_RATE, "L07", "L07")


def test_a_persons_last_word_decides_whether_a_part_is_a_reject_and_whether_it_waits(log):
    blank = {"status": "not_judged", "decision": "", "predicted_class": "", "prob_defect": None}
    waiting = {"decision": "review", "lot": "L00"}
    log.append([*parts(0, 3, 10), *(record(n, **waiting) for n in (50, 51, 52))])
    log.append([record(60, **blank, lot="L00"), record(61, **blank, lot="L00")])
    log.append([record(9, lot="elsewhere")])  # the last part of the ten, again
    said = [(1, "ok"), (2, "ok"), (2, "defect"), (11, "defect"), (12, "ok"), (14, "defect")]
    for number, verdict in [*said, (16, "defect")]:
        log.add_disposition(number, verdict, "Huber")
    group, again = read_subgroups(log.query, Division("lot"))
    assert (group.inspected, group.judged, group.not_judged) == (14, 13, 2)
    assert (group.review, group.waiting) == (3, 1)
    # Two of the three, the part for review, the one not judged, and the one spoken on elsewhere
    assert group.classes == {"def_front": 2, BY_PERSON: 3}
    assert group.rejected == 5
    assert (again.inspected, again.repeats) == (0, 1)


def test_parts_without_a_lot_are_no_lot_and_told(log):
    for lot in range(3):
        log.append(parts(lot, 1))
    log.append([record(90_000, lot=""), record(90_001, lot=" ")])
    assert NO_LOT in [group.name for group in read_subgroups(log.query, Division("lot"))]
    process = analysed(log)
    assert process.names == ["L00", "L01", "L02"]
    assert process.notes() == ["2 parts without a lot are in no point."]
    assert figures_of(process, [])["without_lot"] == 2
    assert analysed(log, "day").parts == 122


def test_a_log_without_lots_says_what_to_do(log):
    log.append([record(1, lot=""), record(2, lot="")])
    with pytest.raises(UserError, match=r"no part in line\.db has a lot; look at it by hour"):
        analysed(log)


def test_a_baseline_without_rejects_is_explained(log):
    for lot in range(6):
        log.append(parts(lot, 0 if lot < 5 else 10))
    process = analysed(log, bounds=("L00", "L04"))
    (note,) = process.notes()
    assert note.startswith("None of the 200 parts behind the limits was rejected: so the rate is")
    assert "at most 1.5 % with 95 % confidence" in note
    assert np.isfinite(process.rejects.z).all()
    (alarm,) = [one for one in alarms_of(process) if one.kind == REJECT_RATE]
    assert alarm.describe() == (
        "L05, reject rate above its limits: 10 of 40 rejected, 25.0 % against at most 1.5 %"
    )


def test_hours_with_one_part_are_no_alarm_of_the_reject_rate(log):
    rows = [record(n, time="2026-11-01T05:00:00.000Z", lot="") for n in range(100)]
    bad = {"decision": "defect", "predicted_class": "def_front"}
    rows += [record(100 + n, time="2026-11-01T06:00:00.000Z", **bad) for n in range(3)]
    rows += [record(200 + n, time="2026-11-01T06:30:00.000Z") for n in range(97)]
    rows.append(record(999, time="2026-11-01T07:00:00.000Z", **bad))
    log.append(rows)
    process = analysed(log, "hour")
    assert process.rejects.rates[2] == 1
    assert not [one for one in alarms_of(process) if one.kind == REJECT_RATE]


def test_light_that_is_first_too_bright_and_then_too_dark_is_two_alarms(log):
    light = {8: 158.0, 9: 157.0, 10: 139.0, 11: 137.0, 12: 138.0}
    for lot in range(14):
        log.append(parts(lot, 1, light=light.get(lot, 150.0 + lot % 2)))
    found = [
        (one.span, one.reason, one.effect.split(" against")[0])
        for one in alarms_of(analysed(log, bounds=("L00", "L07")))
    ]
    assert found == [  # the larger effect first
        ("L10 to L12", "brightness below its limits", "as far as 137.0"),
        ("L08 to L09", "brightness above its limits", "as far as 158.0"),
    ]


def test_the_numbers_of_an_episode_say_that_they_are_of_some_of_its_subgroups(log):
    for lot in range(20):
        log.append(parts(lot, {10: 20, 13: 16}.get(lot, 1 + lot % 2)))
    first, *_ = alarms_of(analysed(log))
    assert first.span == "L10 to L13"
    assert first.effect.startswith("36 of 80 rejected, 45.0 % against")
    assert first.effect.endswith(", in 2 of 4 lots")


@pytest.mark.slow
def test_a_hundred_thousand_records_are_charted_within_seconds(log):
    def row(n: int):
        day = f"2026-{1 + n // 10000:02d}-{1 + n // 500 % 20:02d}"
        return record(n, lot=f"L{n // 400}", time=f"{day}T{n // 20 % 24:02d}:{n % 60:02d}:00.000Z")

    log.append([row(n) for n in range(100_000)])
    begun = time.process_time()
    assert analysed(log, "shift").parts == 100_000
    assert time.process_time() - begun < 10  # 1 to 3 measured
