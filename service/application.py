"""The service as one FastAPI application: its routes, what all requests pass, and its errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from common.errors import UserError
from inspection.model_file import ModelFile
from inspection.predictor import Predictor
from inspection.recording import MAX_IMAGE_BYTES
from service.limits import MAX_BATCH_BYTES
from service.middleware import OPEN_PATHS, OtherPages, RefusedError, RequestMiddleware
from service.openapi import DESCRIPTION, TAGS, with_examples
from service.requests import FORM_BYTES
from service.routes import inspecting
from service.runtime import Service, ServiceSettings
from service.telemetry import logger
from service.watching import watching
from service.wording import in_words
from traceability.access import LogUnavailableError

LOG_RETRY_S = 5


class DocumentedAPI(FastAPI):
    """An application whose OpenAPI document has examples."""

    def openapi(self) -> dict:
        return with_examples(super().openapi())


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

    app = DocumentedAPI(
        title="Casting inspection",
        version="1",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages come from other hosts: service/watching.py has ours
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(inspecting)
    app.include_router(watching)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(UserError, unavailable)
    add_middleware(app, service)
    return app


def add_middleware(app: FastAPI, service: Service) -> None:
    """What every request passes before it comes to a route."""
    settings = service.settings
    routes = {*OPEN_PATHS, *(route.path for route in (*inspecting.routes, *watching.routes))}
    limits = {
        "/v1/predict": MAX_IMAGE_BYTES + FORM_BYTES,
        "/v1/predict/batch": MAX_BATCH_BYTES + FORM_BYTES,
        "*": 1 << 16,
    }
    app.add_middleware(
        RequestMiddleware, api_key=settings.api_key, max_body_bytes=limits,
        metrics=service.metrics, allow_origins=settings.allow_origins, routes=routes,
    )  # fmt: skip
    if settings.allow_origins:  # around all else: refusals must be readable too
        app.add_middleware(
            OtherPages, allow_origins=settings.allow_origins,
            allow_methods=["GET", "HEAD", "POST"], allow_headers=["X-API-Key", "Authorization"],
            expose_headers=["X-Request-ID", "Retry-After"],
            allow_private_network=True,  # else a page of another network could not call
        )  # fmt: skip


# --- errors, all of one shape --------------------------------------------------------------------


async def http_error(request: Request, error: HTTPException) -> Response:
    """What a route refuses; unknown paths, wrong methods, forms that are none."""
    if isinstance(error, RefusedError):
        return error.response()
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = allowed(headers.get("Allow", ""))
        if request.method == "OPTIONS":  # it asks for nothing but this header
            return Response(status_code=204, headers=headers)
    code, text = refused(error, headers, request.method)
    refusal = RefusedError(error.status_code, code, text)
    refusal.headers.update(headers)
    return refusal.response()


def refused(error: HTTPException, headers: dict[str, str], method: str) -> tuple[str, str]:
    """Code and message of what the framework refuses."""
    if error.status_code == 404:
        return "not_found", "there is no such path; the page at / leads to all that there are"
    if error.status_code == 405:
        return "wrong_method", f"{method} is no method of this path, but {headers['Allow']}"
    return "malformed" if error.status_code == 400 else "refused", str(error.detail)


def allowed(methods: str) -> str:
    """All methods of a path, by those of its route: HEAD goes with GET, OPTIONS with all."""
    own = methods.replace("GET", "GET, HEAD")
    return f"{own}, OPTIONS"


async def invalid_request(request: Request, error: RequestValidationError) -> Response:
    """A parameter or JSON body against its schema."""
    return RefusedError(422, "invalid", "; ".join(map(in_words, error.errors()))).response()


async def unavailable(request: Request, error: UserError) -> Response:
    """A full disk, a damaged log or model; its text is for the operator."""
    logger.error("unavailable", extra={"details": {"reason": str(error)}})
    refusal = RefusedError(
        503, "unavailable", "the model or the log cannot be used: nothing was decided or read"
    )
    if isinstance(error, LogUnavailableError):  # it may pass
        refusal.headers["Retry-After"] = str(LOG_RETRY_S)
    return refusal.response()
