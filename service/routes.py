"""The routes that inspect and that read the log: FastAPI around `runtime.Service`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Query, Request

from common.text import count_of
from inspection.model_file import restriction
from inspection.pictures import keep_judged
from inspection.recording import Part, file_name, plain
from service import openapi, schemas
from service.examples import DISPOSITION
from service.limits import MAX_BATCH_PARTS, MAX_NUMBER
from service.middleware import RefusedError
from service.requests import (
    ONE_PHOTOGRAPH,
    PHOTOGRAPHS,
    Lot,
    Name,
    Serial,
    Serials,
    Station,
    Time,
    form_files,
    media_type,
    only_known_parameters,
    photograph,
    utc,
)
from service.runtime import Service, ServiceSettings
from service.watching import KEY
from traceability.dispositions import AlreadyDecidedError, NothingToWithdrawError
from traceability.search import MAX_ROWS, search

inspecting = APIRouter(
    prefix="/v1", dependencies=[*KEY, Depends(only_known_parameters)], responses=openapi.ERRORS
)


@inspecting.get("/model", summary="The model in use", tags=[openapi.MODEL])
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
        restriction=restriction(checkpoint),
        recipe=str(checkpoint.training.get("recipe") or ""),
        weights=str(checkpoint.training.get("weights") or ""),
        **{name: getattr(checkpoint, name) for name in same},
    )


@inspecting.post(
    "/predict", summary="Inspect one photograph", tags=[openapi.INSPECTING],
    responses=openapi.UNSUPPORTED,
    openapi_extra={"requestBody": ONE_PHOTOGRAPH},
)  # fmt: skip
async def predict(
    request: Request, name: Name = None, station: Station = None, lot: Lot = None,
    serial: Serial = None, explain: bool = False,
) -> schemas.ExplainedDecision:  # fmt: skip
    """The field `file` of a form, or the body itself.

        curl -F file=@part.jpeg 'http://127.0.0.1:8000/v1/predict?lot=A17&serial=S0042&explain=true'

    A photograph that cannot be read is recorded and answered with 422. One that shows no part, or
    not as the model knows it, is recorded with status 'not_judged' and a reason, no decision. So is
    a picture that one station sends for the third time in a row, and each equal one after it: its
    camera may have frozen. Photographs without a station may come as often as anybody likes.
    """
    service: Service = request.app.state.service
    with service.heatmap_place(explain):
        service.check_room()
        own_name, data = await photograph(request)
        part = part_of(service.settings, name or own_name, data, station, lot, serial)
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
    "/predict/batch", summary="Inspect several photographs", tags=[openapi.INSPECTING],
    responses=openapi.UNSUPPORTED,
    openapi_extra={"requestBody": PHOTOGRAPHS},
)  # fmt: skip
async def predict_batch(
    request: Request, station: Station = None, lot: Lot = None, serial: Serials = None
) -> schemas.Decisions:
    """The fields `files` of a form, at most 64.

        curl -F files=@a.jpeg -F files=@b.jpeg http://127.0.0.1:8000/v1/predict/batch

    `serial`, if given, is given once for each file, in their order: `?serial=S1&serial=S2`.
    One that cannot be read or is not judged is in its place, with its status and no decision.
    """
    service: Service = request.app.state.service
    service.check_room()
    if media_type(request) != "multipart/form-data":
        raise RefusedError(415, "unsupported", "send the photographs as fields 'files' of a form")
    files = await form_files(request, "files", MAX_BATCH_PARTS)
    if serial and len(serial) != len(files):
        raise RefusedError(
            422, "invalid", f"query.serial: {len(serial)} given for {count_of(len(files), 'file')}"
        )
    parts = [
        part_of(service.settings, name, data, station, lot, one)
        for (name, data), one in zip(files, serial or [None] * len(files), strict=True)
    ]
    found, elapsed_ms = await service.inspect(service.model, parts)
    decisions = [schemas.Decision.of(one, elapsed_ms) for one in found]
    note(request, decisions)
    return schemas.Decisions(results=decisions)


@inspecting.post(
    "/verdicts", summary="Record a person's disposition of a part", tags=[openapi.LOG],
    status_code=201,
    responses=openapi.UNKNOWN | openapi.DECIDED,
    operation_id="verdicts_v1_verdicts_post",
)  # fmt: skip
def dispositions(
    request: Request,
    body: Annotated[schemas.NewDisposition, Body(examples=[DISPOSITION.model_dump()])],
) -> schemas.RecordedDisposition:
    """Of several on one part the latest counts; after `withdrawn` none, until there is a new one.

    With `seen`, only if nobody else has spoken meanwhile: else 409 says who, what and when. So it
    does where the last word is not that of the person who would take it back.
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
        except NothingToWithdrawError as error:
            refusal = (409, "nothing_to_withdraw", str(error), body.inspection_id)
            raise RefusedError(*refusal) from None
    own.pop("seen")
    return schemas.RecordedDisposition(verdict_id=number, **own)


@inspecting.get("/inspections", summary="Records of the log, the newest first", tags=[openapi.LOG])
def inspections(
    request: Request,
    decision: Literal["ok", "defect", "review", "not_judged", "error"] | None = None,
    station: Station = None,
    lot: Lot = None,
    serial: Serial = None,
    sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
    since: Time = None,
    until: Time = None,
    awaiting: bool = False,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 50,
) -> schemas.Inspections:
    """All that match; `next_before` leads to the next page.

    `since` and `until` (not included) are UTC times or their beginnings; `awaiting`: parts for
    review on which no person has spoken yet.
    """
    with request.app.state.service.open_log() as log:
        found = search(
            log,
            outcomes=[] if decision is None else [decision],
            station=station, lot=lot, serial=serial, sha256=sha256,
            since=utc(since), until=utc(until), awaiting=awaiting, before=before, limit=limit + 1,
        )  # fmt: skip
    page = found[:limit]
    return schemas.Inspections(
        inspections=[schemas.LoggedInspection.of_record(one) for one in page],
        next_before=page[-1].id if len(found) > limit else None,
    )


def part_of(
    settings: ServiceSettings, name: str, data: bytes, station: str | None, lot: str | None,
    serial: str | None,
) -> Part:  # fmt: skip
    """A photograph and what the log shall say about it."""
    return Part(
        file_name(name),
        data,
        settings.station if station is None else plain(station),
        settings.lot if lot is None else plain(lot),
        plain(serial or ""),
    )


def note(request: Request, decisions: list[schemas.Decision]) -> None:
    """Put the decisions into the request's line of the service's log."""
    request.state.log = {
        "inspections": [one.inspection_id for one in decisions],
        "decisions": [one.decision or one.status for one in decisions],
    }
