"""The service's routes: FastAPI around `runtime.Service`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from common.errors import UserError
from inspection.model_file import ModelFile
from inspection.pictures import keep_judged
from inspection.predictor import Predictor
from inspection.recording import MAX_IMAGE_BYTES, Part, file_name, plain
from service import schemas
from service.batching import Batcher
from service.middleware import RefusedError, RequestMiddleware
from service.requests import (
    FORM_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_PARTS,
    ONE_PHOTOGRAPH,
    PHOTOGRAPHS,
    Text,
    Time,
    form_files,
    media_type,
    only_known_parameters,
    photograph,
    utc,
)
from service.runtime import Service, ServiceSettings
from service.telemetry import logger
from traceability.access import LogUnavailableError
from traceability.dispositions import AlreadyDecidedError
from traceability.search import MAX_ROWS, search

LOG_RETRY_S = 5
ERRORS = {
    status: {"model": schemas.Error, "description": meaning}
    for status, meaning in {
        400: "not a request of HTTP or JSON",
        401: "wrong or missing X-API-Key",
        403: "without a key only programs on this machine may call",
        408: "the body came too slowly",
        413: "the body is too large",
        422: "a wrong parameter, or a photograph that cannot be inspected",
        500: "a bug",
        503: "busy, or the decision could not be recorded",
    }.items()
}
UNSUPPORTED = {415: {"model": schemas.Error, "description": "neither a photograph nor a form"}}
DECIDED = {409: {"model": schemas.Error, "description": "somebody else was faster"}}
UNKNOWN = {404: {"model": schemas.Error, "description": "no such inspection"}}


def create_app(
    settings: ServiceSettings, predictor: Predictor, file: ModelFile | None = None
) -> FastAPI:
    """The application; starting it raises UserError when there is no usable log.

    Args:
        file: where the predictor comes from, and where another one may lie some day.
    """
    service = Service(settings, predictor, file)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.open()
        try:
            yield
        finally:
            service.close()

    app = FastAPI(
        title="Casting inspection",
        version="1",
        description="Inspects photographs of castings; records every decision.",
        lifespan=lifespan,
        docs_url=None,  # both show their pages from other hosts
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(watching)
    app.include_router(inspecting)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(UserError, unavailable)
    limits = {
        "/v1/predict": MAX_IMAGE_BYTES + FORM_BYTES,
        "/v1/predict/batch": MAX_BATCH_BYTES + FORM_BYTES,
        "*": 1 << 16,
    }
    app.add_middleware(
        RequestMiddleware, api_key=settings.api_key, max_body_bytes=limits,
        metrics=service.metrics, allow_origins=settings.allow_origins,
    )  # fmt: skip
    if settings.allow_origins:  # around all else: refusals must be readable too
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.allow_origins, allow_methods=["GET", "POST"],
            allow_headers=["X-API-Key", "Authorization"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )  # fmt: skip
    return app


# --- errors, all of one shape --------------------------------------------------------------------


async def http_error(request: Request, error: HTTPException) -> Response:
    """What a route refuses; unknown paths, wrong methods, forms that are none."""
    if isinstance(error, RefusedError):
        return error.response()
    codes = {404: "not_found", 405: "wrong_method", 400: "malformed"}
    refusal = RefusedError(
        error.status_code, codes.get(error.status_code, "refused"), str(error.detail)
    )
    refusal.headers.update(error.headers or {})
    return refusal.response()


async def invalid_request(request: Request, error: RequestValidationError) -> Response:
    """A parameter or JSON body against its schema."""
    problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return RefusedError(422, "invalid", "; ".join(problems)).response()


async def unavailable(request: Request, error: UserError) -> Response:
    """A full disk, a damaged log or model; its text is for the operator."""
    logger.error("unavailable", extra={"details": {"reason": str(error)}})
    refusal = RefusedError(
        503, "unavailable", "the model or the log cannot be used: nothing was decided or read"
    )
    if isinstance(error, LogUnavailableError):  # it may pass
        refusal.headers["Retry-After"] = str(LOG_RETRY_S)
    return refusal.response()


# --- being watched -------------------------------------------------------------------------------

watching = APIRouter()


@watching.get("/", include_in_schema=False)
async def root() -> dict[str, str]:
    """Where to read on."""
    return {"service": "casting inspection", "api": "/openapi.json"}


@watching.get("/healthz")
async def healthz() -> schemas.Health:
    """The process lives."""
    return schemas.Health(status="ok")


@watching.get("/readyz", responses={503: {"model": schemas.Health}})
async def readyz(request: Request, response: Response) -> schemas.Health:
    """Parts are taken: the model is loaded, the log can be written, the service is not ending."""
    reason = why_not_ready(request.app.state.service.batcher)
    if reason:
        response.status_code = 503
    return schemas.Health(status="unavailable" if reason else "ready", reason=reason)


def why_not_ready(batcher: Batcher | None) -> str:
    """Empty when parts are taken."""
    if batcher is None or not batcher.is_running:
        return "starting or ending"
    try:
        batcher.check_log()
    except LogUnavailableError:
        return "the log is not the file any more that was opened: put it back, or restart"
    return "the last parts could not be inspected or recorded" if batcher.is_failing else ""


@watching.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    """For Prometheus."""
    registry = request.app.state.service.metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


# --- inspecting ----------------------------------------------------------------------------------


inspecting = APIRouter(
    prefix="/v1",
    # For the OpenAPI document; the middleware has compared it before the body is read
    dependencies=[
        Security(APIKeyHeader(name="X-API-Key", auto_error=False)),
        Depends(only_known_parameters),
    ],
    responses=ERRORS,
)


@inspecting.get("/model")
async def model(request: Request) -> schemas.ModelCard:
    """Which model inspects, how it decides, and its figures."""
    predictor = request.app.state.service.model.predictor
    checkpoint = predictor.checkpoint
    same = (
        "class_names", "image_size_px", "temperature", "data", "protocol", "validation",
        "operating_point",
    )  # fmt: skip
    return schemas.ModelCard(
        model=predictor.model_id,
        sha256=predictor.sha256,
        threshold=predictor.threshold,
        review=list(predictor.review) if predictor.review else None,
        engine="torch" if checkpoint.weights else "onnx",
        gate=predictor.limits is not None,
        recipe=str(checkpoint.training.get("recipe") or ""),
        weights=str(checkpoint.training.get("weights") or ""),
        **{name: getattr(checkpoint, name) for name in same},
    )


@inspecting.post("/predict", responses=UNSUPPORTED, openapi_extra={"requestBody": ONE_PHOTOGRAPH})
async def predict(
    request: Request, name: Text = None, station: Text = None, lot: Text = None,
    explain: bool = False,
) -> schemas.ExplainedDecision:  # fmt: skip
    """Inspect one photograph: the field `file` of a form, or the body itself.

    A photograph that cannot be read is recorded and answered with 422. One that shows no part, or
    not as the model knows it, is recorded with status 'not_judged' and a reason, no decision.
    """
    service: Service = request.app.state.service
    with service.heatmap_place(explain):
        service.check_room()
        own_name, data = await photograph(request)
        part = part_of(service.settings, name or own_name, data, station, lot)
        model = service.model  # for decision and heatmap, whatever takes its place meanwhile
        (inspected,), elapsed_ms = await service.inspect(model, [part])
        decision = schemas.Decision.of(inspected, elapsed_ms)
        note(request, [decision])
        if decision.status == "error":
            raise RefusedError(422, "unreadable", decision.error, decision.inspection_id)
        wanted = explain and decision.decision
        heatmap = await service.heatmap(model, data, inspected.prediction) if wanted else None
    return schemas.ExplainedDecision(**decision.model_dump(), heatmap_png=heatmap)


@inspecting.post(
    "/predict/batch", responses=UNSUPPORTED, openapi_extra={"requestBody": PHOTOGRAPHS}
)
async def predict_batch(
    request: Request, station: Text = None, lot: Text = None
) -> schemas.Decisions:
    """Inspect the photographs in the fields `files` of a form, at most 64.

    One that cannot be read or is not judged is in its place, with its status and no decision.
    """
    service: Service = request.app.state.service
    service.check_room()
    if media_type(request) != "multipart/form-data":
        raise RefusedError(415, "unsupported", "send the photographs as fields 'files' of a form")
    files = await form_files(request, "files", MAX_BATCH_PARTS)
    parts = [part_of(service.settings, name, data, station, lot) for name, data in files]
    found, elapsed_ms = await service.inspect(service.model, parts)
    decisions = [schemas.Decision.of(one, elapsed_ms) for one in found]
    note(request, decisions)
    return schemas.Decisions(results=decisions)


@inspecting.post(
    "/verdicts",
    status_code=201,
    responses=UNKNOWN | DECIDED,
    operation_id="verdicts_v1_verdicts_post",
)
def dispositions(request: Request, body: schemas.NewDisposition) -> schemas.RecordedDisposition:
    """Record a person's disposition of a part; of several the latest counts.

    With `seen`, only if nobody else has spoken meanwhile: else 409 says who, what and when.
    """
    with request.app.state.service.open_log("append") as log:
        if not search(log, number=body.inspection_id):
            raise RefusedError(404, "not_found", f"there is no inspection {body.inspection_id}")
        own = body.model_dump()
        try:
            number = log.add_disposition(**own)
            keep_judged(log, body.inspection_id)
        except AlreadyDecidedError as error:
            text = f"{error}; to record yours too, send it with seen={error.last.id}"
            raise RefusedError(409, "already_decided", text, body.inspection_id) from None
    own.pop("seen")
    return schemas.RecordedDisposition(verdict_id=number, **own)


@inspecting.get("/inspections")
def inspections(
    request: Request,
    decision: Literal["ok", "defect", "review", "not_judged", "error"] | None = None,
    station: Text = None,
    lot: Text = None,
    sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
    since: Time = None,
    until: Time = None,
    awaiting: bool = False,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 50,
) -> schemas.Inspections:
    """Records of the log, the newest first; `next_before` leads to the next page.

    `since` and `until` (not included) are UTC times or their beginnings; `awaiting`: parts for
    review on which no person has spoken yet.
    """
    with request.app.state.service.open_log() as log:
        found = search(
            log,
            outcomes=[] if decision is None else [decision],
            station=station, lot=lot, sha256=sha256, since=utc(since), until=utc(until),
            awaiting=awaiting,
            before=before, limit=limit + 1,
        )  # fmt: skip
    page = found[:limit]
    return schemas.Inspections(
        inspections=[schemas.LoggedInspection.of_record(one) for one in page],
        next_before=page[-1].id if len(found) > limit else None,
    )


def part_of(
    settings: ServiceSettings, name: str, data: bytes, station: str | None, lot: str | None
) -> Part:
    """A photograph and what the log shall say about it."""
    return Part(
        file_name(name),
        data,
        settings.station if station is None else plain(station),
        settings.lot if lot is None else plain(lot),
    )


def note(request: Request, decisions: list[schemas.Decision]) -> None:
    """Put the decisions into the request's line of the service's log."""
    request.state.log = {
        "inspections": [one.inspection_id for one in decisions],
        "decisions": [one.decision or one.status for one in decisions],
    }
