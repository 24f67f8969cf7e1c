"""Requests that come together are predicted together; too many are refused, none is lost."""

import threading
import time
from dataclasses import replace

import pytest

from common.errors import UserError
from inspection.options import BATCH_SIZE
from inspection.predictor import load_predictor
from inspection.recording import Part
from service.batching import Batcher, QueueFullError
from traceability.access import LogUnavailableError
from traceability.log import InspectionLog


@pytest.fixture(scope="module")
def parts(castings) -> list[Part]:
    paths = sorted((castings / "train").rglob("*.jpeg"))[:40]
    return [Part(path.name, path.read_bytes()) for path in paths]


class Gate:
    """Holds the predictor until it is opened."""

    def __init__(self, predictor, monkeypatch):
        self.open, self.reached = threading.Event(), threading.Event()
        original = predictor.predict

        def waiting(images):
            self.reached.set()
            assert self.open.wait(20)
            return original(images)

        monkeypatch.setattr(predictor, "predict", waiting)


def wait_until_decoded(batcher: Batcher, count: int) -> None:
    deadline = time.monotonic() + 20
    while batcher._decoded() < count and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.fixture
def start(tmp_path):
    """A function that starts a batcher; all are stopped in the end."""
    started = []

    def start(limit=100, observe=lambda size: None) -> Batcher:
        batcher = Batcher(tmp_path / "log.db", limit, observe)
        batcher.start()
        started.append(batcher)
        return batcher

    yield start
    for batcher in started:
        batcher.stop()


def test_a_crowd_is_predicted_in_batches_and_as_one_by_one(
    start, predictor, parts, monkeypatch, tmp_path
):
    alone = predictor.predict([part.data for part in parts])
    gate, sizes = Gate(predictor, monkeypatch), []
    batcher = start(observe=sizes.append)
    futures = [batcher.submit(predictor, parts[:1])]
    assert gate.reached.wait(20)
    futures += [batcher.submit(predictor, [part]) for part in parts[1:]]
    wait_until_decoded(batcher, len(parts) - 1)
    gate.open.set()
    found = [inspected for one in futures for inspected in one.result(20)]
    assert [one.name for one in found] == [part.name for part in parts]
    assert sizes[0] == 1
    assert sizes[1] == BATCH_SIZE
    assert sum(sizes) == len(parts)
    for one, direct in zip(found, alone, strict=True):
        assert one.prediction.decision == direct.decision
        assert one.prediction.prob_defect == pytest.approx(direct.prob_defect, abs=1e-4)
    with InspectionLog(tmp_path / "log.db") as log:
        rows = dict(log.query("SELECT id, file FROM inspections"))
    assert rows == {one.id: one.name for one in found}


def test_beyond_the_limit_all_or_none_is_taken(start, predictor, parts, monkeypatch):
    gate, batcher = Gate(predictor, monkeypatch), start(limit=5)
    taken = [batcher.submit(predictor, parts[:1])]
    assert gate.reached.wait(20)  # what is being predicted counts too
    taken.append(batcher.submit(predictor, parts[1:4]))
    with pytest.raises(QueueFullError) as full:
        batcher.submit(predictor, parts[4:6])
    assert full.value.retry_after_s >= 1
    assert batcher.depth == 4
    taken.append(batcher.submit(predictor, parts[4:5]))
    gate.open.set()
    assert [len(one.result(20)) for one in taken] == [1, 3, 1]
    deadline = time.monotonic() + 10
    while batcher.depth and time.monotonic() < deadline:
        time.sleep(0.01)
    assert batcher.depth == 0


def test_stopping_predicts_what_waits_and_takes_no_more(start, predictor, parts, monkeypatch):
    gate, batcher = Gate(predictor, monkeypatch), start()
    future = batcher.submit(predictor, parts)
    assert gate.reached.wait(20)
    stopping = threading.Thread(target=batcher.stop)
    stopping.start()
    while batcher.is_running:
        time.sleep(0.01)
    with pytest.raises(QueueFullError):
        batcher.submit(predictor, parts[:1])
    gate.open.set()
    stopping.join(20)
    assert [one.id for one in future.result(0)] == list(range(1, len(parts) + 1))


def test_a_failure_reaches_those_who_wait_and_the_next_batch_is_predicted(
    start, predictor, parts, monkeypatch
):
    batcher = start()
    with monkeypatch.context() as patch:
        patch.setattr(InspectionLog, "append", failing)
        future = batcher.submit(predictor, parts[:1])
        with pytest.raises(UserError, match="disk full"):
            future.result(20)
        assert batcher.is_failing
    monkeypatch.setattr("service.batching.FAILING_S", 0.05)
    time.sleep(0.06)
    assert not batcher.is_failing  # or nobody who asks first would ever send another part
    assert batcher.submit(predictor, parts[:1]).result(20)[0].id == 1
    assert not batcher.is_failing


def test_when_the_log_takes_nothing_nobody_waits_in_turn(start, predictor, parts, monkeypatch):
    gate, batcher = Gate(predictor, monkeypatch), start()
    calls = []

    def locked(self, records):
        calls.append(len(records))
        raise LogUnavailableError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(InspectionLog, "append", locked)
        futures = [batcher.submit(predictor, parts[:1])]
        assert gate.reached.wait(20)
        futures += [batcher.submit(predictor, parts[:20]) for _ in range(4)]
        gate.open.set()
        for one in futures:
            with pytest.raises(LogUnavailableError):
                one.result(20)
    assert calls == [1]
    assert batcher.submit(predictor, parts[:2]).result(20)[1].id == 2
    deadline = time.monotonic() + 10
    while batcher.depth and time.monotonic() < deadline:
        time.sleep(0.01)
    assert batcher.depth == 0


def failing(self, records):
    raise UserError("disk full")


def test_who_has_gone_is_not_predicted(start, predictor, parts, monkeypatch):
    gate, batcher = Gate(predictor, monkeypatch), start()
    first = batcher.submit(predictor, parts[:1])
    assert gate.reached.wait(20)
    gone, last = batcher.submit(predictor, parts[1:2]), batcher.submit(predictor, parts[2:3])
    wait_until_decoded(batcher, 2)
    assert gone.cancel()
    gate.open.set()
    assert (first.result(20)[0].id, last.result(20)[0].id) == (1, 2)
    assert last.result()[0].name == parts[2].name


def test_a_request_is_recorded_whole_or_not_at_all(start, predictor, parts, monkeypatch, tmp_path):
    gate, batcher = Gate(predictor, monkeypatch), start()
    first = batcher.submit(predictor, parts[:1])
    assert gate.reached.wait(20)
    requests = []
    for size in (20, 20, len(parts)):  # in this order
        requests.append(batcher.submit(predictor, parts[:size]))
        wait_until_decoded(batcher, sum(len(parts[:n]) for n in (20, 20, 99)[: len(requests)]))
    original, calls = InspectionLog.append, []

    def second_fails(self, records):
        calls.append(len(records))
        if len(calls) == 3:
            raise UserError("disk full")
        return original(self, records)

    monkeypatch.setattr(InspectionLog, "append", second_fails)
    gate.open.set()
    assert len(first.result(20)) == 1
    assert len(requests[0].result(20)) == 20
    with pytest.raises(UserError):
        requests[1].result(20)
    assert len(requests[2].result(20)) == len(parts)
    assert calls == [1, 20, 20, len(parts)]  # none is split, not even one over the batch size
    with InspectionLog(tmp_path / "log.db") as log:
        assert next(log.query("SELECT count(*) FROM inspections")) == (21 + len(parts),)


def test_a_log_that_cannot_be_opened_is_told_at_the_start(tmp_path):
    (tmp_path / "log.db").write_text("no log")
    batcher = Batcher(tmp_path / "log.db", 10, lambda size: None)
    with pytest.raises(UserError, match=r"log\.db"):
        batcher.start()


def test_parts_that_come_together_are_predicted_together(start, predictor, parts, monkeypatch):
    monkeypatch.setattr("service.batching.GATHERING_S", 0.5)
    sizes = []
    batcher = start(observe=sizes.append)
    futures = [batcher.submit(predictor, [part]) for part in parts[:4]]
    assert [len(one.result(20)) for one in futures] == [1, 1, 1, 1]
    deadline = time.monotonic() + 10
    while not sizes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sizes == [4]


class Slow:
    """Decoding that holds on some bytes until they are let go."""

    def __init__(self, predictor, monkeypatch, data: bytes):
        self.let_go, self.reached, self.decoded = threading.Event(), threading.Event(), 0
        original = predictor.prepare

        def prepare(image):
            if image == data:
                self.reached.set()
                assert self.let_go.wait(20)
            self.decoded += isinstance(image, bytes)
            return original(image)

        monkeypatch.setattr(predictor, "prepare", prepare)


def test_a_part_alone_does_not_wait_for_one_that_takes_long_to_decode(
    start, predictor, parts, monkeypatch
):
    slow, batcher = Slow(predictor, monkeypatch, parts[0].data), start()
    long = batcher.submit(predictor, [parts[0], *parts[1:3]])
    assert slow.reached.wait(20)
    assert batcher.submit(predictor, parts[3:4]).result(20)[0].name == parts[3].name
    assert not long.done()
    assert batcher.depth == 3
    slow.let_go.set()
    assert [one.name for one in long.result(20)] == [part.name for part in parts[:3]]


def test_requests_take_turns_image_by_image(start, predictor, parts, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    slow, batcher = Slow(predictor, monkeypatch, parts[0].data), start()
    first, second = (
        batcher.submit(predictor, parts[:1]),
        batcher.submit(predictor, parts[:1]),
    )  # both threads
    assert slow.reached.wait(20)
    many, one = batcher.submit(predictor, parts[1:]), batcher.submit(predictor, parts[1:2])
    slow.let_go.set()
    assert one.result(20)[0].id < many.result(20)[0].id
    assert first.result(20)[0].id != second.result(20)[0].id


def test_a_request_given_up_is_not_decoded_to_its_end(start, predictor, parts, monkeypatch):
    slow, batcher = Slow(predictor, monkeypatch, parts[0].data), start()
    gone = batcher.submit(predictor, parts)
    assert slow.reached.wait(20)
    assert gone.cancel()
    slow.let_go.set()
    batcher.stop()
    assert batcher.depth == 0
    assert slow.decoded == 1


def test_what_is_being_decoded_is_inspected_before_the_service_ends(
    start, predictor, parts, monkeypatch
):
    slow, batcher = Slow(predictor, monkeypatch, parts[0].data), start()
    future = batcher.submit(predictor, parts[:3])
    assert slow.reached.wait(20)
    stopping = threading.Thread(target=batcher.stop)
    stopping.start()
    while batcher.is_running:
        time.sleep(0.01)
    slow.let_go.set()
    stopping.join(20)
    assert [one.id for one in future.result(0)] == [1, 2, 3]


def test_a_lost_log_refuses_what_is_being_decoded_and_does_not_hinder_the_end(
    start, predictor, parts, monkeypatch
):
    slow, batcher = Slow(predictor, monkeypatch, parts[0].data), start()
    waiting = batcher.submit(predictor, parts[:1])
    assert slow.reached.wait(20)

    def lost(self, records):
        raise LogUnavailableError("gone")

    monkeypatch.setattr(InspectionLog, "append", lost)
    with pytest.raises(LogUnavailableError):
        batcher.submit(predictor, parts[1:2]).result(20)
    stopping = threading.Thread(target=batcher.stop)
    stopping.start()
    while batcher.is_running:
        time.sleep(0.01)
    slow.let_go.set()
    with pytest.raises(LogUnavailableError):
        waiting.result(20)
    stopping.join(20)
    assert not stopping.is_alive()


def test_an_error_while_decoding_reaches_those_who_wait(start, predictor, parts, monkeypatch):
    def broken(image):
        raise ZeroDivisionError

    batcher = start()
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "prepare", broken)
        with pytest.raises(ZeroDivisionError):
            batcher.submit(predictor, parts[:2]).result(20)
    assert batcher.submit(predictor, parts[:1]).result(20)[0].id == 1


def test_a_batch_is_one_models_and_each_request_that_of_its_own(
    start, predictor, parts, another, monkeypatch, tmp_path
):
    """Whatever has been taken up while it waited."""
    new = load_predictor(another, "cpu")
    gate, sizes = Gate(predictor, monkeypatch), []
    batcher = start(observe=sizes.append)
    futures = [batcher.submit(predictor, parts[:1])]
    assert gate.reached.wait(20)
    for number, one in enumerate((predictor, predictor, new, new, predictor)):
        futures.append(batcher.submit(one, parts[number : number + 2]))
        wait_until_decoded(batcher, 2 * number + 2)
    gate.open.set()
    found = [future.result(20) for future in futures]
    models = [{one.record.model for one in request} for request in found]
    assert models == [
        {one.sha256} for one in (predictor, predictor, predictor, new, new, predictor)
    ]
    assert sizes == [1, 4, 4, 2]
    for request in found[3:5]:
        assert {one.prediction.threshold for one in request} == {0.9}
    with InspectionLog(tmp_path / "log.db") as log:
        rows = dict(log.query("SELECT id, model FROM inspections"))
    assert rows == {one.id: one.record.model for request in found for one in request}


def test_a_frozen_camera_is_noticed_over_a_change_of_models(start, predictor, parts, another):
    new, batcher = load_predictor(another, "cpu"), start()
    frozen = [replace(parts[0], station="line 3")]
    found = [batcher.submit(one, frozen).result(20)[0] for one in (predictor, predictor, new)]
    assert [one.prediction.status for one in found] == ["ok", "ok", "not_judged"]
