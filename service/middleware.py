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
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import Metrics, logger

BODY_TIMEOUT_S = 30.0  # to send a whole body, or the rest of one that is not wanted
MAX_BYTES_IN_FLIGHT = 512 << 20  # of all bodies together
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")  # of the page /docs
# They tell nothing about parts
OPEN_PATHS = ("/", "/healthz", "/readyz", "/openapi.json", "/docs")
OPEN_PATHS += tuple(f"/docs/{name}" for name in SWAGGER_FILES)
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
    method: str
    route: str = "other"  # the template, so that unknown paths do not become metrics of their own
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # to the answer
    status: int = 0
    received: int = 0  # bytes of its body
    complete: bool = False  # whether all of it
    left: bool = False  # whether the client hung up before that
    early: list[Message] = field(default_factory=list)  # the answer, if its body is not complete


class OtherPages(CORSMiddleware):
    """Lets web pages of other origins call; what it refuses has the service's error shape."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks whether a page may call."""
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        reason = bytes(answer.body).decode()
        text = f"this page may not call so: {reason}; serve.py --cors ORIGIN lets a page call"
        refusal = RefusedError(400, "cors", text).response()
        kept = {k: v for k, v in answer.headers.items() if not k.startswith("content-")}
        refusal.headers.update(kept)
        return refusal


class RequestMiddleware:
    """ASGI middleware.

    Args:
        api_key: what X-API-Key must be; None: anybody on this machine may call.
        max_body_bytes: by path, and for all others under "*".
        allow_origins: web pages that may call, besides the service's own, when there is no key.
        routes: paths that are told apart in the metrics, also where a request is refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        api_key: str | None,
        max_body_bytes: dict[str, int],
        metrics: Metrics,
        allow_origins: Sequence[str] = (),
        routes: Collection[str] = (),
    ):
        self.app, self.metrics, self.allow_origins = app, metrics, allow_origins
        self.api_key = api_key.encode() if api_key else None
        self.max_body_bytes, self.routes = max_body_bytes, routes
        self._in_flight = 0  # bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        method = scope["method"]
        # HEAD is answered like GET, without the body
        scope = {**scope, "method": "GET" if method == "HEAD" else method}
        scope.setdefault("state", {})
        route = scope["path"] if scope["path"] in self.routes else "other"
        call = Call(scope, method, route, complete=not has_body)
        try:
            try:
                await self._serve(call, receive, self._answering(call, send))
            finally:
                call.seconds = time.perf_counter() - call.started
            if call.early:
                await answer_early(call, receive, send)
        finally:
            self._note(call)

    async def _serve(self, call: Call, receive: Receive, send: Send) -> None:
        """Have a request answered, also when it is refused or something fails."""
        answer = None
        try:
            self._check_caller(call.scope)
            await self.app(call.scope, self._limited(call, receive), send)
        except RefusedError as refusal:
            if call.status:  # half answered: nothing but to break off
                raise
            answer = refusal.response()
        except ClientDisconnect:
            pass
        except Exception:
            details = {"details": {"request_id": call.id}}
            logger.exception("a request failed", extra=details)
            if call.status:
                raise
            refusal = RefusedError(500, "internal", "an internal error; see the service's log")
            answer = refusal.response()
        finally:
            self._in_flight -= call.received
        if answer is not None:
            await answer(call.scope, receive, send)

    def _answering(self, call: Call, send: Send) -> Send:
        """`send` that notes the status, and keeps what comes before the body is complete."""

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                own = [(b"x-request-id", call.id.encode())]
                if not call.complete:  # the rest of its body is not wanted
                    own.append((b"connection", b"close"))
                message["headers"] = [*message["headers"], *own]
            elif call.method == "HEAD":
                message = {**message, "body": b""}
            if call.early or not call.complete:
                call.early.append(message)
            else:
                await send(message)

        return answering

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
        own_page = headers.get("origin") in (None, f"http://{host}", *self.allow_origins)
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
            call.left = message["type"] == "http.disconnect"
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
        scope = call.scope
        status = 499 if call.left else call.status or 499  # the client left
        method = call.method if call.method in METHODS else "other"
        self.metrics.requests.labels(call.route, method, status).inc()
        self.metrics.latency.labels(call.route).observe(call.seconds)
        details = {
            "request_id": call.id,
            "client": (scope.get("client") or ("", 0))[0],
            "method": call.method,
            "path": scope["path"],
            "status": status,
            "ms": round(1000 * call.seconds, 1),
            "bytes": call.received,
            **scope["state"].get("log", {}),
        }
        level = logging.DEBUG if call.route in QUIET_ROUTES else logging.INFO
        logger.log(level, "request", extra={"details": details})


async def answer_early(call: Call, receive: Receive, send: Send) -> None:
    """Answer a client that is still sending, then take what it sends and drop it.

    To hang up at once would reset the connection, and many clients read the answer only when they
    have sent everything. By now nothing holds the part of the body that had come.
    """
    for message in call.early:
        await send({**message, "more_body": True} if "body" in message else message)
    waits_to_be_asked = "expect" in Headers(scope=call.scope) and not call.received
    with suppress(TimeoutError):
        async with asyncio.timeout(BODY_TIMEOUT_S):
            message = {"more_body": not waits_to_be_asked}
            while message.get("more_body"):  # a client that leaves has none
                message = await receive()
    await send({"type": "http.response.body"})
