"""Spans: what one call cost at each stage, from the socket to the delivery of its records. Off unless a site asks.

The service knows only `Tracer`. `NullTracer` does nothing; `app.telemetry.otel` speaks OpenTelemetry and is imported by
`make_tracer` alone, so that its packages (the extra `otel`) are needed only where tracing is on.

A trace begins with the connection that brings a call. Within a task the span around another is its parent. Across
threads, queues and the store the parent is handed on as W3C `traceparent` text: `inject` where the work is given
away, `extract` where it is taken up. Nothing in a span tells who called: a call is named by `opaque_call_id`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

from app.telemetry.logs import drop_personal_data

Attribute: TypeAlias = str | bool | int | float
Kind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]

MAX_TRACEPARENT_CHARS = 512
_ATTRIBUTE_PREFIX = "kowairo."
_IDENTITIES = frozenset({"call_id", "utterance_id", "tenant", "subject", "team", "line", "url", "key_id"})
"""Logs may name these; traces leave the site more easily, so they may not."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_OPAQUE_CHARS = 16


class TracingError(Exception):
    """Tracing was asked for and cannot be had; the message says what is missing."""


class Stage(StrEnum):
    """The names of spans."""

    INGEST = "ingest"
    UTTERANCE = "utterance"
    ENCODER = "encoder"
    STORE = "store"
    DELIVERY = "delivery"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where in a trace something happened. As text it is a W3C `traceparent`.

    trace_id: 128 bits, never 0. span_id: 64 bits, never 0. sampled: whether this trace is recorded.
    """

    trace_id: int
    span_id: int
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def extract(text: object) -> TraceContext | None:
    """What `inject` put into a payload; None for anything else, so that a spoilt payload loses its trace, not its work.

    For payloads that this service wrote. A stranger's `traceparent` would decide whether a call is recorded.
    """
    if not isinstance(text, str) or len(text) > MAX_TRACEPARENT_CHARS:
        return None
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more):
        return None
    if not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))


def opaque_call_id(tenant: str, call_id: str, salt: bytes) -> str:
    """A name for a call that logs and traces may carry: the same call has the same one, nobody can read it back.

    Args:
        tenant: whose call.
        call_id: as the client named it.
        salt: a secret of the site. With an empty one, whoever guesses a call id can find the call's traces.

    Returns:
        16 hexadecimal digits.
    """
    name = f"{len(tenant)}:{tenant}/{call_id}".encode()
    return hmac.new(salt, name, hashlib.sha256).hexdigest()[:_OPAQUE_CHARS]


def span_attributes(values: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """What a span may carry of these: personal data and identities left out, names prefixed with `kowairo.`."""
    kept = drop_personal_data(None, "span", dict(values))
    return {f"{_ATTRIBUTE_PREFIX}{name}": value for name, value in kept.items() if name not in _IDENTITIES}


class Span(Protocol):
    """Something that takes time."""

    @property
    def context(self) -> TraceContext | None:
        """What to hand on as a parent; None where nothing is traced."""
        ...

    def set(self, **attributes: Attribute) -> None:
        """Adds what is known only now."""
        ...

    def fail(self, reason: str) -> None:
        """Marks it as failed. reason: a static word, or the name of an exception's type; never its message."""
        ...

    def end(self) -> None:
        """It is over. Further calls change nothing."""
        ...


class Tracer(Protocol):
    """Makes spans. Safe to use from several threads."""

    def begin(
        self,
        name: str,
        *,
        parent: TraceContext | None = None,
        links: Sequence[TraceContext] = (),
        kind: Kind = "internal",
        started_at: float | None = None,
        **attributes: Attribute,
    ) -> Span:
        """A span that outlives a block of code, for example a connection; whoever begins it ends it.

        Args:
            name: one of `Stage`, or another static word.
            parent: what it is part of; None for the span around this code, if there is one.
            links: other spans that led to it, where it is part of none (one encoder run for several utterances).
            kind: its side of a conversation between processes.
            started_at: epoch seconds; None for now.
            **attributes: what describes it. Keys that could name a person are left out.
        """
        ...

    def span(
        self,
        name: str,
        *,
        parent: TraceContext | None = None,
        links: Sequence[TraceContext] = (),
        kind: Kind = "internal",
        started_at: float | None = None,
        **attributes: Attribute,
    ) -> AbstractContextManager[Span]:
        """A span around a block of code and all that is traced within it; an exception marks it as failed."""
        ...

    def inject(self) -> str:
        """The span around this code as `traceparent` text, for a payload; empty where there is none."""
        ...

    def close(self) -> None:
        """Sends what waits, for a few seconds at most, and lets go of threads."""
        ...


class NullSpan:
    """A span that is not recorded."""

    @property
    def context(self) -> None:
        """Nothing to hand on."""
        return None

    def set(self, **attributes: Attribute) -> None:
        """Does nothing."""

    def fail(self, reason: str) -> None:
        """Does nothing."""

    def end(self) -> None:
        """Does nothing."""


class NullTracer:
    """Traces nothing, at the cost of a call."""

    def __init__(self) -> None:
        self._span = NullSpan()

    def begin(self, name: str, **_about: object) -> NullSpan:
        """A span that is not recorded."""
        return self._span

    def span(self, name: str, **_about: object) -> AbstractContextManager[NullSpan]:
        """A block that is not recorded."""
        return nullcontext(self._span)

    def inject(self) -> str:
        """Nothing to hand on."""
        return ""

    def close(self) -> None:
        """Does nothing."""


def make_tracer(
    *,
    enabled: bool,
    endpoint: str = "http://127.0.0.1:4318/v1/traces",
    sample_ratio: float = 1.0,
    service_name: str = "kowairo",
) -> Tracer:
    """The tracer that the settings ask for.

    Args:
        enabled: whether anything is traced.
        endpoint: where an OpenTelemetry collector takes traces by OTLP over HTTP, path included.
        sample_ratio: share of calls that are traced, 0 to 1; a call is traced whole or not at all.
        service_name: what the collector calls this service.

    Raises:
        TracingError: it is enabled, and the extra `otel` is not installed.
    """
    if not enabled:
        return NullTracer()
    try:
        from app.telemetry.otel import OtelTracer, otlp_processor
    except ImportError as error:
        raise TracingError(
            f"tracing needs the packages of the extra 'otel' ({error.name} is missing)"
        ) from None
    return OtelTracer(otlp_processor(endpoint), sample_ratio=sample_ratio, service_name=service_name)
