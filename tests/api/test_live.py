"""The live feed is well-formed, keeps connections open, and gives its place back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.api.live import KEEPALIVE, FeedResponse, encode_event, feed
from app.results.publish import LiveEvent, Publisher
from app.settings import Settings
from tests.support.service import api, make_settings, service_parts


def make_publisher() -> Publisher:
    """For one listener."""
    return Publisher(max_subscribers=1, queue_events=9)


def test_events_are_server_sent_text() -> None:
    """A name and one line of JSON, whatever the text holds."""
    event = LiveEvent("warning", "c", {"detail": "two\nlines"})
    name, data, end, rest = encode_event(event).split(b"\n")
    assert (name, end, rest) == (b"event: warning", b"", b"")
    assert json.loads(data.removeprefix(b"data: ")) == {"detail": "two\nlines"}


def test_a_quiet_feed_says_that_it_is_there() -> None:
    """A comment at first and whenever nothing happened for a while; then the event, then the end."""

    async def scenario() -> list[bytes]:
        publisher = make_publisher()
        lines = []
        with publisher.subscribe() as subscription:
            async for line in feed(subscription, keepalive_s=0.01):
                lines.append(line)
                if len(lines) == 3:
                    publisher.publish(LiveEvent("call_erased", "c", {"call_id": "c"}))
                    publisher.close()
        return lines

    lines = asyncio.run(scenario())
    assert lines[:3] == [KEEPALIVE] * 3
    assert lines[-1].startswith(b"event: call_erased\n")


def test_a_feed_gives_its_place_back_even_if_never_read(plain: Settings) -> None:
    """The client was gone before the first byte."""

    async def broken_send(_message: object) -> None:
        raise OSError("gone")

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> int:
        with service_parts(plain) as services:
            services = replace(services, publisher=make_publisher())
            response = FeedResponse(services.publisher.subscribe(), services)
            with pytest.raises(Exception, match=r"gone|disconnect|sub-exception"):
                await response({"type": "http", "asgi": {}}, receive, broken_send)
            return services.publisher.subscribers

    assert asyncio.run(scenario()) == 0


def test_feeds_are_limited(bundle: Path) -> None:
    """One too many gets 503."""
    with api(make_settings(bundle, live={"max_subscribers": 1})) as web:
        with web.services.publisher.subscribe():
            answer = web.get("/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (503, "too_many_feeds")
