"""One attempt to deliver a message: signed, bounded in time and size, without redirects."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpcore
import orjson

from app.delivery.config import DeliveryConfig
from app.delivery.signing import signed_headers
from app.delivery.targets import (
    GuardedBackend,
    Target,
    TargetGuard,
    TargetRefusedError,
    TargetUnknownError,
)
from app.settings import SettingsError
from app.telemetry.clock import Clock

USER_AGENT = "Kowairo-Webhooks/1"
MAX_ANSWER_BYTES = 4_096
"""What is read of an answer's body, so that the connection can be used again; more ends it."""
_KEPT_S = 30.0
_GONE = 410


class Outcome(StrEnum):
    """How an attempt ended; the values of the metric's label."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    """An answer that is not 2xx; redirects are not followed."""
    GONE = "gone"
    """410: the receiver wants no more."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """No address, no connection, a certificate that is not trusted, or no HTTP."""
    REFUSED = "refused"
    """The site's rules for targets forbid it; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is delivered. id: the idempotency key; timestamp: of the event, RFC 3339; data: the event itself."""

    id: str
    type: str
    timestamp: str
    data: Mapping[str, Any]

    def body(self) -> bytes:
        """The payload as it is signed and sent, the same in every attempt."""
        return orjson.dumps({"type": self.type, "timestamp": self.timestamp, "data": self.data})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one attempt.

    seconds: it took. status: of the answer. detail: for people, quotes nothing of the answer. retry_after_s: how long
    the receiver asks to be left alone.
    """

    outcome: Outcome
    seconds: float
    status: int | None = None
    detail: str | None = None
    retry_after_s: float | None = None


class Sender:
    """Sends messages to targets that the guard lets through.

    Raises:
        SettingsError: the file of further authorities cannot be used.
    """

    def __init__(self, config: DeliveryConfig, guard: TargetGuard, clock: Clock) -> None:
        self._timeout_s = config.timeout_s
        self._keep = config.max_parallel
        self._guard = guard
        self._clock = clock
        # The public authorities take a while to read, and are not needed before the first delivery.
        self._tls = None if config.ca_file is None else _trust(config.ca_file)
        self._kept: httpcore.AsyncConnectionPool | None = None

    @asynccontextmanager
    async def connections_kept(self) -> AsyncIterator[None]:
        """Connections made inside, in this event loop, are used again and closed at the end."""
        async with self._pool(await self._trusted(), self._keep) as pool:
            self._kept = pool
            try:
                yield
            finally:
                self._kept = None

    async def send(self, url: str, secrets: Sequence[str], message: Message) -> Attempt:
        """One attempt; never raises for what the other side or the network does.

        Raises:
            SecretError: a secret cannot be used.
        """
        tls = await self._trusted()
        began = self._clock.monotonic()
        body = message.body()
        headers = signed_headers(secrets, message.id, int(self._clock.now()), body)
        status: int | None = None
        retry_after: str | None = None
        try:
            target = self._guard.parse(url)
            async with asyncio.timeout(self._timeout_s), self._connections(tls) as pool:
                status, retry_after = await self._post(pool, target, headers, body)
            outcome, detail = _judge(status)
        except TargetRefusedError as error:
            outcome, detail = Outcome.REFUSED, str(error)
        except TargetUnknownError as error:
            outcome, detail = Outcome.UNREACHABLE, str(error)
        except (TimeoutError, httpcore.TimeoutException):
            outcome, detail = Outcome.TIMEOUT, f"no answer within {self._timeout_s:g} s"
        except (httpcore.ConnectError, OSError):
            outcome, detail = Outcome.UNREACHABLE, "no connection, or a certificate that is not trusted"
        except (httpcore.NetworkError, httpcore.ProtocolError):
            outcome, detail = Outcome.UNREACHABLE, "the connection ended without an answer in HTTP"
        seconds = self._clock.monotonic() - began
        return Attempt(outcome, seconds, status, detail, self._pause(retry_after))

    async def _post(
        self,
        pool: httpcore.AsyncConnectionPool,
        target: Target,
        signed: list[tuple[str, str]],
        body: bytes,
    ) -> tuple[int, str | None]:
        headers = [
            ("Host", target.authority),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", USER_AGENT),
            *signed,
        ]
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        async with pool.stream(
            "POST", target.url, headers=headers, content=body, extensions={"timeout": timeouts}
        ) as answer:
            read = 0
            async for chunk in answer.aiter_stream():
                read += len(chunk)
                if read > MAX_ANSWER_BYTES:
                    break
            return answer.status, _header(answer, b"retry-after")

    @asynccontextmanager
    async def _connections(self, tls: ssl.SSLContext) -> AsyncIterator[httpcore.AsyncConnectionPool]:
        if self._kept is not None:
            yield self._kept
            return
        async with self._pool(tls, 0) as pool:
            yield pool

    async def _trusted(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = await asyncio.to_thread(_trust, None)
        return self._tls

    def _pool(self, tls: ssl.SSLContext, keep: int) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=keep,
            keepalive_expiry=_KEPT_S,
            network_backend=GuardedBackend(self._guard),
        )

    def _pause(self, retry_after: str | None) -> float | None:
        """`Retry-After` in seconds, whether it is written as seconds or as a date; None where it is neither."""
        if retry_after is None:
            return None
        if retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 9:
            return float(retry_after)
        with contextlib.suppress(ValueError, OverflowError):
            moment = parsedate_to_datetime(retry_after)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return max(0.0, moment.timestamp() - self._clock.now())
        return None


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whom to trust: the public authorities, and those of the site."""
    context = httpcore.default_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise SettingsError(
                f"KOWAIRO_DELIVERY__CA_FILE: expected a readable file of certificates (PEM), got {ca_file}: {error}"
            ) from None
    return context


def _judge(status: int) -> tuple[Outcome, str | None]:
    if 200 <= status < 300:
        return Outcome.DELIVERED, None
    return (Outcome.GONE if status == _GONE else Outcome.REJECTED), f"HTTP {status}"


def _header(answer: httpcore.Response, name: bytes) -> str | None:
    found = [value for key, value in answer.headers if key.lower() == name]
    return found[0].decode("latin-1").strip() if found else None
