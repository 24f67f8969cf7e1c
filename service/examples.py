"""An example of each request and answer, for the OpenAPI document.

They are made of the answers' own classes, so that none can have a field too many.
"""

from inspection.model_file import RESEARCH_ONLY
from service import schemas

DECISION = schemas.Decision(
    inspection_id=17, name="part.jpeg", sha256="5f0c" * 16, status="ok", decision="defect",
    predicted_class="def_front", prob_defect=0.9731, threshold=0.5, model="0a1b2c3d4e5f",
    latency_ms=31.4, error="", time="2026-11-24T09:30:00.123Z", station="line3", lot="A17",
    serial="S0042",
)  # fmt: skip
NOT_JUDGED = DECISION.model_copy(
    update={
        "inspection_id": 18, "name": "dark.jpeg", "sha256": "9e1d" * 16, "status": "not_judged",
        "decision": "", "predicted_class": "", "prob_defect": None,
        "error": "underexposed: 98% of the pixels are black", "serial": "S0043",
    }
)  # fmt: skip
EXPLAINED = schemas.ExplainedDecision(**DECISION.model_dump())
DECISIONS = schemas.Decisions(results=[DECISION, NOT_JUDGED])
DISPOSITION = schemas.NewDisposition(
    inspection_id=17, verdict="ok", person="Huber", note="a stain, no crack", seen=0
)
RECORDED = schemas.RecordedDisposition(verdict_id=3, **DISPOSITION.model_dump(exclude={"seen"}))
LOGGED = schemas.LoggedInspection(
    **DECISION.model_dump(), brightness=121.4,
    person_says=schemas.DispositionOnRecord(
        verdict_id=3, verdict="ok", person="Huber", note="a stain, no crack",
        time="2026-11-24T09:31:07.512Z",
    ),
)  # fmt: skip
INSPECTIONS = schemas.Inspections(inspections=[LOGGED], next_before=17)
CARD = schemas.ModelCard(
    model=DECISION.model, sha256="0a1b2c3d4e5f" + "77" * 26, class_names=["def_front", "ok_front"],
    image_size_px=224, threshold=0.5, review=[0.2, 0.8], temperature=1.0, engine="torch", gate=True,
    data="castings", restriction=RESEARCH_ONLY, protocol="casting", recipe="robust", weights="none",
    validation={"accuracy": 0.97, "missed": 3.0, "defects": 180.0}, operating_point=None,
)  # fmt: skip
ALIVE = schemas.Health(status="ok")
READY = schemas.Health(status="ready")
NOT_READY = schemas.Health(status="unavailable", reason="starting or ending")
METRICS = """# HELP casting_decisions_total Recorded decisions
# TYPE casting_decisions_total counter
casting_decisions_total{decision="ok",predicted_class="ok_front"} 41.0
"""

# What is answered when all goes well, by method and path
ANSWERS = {
    ("get", "/v1/model"): CARD,
    ("post", "/v1/predict"): EXPLAINED,
    ("post", "/v1/predict/batch"): DECISIONS,
    ("post", "/v1/verdicts"): RECORDED,
    ("get", "/v1/inspections"): INSPECTIONS,
    ("get", "/healthz"): ALIVE,
    ("get", "/readyz"): READY,
    ("get", "/metrics"): METRICS,
    ("get", "/"): "<!DOCTYPE html>...",
}


def error(code: str, message: str, inspection_id: int | None = None) -> schemas.Error:
    """A refusal."""
    details = schemas.ErrorDetails(code=code, message=message, inspection_id=inspection_id)
    return schemas.Error(error=details)


REFUSALS = {
    400: error("malformed", "Missing boundary in multipart."),
    401: error("unauthorised", "send the service's key as X-API-Key"),
    403: error("local_only", "without CASTING_API_KEY only programs on this machine may call"),
    404: error("not_found", "there is no inspection 17"),
    408: error("too_slow", "the body came too slowly"),
    409: error(
        "already_decided",
        "Huber has already decided on inspection 17: 'ok' at 2026-11-24T09:31:07.512Z (disposition "
        "3); to record yours too, send it with seen=3",
        17,
    ),
    413: error("too_large", "the body exceeds 32.1 MB"),
    415: error(
        "unsupported",
        "text/html: send a form, or a photograph with a Content-Type such as image/jpeg",
    ),
    422: error("unreadable", "not an image", 17),
    500: error("internal", "an internal error; see the service's log"),
    503: error("busy", "too many parts are waiting; come again in 2 s"),
}
