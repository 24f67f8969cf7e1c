"""The service answers what predict.py decides, records it first, and survives its clients."""

import asyncio
import base64
import contextlib
import http.client
import io
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from builders import promote
from PIL import Image
from starlette.testclient import TestClient

from common.errors import UserError
from common.files import ROOT
from inspection.predictor import load_predictor
from inspection.recording import MAX_IMAGE_BYTES
from serve import build_parser, main
from service import middleware, telemetry
from service.application import create_app
from service.runtime import Service, ServiceSettings
from traceability.log import InspectionLog

HOME = "http://127.0.0.1:8000"
KEY = {"X-API-Key": "a secret"}


@pytest.fixture
def connect(predictor, tmp_path):
    """A function that starts a service and returns a client of it."""
    running = []

    def connect(own=predictor, file=None, **settings) -> TestClient:
        app = create_app(ServiceSettings(log=tmp_path / "log.db", **settings), own, file)
        client = TestClient(app, base_url=HOME)
        client.__enter__()
        running.append(client)
        return client

    yield connect
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def client(connect):
    return connect()


def recorded(tmp_path) -> list[tuple]:
    with InspectionLog(tmp_path / "log.db") as log:
        return list(log.query("SELECT id, file, station, lot, decision, error FROM inspections"))


def sent(client, path, **more):
    """A photograph as the body itself."""
    headers = {"Content-Type": "image/jpeg"} | more.pop("headers", {})
    return client.post("/v1/predict", content=path.read_bytes(), headers=headers, **more)


def code(response) -> str:
    """The code of an error; its answer has the one shape and nothing else."""
    answer = response.json()
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message", "inspection_id"}
    return answer["error"]["code"]


# --- decisions -----------------------------------------------------------------------------------


def test_decisions_are_those_of_predict_and_in_the_log(client, predictor, paths, tmp_path):
    for path, direct in zip(paths, predictor.predict(paths), strict=True):
        answer = sent(client, path, params={"name": path.name, "lot": "A17"}).json()
        assert answer["decision"] == direct.decision
        assert answer["predicted_class"] == direct.predicted_class
        assert answer["prob_defect"] == pytest.approx(direct.prob_defect, abs=1e-4)
        assert answer["threshold"] == predictor.threshold
        assert answer["model"] == predictor.model_id
        assert answer["sha256"] == direct.sha256
        assert answer["latency_ms"] > 0
        last = recorded(tmp_path)[-1]
        assert last == (answer["inspection_id"], path.name, "", "A17", direct.decision, "")


def test_a_form_and_a_body_are_predicted_alike(client, paths):
    body = sent(client, paths[0]).json()
    file = (paths[0].name, paths[0].read_bytes())
    form = client.post("/v1/predict", files={"file": file}).json()
    assert form["name"] == paths[0].name
    assert body["prob_defect"] == form["prob_defect"]
    assert body["sha256"] == form["sha256"]


def test_a_batch_keeps_its_order_and_an_unreadable_part_is_never_ok(client, paths, predictor):
    contents = [path.read_bytes() for path in paths[:5]]
    contents[2] = b"<html>"
    files = [("files", (f"../{i}.jpeg", data)) for i, data in enumerate(contents)]
    answer = client.post("/v1/predict/batch", files=files, params={"station": "line 4"})
    results = answer.json()["results"]
    assert [one["name"] for one in results] == [f"{i}.jpeg" for i in range(5)]
    assert [one["status"] for one in results] == ["ok", "ok", "error", "ok", "ok"]
    assert results[2]["decision"] == ""
    assert results[2]["prob_defect"] is None
    assert results[2]["error"] == "not an image"
    direct = predictor.predict(paths[:5])
    assert results[4]["prob_defect"] == pytest.approx(direct[4].prob_defect, abs=1e-4)


def test_a_picture_of_nothing_is_recorded_and_not_judged(client, tmp_path):
    black = tmp_path / "black.png"
    Image.new("L", (64, 64), 0).save(black)
    answer = sent(client, black, params={"explain": "true"}).json()
    assert (answer["status"], answer["decision"]) == ("not_judged", "")
    assert (answer["prob_defect"], answer["heatmap_png"]) == (None, None)
    assert "underexposed" in answer["error"]
    assert recorded(tmp_path)[-1][4:] == ("", answer["error"])
    text = client.get("/metrics").text
    assert 'casting_decisions_total{decision="not_judged",predicted_class=""} 1.0' in text


def test_an_unreadable_photograph_is_recorded_and_refused(client, tmp_path):
    answer = client.post("/v1/predict", content=b"no image", headers={"Content-Type": "image/png"})
    assert answer.status_code == 422
    assert code(answer) == "unreadable"
    number = answer.json()["error"]["inspection_id"]
    assert recorded(tmp_path) == [(number, "(unnamed)", "", "", "", "not an image")]


def test_a_heatmap_comes_when_it_is_asked_for(client, paths, predictor):
    suspicion = [one.prob_defect for one in predictor.predict(paths)]
    rejected = paths[int(np.argmax(suspicion))]
    plain, explained = sent(client, rejected), sent(client, rejected, params={"explain": "true"})
    assert plain.json()["heatmap_png"] is None
    image = image_of(explained)
    assert image.size == (64, 64)
    colours = np.asarray(image.convert("RGB"), int)
    assert np.ptp(colours, axis=2).max() > 40  # not grey: something is hot
    assert explained.json()["prob_defect"] == plain.json()["prob_defect"]


def image_of(response) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(response.json()["heatmap_png"])))


def test_heatmaps_of_large_photographs_are_small(client, castings, tmp_path):
    Image.open(next((castings / "test").rglob("*.jpeg"))).resize((3000, 2700)).save(
        tmp_path / "large.jpeg"
    )
    answer = sent(client, tmp_path / "large.jpeg", params={"explain": "true"})
    assert image_of(answer).size == (1500, 1350)


def test_a_heatmap_that_fails_costs_no_decision(client, paths, monkeypatch, tmp_path):
    def broken(*_):
        raise MemoryError

    monkeypatch.setattr("service.runtime.explain_predicted", broken)
    answer = sent(client, paths[0], params={"explain": "true"})
    assert answer.status_code == 200
    assert answer.json()["heatmap_png"] is None
    assert recorded(tmp_path)[0][0] == answer.json()["inspection_id"]


def test_too_many_heatmaps_are_refused_before_anything_is_predicted(
    client, paths, monkeypatch, tmp_path
):
    monkeypatch.setattr("service.runtime.HEATMAPS_WAITING", 0)
    answer = sent(client, paths[0], params={"explain": "true"})
    assert answer.status_code == 503
    assert recorded(tmp_path) == []
    assert sent(client, paths[0]).status_code == 200


def test_what_cannot_be_recorded_is_not_decided(client, paths, monkeypatch):
    def full(self, records):
        raise UserError("inspection log: disk full")

    with monkeypatch.context() as patch:
        patch.setattr(InspectionLog, "append", full)
        answer = sent(client, paths[0])
        assert answer.status_code == 503
        assert code(answer) == "unavailable"
        assert "decision" not in answer.json()
        assert client.get("/readyz").status_code == 503
        with pytest.MonkeyPatch.context() as later:
            later.setattr("service.batching.FAILING_S", 0.0)
            assert client.get("/readyz").status_code == 200  # or no part would ever come again
    assert sent(client, paths[0]).status_code == 200
    assert client.get("/readyz").json() == {"status": "ready", "reason": ""}


def test_a_log_that_is_gone_takes_no_decision_until_it_is_back(client, paths, tmp_path):
    log = tmp_path / "log.db"
    sent(client, paths[0])
    log.rename(tmp_path / "elsewhere")
    said = {"inspection_id": 1, "verdict": "ok", "person": "Huber"}
    for replacement in (None, "another log"):
        if replacement:
            with InspectionLog(tmp_path / "new.db", "create"):
                pass
            (tmp_path / "new.db").rename(log)
        for answer in (sent(client, paths[1]), client.post("/v1/verdicts", json=said)):
            assert answer.status_code == 503
            assert code(answer) == "unavailable"
            assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/v1/inspections").status_code == 503
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert "put it back, or restart" in ready.json()["reason"]
    (tmp_path / "elsewhere").replace(log)
    assert sent(client, paths[1]).json()["inspection_id"] == 2
    assert client.post("/v1/verdicts", json=said).status_code == 201
    assert client.get("/readyz").status_code == 200


def test_a_locked_log_is_told_soon_and_loses_no_request(connect, paths, tmp_path, monkeypatch):
    monkeypatch.setattr("service.batching.SHORT_BUSY_S", 0.1)
    client = connect()
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda path: sent(client, path), paths * 3))
        assert time.monotonic() - started < 5
        assert {answer.status_code for answer in answers} == {503}
        assert all("retry-after" in answer.headers for answer in answers)
        other.execute("ROLLBACK")
    assert sent(client, paths[0]).json()["inspection_id"] == 1


def test_who_speaks_second_hears_of_the_first(client, paths):
    sent(client, paths[0])
    said = {"inspection_id": 1, "verdict": "defect", "person": "Huber", "seen": 0}
    assert client.post("/v1/verdicts", json=said).status_code == 201
    other = {"inspection_id": 1, "verdict": "ok", "person": "Maier"}
    refused = client.post("/v1/verdicts", json=other | {"seen": 0})
    assert refused.status_code == 409
    assert code(refused) == "already_decided"
    assert "Huber has already decided on inspection 1: 'defect'" in refused.text
    (shown,) = client.get("/v1/inspections").json()["inspections"]
    assert shown["person_says"]["person"] == "Huber"
    known = shown["person_says"]["verdict_id"]
    answer = client.post("/v1/verdicts", json=other | {"seen": known})
    assert answer.json() == other | {"note": "", "verdict_id": 2}
    assert client.post("/v1/verdicts", json=other).status_code == 201  # who does not ask


def test_a_verdict_is_withdrawn_by_whom_it_was(client, paths):
    sent(client, paths[0])
    said = {"inspection_id": 1, "verdict": "defect", "person": "Huber", "note": ""}
    assert client.post("/v1/verdicts", json=said).status_code == 201
    back = said | {"verdict": "withdrawn"}
    refused = client.post("/v1/verdicts", json=back | {"person": "Maier"})
    assert (refused.status_code, code(refused)) == (409, "nothing_to_withdraw")
    assert "the last word is Huber's, 'defect'" in refused.text
    answer = client.post("/v1/verdicts", json=back)
    assert (answer.status_code, answer.json()) == (201, back | {"verdict_id": 2})
    (shown,) = client.get("/v1/inspections").json()["inspections"]
    assert shown["person_says"] is None
    assert client.post("/v1/verdicts", json=back).status_code == 409
    assert client.post("/v1/verdicts", json=said | {"seen": 0}).status_code == 201


def test_crowds_get_the_same_answers_and_health_meanwhile(client, predictor, paths):
    direct = {p.sha256: p for p in predictor.predict(paths)}
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(sent, client, path) for path in paths * 4]
        health = [client.get("/healthz").status_code for _ in range(20)]
        answers = [one.result().json() for one in waiting]
    assert set(health) == {200}
    assert len({one["inspection_id"] for one in answers}) == len(paths) * 4
    for one in answers:
        assert one["decision"] == direct[one["sha256"]].decision
        assert one["prob_defect"] == pytest.approx(direct[one["sha256"]].prob_defect, abs=1e-4)


def test_too_many_are_refused_with_a_time_to_come_again(connect, predictor, paths, monkeypatch):
    client, release, reached = connect(queue_limit=2), threading.Event(), threading.Event()
    original = predictor.predict

    def slow(images):
        reached.set()
        release.wait(20)
        return original(images)

    monkeypatch.setattr(predictor, "predict", slow)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(sent, client, paths[0])]
        assert reached.wait(20)
        waiting.append(pool.submit(sent, client, paths[1]))
        deadline = time.monotonic() + 10
        while "casting_queue_parts 2.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        refused = sent(client, paths[2])
        assert client.get("/healthz").status_code == 200
        release.set()
        assert [one.result().status_code for one in waiting] == [200, 200]
    assert refused.status_code == 503
    assert code(refused) == "busy"
    assert int(refused.headers["Retry-After"]) >= 1


# --- the log -------------------------------------------------------------------------------------


def test_a_persons_decision_is_stored_and_shown(client, paths):
    number = sent(client, paths[0]).json()["inspection_id"]
    wanted = {"inspection_id": number, "verdict": "ok", "person": "Huber", "note": "a stain"}
    answer = client.post("/v1/verdicts", json=wanted)
    assert answer.status_code == 201
    assert answer.json() == wanted | {"verdict_id": 1}
    (shown,) = client.get("/v1/inspections").json()["inspections"]
    assert shown["person_says"]["verdict"] == "ok"
    assert shown["person_says"]["person"] == "Huber"
    unknown = client.post("/v1/verdicts", json=wanted | {"inspection_id": number + 1})
    assert unknown.status_code == 404
    assert code(unknown) == "not_found"
    for odd in ({"verdict": "perhaps"}, {"person": "  \n"}, {"by": "Huber"}):
        wrong = client.post("/v1/verdicts", json=wanted | odd)
        assert wrong.status_code == 422
        assert code(wrong) == "invalid"


def test_the_log_is_paged_and_filtered(connect, trained, paths):
    client = connect(load_predictor(trained / "best.pth", "cpu", review=(0.0, 1.0)))
    for path in paths[:5]:
        sent(client, path, params={"name": path.name, "lot": "A17"})
    client.post("/v1/predict", content=b"bad", headers={"Content-Type": "image/png"})
    client.post("/v1/verdicts", json={"inspection_id": 2, "verdict": "ok", "person": "Huber"})
    seen, before = [], None
    seen_at = client.get("/v1/inspections").json()["inspections"][-1]["time"]
    while True:
        own = {"limit": 2} | ({"before": before} if before else {})
        page = client.get("/v1/inspections", params=own).json()
        seen += [one["inspection_id"] for one in page["inspections"]]
        before = page["next_before"]
        if before is None:
            break
    assert seen == [6, 5, 4, 3, 2, 1]

    def ids(**wanted):
        page = client.get("/v1/inspections", params=wanted).json()
        return [one["inspection_id"] for one in page["inspections"]]

    assert ids(decision="error") == [6]
    assert ids(awaiting=True) == [5, 4, 3, 1]
    assert ids(lot="A17", before=3) == [2, 1]
    moment = seen_at[:19]  # to the second
    for beginning in (moment[:10], moment[:13], moment, f"{moment}Z"):
        assert ids(since=beginning, lot="A17") == [5, 4, 3, 2, 1]
        assert ids(until=beginning) == []
    assert ids(since="2999-01-01") == []
    for wrong in (
        {"since": "today"},
        {"since": "2026-99-99"},
        {"decision": "perhaps"},
        {"decison": "ok"},
        {"limit": 0},
    ):
        answer = client.get("/v1/inspections", params=wrong)
        assert answer.status_code == 422
        assert code(answer) == "invalid"


def test_a_serial_number_goes_with_each_part(client, paths):
    first = sent(client, paths[0], params={"lot": "A17", "serial": " S1\n"}).json()
    (shown,) = client.get("/v1/inspections").json()["inspections"]
    for name, value in (("lot", "A17"), ("serial", "S1"), ("station", ""), ("time", shown["time"])):
        assert first[name] == shown[name] == value
    sent(client, paths[0], params={"lot": "A17"})
    files = [("files", (path.name, path.read_bytes())) for path in paths[:2]]
    both = client.post("/v1/predict/batch", files=files, params={"serial": ["S2", "S3"]})
    assert both.status_code == 200
    shown = client.get("/v1/inspections").json()["inspections"]
    assert [one["serial"] for one in shown] == ["S3", "S2", "", "S1"]
    (one,) = client.get("/v1/inspections", params={"serial": "S1"}).json()["inspections"]
    assert (one["inspection_id"], one["lot"]) == (1, "A17")
    for wrong in (["S1"], ["S1", "S2", "S3"], ["S1", "x" * 101]):
        refused = client.post("/v1/predict/batch", files=files, params={"serial": wrong})
        assert refused.status_code == 422
        assert code(refused) == "invalid"
    assert len(client.get("/v1/inspections").json()["inspections"]) == 4


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("serial=S1&serial=S2", "query.serial: given 2 times, give it once"),
        ("serial=S%0042", "query.serial: must be one line, without control characters"),
        ("lot=A%0A17", "query.lot: must be one line, without control characters"),
        ("since=today", "query.since: must be a UTC time such as 2026-11-24T09:30:00Z"),
        ("sha256=F00", "query.sha256: must be 64 digits"),
        ("before=0", "query.before: must be at least 1"),
        ("before=99999999999999999999", "query.before: must be at most 1,000,000,000,000"),
        ("limit=many", "query.limit: must be a whole number"),
        ("awaiting=perhaps", "query.awaiting: must be true or false"),
        ("decision=good", "query.decision: must be 'ok', 'defect'"),
    ],
)
def test_a_wrong_parameter_is_told_in_words(client, query, text):
    answer = client.get(f"/v1/inspections?{query}")
    assert (answer.status_code, code(answer)) == (422, "invalid")
    assert text in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"inspection_id": 1', "the body is no JSON: "),
        ("[]", "body: must be a JSON object"),
        ("{}", "body.inspection_id: is missing; body.verdict: is missing"),
        ('{"inspection_id": 99999999999999999999}', "must be at most 1,000,000,000,000"),
        ('{"verdict": "good"}', "body.verdict: must be 'ok', 'defect' or 'withdrawn'"),
        ('{"by": "Huber"}', "body.by: there is no such field"),
        ('{"person": ""}', "body.person: must not be empty"),
    ],
)
def test_a_wrong_body_is_told_in_words(client, body, text):
    answer = client.post("/v1/verdicts", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, code(answer)) == (422, "invalid")
    assert text in answer.json()["error"]["message"]


# --- limits --------------------------------------------------------------------------------------


def test_bodies_too_large_are_refused(client):
    def chunks():
        for _ in range(MAX_IMAGE_BYTES // (1 << 20) + 2):
            yield b"\0" * (1 << 20)

    headers = {"Content-Type": "image/jpeg"}
    for own in ({"content": b"\0" * (MAX_IMAGE_BYTES + (1 << 20))}, {"content": chunks()}):
        answer = client.post("/v1/predict", headers=headers, **own)
        assert answer.status_code == 413
        assert code(answer) == "too_large"
    long = client.post("/v1/verdicts", json={"note": "a" * (1 << 17)})
    assert long.status_code == 413
    files = [("files", b"x"), ("files", b"\0" * (MAX_IMAGE_BYTES + 1))]
    assert client.post("/v1/predict/batch", files=files).status_code == 413
    # Declared only: refused before a byte of it is read
    lying = headers | {"Content-Length": str(1 << 40)}
    assert client.post("/v1/predict", headers=lying, content=b"x").status_code == 413


def test_a_pixel_bomb_is_refused(client):
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "png")
    answer = client.post("/v1/predict", files={"file": ("bomb.png", data.getvalue())})
    assert answer.status_code == 422
    assert "pixels" in answer.json()["error"]["message"]


def test_other_content_and_forms_are_refused(client, paths, tmp_path):
    data = paths[0].read_bytes()
    text = client.post("/v1/predict", content=data, headers={"Content-Type": "text/html"})
    assert text.status_code == 415
    assert code(text) == "unsupported"
    for files in ({"photo": data}, [("file", data), ("photo", data)], [("file", data)] * 2):
        answer = client.post("/v1/predict", files=files)
        assert answer.status_code in (413, 422)
        assert code(answer) in ("no_file", "invalid", "too_many")
    too_many = client.post("/v1/predict/batch", files=[("files", b"x")] * 65)
    assert too_many.status_code == 413
    assert code(too_many) == "too_many"
    lot = client.post("/v1/predict", files={"file": data}, data={"lot": "A17"})
    assert lot.status_code == 422
    assert "?lot=A17" in lot.json()["error"]["message"]
    for empty in ({"content": b""}, {"files": {"file": b""}}):
        assert client.post("/v1/predict", **empty).status_code == 422
    assert recorded(tmp_path) == []
    assert client.post("/v1/predict/batch", content=data).status_code == 415
    for wrong in (client.get("/v1/predict"), client.get("/v1/nothing")):
        assert wrong.status_code in (404, 405)
        code(wrong)


def test_the_key_is_asked_for_everywhere_but_for_health(connect, paths):
    client = connect(api_key="a secret")
    for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}):
        answer = sent(client, paths[0], headers=headers)
        assert answer.status_code == 401
        assert code(answer) == "unauthorised"
    for path in ("/v1/model", "/v1/inspections", "/metrics"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=KEY).status_code == 200
        bearer = {"Authorization": f"Bearer {KEY['X-API-Key']}"}
        assert client.get(path, headers=bearer).status_code == 200
        assert client.head(path).status_code == 401
        assert client.head(path, headers=KEY).status_code == 200
    for path in ("/", "/docs", "/healthz", "/readyz", "/openapi.json"):
        assert client.get(path).status_code == 200
    elsewhere = {"Host": "inspection.example"} | KEY
    assert sent(client, paths[0], headers=elsewhere).status_code == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_without_a_key_pages_from_elsewhere_get_nothing(client, paths, headers):
    answer = sent(client, paths[0], headers=headers)
    assert answer.status_code == 403
    assert code(answer) == "local_only"
    assert sent(client, paths[0], headers={"Origin": HOME}).status_code == 200


def test_slow_bodies_are_refused(monkeypatch):
    monkeypatch.setattr(middleware, "BODY_TIMEOUT_S", 0.01)
    sent = []

    async def reads(scope, receive, send):
        await receive()

    async def never():
        await asyncio.sleep(60)

    async def note(message):
        sent.append(message)

    wrapped = middleware.RequestMiddleware(reads, "key", {"*": 10}, telemetry.Metrics())
    headers = [(b"x-api-key", b"key"), (b"content-length", b"5")]
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers}
    asyncio.run(wrapped(scope, never, note))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


def test_too_many_bytes_at_once_are_refused(client, monkeypatch):
    monkeypatch.setattr(middleware, "MAX_BYTES_IN_FLIGHT", 10)
    answer = client.post("/v1/predict", content=b"x" * 11, headers={"Content-Type": "image/png"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


BODY = [b"x" * 8] * 3  # as it comes


@pytest.mark.parametrize(
    ("headers", "limit", "in_flight", "status"),
    [
        ([], 100, 100, 401),
        ([(b"x-api-key", b"key")], 10, 100, 413),
        ([(b"x-api-key", b"key")], 100, 10, 503),
    ],
    ids=["no key", "too large", "too many"],
)
def test_a_client_that_is_still_sending_is_answered_and_heard_out(
    monkeypatch, headers, limit, in_flight, status
):
    monkeypatch.setattr(middleware, "MAX_BYTES_IN_FLIGHT", in_flight)
    events, parts = [], iter(BODY)

    async def reads(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    async def receive():
        part = next(parts)
        events.append("heard")
        return {"type": "http.request", "body": part, "more_body": events.count("heard") < 3}

    async def send(message):
        events.append(message.get("status") or message.get("more_body", False))

    wrapped = middleware.RequestMiddleware(reads, "key", {"*": limit}, telemetry.Metrics())
    headers = [*headers, (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers}
    asyncio.run(wrapped(scope, receive, send))
    assert events.count("heard") == 3
    assert events[-1] is False  # the end of the answer, and with it of the connection
    answer = events.index(status)
    assert events[answer + 1] is True  # the whole answer, before what is left is heard
    assert "heard" in events[answer:]
    assert wrapped._in_flight == 0


FORM = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nxx'


@pytest.mark.parametrize(
    ("path", "content_type", "begun"),
    [
        ("/v1/predict", b"image/jpeg", b"xx"),
        ("/v1/predict", b"multipart/form-data; boundary=B", FORM),
        ("/v1/verdicts", b"application/json", b'{"a":'),
    ],
    ids=["body", "form", "json"],
)
def test_a_client_that_leaves_amid_its_body_is_no_failure(
    client, monkeypatch, caplog, path, content_type, begun
):
    monkeypatch.setattr(telemetry.logger, "propagate", True)
    caplog.set_level("INFO", telemetry.logger.name)
    came = iter([{"type": "http.request", "body": begun, "more_body": True}])

    async def receive():
        return next(came, {"type": "http.disconnect"})

    async def send(message):
        pass

    headers = [(b"host", b"127.0.0.1"), (b"content-type", content_type), (b"content-length", b"99")]
    scope = {
        "type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"",
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asyncio.run(client.app(scope, receive, send))
    (line,) = caplog.records
    assert (line.levelname, line.exc_info, line.details["status"]) == ("INFO", None, 499)


def test_head_is_answered_like_get_without_the_body(client):
    for path, status in {
        "/": 200, "/docs": 200, "/docs/swagger-ui.css": 200, "/healthz": 200, "/readyz": 200,
        "/openapi.json": 200, "/v1/model": 200, "/v1/inspections": 200,
        "/v1/inspections?limit=0": 422, "/v1/predict": 405, "/nothing": 404,
    }.items():  # fmt: skip
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (status, b"")
        assert {**head.headers, "x-request-id": ""} == {**get.headers, "x-request-id": ""}
    assert client.head("/metrics").status_code == 200  # whose length changes
    text = client.get("/metrics").text
    assert 'casting_requests_total{method="HEAD",route="/healthz",status="200"} 1.0' in text


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/v1/inspections", "GET, HEAD, OPTIONS"),
        ("/v1/predict", "POST, OPTIONS"),
    ],
)
def test_a_path_names_the_methods_that_it_has(client, path, methods):
    asked, wrong = client.options(path), client.delete(path)
    assert (asked.status_code, asked.content) == (204, b"")
    assert wrong.status_code == 405
    assert code(wrong) == "wrong_method"
    assert wrong.json()["error"]["message"] == f"DELETE is no method of this path, but {methods}"
    assert asked.headers["Allow"] == wrong.headers["Allow"] == methods
    assert client.options("/nothing").status_code == 404


PAGE = "https://mes.example:8443"


def test_a_named_web_page_may_call_and_no_other(connect, paths):
    client = connect(allow_origins=(PAGE,), api_key=KEY["X-API-Key"])
    wants = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    asked = client.options("/v1/predict", headers={"Origin": PAGE} | wants)  # without the key
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    assert "X-API-Key" in asked.headers["Access-Control-Allow-Headers"]
    for own in (
        {"Access-Control-Request-Method": "GET"},
        {"Access-Control-Request-Method": "HEAD"},
        {"Access-Control-Request-Private-Network": "true"},
    ):
        asked = client.options("/v1/model", headers={"Origin": PAGE} | wants | own)
        assert asked.status_code == 200, own
    for own, status in ((KEY, 200), ({}, 401)):
        answer = sent(client, paths[0], headers={"Origin": PAGE} | own)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
    other = {"Origin": "https://evil.example"}
    refused = client.options("/v1/predict", headers=other | wants)
    assert (refused.status_code, code(refused)) == (400, "cors")
    assert "Disallowed CORS origin; serve.py --cors" in refused.json()["error"]["message"]
    for one in (client.get("/healthz", headers=other), connect().get("/healthz")):
        assert "Access-Control-Allow-Origin" not in one.headers


def test_a_named_web_page_may_call_a_service_without_a_key(connect, paths):
    client = connect(allow_origins=(PAGE,))
    assert sent(client, paths[0], headers={"Origin": PAGE}).status_code == 200
    refused = sent(client, paths[0], headers={"Origin": PAGE, "Host": "evil.example"})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (403, PAGE)
    assert sent(client, paths[0], headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_bug_is_one_line_to_the_client_and_a_traceback_to_the_operator(
    client, paths, monkeypatch, caplog
):
    def broken(self, model, parts):
        raise RuntimeError("in /srv/secret/path")

    monkeypatch.setattr("service.runtime.Service.inspect", broken)
    monkeypatch.setattr(telemetry.logger, "propagate", True)
    answer = sent(client, paths[0])
    assert answer.status_code == 500
    assert code(answer) == "internal"
    assert "secret" not in answer.text
    assert "secret" in caplog.text


# --- being watched -------------------------------------------------------------------------------


def test_metrics_count_requests_decisions_and_latency(client, paths):
    decisions = [sent(client, path).json()["decision"] for path in paths]
    client.get("/no/such/path")
    client.request("INVENTED", "/v1/model")
    text = client.get("/metrics").text
    route = 'method="POST",route="/v1/predict",status="200"'
    assert f"casting_requests_total{{{route}}} {len(paths)}.0" in text
    assert 'route="other",status="404"' in text
    client.get("/v1/model", headers={"Host": "evil.example"})
    client.get("/openapi.json")
    text = client.get("/metrics").text
    assert 'method="GET",route="/v1/model",status="403"' in text
    assert 'method="GET",route="/openapi.json",status="200"' in text
    assert "no/such" not in text
    assert "INVENTED" not in text
    found = re.findall(r'casting_decisions_total\{decision="(\w+)".*\} ([\d.]+)', text)
    assert {name: int(float(n)) for name, n in found} == {
        name: decisions.count(name) for name in set(decisions)
    }
    bucket = r'casting_request_seconds_bucket\{le="\+Inf",route="/v1/predict"\} ([\d.]+)'
    assert float(re.search(bucket, text)[1]) == len(paths)


def test_the_model_tells_what_it_is(client, predictor):
    card = client.get("/v1/model").json()
    checkpoint = predictor.checkpoint
    assert card["sha256"] == predictor.sha256
    assert card["model"] == predictor.model_id
    assert card["class_names"] == checkpoint.class_names
    assert card["image_size_px"] == checkpoint.image_size_px
    assert card["threshold"] == predictor.threshold
    assert card["validation"] == pytest.approx(checkpoint.validation)
    assert card["weights"] == "none"
    assert card["restriction"].startswith("Research only: ")  # of models of castings


def test_what_becomes_of_published_results_is_in_the_metrics(connect, paths):
    told = []

    class Sink:
        acknowledged, dropped, waiting = 5, 2, 3

        def put(self, number, record):
            told.append((number, record.serial))

    client = connect(sink=Sink())
    sent(client, paths[0], params={"serial": "S1"})
    assert told == [(1, "S1")]
    text = client.get("/metrics").text
    assert 'casting_mqtt_results_total{result="acknowledged"} 5.0' in text
    assert 'casting_mqtt_results_total{result="dropped"} 2.0' in text
    assert "casting_mqtt_waiting 3.0" in text


def test_each_request_is_a_line_of_json(client, paths):
    stream = io.StringIO()
    handler = telemetry.logging.StreamHandler(stream)
    handler.setFormatter(telemetry.JsonLines())
    telemetry.logger.addHandler(handler)
    level = telemetry.logger.level
    telemetry.logger.setLevel("INFO")
    try:
        answer = sent(client, paths[0])
        client.get('/no"%0A{"level": "forged"}')
        client.get("/healthz")
    finally:
        telemetry.logger.removeHandler(handler)
        telemetry.logger.setLevel(level)
    line, odd = map(json.loads, stream.getvalue().splitlines())
    assert odd["path"] == '/no"\n{"level": "forged"}'
    assert line["path"] == "/v1/predict"
    assert line["status"] == 200
    assert line["inspections"] == [answer.json()["inspection_id"]]
    assert line["request_id"] == answer.headers["X-Request-ID"]


# --- a new model ---------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch, caplog):
    """A function that gives the service's lines about models, once there is one."""
    monkeypatch.setattr(telemetry.logger, "propagate", True)
    caplog.set_level("INFO", telemetry.logger.name)

    def told(count: int = 1) -> list:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            lines = [one for one in caplog.records if one.msg.startswith("model ")]
            if len(lines) >= count:
                return lines
            time.sleep(0.01)
        raise AssertionError(caplog.text)

    return told


def models_in_log(tmp_path) -> dict[int, str]:
    """The models' numbers, by the records' numbers."""
    with InspectionLog(tmp_path / "log.db") as log:
        return {n: model[:12] for n, model in log.query("SELECT id, model FROM inspections")}


def test_a_model_is_taken_up_amid_a_crowd_and_every_answer_is_one_models(
    connect, model_file, another, paths, tmp_path, told
):
    old, new = model_file.load(), load_predictor(another, "cpu")
    expected = {
        one.model_id: {p.sha256: p.prob_defect for p in one.predict(paths)} for one in (old, new)
    }
    client, changed = connect(old, model_file), threading.Event()

    def ask(number: int) -> list[dict]:
        found, after = [], False
        while not after:
            after = changed.is_set()  # one more from here on
            if number % 4:
                answer = sent(client, paths[number % len(paths)])
                found.append(answer.json() | {"after": after})
            else:
                files = [("files", (path.name, path.read_bytes())) for path in paths[:5]]
                answer = client.post("/v1/predict/batch", files=files)
                found += [one | {"after": after} for one in answer.json()["results"]]
            assert answer.status_code == 200
        return found

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, number) for number in range(8)]
        time.sleep(0.2)
        promote(another, model_file.path)
        (line,) = told()
        changed.set()
        answers = [one for future in waiting for one in future.result()]
    assert {one["model"] for one in answers if one["after"]} == {new.model_id}
    assert {one["model"] for one in answers} == {old.model_id, new.model_id}
    for one in answers:
        probability = expected[one["model"]][one["sha256"]]
        assert one["prob_defect"] == pytest.approx(probability, abs=1e-4)
        assert one["threshold"] == (0.9 if one["model"] == new.model_id else old.threshold)
    assert models_in_log(tmp_path) == {one["inspection_id"]: one["model"] for one in answers}
    assert line.levelname == "INFO"
    assert (line.details["old"], line.details["new"]) == (old.model_id, new.model_id)
    assert (line.details["old_threshold"], line.details["threshold"]) == (old.threshold, 0.9)
    assert client.get("/v1/model").json()["model"] == new.model_id
    assert 'casting_model_reloads_total{result="taken_up"} 1.0' in client.get("/metrics").text


def test_while_a_model_is_loaded_the_old_one_answers(
    connect, model_file, another, paths, monkeypatch, told
):
    load, reached, go = model_file._load, threading.Event(), threading.Event()
    old = model_file.load()
    client = connect(old, model_file)

    def slow():
        reached.set()
        assert go.wait(20)
        return load()

    monkeypatch.setattr(model_file, "_load", slow)
    promote(another, model_file.path)
    assert reached.wait(20)
    assert sent(client, paths[0]).json()["model"] == old.model_id
    assert client.get("/readyz").status_code == 200
    go.set()
    told()
    assert sent(client, paths[0]).json()["model"] != old.model_id


def test_a_heatmap_is_that_of_the_model_that_decided(
    connect, model_file, another, paths, monkeypatch, told
):
    old, drawn = model_file.load(), []
    client, heatmap = connect(old, model_file), Service.heatmap

    async def late(self, model, data, prediction):
        """Drawn when another model has been taken up."""
        if not drawn:
            promote(another, model_file.path)
            await asyncio.to_thread(told)
        drawn.append(model.explainer.checkpoint.threshold)
        return await heatmap(self, model, data, prediction)

    monkeypatch.setattr("service.runtime.Service.heatmap", late)
    answers = [sent(client, paths[0], params={"explain": "true"}).json() for _ in range(2)]
    assert [one["threshold"] for one in answers] == drawn == [old.threshold, 0.9]
    assert all(one["heatmap_png"] for one in answers)


def test_a_model_that_cannot_be_used_is_told_once_and_the_old_one_goes_on(
    connect, model_file, another, paths, told
):
    old = model_file.load()
    client = connect(old, model_file)
    model_file.path.write_bytes(another.read_bytes()[:-1000])
    (line,) = told()
    assert line.levelname == "WARNING"
    assert f"model {old.model_id} goes on" in line.details["reason"]
    time.sleep(0.5)  # some looks
    assert len(told()) == 1
    assert sent(client, paths[0]).json()["model"] == old.model_id
    assert client.get("/readyz").status_code == 200
    text = client.get("/metrics").text
    assert 'casting_model_reloads_total{result="failed"} 1.0' in text
    assert 'casting_model_reloads_total{result="taken_up"} 0.0' in text
    promote(another, model_file.path)
    assert told(2)[1].details["old"] == old.model_id
    assert sent(client, paths[0]).json()["model"] != old.model_id


# --- the command ---------------------------------------------------------------------------------


def test_wrong_options_are_told_in_a_line(trained, tmp_path, monkeypatch):
    own = ["--checkpoint", str(trained / "best.pth"), "--log", str(tmp_path / "log.db")]
    monkeypatch.delenv("CASTING_API_KEY", raising=False)
    with pytest.raises(UserError, match="needs a key"):
        main([*own, "--host", "0.0.0.0"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(UserError, match="--port"):
            main([*own, "--port", str(taken.getsockname()[1])])
    (tmp_path / "log.db").write_text("no log")
    with pytest.raises(UserError, match=r"log\.db"):
        main([*own, "--port", "0"])


@pytest.mark.parametrize("key", ["x", " " * 20, "fifteen letters", "sixteen letters, two words"])
def test_a_key_that_can_be_guessed_or_not_be_sent_is_refused(monkeypatch, key):
    monkeypatch.setenv("CASTING_API_KEY", key)
    with pytest.raises(UserError, match="openssl rand -hex 16"):
        main(["--port", "0"])


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "", "mes.example", "https://mes.example/", "file://x", "https://*.example",
     "https://mes.example:443", "http://mes.example:80", "https://mes.example:0",
     "https://mes.example:65536", "https://me@mes.example", "https://MES.example"],
)  # fmt: skip
def test_an_origin_that_no_browser_sends_is_refused(capsys, origin):
    with pytest.raises(SystemExit) as leaving:
        main(["--cors", origin])
    assert leaving.value.code == 2
    assert "as a browser sends it" in capsys.readouterr().err


def test_origins_are_taken_as_browsers_send_them():
    wanted = ["https://mes.example", "http://10.0.0.7:443", "https://[fe80::1]:8443"]
    given = [word for one in wanted for word in ("--cors", one)]
    assert build_parser().parse_args(given).origins == wanted
    assert build_parser().parse_args(["--allow-origin", wanted[0]]).origins == wanted[:1]


def test_without_fastapi_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-deploy\.txt"):
        main(["--port", "0"])


@pytest.fixture
def served(model_file, tmp_path):
    """The address of a service of its own process, and that process."""
    command = [
        sys.executable, str(ROOT / "serve.py"), "--port", "0", "--device", "cpu",
        "--checkpoint", str(model_file.path), "--log", str(tmp_path / "log.db"),
    ]  # fmt: skip
    with open(tmp_path / "errors", "w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        while not (found := re.search(r"http://([\d.]+):(\d+)", process.stdout.readline())):
            assert process.poll() is None
        yield (found[1], int(found[2])), process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_sigterm_answers_what_was_accepted(served, tmp_path, paths):
    (host, port), process = served
    data, headers = paths[0].read_bytes(), {"Content-Type": "image/jpeg"}

    def ask(_):
        with contextlib.suppress(httpx2.TransportError):  # not accepted any more
            url = f"http://{host}:{port}/v1/predict"
            return httpx2.post(url, content=data, headers=headers, timeout=60)

    url = f"http://{host}:{port}/metrics"
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(ask, number) for number in range(40)]
        while not re.search(r"casting_queue_parts [1-9]", httpx2.get(url).text):
            assert not all(one.done() for one in waiting)
        process.terminate()
        answers = [one.result() for one in waiting if one.result() is not None]
    assert process.wait(30) == 143
    assert answers
    assert all(one.status_code == 200 for one in answers)
    with InspectionLog(tmp_path / "log.db") as log:
        ids = {number for (number,) in log.query("SELECT id FROM inspections")}
        assert log.verify().problems == []
    assert ids == {one.json()["inspection_id"] for one in answers}
    *lines, last = (tmp_path / "errors").read_text().splitlines()
    assert last == "terminated"
    assert all(json.loads(line)["event"] == "request" for line in lines)


@pytest.mark.slow
def test_sighup_has_the_model_loaded_anew(served, model_file, another, tmp_path, paths):
    (host, port), process = served
    data, headers = paths[0].read_bytes(), {"Content-Type": "image/jpeg"}

    def ask() -> dict:
        url = f"http://{host}:{port}/v1/predict"
        return httpx2.post(url, content=data, headers=headers, timeout=60).json()

    def reloads(count: int) -> list[dict]:
        """What is said of models, when it has been said so often; parts are asked for meanwhile."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answers.append(ask())
            lines = map(json.loads, (tmp_path / "errors").read_text().splitlines())
            if len(found := [one for one in lines if one["event"].startswith("model ")]) == count:
                return found
        raise AssertionError((tmp_path / "errors").read_text())

    answers = [ask()]
    process.send_signal(signal.SIGHUP)
    (same,) = reloads(1)
    assert same["old"] == same["new"] == answers[0]["model"]
    promote(another, model_file.path)
    process.send_signal(signal.SIGHUP)
    _, change = reloads(2)
    answers.append(ask())
    assert answers[-1]["model"] == change["new"] != change["old"] == answers[0]["model"]
    process.terminate()
    assert process.wait(30) == 143
    assert models_in_log(tmp_path) == {one["inspection_id"]: one["model"] for one in answers}


@pytest.mark.slow
def test_clients_that_lie_about_their_bodies_cost_no_memory(served):
    """Over real sockets: too long as declared, too long without saying so, shorter than said."""
    address, process = served
    start = memory_kb(process)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    declared = head + b"Content-Length: 1099511627776\r\n\r\n" + b"x" * 1000
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    for _ in range(3):
        assert b" 413 " in conversation(address, [declared])
        chunked = [head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40]
        assert b" 413 " in conversation(address, chunked)
        with socket.create_connection(address) as short:  # leaves in the middle
            short.sendall(head + b"Content-Length: 1000\r\n\r\nxx")
    longer = head + b"Content-Length: 2\r\n\r\nxxGARBAGE\r\n\r\n"
    assert b" 422 " in conversation(address, [longer])
    assert memory_kb(process) - start < 100_000
    url = f"http://{address[0]}:{address[1]}/healthz"
    assert httpx2.get(url).status_code == 200


def conversation(address: tuple[str, int], pieces: list[bytes]) -> bytes:
    """Send as much as the service takes; the beginning of its answer."""
    with socket.create_connection(address, timeout=20) as connection:
        with contextlib.suppress(OSError):  # it may hang up while we send
            for piece in pieces:
                connection.sendall(piece)
        with contextlib.suppress(OSError):
            return connection.recv(4000)
    return b""


@pytest.mark.slow
def test_every_upload_that_is_too_much_gets_an_answer(served):
    """More than the service takes at once, by clients that read when they have sent everything."""
    address, process = served
    data, start = b"\xff\xd8" + bytes(MAX_IMAGE_BYTES - 2), memory_kb(process)

    def ask(_):
        connection = http.client.HTTPConnection(*address, timeout=120)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/predict", data, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            return answer.status, answer.headers["Retry-After"]

    for _ in range(3):  # 770 MB each: what is kept of them would add up
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(ask, range(24)))
        assert set(answers) == {(422, None), (503, "1")}
    assert memory_kb(process) - start < middleware.MAX_BYTES_IN_FLIGHT / 1000


def memory_kb(process: subprocess.Popen) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])
