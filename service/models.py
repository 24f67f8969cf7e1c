"""The model that the service inspects with, and how another takes its place while it runs."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from inspection.explanation import explainer_of
from inspection.heatmap import Explainer
from inspection.model_file import ModelFile, cautions
from inspection.predictor import Predictor
from service.telemetry import Metrics, logger

T = TypeVar("T")
ASK_S = 0.1  # how soon SIGHUP is heard; the file itself is looked at once a second


@dataclass(frozen=True)
class Model:
    """What decides and what explains its decisions, taken up and given up as one."""

    predictor: Predictor
    explainer: Explainer | None  # None for an ONNX file


class ModelInUse:
    """The model of the requests that come; a thread replaces it when its file is another one.

    Who answers a request asks for `current` once: what the old model has begun it brings to its
    end. Its memory is free when the first part has been inspected with the new one.

    Args:
        file: where another may come from; None: nowhere.
    """

    def __init__(self, predictor: Predictor, file: ModelFile | None, metrics: Metrics):
        self.current = Model(predictor, None)
        self._file, self._metrics = file, metrics
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="taking models up", daemon=True)

    def open(self) -> None:
        """Make the heatmaps ready."""
        self.current = in_own_thread(lambda: with_explainer(self.current.predictor))

    def watch(self) -> None:
        """Watch the file from now on."""
        if self._file:
            self._thread.start()

    def close(self) -> None:
        """Take no other model up."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._ending.wait(ASK_S):
            if self._file.is_due():
                self._take_up()

    def _take_up(self) -> None:
        old = self.current.predictor
        try:
            self.current = in_own_thread(lambda: with_explainer(self._file.reload(old)))
        except Exception as error:  # the old one goes on, whatever is wrong
            self._metrics.reloads.labels("failed").inc()
            logger.warning("model not taken up", extra={"details": {"reason": str(error)}})
            return
        self._metrics.reloads.labels("taken_up").inc()
        logger.info("model taken up", extra={"details": change(old, self.current.predictor)})


def with_explainer(predictor: Predictor) -> Model:
    """A predictor and what explains it."""
    return Model(predictor, explainer_of(predictor))


def change(old: Predictor, new: Predictor) -> dict:
    """Of two models, for a line of the service's log."""
    return {
        "old": old.model_id, "new": new.model_id,
        "old_threshold": old.threshold, "threshold": new.threshold, "cautions": cautions(new),
    }  # fmt: skip


def in_own_thread(work: Callable[[], T]) -> T:
    """The result of work done by a thread that then ends.

    OpenMP keeps helpers for every thread that has ever computed, and when there are more of them
    than cores, all sleep at every step: on two cores a part then takes 30 ms instead of 17. So
    while the service runs only the queue's thread has helpers.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()
