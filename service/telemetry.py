"""What can be watched of the service: metrics for Prometheus, a JSON line for each request."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from traceability.mqtt import MqttSink

LATENCIES_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)


logger = logging.getLogger("casting.service")


class Metrics:
    """What Prometheus reads; a registry of its own, so that two services in one process differ."""

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(
            "casting_requests", "Requests answered", ["route", "method", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.latency = Histogram(
            "casting_request_seconds", "From a request's first byte to its answer", ["route"],
            buckets=LATENCIES_S, registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            "casting_decisions", "Recorded decisions; 'not_judged' and 'error': parts without one",
            ["decision", "predicted_class"], registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "casting_batch_parts", "Parts inspected together", buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )  # fmt: skip
        self.reloads = Counter(
            "casting_model_reloads", "Times that the model's file was loaded anew; 'failed': the "
            "model before went on", ["result"], registry=self.registry,
        )  # fmt: skip
        for result in ("taken_up", "failed"):  # an alarm needs the 0 before the first
            self.reloads.labels(result)


class SinkCollector(Collector):
    """What becomes of results that are published, as metrics."""

    def __init__(self, sink: MqttSink):
        self._sink = sink

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily(
            "casting_mqtt_results", "Results for the MQTT broker; 'dropped': too many waited",
            labels=["result"],
        )  # fmt: skip
        counts.add_metric(["acknowledged"], self._sink.acknowledged)
        counts.add_metric(["dropped"], self._sink.dropped)
        yield counts
        yield GaugeMetricFamily(
            "casting_mqtt_waiting", "Results that the broker has not got yet", self._sink.waiting
        )


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        time_text = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time_text.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "details", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_broker(state: str) -> None:
    """A line about the MQTT broker, when it comes or goes."""
    logger.warning("mqtt", extra={"details": {"state": state}})


def log_as_json() -> None:
    """Send everything that the service and its server log to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (
        (logger.name, logging.INFO),
        ("uvicorn.error", logging.WARNING),
        ("uvicorn.asgi", logging.WARNING),
        ("asyncio", logging.WARNING),
        ("python_multipart", logging.ERROR),  # a form that is none is the client's, who is told
        ("", logging.WARNING),
    ):
        one = logging.getLogger(name)
        one.handlers, one.propagate = [handler], False
        one.setLevel(level)
