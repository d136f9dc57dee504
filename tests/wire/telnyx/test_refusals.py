"""Telnyx: what is refused, and with which answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.wire.base import CloseCode
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.envelope import MAX_NUMBER, MAX_TEXT_BYTES
from app.wire.telnyx import TelnyxProtocol
from tests.wire.telnyx.made import (
    FORMAT,
    REQUEST,
    STOP,
    TOKEN,
    begun,
    connected,
    dtmf,
    heard,
    media,
    new,
    packets,
    refused,
    start,
)

SECRET = CarrierConfig(secrets={"stream_auth_token": "s3cret"}, options={"tracks": "inbound"})


def event(name: object, **fields: Any) -> str:
    """A message of a given event."""
    return json.dumps({"event": name} | fields)


BEFORE: dict[str, tuple[str | bytes, str, CloseCode]] = {
    "media first": (media(1), "out_of_order", CloseCode.POLICY),
    "dtmf first": (dtmf("1"), "out_of_order", CloseCode.POLICY),
    "not JSON": ("{", "invalid_json", CloseCode.INVALID),
    "an array": ("[]", "invalid_json", CloseCode.INVALID),
    "a lone surrogate": ("\ud800", "invalid_json", CloseCode.INVALID),
    "nothing": ("", "invalid_json", CloseCode.INVALID),
    "too big": (" " * (MAX_TEXT_BYTES + 1), "message_too_big", CloseCode.TOO_BIG),
    "no event": ("{}", "invalid_field", CloseCode.INVALID),
    "event is no text": (event(5), "invalid_field", CloseCode.INVALID),
    "binary": (b"\x00", "unsupported", CloseCode.UNSUPPORTED),
    "no start object": (event("start"), "invalid_field", CloseCode.INVALID),
    "start is text": (event("start", start="x"), "invalid_field", CloseCode.INVALID),
    "no id at all": (
        event("start", start={"media_format": FORMAT}),
        "invalid_field",
        CloseCode.INVALID,
    ),
    "no format": (start(media_format=None), "invalid_field", CloseCode.INVALID),
    "format is text": (start(media_format="PCMU"), "invalid_field", CloseCode.INVALID),
    "no encoding": (start(media_format={"sample_rate": 8000}), "invalid_field", CloseCode.INVALID),
    "encoding is a number": (start(media_format={"encoding": 0}), "invalid_field", CloseCode.INVALID),
    "wideband G.711": (
        start(media_format=FORMAT | {"sample_rate": 16000}),
        "unsupported",
        CloseCode.UNSUPPORTED,
    ),
    "L16 without a rate": (start(media_format={"encoding": "L16"}), "invalid_field", CloseCode.INVALID),
    "L16 at an odd rate": (
        start(media_format={"encoding": "L16", "sample_rate": 8001}),
        "unsupported",
        CloseCode.UNSUPPORTED,
    ),
    "rate is a word": (
        start(media_format=FORMAT | {"sample_rate": "8k"}),
        "invalid_field",
        CloseCode.INVALID,
    ),
    "two channels": (start(media_format=FORMAT | {"channels": 2}), "unsupported", CloseCode.UNSUPPORTED),
    "channels is null": (start(media_format=FORMAT | {"channels": None}), "invalid_field", CloseCode.INVALID),
    "parameters are text": (start(custom_parameters="a=b"), "invalid_field", CloseCode.INVALID),
}
for codec in ("G722", "OPUS", "AMR-WB", "default", "PCM"):
    BEFORE[codec] = (
        start(media_format={"encoding": codec, "sample_rate": 8000}),
        "unsupported",
        CloseCode.UNSUPPORTED,
    )

DURING: dict[str, tuple[str | bytes, str, CloseCode]] = {
    "a second start": (start(), "out_of_order", CloseCode.POLICY),
    "binary": (b"\xff" * 160, "unsupported", CloseCode.UNSUPPORTED),
    "no media object": (event("media"), "invalid_field", CloseCode.INVALID),
    "media is an array": (event("media", media=[]), "invalid_field", CloseCode.INVALID),
    "no payload": (
        event("media", media={"track": "inbound", "chunk": "1"}),
        "invalid_field",
        CloseCode.INVALID,
    ),
    "payload is a number": (
        event("media", media={"chunk": "1", "payload": 5}),
        "invalid_field",
        CloseCode.INVALID,
    ),
    "bad base64": (media(1, "####"), "invalid_field", CloseCode.INVALID),
    "cut base64": (media(1, "1dX"), "invalid_field", CloseCode.INVALID),
    "base64 that is not ASCII": (media(1, "ééé="), "invalid_field", CloseCode.INVALID),
    "chunk is a word": (media("one"), "invalid_field", CloseCode.INVALID),
    "chunk is negative": (media(-1), "invalid_field", CloseCode.INVALID),
    "chunk is a fraction": (media(1.5), "invalid_field", CloseCode.INVALID),
    "chunk is huge": (media(MAX_NUMBER + 1), "invalid_field", CloseCode.INVALID),
    "chunk is true": (media(True), "invalid_field", CloseCode.INVALID),
    "chunk is null": (
        event("media", media={"chunk": None, "payload": ""}),
        "invalid_field",
        CloseCode.INVALID,
    ),
    "giant payload": (media(1, b"\xff" * MAX_TEXT_BYTES), "message_too_big", CloseCode.TOO_BIG),
    "no dtmf object": (event("dtmf"), "invalid_field", CloseCode.INVALID),
}


@pytest.mark.parametrize(("message", "code", "close"), BEFORE.values(), ids=BEFORE.keys())
def test_bad_beginnings(message: str | bytes, code: str, close: CloseCode) -> None:
    """Whatever cannot begin a call is refused with a stable code, and nothing more is read."""
    protocol = new()
    error = refused(protocol, message)
    assert (error.code, error.close_code) == (code, close)
    assert heard(protocol, start(), STOP) == []
    assert protocol.receive_bytes(b"", 0.0) == protocol.lost() == []


@pytest.mark.parametrize(("message", "code", "close"), DURING.values(), ids=DURING.keys())
def test_bad_messages_of_a_call(message: str | bytes, code: str, close: CloseCode) -> None:
    """The same in a call; what was held back before it still comes out."""
    protocol = begun("inbound")
    error = refused(protocol, media(1), message)
    assert (error.code, error.close_code) == (code, close)
    assert heard(protocol, media(2)) == []
    assert len(packets(protocol.lost())) == 1
    assert protocol.lost() == []


def test_a_bad_message_before_the_call_is_opened_ends_it_unheard() -> None:
    """Nothing begins after an error."""
    protocol = new()
    assert refused(protocol, start(), media(1), media("x")).code == "invalid_field"
    assert protocol.lost() == protocol.tick(99.0) == []


def test_errors_repeat_nothing_of_the_caller() -> None:
    """Neither values nor numbers of telephones."""
    messages = (
        media("secret-text"),
        media(1, "secret-text"),
        start(media_format={"encoding": "secret-text"}),
    )
    for message in messages:
        protocol = new() if '"start"' in message else begun()
        error = refused(protocol, message)
        assert "secret" not in str(error) + error.title + error.detail


def test_the_token_is_asked_for_in_the_first_message() -> None:
    """A wrong one is refused, wherever it comes; none at all where the header did not show it either."""
    header = UpgradeRequest("/", headers={TOKEN: "s3cret"})
    assert len(heard(TelnyxProtocol(SECRET, REQUEST), connected("s3cret"), start())) == 1
    assert len(heard(TelnyxProtocol(SECRET, header), connected(), start())) == 1
    assert len(heard(TelnyxProtocol(SECRET, header), start())) == 1
    refusals = (
        refused(TelnyxProtocol(SECRET, REQUEST), connected("wrong")),
        refused(TelnyxProtocol(SECRET, REQUEST), connected("s\ud800")),
        refused(TelnyxProtocol(SECRET, header), connected("wrong")),
        refused(TelnyxProtocol(SECRET, header), event("connected", connected={TOKEN: 5})),
        refused(TelnyxProtocol(SECRET, REQUEST), connected(), start()),
        refused(TelnyxProtocol(SECRET, REQUEST), start()),
        refused(TelnyxProtocol(SECRET, header), connected(), start(), connected("wrong")),
    )
    assert {(error.code, error.close_code) for error in refusals[:1] + refusals[2:]} == {
        ("unauthorized", CloseCode.POLICY)
    }
    assert refusals[1].code in ("unauthorized", "invalid_json")
    assert len(heard(new(tracks="both"), connected("any"), start())) == 1


def test_the_message_secret_is_asked_for_among_the_parameters() -> None:
    """As on every carrier: `token`."""
    config = CarrierConfig(message_secret="m3ssage", options={"tracks": "both"})
    assert refused(new(config), start()).code == "unauthorized"
    assert refused(new(config), start(custom_parameters={"token": "wrong"})).code == "unauthorized"
    (begin,) = heard(new(config), start(custom_parameters={"token": "m3ssage"}))
    assert "m3ssage" not in str(begin)
