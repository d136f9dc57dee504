"""The table of bad input to a Twilio stream, with the documented answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.wire.base import CloseCode, WireError
from app.wire.carrier import CarrierConfig
from app.wire.envelope import MAX_TEXT_BYTES
from app.wire.twilio import CARRIER
from tests.wire.twilio.messages import FORMAT, REQUEST, STREAM, event, hear, media, protocol, start, started

INVALID = ("invalid_field", CloseCode.INVALID)
NO_JSON = ("invalid_json", CloseCode.INVALID)
ORDER = ("out_of_order", CloseCode.POLICY)
UNSUPPORTED = ("unsupported", CloseCode.UNSUPPORTED)
TOO_BIG = ("message_too_big", CloseCode.TOO_BIG)
UNAUTHORIZED = ("unauthorized", CloseCode.POLICY)


def refused(message: str | bytes, *before: str, config: CarrierConfig | None = None) -> tuple[str, CloseCode]:
    """Code and close code of the error that a message raises; after it nothing is heard any more."""
    stream = protocol(config)
    hear(stream, *before)
    with pytest.raises(WireError) as caught:
        stream.receive_text(message, 0.0) if isinstance(message, str) else stream.receive_bytes(message, 0.0)
    assert hear(stream, start(), media()) == []
    assert "s3cret" not in caught.value.detail
    return caught.value.code, caught.value.close_code


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(media(), ORDER, id="audio first"),
        pytest.param(event("dtmf", dtmf={"digit": "1"}), ORDER, id="a key first"),
        pytest.param(event("mark", mark={"name": "m"}), ORDER, id="a mark first"),
        pytest.param("", NO_JSON, id="empty"),
        pytest.param("s3cret", NO_JSON, id="no JSON"),
        pytest.param("[]", NO_JSON, id="an array"),
        pytest.param("null", NO_JSON, id="null"),
        pytest.param('{"event":"start"', NO_JSON, id="cut off"),
        pytest.param("[" * 5_000, NO_JSON, id="nested too deep"),
        pytest.param("{}", INVALID, id="no event"),
        pytest.param('{"event":7}', INVALID, id="an event that is no text"),
        pytest.param(b"\xff" * 160, UNSUPPORTED, id="binary"),
        pytest.param(b"", UNSUPPORTED, id="empty binary"),
        pytest.param(" " * (MAX_TEXT_BYTES + 1), TOO_BIG, id="giant"),
        pytest.param(event("start"), INVALID, id="no start object"),
        pytest.param(event("start", start=[]), INVALID, id="a start that is no object"),
        pytest.param(start(callSid=None), INVALID, id="no callSid"),
        pytest.param(start(callSid=7), INVALID, id="a callSid that is no text"),
        pytest.param(start(callSid="C" * 257), INVALID, id="a giant callSid"),
        pytest.param(start(streamSid=None).replace(STREAM, ""), INVALID, id="no streamSid"),
        pytest.param(start(tracks="inbound"), INVALID, id="tracks that are no array"),
        pytest.param(start(tracks=[]), INVALID, id="no tracks"),
        pytest.param(start(tracks=["inbound", "s3cret"]), INVALID, id="an unknown track"),
        pytest.param(start(tracks=[["inbound"]]), INVALID, id="a nested track"),
        pytest.param(start(customParameters=[]), INVALID, id="parameters that are no object"),
        pytest.param(start(mediaFormat="s3cret"), INVALID, id="a format that is no object"),
        pytest.param(start(mediaFormat={}), INVALID, id="an empty format"),
        pytest.param(
            start(mediaFormat=FORMAT | {"sampleRate": "8k"}), INVALID, id="a rate that is no number"
        ),
        pytest.param(
            start(mediaFormat=FORMAT | {"encoding": "audio/L16"}), UNSUPPORTED, id="another encoding"
        ),
        pytest.param(start(mediaFormat=FORMAT | {"sampleRate": 16000}), UNSUPPORTED, id="another rate"),
        pytest.param(start(mediaFormat=FORMAT | {"channels": 2}), UNSUPPORTED, id="stereo"),
        pytest.param(start().replace('"1"', '"-1"'), INVALID, id="a negative number"),
    ],
)
def test_before_the_start(message: str | bytes, answer: tuple[str, CloseCode]) -> None:
    """What may not come before a call."""
    assert refused(message) == answer


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(start(), ORDER, id="a second start"),
        pytest.param(b"\xff", UNSUPPORTED, id="binary"),
        pytest.param("s3cret", NO_JSON, id="no JSON"),
        pytest.param(" " * (MAX_TEXT_BYTES + 1), TOO_BIG, id="giant"),
        pytest.param(event("media", sequenceNumber="2"), INVALID, id="no media object"),
        pytest.param(
            event("media", sequenceNumber="2", media="s3cret"), INVALID, id="media that is no object"
        ),
        pytest.param(event("dtmf", sequenceNumber="2"), INVALID, id="no dtmf object"),
        pytest.param(media(payload=None), INVALID, id="no payload"),
        pytest.param(media(payload=["/w=="]), INVALID, id="a payload that is no text"),
        pytest.param(media(payload="s3cret!"), INVALID, id="no base64"),
        pytest.param(media(payload="/w"), INVALID, id="base64 without its padding"),
        pytest.param(media(payload="/w==\n"), INVALID, id="base64 with a line's end"),
        pytest.param(media(payload="-_-_"), INVALID, id="base64 for URLs"),
        pytest.param(media(payload="/w==\u00ff"), INVALID, id="base64 beyond ASCII"),
        pytest.param(media(timestamp="-20"), INVALID, id="a negative timestamp"),
        pytest.param(media(timestamp="20.5"), INVALID, id="a fraction"),
        pytest.param(media(timestamp=20.0), INVALID, id="a float"),
        pytest.param(media(timestamp=True), INVALID, id="a boolean timestamp"),
        pytest.param(media(timestamp=1 << 49), INVALID, id="a timestamp beyond belief"),
        pytest.param(media(timestamp="9" * 40), INVALID, id="a timestamp of 40 digits"),
        pytest.param(media(timestamp="٢٠"), INVALID, id="other digits"),
        pytest.param(media(number="two"), INVALID, id="a number that is none"),
        pytest.param(media(number=[2]), INVALID, id="a nested number"),
    ],
)
def test_during_the_call(message: str | bytes, answer: tuple[str, CloseCode]) -> None:
    """What ends a call that had started."""
    assert refused(message, start()) == answer


@pytest.mark.parametrize("parameters", [{}, {"token": "wrong"}, {"token": 7}, None])
def test_the_token_of_the_first_message(parameters: dict[str, Any] | None) -> None:
    """Where one is configured it must be in the custom parameters; nothing of the call comes out before."""
    config = CarrierConfig(message_secret="t0k")
    assert refused(start(customParameters=parameters), config=config) == UNAUTHORIZED


def test_unknown_fields_are_ignored() -> None:
    """A later version may add members anywhere."""
    stream = started(colour="blue")
    message = json.loads(media())
    message["media"]["colour"] = message["colour"] = {"nested": [1, None]}
    assert len(hear(stream, json.dumps(message))) == 1


def test_unknown_options_are_refused_at_the_start() -> None:
    """A misspelt option stops the service from starting, it is not found out in a call."""
    config = CarrierConfig(options={"colour": "blue"})
    with pytest.raises(ValueError, match="no options"):
        CARRIER.new_protocol(config, REQUEST)
    with pytest.raises(ValueError, match="no options"):
        CARRIER.new_authenticator(config)
