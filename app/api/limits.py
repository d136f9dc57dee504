"""How much a client may ask for: requests by key, audio and calls by tenant; and what the answers say of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.limits import Buckets, Guard, Patience, Places, Rate, Taken
from app.access.principal import Principal
from app.settings import LimitsSettings
from app.telemetry.clock import Clock
from app.telemetry.metrics import Metrics

CALL_AGAIN_S = 10.0
"""What a client is told to wait when its tenant has as many calls as it may."""

MINUTE_S = 60.0
_STATE = "kowairo.rate"


class TenantLimitError(Exception):
    """A tenant has as much as it may. what: `audio` or `calls`. retry_after_s: when there may be room again."""

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(f"{what}: again in {retry_after_s:g} s")
        self.what = what
        self.retry_after_s = retry_after_s


class Limits:
    """The limits of one process. Everything refused here counts in `kowairo_rate_limited_total{what}`."""

    def __init__(self, settings: LimitsSettings, clock: Clock, metrics: Metrics) -> None:
        self.guard = Guard(
            Patience(free=settings.wrong_credentials, longest_s=settings.wrong_credentials_max_s)
        )
        self.request_rate = (
            None
            if settings.requests_per_s is None
            else Rate(settings.requests_per_s, float(settings.request_burst))
        )
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._requests = Buckets()
        self._audio = Buckets()
        self._calls = Places()

    def request(self, principal: Principal) -> Taken | None:
        """Counts a request of somebody; None where requests are not limited."""
        if self.request_rate is None:
            return None
        who = (principal.tenant, principal.key_id, principal.subject)
        taken = self._requests.take(who, self.request_rate, 1.0, self._clock.monotonic())
        if not taken.allowed:
            self.count("requests")
        return taken

    def audio(self, tenant: str, seconds: float) -> bool:
        """Takes seconds of audio of a tenant; False where it has had more than it may, and nothing is taken.

        A tenant with anything left may take more than that and owes the rest: how long a recording is is known only
        once it is there.
        """
        return self._take_audio(tenant, seconds).allowed

    def check_audio(self, tenant: str) -> None:
        """Whether a tenant may bring audio now.

        Raises:
            TenantLimitError: not yet.
        """
        taken = self._take_audio(tenant, 0.0)
        if not taken.allowed:
            raise TenantLimitError("audio", taken.retry_after_s)

    @contextmanager
    def call(self, tenant: str) -> Iterator[None]:
        """Holds the place of a call.

        Raises:
            TenantLimitError: the tenant has as many calls, or had as much audio, as it may.
        """
        self.check_audio(tenant)
        if not self._calls.enter(tenant, self._settings.of(tenant).calls):
            self.count("calls")
            raise TenantLimitError("calls", CALL_AGAIN_S)
        try:
            yield
        finally:
            self._calls.leave(tenant)

    def count(self, what: str) -> None:
        """Counts something that was too much: `requests`, `audio`, `calls` or `credentials`."""
        self._metrics.rate_limited.labels(what).inc()

    def _take_audio(self, tenant: str, seconds: float) -> Taken:
        per_minute = self._settings.of(tenant).audio_seconds_per_minute
        if per_minute is None:
            return Taken(True, 0.0, math.inf, 0.0)
        rate = Rate(per_minute / MINUTE_S, per_minute)
        taken = self._audio.take(tenant, rate, seconds, self._clock.monotonic(), overdraw=True)
        if not taken.allowed:
            self.count("audio")
        return taken


class RateHeaders:
    """Tells clients what they have left: `RateLimit`, `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and completes its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said: dict[str, str] = {}
        scope[_STATE] = said

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and said:
                MutableHeaders(scope=message).update(said)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def say_rate(scope: Scope, rate: Rate, taken: Taken) -> None:
    """Has the answer to a request say what is left; does nothing for sockets."""
    said = scope.get(_STATE)
    if said is not None:
        # In structured fields (RFC 9651): how many in a window of so many seconds; how many are left.
        said["RateLimit-Policy"] = f'"requests";q={int(rate.burst)};w={whole_seconds(rate.window_s)}'
        said["RateLimit"] = f'"requests";r={int(taken.remaining)};t={whole_seconds(taken.full_in_s)}'


def whole_seconds(seconds: float) -> int:
    """For `Retry-After`: rounded up, at least 1."""
    return max(1, math.ceil(seconds))
