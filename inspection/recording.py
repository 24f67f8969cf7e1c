"""Photographs that arrive as bytes: inspected, recorded, kept where a person may ask for them.

The service and the page both inspect through here, so that they decide, record and refuse alike.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from common.errors import UserError
from common.text import UNPRINTABLE
from inspection.frozen import FrozenCamera
from inspection.pictures import KeptImages
from inspection.predictor import Prediction, Predictor, Prepared
from model import Checkpoint
from traceability.log import InspectionLog, Record
from traceability.search import last_pictures

# Of inspections.csv
INSPECTION_COLUMNS = ["path", "sha256", "status", "prob_defect", "decision", "threshold", "model"]
INSPECTION_COLUMNS += ["latency_ms", "error"]
MAX_IMAGE_BYTES = 32 << 20  # a photograph of 24 megapixels, uncompressed, in grey
MOST_CAMERAS = 100  # counted at a time
TROUBLING = 0.2  # of the validation parts decided wrongly
MAX_NAME = 200
NAMELESS = "(unnamed)"


def doubts(checkpoint: Checkpoint) -> str:
    """What a person must hear before trusting a model; empty when its validation gives no cause."""
    v = checkpoint.validation
    for count, of, what in (
        ("false_alarms", "good", "rejects {} of {} good parts"),
        ("missed", "defects", "misses {} of {} defects"),
    ):
        if v.get(of) and v.get(count, 0) / v[of] > TROUBLING:
            counts = what.format(f"{v[count]:.0f}", f"{v[of]:.0f}")
            return f"this model {counts} among its own validation images: do not sort parts with it"
    return ""


@dataclass(frozen=True)
class Part:
    """A photograph to inspect, and what the log shall say about it."""

    name: str
    data: bytes
    station: str = ""
    lot: str = ""
    serial: str = ""
    prepared: Prepared | None = None  # the same decoded, where that has been done


@dataclass(frozen=True)
class Inspected:
    """A part with its decision and its number in the log."""

    id: int
    prediction: Prediction
    record: Record

    @property
    def name(self) -> str:
        """That the client gave it."""
        return self.record.file

    @property
    def model_id(self) -> str:
        """As `Predictor.model_id`."""
        return self.record.model[:12]


def file_name(text: str | None) -> str:
    """What a client calls its file, reduced to a name: no folders, no control characters."""
    return plain(re.split(r"[/\\]", text or "")[-1])[:MAX_NAME] or NAMELESS


def plain(text: str) -> str:
    """A text of one line, without control characters."""
    return UNPRINTABLE.sub("", text).strip()


class Inspector:
    """Inspects parts and records them; for one thread, as the log is.

    `predictor` may be another one for the next parts.

    Args:
        from_cameras: parts that name a station come from its camera, which may freeze. A person may
            try one photograph as often as he likes.
    """

    def __init__(self, predictor: Predictor, log: InspectionLog, from_cameras: bool = False):
        self.predictor, self.log = predictor, log
        self.images = KeptImages(log.path)
        self._from_cameras = from_cameras
        self._cameras: dict[str, FrozenCamera] = {}  # by station

    def inspect(self, parts: Sequence[Part]) -> list[Inspected]:
        """Decisions in the order of the parts; on return they are on the disk.

        Raises:
            UserError: they could not be recorded; then there is no decision.
        """
        predictions = self.predictor.predict([part.prepared or part.data for part in parts])
        model = self.predictor.sha256
        try:
            pairs = [(q, self._judged(q, p)) for q, p in zip(parts, predictions, strict=True)]
            records = [record_of(q.name, p, model, q.station, q.lot, q.serial) for q, p in pairs]
            ids = self.log.append(records)
        except UserError:
            self._cameras.clear()  # what was not recorded does not count
            raise
        for part, prediction in pairs:
            if prediction.status != "error" and prediction.decision != "ok":
                self.images.keep(prediction.sha256, part.data)
        return [
            Inspected(number, prediction, record)
            for number, (_, prediction), record in zip(ids, pairs, records, strict=True)
        ]

    def _judged(self, part: Part, prediction: Prediction) -> Prediction:
        """The prediction, unless the station's camera has frozen."""
        if not part.station or not self._from_cameras:
            return prediction
        if part.station not in self._cameras:
            if len(self._cameras) >= MOST_CAMERAS:
                self._cameras.clear()  # the log knows where each was
            self._cameras[part.station] = FrozenCamera(last_pictures(self.log, part.station))
        return self._cameras[part.station].judged(prediction)


def record_of(
    name: str, prediction: Prediction, model: str, station: str, lot: str, serial: str = ""
) -> Record:
    """A prediction as a record of the log."""
    p = prediction
    return Record(
        station, lot, name, p.sha256, p.status, model, p.threshold, p.prob_defect, p.decision,
        p.predicted_class, p.brightness, p.latency_ms, p.error, serial,
    )  # fmt: skip


def inspection_row(name: str, prediction: Prediction, model_id: str) -> list:
    """One line of inspections.csv; its numbers keep their digits."""
    predicted = prediction.prob_defect is not None
    return [
        name,
        prediction.sha256,
        prediction.status,
        Decimal(f"{prediction.prob_defect:.6f}") if predicted else "",
        prediction.decision,
        Decimal(f"{prediction.threshold:.6f}"),
        model_id,
        Decimal(f"{prediction.latency_ms:.1f}"),
        prediction.error,
    ]
