"""Collects what concurrent requests want inspected; one thread inspects it in batches.

Nothing waits for a batch to fill: while one is computed, the next collects. A lone part is judged
at once, a crowd in batches of up to 32.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from common import UserError
from inspector import Inspected, Inspector, Part
from predict import BATCH_SIZE, Predictor
from records import InspectionLog


class QueueFullError(Exception):
    """More parts wait than are allowed to; come again in `retry_after_s`."""

    def __init__(self, retry_after_s: int):
        super().__init__("too many parts are waiting")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Waiting:
    """A part on the queue."""

    part: Part
    done: "Future[Inspected]" = field(default_factory=Future)


class Batcher:
    """The queue and its thread.

    Args:
        limit: of parts that wait or are being judged.
        observe: called with the size of each batch.
    """

    def __init__(
        self, predictor: Predictor, log: Path, limit: int, observe: Callable[[int], object]
    ):
        self.limit, self.observe = limit, observe
        self.failure = ""  # why the last batch failed
        self._predictor, self._log = predictor, log
        self._waiting: deque[Waiting] = deque()
        self._in_work = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._part_s = 0.05  # how long a part takes, smoothed
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="inspecting", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            UserError: the log cannot be opened.
        """
        self._thread.start()
        self._opened.result()

    def stop(self) -> None:
        """Judge what waits, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    @property
    def depth(self) -> int:
        """Parts that wait or are being judged."""
        return len(self._waiting) + self._in_work

    @property
    def is_running(self) -> bool:
        """Whether parts are taken."""
        return self._thread.is_alive() and not self._stopping

    def check_room(self, count: int = 1) -> None:
        """Raise QueueFullError unless `count` more parts may come."""
        if self.depth + count > self.limit:
            raise QueueFullError(max(1, math.ceil(self.depth * self._part_s)))

    def submit(self, parts: Sequence[Part]) -> "list[Future[Inspected]]":
        """Queue parts, all or none.

        Raises:
            QueueFullError: there is no room for all.
        """
        waiting = [Waiting(part) for part in parts]
        with self._changed:
            self.check_room(len(parts))
            if self._stopping:
                raise QueueFullError(1)
            self._waiting += waiting
            self._changed.notify()
        return [one.done for one in waiting]

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            log = InspectionLog(self._log, "create")
        except UserError as error:
            self._opened.set_exception(error)
            return
        with log:
            inspector = Inspector(self._predictor, log)
            self._opened.set_result(None)
            while batch := self._next_batch():
                self._inspect(inspector, batch)

    def _next_batch(self) -> list[Waiting]:
        """Waits for parts; empty when the service stops and none is left."""
        with self._changed:
            self._in_work = 0
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            batch = [self._waiting.popleft() for _ in range(min(BATCH_SIZE, len(self._waiting)))]
            self._in_work = len(batch)
            return batch

    def _inspect(self, inspector: Inspector, batch: list[Waiting]) -> None:
        # A client that has gone leaves a cancelled future: its part is not judged
        batch = [one for one in batch if one.done.set_running_or_notify_cancel()]
        started = time.perf_counter()
        try:
            found = inspector.inspect([one.part for one in batch])
        except Exception as error:  # the thread lives on: the next batch may succeed
            self.failure = str(error) or type(error).__name__
            for one in batch:
                one.done.set_exception(error)
            return
        self.failure = ""
        for one, inspected in zip(batch, found, strict=True):
            one.done.set_result(inspected)
        if batch:
            self.observe(len(batch))
            each_s = (time.perf_counter() - started) / len(batch)
            self._part_s += 0.2 * (each_s - self._part_s)
