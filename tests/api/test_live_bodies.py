"""The feeds tell what their schemas say, and the page of the feeds says what they tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from app.api import live_socket
from app.api.live_bodies import BODIES, CONTROL, KeepaliveMessage, LiveMessage
from app.api.live_query import CallQuery, EventType, FeedQuery
from app.results.live_event import KEPT, PASSING
from tests.support.feeds import call_info, closing, opening
from tests.support.live import happen
from tests.support.service import ServerThread
from tests.support.streams import customer_audio, of_type, opened, play, receive

DOC = (Path(__file__).resolve().parents[2] / "docs" / "live.md").read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[str]:
    """The fenced examples of one language."""
    yield from re.findall(rf"^```{language}\n(.*?)\n```$", DOC, re.M | re.S)


def check(kind: str, body: dict[str, Any]) -> BaseModel:
    """The body as one of the shapes of its type."""
    shapes = BODIES[kind]
    adapter: TypeAdapter[BaseModel] = TypeAdapter(shapes[0] if len(shapes) == 1 else shapes[0] | shapes[1])
    return adapter.validate_python(body)


def check_message(message: dict[str, Any]) -> None:
    """A message of a socket has the shape of its type."""
    if message["type"] == "keepalive":
        KeepaliveMessage.model_validate(message)
        return
    LiveMessage.model_validate(message)
    own = {"type", "position"} | (set() if message["type"] in ("utterance", "interim") else {"seq"})
    check(message["type"], {name: value for name, value in message.items() if name not in own})


def test_every_type_has_a_shape() -> None:
    """Those that are kept, those that pass, and what a feed says of itself."""
    assert set(BODIES) == KEPT | PASSING | CONTROL
    assert {"resumed", "gap", "lagged", "reset"} == CONTROL
    assert {kind.value for kind in EventType} == KEPT | PASSING


def test_a_real_call_has_the_shapes(live: ServerThread) -> None:
    """Everything that is told of a call with interims, and of its replay."""
    with opened(live.url.replace("http", "ws", 1) + "/v1/events?line=shapes") as socket:
        messages = [receive(socket)]
        play(live.stream_url, customer_audio(6.5), call_id="shapes", line="shapes", interim=True)
        while messages[-1]["type"] != "call_ended":
            messages.append(receive(socket))
    with opened(live.url.replace("http", "ws", 1) + "/v1/calls/shapes/events?from_seq=1") as socket:
        messages += [receive(socket) for _ in range(4)]
    for message in messages:
        check_message(message)
    assert of_type(messages, "interim")
    assert of_type(messages, "resumed")


def test_an_end_without_an_account(live: ServerThread) -> None:
    """A call that somebody else ended has the same shape in its replay."""
    call = call_info("no-account", live.services.owner)
    happen(live, opening(call), closing(call))
    with opened(live.url.replace("http", "ws", 1) + "/v1/calls/no-account/events") as socket:
        for message in (receive(socket), receive(socket)):
            check_message(message)


@pytest.mark.parametrize("text", list(blocks("sse")))
def test_the_examples_of_the_page(text: str) -> None:
    """Server-sent events."""
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    check(fields["event"], json.loads(fields["data"]))


@pytest.mark.parametrize("text", list(blocks("message")))
def test_the_messages_of_the_page(text: str) -> None:
    """Messages of a socket."""
    check_message(json.loads(text))


def test_the_page_knows_everything() -> None:
    """Every type, every parameter and every reason of a close is on it."""
    names = set(re.findall(r"`([a-z_]+)`", DOC)) | set(re.findall(r"^event: (\w+)$", DOC, re.M))
    assert set(BODIES) <= names
    assert set(CallQuery.model_fields) | set(FeedQuery.model_fields) <= names
    closes = [value for value in vars(live_socket).values() if isinstance(value, live_socket._Close)]
    said = {(int(code), reason) for code, reason in re.findall(r"(\d{4}) `(\w+)`", DOC)}
    assert {(int(close.code), close.reason) for close in closes if close.code is not None} <= said
