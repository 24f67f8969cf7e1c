"""Process tells the state, charts the log with the way down to the parts, and shows rejects."""

import pytest
from log_records import record
from page_runs import metrics, page, text_of, upload

from page.log import PageLog
from page.process_chart import BEYOND, BRIGHTNESS, CHOSEN, FEW_PARTS, RATE, chart, chart_table
from page.process_state import ALARM, STEADY, WATCH, alarm_lines, going_on, state_of, word_of
from page.review import waiting_parts
from traceability.alarms import alarms_of
from traceability.log import InspectionLog, now
from traceability.process import analyse_process
from traceability.subgroups import Division


def lot_of(number: int, rejected: int, light: float = 150.0) -> list:
    bad = {"decision": "defect", "predicted_class": "def_front", "prob_defect": 0.9}
    return [
        record(
            1000 * number + part, lot=f"L{number:02d}", brightness=light,
            station=f"line{1 + part % 2}", time=f"2026-11-{number + 1:02d}T23:00:00.000Z",
            **(bad if part < rejected else {}),
        )
        for part in range(20)
    ]  # fmt: skip


@pytest.fixture
def scrap(log_path):
    """A log of twelve lots, the scrap event of one, and two parts without a lot."""
    with InspectionLog(log_path, "create") as log:
        for number in range(12):
            log.append(lot_of(number, 12 if number == 8 else number % 2, 100 + number % 3))
        log.append([record(90_000 + n, lot="") for n in range(2)])
    return log_path


def test_an_empty_log_is_explained(options, paths, log_path):
    assert "nothing to show yet" in text_of(page("process"))
    with InspectionLog(log_path, "create"):
        pass
    for _ in range(2):
        assert "There are no inspections in line.db" in text_of(page("process"))
    at = upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at = page("process")
    assert "No part in line.db has a lot" in text_of(at)
    at.segmented_control(key="by").set_value("day").run()
    assert "No chart by day" in text_of(at)
    assert "Limits need at least 2" in text_of(at)
    assert "Today: 1 part, " in text_of(at)
    assert metrics(at)["Parts"] == "1"


def test_the_process_is_charted_with_its_last_rejects(options, predictor, paths, log_path):
    for lot in ("A1", "A2", "A3"):
        at = page("inspect")
        at.text_input(key="lot").set_value(lot).run()
        part = paths[["A1", "A2", "A3"].index(lot) * 4 :][:4]
        upload(at, "photographs", [(path.name, path.read_bytes()) for path in part])
    at = page("process")
    rejected = sum(p.decision == "defect" for p in predictor.predict(paths[:12]))
    assert metrics(at)["Parts"] == "12"
    assert metrics(at)["Rejected"] == f"{100 * rejected / 12:.1f} %"
    assert len(at.get("image")) == min(rejected, 12)
    assert len(at.get("vega_lite_chart")) == 1
    at.selectbox(key="baseline from lot").set_value("A1").run()
    at.selectbox(key="baseline to lot").set_value("A2").run()
    assert not at.exception
    at.selectbox(key="baseline from lot").set_value("A3").run()  # ends before it begins
    assert "No such baseline" in text_of(at)


def test_the_scrap_event_comes_first_and_leads_to_its_parts(options, scrap):
    with InspectionLog(scrap, "append") as log:
        log.add_disposition(8 * 20 + 20, "defect", "Huber")  # the last part of the lot
    at = page("process")
    said = text_of(at)
    assert "reject rate: L08, begun 2026-11-09 23:00: above its limits, 13 of 20" in said
    assert "60 parts since." in said
    assert "2 parts without a lot are in no point." in said
    assert at.dataframe[0].value["lot"].tolist()[0] == "L08"
    at.selectbox(key="parts by lot").set_value("L08").run()
    parts = at.dataframe[1].value
    assert parts["outcome"].tolist() == ["✕ Defect"] * 13 + ["✓ Good"] * 7
    assert parts["inspection"].tolist()[12] == 180  # which the model had passed
    assert not at.exception


def test_a_point_that_is_chosen_is_highlighted_and_its_parts_come_before_the_alarms(
    options, scrap, monkeypatch
):
    monkeypatch.setattr("page.process.show_chart", lambda *given: ["L08"])
    at = page("process")
    assert at.subheader[0].value == "Parts of L08"
    assert len(at.dataframe[0].value) == 20
    assert at.dataframe[1].value["lot"].tolist()[0] == "L08"  # the alarms
    with InspectionLog(scrap) as log:
        process = analyse_process(log.query, Division("lot"), None, "a.db")
    layers = chart(chart_table(process, RATE), RATE, "lot").to_dict()["layer"]
    (band,) = [layer for layer in layers if layer["mark"]["type"] == "rule"]
    texts = [layer["mark"]["text"] for layer in layers if layer["mark"]["type"] == "text"]
    assert texts[0].startswith("upper limit ")
    assert texts[1] == "centre 7.5 %"
    assert band["transform"] == [{"filter": {"param": CHOSEN, "empty": False}}]


def test_a_word_that_is_withdrawn_is_in_no_figure(options, scrap):
    with InspectionLog(scrap, "append") as log:
        for number, verdict in ((1, "defect"), (2, "defect"), (2, "withdrawn")):
            log.add_disposition(number, verdict, "Huber")
    assert metrics(page("process"))["Persons disagree"] == "1 of 1"
    with InspectionLog(scrap, "append") as log:
        log.add_disposition(1, "withdrawn", "Huber")
    assert metrics(page("process"))["Persons disagree"] == "0 of 0"


def test_a_point_is_marked_if_and_only_if_it_is_beyond_the_line_that_is_drawn(tmp_path):
    with InspectionLog(tmp_path / "a.db", "create") as log:
        for number in range(12):  # the days after have few parts, dark ones
            log.append(lot_of(number, 12 if number == 8 else number % 2, 100 + number % 3))
        for number, rejected in ((12, 1), (13, 2), (14, 3)):
            log.append(lot_of(number, rejected, 40)[:4])
        bounds = ("2026-11-01", "2026-11-07")
        process = analyse_process(log.query, Division("day"), bounds, "a.db")
    table = chart_table(process, RATE)
    outside = (table.value > table.upper) | (table.value < table.lower)
    assert outside.equals(table.state == BEYOND)
    assert outside.tolist() == [False] * 8 + [True] + [False] * 5 + [True]
    light = chart_table(process, BRIGHTNESS)
    outside = (light.value > light.upper) | (light.value < light.lower)
    assert light.state[outside].tolist() == [FEW_PARTS] * 3


def test_a_filter_holds_for_all_of_the_state_and_for_nothing_of_the_whole_log(options, scrap):
    with InspectionLog(scrap, "append") as log:
        waiting = {"decision": "review", "prob_defect": 0.5, "time": now()}
        log.append([record(70_000 + n, lot="W1", **waiting) for n in range(3)])
        log.append([record(0, lot="W2", **waiting)])  # a good part of L00, in doubt now
    at = page("process")
    assert "Today: 3 parts, 0 rejected (0.0 %). 4 parts wait for a person." in text_of(at)
    at.text_input(key="of lot").set_value("L0").run()
    assert "Only lot 'L0'." in text_of(at)
    assert "Today: no part; the last on 2026-11-10. 0 parts wait for a person." in text_of(at)
    assert metrics(at)["For review"] == "4"
    at.text_input(key="of lot").set_value("L08").run()  # one lot makes no limits
    assert "Limits need at least 2 lots" in text_of(at)
    assert "Only lot 'L08'." in text_of(at)
    log_path = at.session_state["options"].log
    assert len(waiting_parts(PageLog(log_path))) == 4


def test_times_are_of_the_zone_that_is_named(options, scrap):
    options("--time-zone", "Asia/Tokyo")  # 23:00 UTC is 08:00 of the next day there
    at = page("process")
    assert "Times are of Asia/Tokyo." in text_of(at)
    assert "L08, begun 2026-11-10 08:00" in text_of(at)


def test_each_unit_keeps_its_baseline(options, scrap):
    at = page("process")
    at.selectbox(key="baseline to lot").set_value("L06").run()
    assert "Limits: from 140 parts in 7 lots, L00 to L06." in text_of(at)
    at.segmented_control(key="by").set_value("day").run()
    assert "By day no baseline is chosen; that by lot is kept." in text_of(at)
    assert "Limits: from 242 parts in all 13 days." in text_of(at)
    at.segmented_control(key="by").set_value("lot").run()
    assert "Limits: from 140 parts in 7 lots, L00 to L06." in text_of(at)
    at.text_input(key="of lot").set_value("L1").run()
    assert "The baseline from the first to L06 is not among what is chosen above" in text_of(at)
    at.text_input(key="of lot").set_value("").run()
    assert "Limits: from 140 parts in 7 lots, L00 to L06." in text_of(at)


def test_filters_choose_what_is_charted(options, scrap):
    at = page("process")
    at.text_input(key="of lot").set_value("l0").run()
    at.selectbox(key="of station").set_value("line2").run()
    assert at.selectbox(key="parts by lot").options[-1] == "L00"
    assert "above its limits, 6 of 10 rejected" in text_of(at)
    at.selectbox(key="of shift").set_value("06:00").run()
    assert "No inspection matches: station 'line2', lot 'l0', shift from 06:00." in text_of(at)
    assert "No alarm now" not in text_of(at)
    assert 'class="verdict not_judged"' in text_of(at)
    at.selectbox(key="of shift").set_value("22:00").run()
    at.segmented_control(key="by").set_value("shift").run()
    assert at.selectbox(key="parts by shift").options[-1] == "2026-11-01 22:00"
    assert "Only station 'line2', lot 'l0', shift from 22:00." in text_of(at)
    assert "Limits: from 100 parts in all 10 shifts; only station 'line2'" in text_of(at)
    for view in ("Drift: probability", "Drift: brightness"):
        at.segmented_control(key="view").set_value(view).run()
        assert not at.exception


def test_the_state_is_an_alarm_as_long_as_the_last_point_is_in_one(tmp_path):
    with InspectionLog(tmp_path / "a.db", "create") as log:
        for number in range(10):
            log.append(lot_of(number, number % 2, 100 + number % 3))

        def state() -> tuple[str, str, list[str]]:
            process = analyse_process(log.query, Division("lot"), ("L00", "L09"), "a.db")
            alarms = alarms_of(process)
            worst = next(iter(going_on(process, alarms)), None)
            return state_of(worst), word_of(worst), alarm_lines(process, alarms)

        assert state() == (STEADY, "No alarm now", ["No alarm of the reject rate."])
        log.append(lot_of(10, 14, 101))
        state_then, word, lines = state()
        assert (state_then, word) == (ALARM, "Reject rate above its limits: L10")
        assert lines[0].startswith("Goes on since 2026-11-11 23:00: 14 of 20 rejected")
        assert "mean probability above its limits, L10" in lines[1]  # no word of L10 again
        log.append(lot_of(11, 0, 200))
        log.append(lot_of(12, 0, 210))
        state_then, word, lines = state()
        assert (state_then, word) == (WATCH, "Brightness above its limits: L11 to L12")
        assert lines[0].startswith("Goes on since 2026-11-12 23:00: as far as 210.0 against")
        assert lines[1].startswith("Last alarm of the reject rate: L10")
        assert lines[1].endswith("40 parts since.")
