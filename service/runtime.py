"""What the service's routes work with: the queue, the heatmaps, the metrics, the model in use."""

import asyncio
import base64
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Gauge

from imaging.overlays import png
from inspection.explanation import explain_predicted
from inspection.model_file import ModelFile
from inspection.predictor import Prediction, Predictor
from inspection.recording import Inspected, Part
from service.batching import Batcher, QueueFullError
from service.middleware import RefusedError, too_busy
from service.models import Model, ModelInUse, in_own_thread
from service.telemetry import Metrics, SinkCollector, logger
from traceability.log import DEFAULT_LOG, SHORT_BUSY_S, InspectionLog
from traceability.mqtt import MqttSink

HEATMAPS_WAITING = 8
HEATMAP_PX = 1500  # the longer side, at most


@dataclass(frozen=True)
class ServiceSettings:
    """How the service runs."""

    log: Path = DEFAULT_LOG
    station: str = ""  # of parts whose request names none
    lot: str = ""
    api_key: str | None = None  # without one only programs on this machine are served
    queue_limit: int = 128  # parts that wait or are being inspected
    allow_origins: tuple[str, ...] = ()  # of web pages elsewhere that may call
    sink: MqttSink | None = None  # gets each recorded result


class Service:
    """The running service."""

    def __init__(
        self, settings: ServiceSettings, predictor: Predictor, file: ModelFile | None = None
    ):
        self.settings, self.metrics = settings, Metrics()
        self.in_use = ModelInUse(predictor, file, self.metrics)
        self.batcher: Batcher | None = None
        self.heatmaps_waiting, self.heatmap_turn = 0, asyncio.Lock()
        depth = Gauge("casting_queue_parts", "Parts that wait", registry=self.metrics.registry)
        depth.set_function(lambda: self.batcher.depth if self.batcher else 0)
        if settings.sink:
            self.metrics.registry.register(SinkCollector(settings.sink))

    @property
    def model(self) -> Model:
        """For a request that comes now; another one may have taken its place at the next look."""
        return self.in_use.current

    def open(self) -> None:
        """Start the queue, and watch the model's file.

        Raises:
            UserError: no usable log.
        """
        self.in_use.open()
        settings, observe = self.settings, self.metrics.batches.observe
        sink = settings.sink
        batcher = Batcher(settings.log, settings.queue_limit, observe, sink and sink.put)
        batcher.start()
        self.batcher = batcher
        self.in_use.watch()

    def close(self) -> None:
        """Answer what waits, then end."""
        self.batcher.stop()
        self.in_use.close()

    def open_log(self, mode: str = "read") -> InspectionLog:
        """The log in which this service records.

        Raises:
            UserError: it is not there any more, or another is in its place.
        """
        self.batcher.check_log()
        return InspectionLog(self.settings.log, mode, SHORT_BUSY_S)

    def check_room(self) -> None:
        """Raise RefusedError when no part can be taken, before its body is read."""
        try:
            self.batcher.check_room()
        except QueueFullError as full:
            raise too_busy(full.retry_after_s, str(full)) from None

    async def inspect(self, model: Model, parts: Sequence[Part]) -> tuple[list[Inspected], float]:
        """A model's recorded decisions, and how many milliseconds they took from here.

        Raises:
            RefusedError: there is no room.
            UserError: they could not be recorded; then there is no decision.
        """
        started = time.perf_counter()
        try:
            waiting = self.batcher.submit(model.predictor, parts)
        except QueueFullError as full:
            raise too_busy(full.retry_after_s, str(full)) from None
        found = await asyncio.wrap_future(waiting)
        for one in found:
            p = one.prediction
            self.metrics.decisions.labels(p.outcome, p.predicted_class).inc()
        return found, (time.perf_counter() - started) * 1000

    @contextmanager
    def heatmap_place(self, wanted: bool) -> Iterator[None]:
        """Holds a place among those who wait for heatmaps, from before the part is inspected.

        Raises:
            RefusedError: there can be no heatmap, or too many wait.
        """
        if not wanted:
            yield
            return
        if self.model.explainer is None:
            raise RefusedError(
                422, "no_heatmaps", "an ONNX model has no heatmaps; serve its checkpoint"
            )
        if self.heatmaps_waiting >= HEATMAPS_WAITING:
            raise too_busy(1, "too many heatmaps are waiting")
        self.heatmaps_waiting += 1
        try:
            yield
        finally:
            self.heatmaps_waiting -= 1

    async def heatmap(self, model: Model, data: bytes, prediction: Prediction) -> str | None:
        """The photograph under a model's heatmap, a PNG in base64; one at a time, beside the queue.

        None when it cannot be drawn: the decision is recorded and must be answered all the same.
        """
        if model.explainer is None:  # it was taken up after the request had come
            return None

        def draw() -> str:
            (one,) = explain_predicted(model.explainer, [(data, prediction)], HEATMAP_PX)
            return base64.b64encode(png(one.overlay())).decode()

        try:
            async with self.heatmap_turn:
                return await asyncio.to_thread(in_own_thread, draw)
        except Exception:
            logger.exception("no heatmap")
            return None
