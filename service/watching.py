"""The routes for those who run the service: the page at /, the documents, health, metrics."""

from importlib import resources

from fastapi import APIRouter, Request, Response, Security
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service import openapi, schemas
from service.batching import Batcher
from service.front_page import front_page
from service.middleware import SWAGGER_FILES, RefusedError
from traceability.access import LogUnavailableError

# A browser obeys: these pages take nothing from other hosts, and are in no frame and no index
OWN_PAGE = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; script-src 'self' "
    "'unsafe-inline'; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Robots-Tag": "noindex, nofollow",
    "Referrer-Policy": "no-referrer",
}
# For the OpenAPI document; the middleware has compared the key before the body is read
KEY = (
    Security(APIKeyHeader(name="X-API-Key", auto_error=False)),
    Security(HTTPBearer(auto_error=False)),
)

watching = APIRouter(tags=[openapi.WATCHING], responses=openapi.ELSEWHERE)


@watching.get("/", summary="A page about this service", response_class=HTMLResponse)
async def root(request: Request) -> HTMLResponse:
    """For people: whether it is ready, where to read on, and a first request to paste.

    Without a key it shows the model, too.
    """
    service = request.app.state.service
    own = service.settings.api_key is None
    text = front_page(
        str(request.base_url).rstrip("/"),
        why_not_ready(service.batcher),
        service.model.predictor if own else None,
    )
    return HTMLResponse(text, headers=OWN_PAGE)


@watching.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """The OpenAPI document as a page on which requests can be tried; all its files are ours."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Casting inspection: requests and answers",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="data:,",
        # Else it would ask another host whether the document is valid
        swagger_ui_parameters={"validatorUrl": None, "defaultModelsExpandDepth": 0},
    )
    page.headers.update(OWN_PAGE)
    return page


@watching.get("/docs/{name}", include_in_schema=False)
async def docs_file(name: str) -> FileResponse:
    """Swagger UI itself, out of an installed package."""
    if name not in SWAGGER_FILES:
        raise RefusedError(404, "not_found", "Not Found")
    path = resources.files("fastapi_offline") / "static" / name
    return FileResponse(str(path), headers={"Cache-Control": "max-age=86400"})


@watching.get("/healthz", summary="Whether the process lives")
async def healthz() -> schemas.Health:
    """Always 'ok': who gets no answer may restart it."""
    return schemas.Health(status="ok")


@watching.get("/readyz", summary="Whether parts are taken", responses=openapi.NOT_TAKING)
async def readyz(request: Request, response: Response) -> schemas.Health:
    """The model is loaded, the log can be written, the service is not ending."""
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


@watching.get(
    "/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse,
    dependencies=KEY, responses=openapi.WRONG_KEY,
)  # fmt: skip
def metrics(request: Request) -> Response:
    """Requests, decisions, latencies, batches, the queue and models taken up, as text."""
    registry = request.app.state.service.metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
