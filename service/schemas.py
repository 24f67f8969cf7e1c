"""What the service answers: the shapes in its OpenAPI document."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from inspection.recording import Inspected, plain
from service.limits import MAX_NUMBER
from traceability.dispositions import Disposition
from traceability.search import Found
from traceability.subgroups import RUN

OF_RECORD = ("time", "station", "lot", "serial")  # what the log knows besides the prediction
MODEL_DIGITS = 12  # of the SHA-256 of the model's file, as in inspections.csv


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, str) else value


Line = Annotated[str, BeforeValidator(_plain)]


class Answer(BaseModel):
    """A JSON object that has these fields and no others."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, protected_namespaces=())


class Decision(Answer):
    """The decision on a part."""

    inspection_id: int = Field(description="its number in the inspection log")
    name: str = Field(description="the file's name; a station records its path")
    sha256: str = Field(description="of the bytes that were inspected")
    status: str = Field(
        description="'ok' (inspected), 'not_judged' (no sound photograph of the part, or the same "
        f"picture {RUN} times in a row from one station: a frozen camera) or 'error' (could not be "
        "read)"
    )
    decision: str = Field(description="'ok', 'defect', 'review', or empty when it was not judged")
    predicted_class: str
    prob_defect: float | None = Field(description="0 to 1")
    threshold: float = Field(description="defects are parts with prob_defect from here on")
    model: str = Field(description="first 12 digits of the SHA-256 of the model's file")
    latency_ms: float = Field(description="from the complete request to the recorded decision")
    error: str = Field(
        description="why it was not judged, or why a person must look at a part unlike all that "
        "the model was trained on"
    )
    time: str = Field(description="of the record: UTC, ISO 8601")
    station: str
    lot: str
    serial: str = Field(description="number of the part; empty when it is not known")

    @classmethod
    def of(cls, inspected: Inspected, latency_ms: float) -> "Decision":
        """The answer on a part."""
        p = inspected.prediction
        return cls(
            inspection_id=inspected.id, name=inspected.name, sha256=p.sha256, status=p.status,
            decision=p.decision, predicted_class=p.predicted_class, prob_defect=p.prob_defect,
            threshold=p.threshold, model=inspected.model_id, latency_ms=round(latency_ms, 2),
            error=p.error,
            **{name: getattr(inspected.record, name) for name in OF_RECORD},
        )  # fmt: skip


class ExplainedDecision(Decision):
    """The decision on a part, with what speaks for a defect when it was asked for."""

    heatmap_png: str | None = Field(
        None,
        description="the photograph under its heatmap, base64, at most 1500 px; null when it was "
        "not asked for, or not possible",
    )


class Decisions(Answer):
    """The decisions on several parts, in the order of the files."""

    results: list[Decision]


class DispositionOnPart(Answer):
    """A person's disposition of an inspected part."""

    inspection_id: int = Field(ge=1, le=MAX_NUMBER)
    verdict: Literal["ok", "defect", "withdrawn"] = Field(
        description="withdrawn: the person takes back the last word on this photograph, his own",
    )
    person: Line = Field(min_length=1, max_length=100)
    note: Line = Field("", max_length=1000)


class NewDisposition(DispositionOnPart):
    """And what the person knows of others."""

    seen: int | None = Field(
        None, ge=0, le=MAX_NUMBER,
        description="verdict_id of the last disposition on this photograph that the person has "
        "seen, 0 for none; if there is a later one, the answer is 409. Without it all are recorded",
    )  # fmt: skip


class RecordedDisposition(DispositionOnPart):
    """And its number in the log."""

    verdict_id: int


class DispositionOnRecord(Answer):
    """A person's disposition in the log."""

    verdict_id: int
    verdict: str
    person: str
    note: str
    time: str

    @classmethod
    def of(cls, found: Disposition) -> "DispositionOnRecord":
        """The answer on a disposition of the log."""
        same = {name: getattr(found, name) for name in ("verdict", "person", "note", "time")}
        return cls(verdict_id=found.id, **same)


class LoggedInspection(Decision):
    """A record of the log; `latency_ms` is the work on this part alone."""

    brightness: float | None = Field(description="mean grey value, 0 to 255")
    person_says: DispositionOnRecord | None = Field(
        description="the latest disposition by a person"
    )

    @classmethod
    def of_record(cls, found: Found) -> "LoggedInspection":
        """The answer on a record."""
        same = (
            "sha256", "status", "decision", "predicted_class", "prob_defect", "threshold",
            "latency_ms", "error", "brightness", *OF_RECORD,
        )  # fmt: skip
        spoken = found.person_says
        return cls(
            inspection_id=found.id,
            name=found.file,
            model=found.model[:MODEL_DIGITS],
            person_says=DispositionOnRecord.of(spoken) if spoken else None,
            **{name: getattr(found, name) for name in same},
        )


class Inspections(Answer):
    """A page of the log, the newest first."""

    inspections: list[LoggedInspection]
    next_before: int | None = Field(description="the next page: ?before=...; null on the last")


class ModelCard(Answer):
    """The model that inspects."""

    model: str
    sha256: str
    class_names: list[str]
    image_size_px: int
    threshold: float
    review: list[float] | None = Field(description="low, high: in between a person decides")
    temperature: float
    engine: str = Field(description="'torch' or 'onnx'")
    gate: bool = Field(description="whether what is no sound photograph of a part is not judged")
    data: str = Field(description="what it was trained on")
    restriction: str = Field(description="what it must not be used for; empty: nothing is known")
    protocol: str
    recipe: str
    weights: str = Field(description="what it started from")
    validation: dict[str, float] = Field(
        description="on its validation images, at its own threshold"
    )
    operating_point: dict | None = Field(description="how the threshold came about")


class Health(Answer):
    """Whether the process lives, or takes parts."""

    status: str
    reason: str = ""


class ErrorDetails(Answer):
    """What went wrong."""

    code: str
    message: str
    inspection_id: int | None = Field(description="of a part that was recorded as unreadable")


class Error(Answer):
    """The one shape of all errors."""

    error: ErrorDetails
