"""Process charts the log and shows the last rejects."""

from page_runs import metrics, page, text_of, upload

from traceability.log import InspectionLog


def test_an_empty_log_is_explained(options, paths, log_path):
    assert "nothing to show yet" in text_of(page("process"))
    with InspectionLog(log_path, "create"):
        pass
    for _ in range(2):
        assert "line.db holds no inspections" in text_of(page("process"))
    upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    at = page("process")
    assert "No charts by lot yet: no part in line.db has a lot" in text_of(at)
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
    assert metrics(at)["Rejected"] == f"{rejected / 12:.1%}"
    assert len(at.get("image")) == 1 + min(rejected, 12)
    at.selectbox(key="baseline from").set_value("A1").run()
    at.selectbox(key="baseline to").set_value("A2").run()
    assert not at.exception
    at.selectbox(key="baseline from").set_value("A3").run()  # ends before it begins
    assert "No such baseline" in text_of(at)
