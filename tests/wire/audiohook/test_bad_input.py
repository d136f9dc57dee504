"""What AudioHook clients may get wrong, and the documented answer (`docs/carriers/audiohook.md`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from app.wire.base import CloseCode, Start, WireError
from tests.wire.audiohook.session import (
    CONVERSATION,
    NULL,
    OPEN,
    PROBE,
    SESSION,
    STEREO,
    Client,
    media,
    opened,
)

OTHER = "99999999-9999-4999-8999-999999999999"


def first(**fields: Any) -> Any:
    """`open` with other fields beside its parameters; a field of None is left out."""
    client = Client()
    message = client.message("open", "PT0S", OPEN) | fields
    return client, {name: value for name, value in message.items() if value is not None}


def opening(**parameters: Any) -> Any:
    """`open` with other parameters; one of None is left out."""
    client = Client()
    kept = {name: value for name, value in (OPEN | parameters).items() if value is not None}
    return client, client.message("open", "PT0S", kept)


def later(kind: str, position: str | None = "PT0S", **parameters: Any) -> Any:
    """A message of an open session."""
    client = opened()
    return client, client.message(kind, position, parameters)


def changed(kind: str, **fields: Any) -> Any:
    """A message of an open session with other fields beside its parameters; one of None is left out."""
    client, message = later(kind)
    return client, {name: value for name, value in (message | fields).items() if value is not None}


def early(kind: str) -> Any:
    """A message before `open`."""
    client = Client()
    return client, client.message(kind, "PT0S", {})


def after_probe(kind: str) -> Any:
    """A message of a probe."""
    client = Client()
    client.say("open", **PROBE)
    return client, client.message(kind, "PT0S", OPEN)


BAD: list[tuple[str, Callable[[], Any], str, CloseCode]] = [
    ("no JSON", lambda: (Client(), "{"), "invalid_json", CloseCode.INVALID),
    ("no object", lambda: (Client(), "[1]"), "invalid_json", CloseCode.INVALID),
    ("a lone surrogate", lambda: (Client(), '{"a":"\ud800"}'), "invalid_json", CloseCode.INVALID),
    ("nested too deep", lambda: (Client(), '{"a":' + "[" * 5_000), "invalid_json", CloseCode.INVALID),
    ("a giant text", lambda: (Client(), " " * 65_536), "message_too_big", CloseCode.TOO_BIG),
    ("no version", lambda: first(version=None), "unsupported", CloseCode.UNSUPPORTED),
    ("version 3", lambda: first(version="3"), "unsupported", CloseCode.UNSUPPORTED),
    ("version as a number", lambda: first(version=2), "unsupported", CloseCode.UNSUPPORTED),
    ("no type", lambda: first(type=None), "invalid_field", CloseCode.INVALID),
    ("type as a number", lambda: first(type=1), "invalid_field", CloseCode.INVALID),
    ("no id", lambda: first(id=None), "invalid_field", CloseCode.INVALID),
    ("id of an object", lambda: first(id={}), "invalid_field", CloseCode.INVALID),
    ("id that is no UUID", lambda: first(id="call-1"), "invalid_field", CloseCode.INVALID),
    ("id of another session", lambda: first(id=OTHER), "unauthorized", CloseCode.POLICY),
    ("id that changes", lambda: changed("ping", id=OTHER), "invalid_field", CloseCode.INVALID),
    ("no seq", lambda: first(seq=None), "invalid_field", CloseCode.INVALID),
    ("seq with a fraction", lambda: first(seq=1.5), "invalid_field", CloseCode.INVALID),
    ("seq of true", lambda: first(seq=True), "invalid_field", CloseCode.INVALID),
    ("negative seq", lambda: first(seq=-1), "invalid_field", CloseCode.INVALID),
    ("seq beyond belief", lambda: first(seq=2**60), "invalid_field", CloseCode.INVALID),
    ("seq that begins at 0", lambda: first(seq=0), "sequence_error", CloseCode.POLICY),
    ("seq that jumps", lambda: changed("ping", seq=3), "sequence_error", CloseCode.POLICY),
    ("seq that stays", lambda: changed("ping", seq=1), "sequence_error", CloseCode.POLICY),
    ("no serverseq", lambda: first(serverseq=None), "invalid_field", CloseCode.INVALID),
    ("serverseq not sent yet", lambda: changed("ping", serverseq=2), "sequence_error", CloseCode.POLICY),
    ("no parameters", lambda: first(parameters=None), "invalid_field", CloseCode.INVALID),
    ("parameters of a list", lambda: first(parameters=[]), "invalid_field", CloseCode.INVALID),
    ("no organization", lambda: opening(organizationId=None), "invalid_field", CloseCode.INVALID),
    ("organization no UUID", lambda: opening(organizationId="acme"), "invalid_field", CloseCode.INVALID),
    ("another organization", lambda: opening(organizationId=OTHER), "unauthorized", CloseCode.POLICY),
    ("no conversation", lambda: opening(conversationId=None), "invalid_field", CloseCode.INVALID),
    ("conversation of a number", lambda: opening(conversationId=7), "invalid_field", CloseCode.INVALID),
    (
        "conversation of a urn",
        lambda: opening(conversationId="urn:uuid:" + CONVERSATION),
        "invalid_field",
        CloseCode.INVALID,
    ),
    ("no media", lambda: opening(media=None), "invalid_field", CloseCode.INVALID),
    ("media of an object", lambda: opening(media=STEREO), "invalid_field", CloseCode.INVALID),
    ("an empty offer", lambda: opening(media=[]), "unsupported", CloseCode.UNSUPPORTED),
    ("L16 only", lambda: opening(media=[media("external", format="L16")]), "unsupported", CloseCode.UNSUPPORTED),
    ("16 kHz only", lambda: opening(media=[media("external", rate=16000)]), "unsupported", CloseCode.UNSUPPORTED),
    ("no such channel", lambda: opening(media=[media("left")]), "unsupported", CloseCode.UNSUPPORTED),
    ("one channel twice", lambda: opening(media=[media("external", "external")]), "unsupported", CloseCode.UNSUPPORTED),
    ("channels of a text", lambda: opening(media=[STEREO | {"channels": "external"}]), "unsupported", CloseCode.UNSUPPORTED),  # noqa: E501
    ("paused before open", lambda: early("paused"), "out_of_order", CloseCode.POLICY),
    ("resumed before open", lambda: early("resumed"), "out_of_order", CloseCode.POLICY),
    ("discarded before open", lambda: early("discarded"), "out_of_order", CloseCode.POLICY),
    ("update before open", lambda: early("update"), "out_of_order", CloseCode.POLICY),
    ("dtmf before open", lambda: early("dtmf"), "out_of_order", CloseCode.POLICY),
    ("audio before open", lambda: (Client(), b"\xff\x7f"), "out_of_order", CloseCode.POLICY),
    ("open twice", lambda: later("open", **OPEN), "out_of_order", CloseCode.POLICY),
    ("open after a probe", lambda: after_probe("open"), "out_of_order", CloseCode.POLICY),
    ("resumed without times", lambda: later("resumed"), "invalid_field", CloseCode.INVALID),
    ("discarded without start", lambda: later("discarded", discarded="PT1S"), "invalid_field", CloseCode.INVALID),
    ("discarded with numbers", lambda: later("discarded", start=0, discarded=1), "invalid_field", CloseCode.INVALID),
]  # fmt: skip


@pytest.mark.parametrize(
    ("prepare", "code", "close_code"), [one[1:] for one in BAD], ids=[one[0] for one in BAD]
)
def test_bad_input_is_answered_as_documented(
    prepare: Callable[[], Any], code: str, close_code: CloseCode
) -> None:
    """A stable code without the client's text; then `disconnect`, and the client's `close` is answered."""
    client, message = prepare()
    client.replies.clear()
    with pytest.raises(WireError) as caught:
        client.hear(message) if isinstance(message, bytes) else client.send(message)
    assert (caught.value.code, caught.value.close_code) == (code, close_code)
    for private in (OTHER, CONVERSATION, SESSION, "acme"):
        assert private not in str(caught.value)
    assert client.send("{") == client.hear(b"\xff") == []
    (said,) = client.farewell(error=caught.value)
    reason = "unauthorized" if code == "unauthorized" else "error"
    assert said["parameters"] == {"reason": reason, "info": code}
    assert said["id"] == SESSION


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PT",
        "P",
        "1",
        "PT1",
        "PT-1S",
        "-PT1S",
        "PT1e3S",
        "PTnanS",
        "PT1S ",
        "pt1s",
        "PT.S",
        "PT١S",
        "PT9999999S",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    """As the end of a hole it is an error; as a position it is noticed, once. The last is of more than a week."""
    client = opened()
    notices = client.say("ping", text)
    assert [type(event).__name__ for event in notices] == ["Notice"]
    assert client.say("ping", None) == []
    with pytest.raises(WireError) as caught:
        client.say("discarded", "PT0S", start="PT0S", discarded=text)
    assert caught.value.code == "invalid_field"


def test_what_is_odd_but_harmless() -> None:
    """A participant, a language, a `customConfig` or a list of sessions that is none is left out."""
    client = Client()
    odd: dict[str, Any] = {
        "participant": 7,
        "language": 7,
        "customConfig": [],
        "inputVariables": "x",
        "continuedSessions": {},
    }
    (start,) = client.say("open", **(OPEN | odd | {"supportedLanguages": "yes"}))
    assert isinstance(start, Start)
    assert "participant_id" not in start.call.metadata
    assert "supportedLanguages" not in client.replies[0]["parameters"]


def test_a_media_element_is_copied_without_what_is_unknown() -> None:
    """Deep nesting in an offer is not echoed: not all that can be read can be written."""
    client = Client()
    message = orjson.dumps(
        client.message("open", "PT0S", OPEN | {"media": [STEREO | {"x": "deep"}]})
    ).decode()
    client.send(message.replace('"deep"', "[" * 300 + "]" * 300))
    assert client.replies[0]["parameters"]["media"] == [STEREO]


def test_a_null_participant_of_a_real_conversation_is_a_call() -> None:
    """One null id makes no probe."""
    client = Client()
    assert client.say("open", **(OPEN | {"participant": {"id": NULL}}))
