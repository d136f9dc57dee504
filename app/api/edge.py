"""What holds for every request whatever its route: size, host, response headers, and being counted."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.deps import Services
from app.api.errors import ProblemError
from app.settings import Settings
from app.telemetry.logs import get_logger

MAX_BODY_BYTES = 64 * 1024
MULTIPART_OVERHEAD_BYTES = 64 * 1024
UPLOAD_PATH = "/v1/score"
INGEST_PATH = "/v1/ingest/"
_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Permitted-Cross-Domain-Policies": "none",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """Strict headers on every response; results are never cached."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and completes its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class CrossOrigin(CORSMiddleware):
    """Lets pages of some other sites read answers (CORS). They send a key or token; cookies play no part.

    `Cross-Origin-Resource-Policy` stays strict: it concerns what a page embeds (`no-cors`), not what it asks for so.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=tuple(origins),
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("Authorization", "X-API-Key", "Content-Type", "If-None-Match", "Last-Event-ID"),
            expose_headers=("ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "Link"),
        )
        self._origins = frozenset(origin.lower() for origin in origins)

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether pages from there may read answers."""
        return origin.lower() in self._origins

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser is told that asks beforehand."""
        told = super().preflight_response(request_headers)
        if told.status_code == 200:
            return told
        detail = "expected an origin, a method and headers that the site allows"
        problem = ProblemError(400, "cors_refused", "Pages of this origin may not send this", detail)
        problem.headers = {"Vary": "Origin"}
        return problem.response()


class LocalHostOnly:
    """Refuses names that are not this machine's while the service is open to everyone on it.

    Without keys, a page anywhere could point its own name at 127.0.0.1 (DNS rebinding) and read the calls.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._active = settings.listens_on_loopback and not settings.needs_key
        self._carriers = settings.carriers.with_credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers 421."""
        guarded = self._active and not self._authenticates_itself(scope)
        if scope["type"] in ("http", "websocket") and guarded and not _is_local(Headers(scope=scope)):
            problem = ProblemError(
                421,
                "unknown_host",
                "The service does not answer to this name",
                "expected Host localhost or 127.0.0.1 while no API key is configured",
            )
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _authenticates_itself(self, scope: Scope) -> bool:
        """Whether this is the door of a carrier with credentials, which a tunnel may bring under another name."""
        return scope["type"] == "websocket" and carrier_name(scope["path"]) in self._carriers


def carrier_name(path: str) -> str | None:
    """The carrier whose door a path is, whether or not there is one of this name; None of other paths."""
    if not path.startswith(INGEST_PATH):
        return None
    return path.removeprefix(INGEST_PATH).partition("/")[0]


def _is_local(headers: Headers) -> bool:
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.lower() in _LOOPBACK_HOSTS


class BodyLimit:
    """Stops reading a request that is too big, announced or not."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._upload_bytes = settings.upload.max_bytes + MULTIPART_OVERHEAD_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._upload_bytes if scope["path"] == UPLOAD_PATH else MAX_BODY_BYTES
        problem = ProblemError(
            413,
            "body_too_big",
            "The request is too big",
            f"expected a body of at most {limit} bytes",
            {"Connection": "close"},
        )
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            await problem.response()(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise problem
            return message

        await self._app(scope, receive_within_limit, send)


class RequestObserver:
    """Counts and logs requests by route template: no path, query, address or header is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = get_logger(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and notes how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        started = services.clock.monotonic()
        status = 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            route = getattr(scope.get("route"), "path", None) or "(none)"
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            seconds = services.clock.monotonic() - started
            services.metrics.http_requests.labels(method, route, str(status)).inc()
            services.metrics.http_seconds.labels(route).observe(seconds)
            duration_ms = round(seconds * 1000, 1)
            self._log.debug(
                "http_request", method=method, route=route, status=status, duration_ms=duration_ms
            )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
