"""Collects what concurrent requests want inspected; one thread inspects it in batches.

While a batch is computed, the next collects, up to 16 parts. Only an idle service waits, for some
milliseconds, whether a part comes alone: of four that come together the first one would be
inspected by itself and the others wait for it. A request is never split: all its parts are
recorded, or none.

Photographs are decoded before, in threads of their own, and requests take turns, image by image:
one of few parts does not wait for one of many large ones.
"""

import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from inspection.options import BATCH_SIZE
from inspection.predictor import Predictor
from inspection.recording import Inspected, Inspector, Part
from traceability.access import LogUnavailableError, OpenedFiles
from traceability.log import SHORT_BUSY_S, InspectionLog, Record

FAILING_S = 5.0
GATHERING_S = 0.004


class QueueFullError(Exception):
    """More parts wait than are allowed to; come again in `retry_after_s`."""

    def __init__(self, retry_after_s: int):
        super().__init__("too many parts are waiting")
        self.retry_after_s = retry_after_s


@dataclass
class PendingRequest:
    """The parts of a request on the queue: inspected and recorded all together, or none of them."""

    predictor: Predictor  # decodes them and decides, whatever model has been taken up by then
    parts: list[Part]
    decoded: int = 0  # so many of them
    since: float = field(default_factory=time.monotonic)
    done: "Future[list[Inspected]]" = field(default_factory=Future)


class Batcher:
    """The queue and its thread.

    Args:
        limit: of parts that wait or are being inspected.
        observe: called with the size of each batch.
        tell: called with each inspection that has been recorded, and its number.
    """

    def __init__(
        self,
        log: Path,
        limit: int,
        observe: Callable[[int], object],
        tell: Callable[[int, Record], object] | None = None,
    ):
        self.limit, self.observe, self._tell = limit, observe, tell
        self._log = log
        self._waiting: deque[PendingRequest] = deque()
        self._depth = 0
        self._failed_at = self._refused_at = -math.inf  # monotonic time
        self._refusal: LogUnavailableError | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._part_s = 0.05  # how long a part takes, smoothed
        self._files: OpenedFiles | None = None  # of the log
        self._opened: Future[None] = Future()
        self._decoders = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "decoding")
        self._thread = threading.Thread(target=self._run, name="inspecting", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            UserError: the log cannot be opened.
        """
        self._thread.start()
        self._opened.result()

    def stop(self) -> None:
        """Inspect what waits, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        self._decoders.shutdown()

    @property
    def depth(self) -> int:
        """Parts that wait or are being inspected."""
        return self._depth

    @property
    def is_running(self) -> bool:
        """Whether parts are taken."""
        return self._thread.is_alive() and not self._stopping

    @property
    def is_failing(self) -> bool:
        """Whether a batch has just failed; not for long, for only the next one can tell."""
        return time.monotonic() - self._failed_at < FAILING_S

    def check_log(self) -> None:
        """Raise LogUnavailableError when the log is not the file any more that was opened."""
        self._files.check()

    def check_room(self, count: int = 1) -> None:
        """Raise QueueFullError unless `count` more parts may come."""
        if self._stopping or self._depth + count > self.limit:
            raise QueueFullError(max(1, math.ceil(self._depth * self._part_s)))

    def submit(self, predictor: Predictor, parts: Sequence[Part]) -> "Future[list[Inspected]]":
        """Queue the parts of a request, all or none; the result is in their order.

        Args:
            predictor: decides on all of them.

        Raises:
            QueueFullError: there is no room for all.
        """
        request = PendingRequest(predictor, list(parts))
        with self._changed:
            self.check_room(len(parts))
            self._depth += len(parts)
        self._decoders.submit(self._decode, request)
        return request.done

    def _decode(self, request: PendingRequest) -> None:
        """Decodes one part, then lets others have their turn; a request given up is passed on."""
        if request.decoded < len(request.parts) and not request.done.cancelled():
            part = request.parts[request.decoded]
            with suppress(Exception):  # a bug shows again where the part is inspected, and is told
                part = replace(part, prepared=request.predictor.prepare(part.data))
            request.parts[request.decoded] = part
            request.decoded += 1
        if request.decoded < len(request.parts) and not request.done.cancelled():
            self._decoders.submit(self._decode, request)
            return
        with self._changed:
            refusal = self._refusal if request.since < self._refused_at else None
            if refusal is None:
                self._waiting.append(request)
                self._changed.notify()
            else:
                self._depth -= len(request.parts)
                self._changed.notify()  # perhaps the last one, and we are to stop
        if refusal is not None and request.done.set_running_or_notify_cancel():
            request.done.set_exception(refusal)

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            log = InspectionLog(self._log, "create", SHORT_BUSY_S, self._tell)
            self._files = log.files
        except BaseException as error:
            self._opened.set_exception(error)
            return
        with log:
            self._opened.set_result(None)
            inspector: Inspector | None = None  # one throughout: it knows the stations' cameras
            while batch := self._next_batch():
                inspector = inspector or Inspector(batch[0].predictor, log, from_cameras=True)
                inspector.predictor = batch[0].predictor
                self._inspect(inspector, batch)
                with self._changed:
                    self._depth -= sum(len(one.parts) for one in batch)

    def _next_batch(self) -> list[PendingRequest]:
        """Waits for requests, those of one model; empty when the service stops and none is left."""
        with self._changed:
            if not self._waiting:
                # What is still being decoded is inspected too before the service ends
                self._changed.wait_for(
                    lambda: self._waiting or (self._stopping and not self._depth)
                )
                self._changed.wait_for(
                    lambda: self._decoded() >= BATCH_SIZE or self._stopping, GATHERING_S
                )
            batch, size = [], 0
            while self._waiting and (not batch or self._fits(batch[0].predictor, size)):
                batch.append(self._waiting.popleft())
                size += len(batch[-1].parts)
            return batch

    def _fits(self, predictor: Predictor, size: int) -> bool:
        """Whether the next request goes with a batch of `size` parts that a predictor decides."""
        following = self._waiting[0]
        return following.predictor is predictor and size + len(following.parts) <= BATCH_SIZE

    def _decoded(self) -> int:
        return sum(len(one.parts) for one in self._waiting)

    def _inspect(self, inspector: Inspector, batch: list[PendingRequest]) -> None:
        # What the service gives up when it ends is cancelled, and not inspected any more
        batch = [one for one in batch if one.done.set_running_or_notify_cancel()]
        parts = [part for one in batch for part in one.parts]
        if not parts:
            return
        started = time.perf_counter()
        try:
            self.check_log()
            found = inspector.inspect(parts)
        except Exception as error:  # the thread lives on: the next batch may succeed
            self._failed_at = time.monotonic()
            for one in batch:
                one.done.set_exception(error)
            if isinstance(error, LogUnavailableError):
                self._refuse_waiting(error)
            return
        self._failed_at = -math.inf
        rest = iter(found)
        for one in batch:
            one.done.set_result(list(itertools.islice(rest, len(one.parts))))
        self.observe(len(parts))
        each_s = (time.perf_counter() - started) / len(parts)
        self._part_s += 0.2 * (each_s - self._part_s)

    def _refuse_waiting(self, error: LogUnavailableError) -> None:
        """Those who wait would each wait for the log in turn, only to hear the same."""
        with self._changed:
            self._refused_at, self._refusal = time.monotonic(), error  # of those being decoded too
            waiting = list(self._waiting)
            self._waiting.clear()
            self._depth -= sum(len(one.parts) for one in waiting)
        for one in waiting:
            if one.done.set_running_or_notify_cancel():
                one.done.set_exception(error)
