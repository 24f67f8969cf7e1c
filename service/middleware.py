"""What every request passes first: the key, the limits of its body, metrics, a line in the log.

Plain ASGI around the application. Refusals have the service's one error shape:
`{"error": {"code": "too_large", "message": "...", "inspection_id": null}}`.
"""

import asyncio
import hmac
import logging
import re
import time
import uuid
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import Metrics, logger

BODY_TIMEOUT_S = 30.0  # to send a whole body
MAX_BYTES_IN_FLIGHT = 512 << 20  # of all bodies together
OPEN_PATHS = ("/", "/healthz", "/readyz", "/openapi.json")  # tell nothing about parts
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # of the metrics
QUIET_ROUTES = ("/healthz", "/readyz", "/metrics")  # asked every few seconds
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class RefusedError(HTTPException):
    """A request that is not served, in the service's error shape."""

    def __init__(self, status: int, code: str, message: str, inspection_id: int | None = None):
        super().__init__(status, message, headers={})
        self.code, self.inspection_id = code, inspection_id

    def response(self) -> JSONResponse:
        """The answer to the client."""
        error = {"code": self.code, "message": self.detail, "inspection_id": self.inspection_id}
        return JSONResponse({"error": error}, self.status_code, self.headers)


def too_busy(retry_after_s: int, why: str) -> RefusedError:
    """503 with the time after which to come again."""
    refusal = RefusedError(503, "busy", f"{why}; come again in {retry_after_s} s")
    refusal.headers["Retry-After"] = str(retry_after_s)
    return refusal


@dataclass
class Call:
    """One request on its way through."""

    scope: Scope
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    received: int = 0  # bytes of its body
    complete: bool = False  # whether all of it

    @property
    def route(self) -> str:
        """The template, so that unknown paths do not become metrics of their own."""
        return getattr(self.scope.get("route"), "path", "other")


class RequestMiddleware:
    """ASGI middleware.

    Args:
        api_key: what X-API-Key must be; None: anybody on this machine may call.
        max_body_bytes: by path, and for all others under "*".
    """

    def __init__(
        self, app: ASGIApp, api_key: str | None, max_body_bytes: dict[str, int], metrics: Metrics
    ):
        self.app, self.metrics = app, metrics
        self.api_key = api_key.encode() if api_key else None
        self.max_body_bytes = max_body_bytes
        self._in_flight = 0  # bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        call = Call(scope, complete=not has_body)
        scope.setdefault("state", {})["call"] = call

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                own = [(b"x-request-id", call.id.encode())]
                if not call.complete:  # the rest of its body is not wanted
                    own.append((b"connection", b"close"))
                message["headers"] = [*message["headers"], *own]
            await send(message)

        try:
            self._check_caller(scope)
            await self.app(scope, self._limited(call, receive), answering)
        except RefusedError as refusal:
            if call.status:  # half answered: nothing but to break off
                raise
            await refusal.response()(scope, receive, answering)
        except Exception:
            details = {"details": {"request_id": call.id}}
            logger.exception("a request failed", extra=details)
            if call.status:
                raise
            refusal = RefusedError(500, "internal", "an internal error; see the service's log")
            await refusal.response()(scope, receive, answering)
        finally:
            self._in_flight -= call.received
            self._note(call)

    def _check_caller(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if self.api_key is None:
            self._check_local(headers)
        elif path not in OPEN_PATHS:
            bearer = headers.get("authorization", "").removeprefix("Bearer ")  # Prometheus's way
            given = headers.get("x-api-key", bearer).encode("latin-1", "replace")
            if not hmac.compare_digest(given, self.api_key):
                raise RefusedError(401, "unauthorised", "send the service's key as X-API-Key")

    def _check_local(self, headers: Headers) -> None:
        """Without a key nobody but programs here: web pages in a browser here must not call."""
        host = headers.get("host", "")
        own_page = headers.get("origin") in (None, f"http://{host}")
        if re.sub(r":\d+$", "", host) not in LOCAL_HOSTS or not own_page:
            raise RefusedError(
                403, "local_only", "without CASTING_API_KEY only programs on this machine may call"
            )

    def _limited(self, call: Call, receive: Receive) -> Receive:
        """`receive` that refuses a body too large, too slow, or too much beside all others."""
        path = call.scope["path"]
        limit = self.max_body_bytes.get(path, self.max_body_bytes["*"])
        declared = Headers(scope=call.scope).get("content-length", "")
        deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S

        async def limited() -> Message:
            if call.complete:  # waits for the client to leave
                return await receive()
            if declared.isdecimal() and int(declared) > limit:
                raise self._too_large(limit)
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(408, "too_slow", "the body came too slowly") from None
            size = len(message.get("body", b""))
            call.received += size
            self._in_flight += size
            call.complete = not message.get("more_body", False)
            if call.received > limit:
                raise self._too_large(limit)
            if self._in_flight > MAX_BYTES_IN_FLIGHT:
                raise too_busy(1, "too many bytes are on their way")
            return message

        return limited

    def _too_large(self, limit: int) -> RefusedError:
        return RefusedError(413, "too_large", f"the body exceeds {limit / (1 << 20):.3g} MB")

    def _note(self, call: Call) -> None:
        seconds, scope = time.perf_counter() - call.started, call.scope
        status = call.status or 499  # the client left
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(call.route, method, status).inc()
        self.metrics.latency.labels(call.route).observe(seconds)
        details = {
            "request_id": call.id,
            "client": (scope.get("client") or ("", 0))[0],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(1000 * seconds, 1),
            "bytes": call.received,
            **scope["state"].get("log", {}),
        }
        level = logging.DEBUG if call.route in QUIET_ROUTES else logging.INFO
        logger.log(level, "request", extra={"details": details})
