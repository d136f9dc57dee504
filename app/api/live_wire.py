"""Live events as they go over the wire: server-sent text, and messages of a WebSocket. Made once for all viewers."""

from __future__ import annotations

import orjson

from app.api.live_query import ENDED
from app.results.live_event import LiveEvent

RETRY_MS = 2_000
"""How long a browser waits before it connects again."""

GREETING = b"retry: %d\n" % RETRY_MS
KEEPALIVE = b": still here\n"


def sse_keepalive(mark: int | None) -> bytes:
    """A comment, and the number to resume after: it is taken in, though nothing is dispatched."""
    return KEEPALIVE + (b"\n" if mark is None else b"id: %d\n\n" % mark)


def sse_event(event: LiveEvent, *, of_call: bool, mark: int | None) -> bytes:
    """One event as server-sent text. mark: up to where the feed was told by then."""
    if of_call and event.type == "call_ended":
        return b"id: %d%s\n" % (mark or 0, ENDED.encode()) + event.form("sse", _sse_plain)
    return event.form("sse-call", _sse_by_seq) if of_call else event.form("sse-feed", _sse_by_position)


def ws_event(event: LiveEvent) -> str:
    """One event as a WebSocket message."""
    return event.form("ws", _ws)


def ws_keepalive(mark: int | None, *, of_call: bool) -> str:
    """Says that the service is there, and the number to resume after."""
    return orjson.dumps({"type": "keepalive", "seq" if of_call else "position": mark}).decode()


def _sse_plain(event: LiveEvent) -> bytes:
    return b"event: " + event.type.encode() + b"\ndata: " + event.form("body", _body) + b"\n\n"


def _sse_by_seq(event: LiveEvent) -> bytes:
    return (b"" if event.seq is None else b"id: %d\n" % event.seq) + event.form("sse", _sse_plain)


def _sse_by_position(event: LiveEvent) -> bytes:
    number = b"" if event.position is None else b"id: %d\n" % event.position
    return number + event.form("sse", _sse_plain)


def _body(event: LiveEvent) -> bytes:
    return orjson.dumps(dict(event.body))


def _ws(event: LiveEvent) -> str:
    # An alert's body has the number of the record that raised it.
    seq = event.body.get("seq") if event.seq is None else event.seq
    own = {"type": event.type, "seq": seq, "position": event.position}
    return orjson.dumps({**own, **event.body, **own}).decode()
