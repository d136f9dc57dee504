"""The table of bad input to a Vonage WebSocket, with the documented answer."""

from __future__ import annotations

import pytest

from app.wire.base import CloseCode, WireError
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.vonage import CARRIER, MAX_AUDIO_BYTES, MAX_TEXT_BYTES
from tests.wire.vonage.messages import FRAME, MIXED, connected, event, hear, protocol

INVALID = ("invalid_field", CloseCode.INVALID)
NO_JSON = ("invalid_json", CloseCode.INVALID)
ORDER = ("out_of_order", CloseCode.POLICY)
UNSUPPORTED = ("unsupported", CloseCode.UNSUPPORTED)
TOO_BIG = ("message_too_big", CloseCode.TOO_BIG)
UNAUTHORIZED = ("unauthorized", CloseCode.POLICY)


def refused(message: str | bytes, *before: str, config: CarrierConfig = MIXED) -> tuple[str, CloseCode]:
    """Code and close code of the error that a message raises; after it nothing is heard any more."""
    listener = protocol(config)
    hear(listener, *before)
    with pytest.raises(WireError) as caught:
        hear(listener, message)
    assert hear(listener, connected(), FRAME, "no JSON") == []
    assert "s3cret" not in caught.value.detail
    return caught.value.code, caught.value.close_code


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(FRAME, ORDER, id="audio first"),
        pytest.param(b"", ORDER, id="empty audio first"),
        pytest.param(event("dtmf", digit="1"), ORDER, id="a key first"),
        pytest.param("", NO_JSON, id="empty"),
        pytest.param("s3cret", NO_JSON, id="no JSON"),
        pytest.param("[]", NO_JSON, id="an array"),
        pytest.param("\ud800", NO_JSON, id="no Unicode"),
        pytest.param(" " * (MAX_TEXT_BYTES + 1), TOO_BIG, id="giant"),
        pytest.param("{}", INVALID, id="no event"),
        pytest.param('{"event":["websocket:connected"]}', INVALID, id="an event that is no text"),
        pytest.param(connected(8000), INVALID, id="a content type that is no text"),
        pytest.param(connected(""), UNSUPPORTED, id="an empty content type"),
        pytest.param(connected("s3cret"), UNSUPPORTED, id="no content type"),
        pytest.param(connected("audio/pcmu;rate=8000"), UNSUPPORTED, id="another type"),
        pytest.param(connected("audio/l16;rate=44100"), UNSUPPORTED, id="another rate"),
        pytest.param(connected("audio/l16;rate=8 000"), UNSUPPORTED, id="a rate that is none"),
        pytest.param(connected("audio/l16;rate="), UNSUPPORTED, id="an empty rate"),
        pytest.param(connected("audio/l16;rate=8000;channels=2"), UNSUPPORTED, id="stereo"),
    ],
)
def test_before_the_start(message: str | bytes, answer: tuple[str, CloseCode]) -> None:
    """What may not come before a call."""
    assert refused(message) == answer


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(connected(), ORDER, id="connected twice"),
        pytest.param("s3cret", NO_JSON, id="no JSON"),
        pytest.param('{"event":null}', INVALID, id="no event"),
        pytest.param(" " * (MAX_TEXT_BYTES + 1), TOO_BIG, id="giant text"),
        pytest.param(bytes(MAX_AUDIO_BYTES + 2), TOO_BIG, id="giant audio"),
    ],
)
def test_during_the_call(message: str | bytes, answer: tuple[str, CloseCode]) -> None:
    """What ends a call that had started."""
    assert refused(message, connected()) == answer


@pytest.mark.parametrize("token", [None, "wrong", 7, ["t0k"]])
def test_the_token_of_the_first_message(token: object) -> None:
    """Where one is configured it must be among the NCCO's headers, whatever the handshake proved."""
    config = CarrierConfig(message_secret="t0k")
    assert refused(connected(token=token), config=config) == UNAUTHORIZED
    assert len(hear(protocol(config), connected(token="t0k"))) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"colour": "blue"},
        {"byte_order": "middle"},
        {"sample_rate": "44100"},
        {"sample_rate": ""},
        {"application_id": "a"},
    ],
)
def test_options_are_checked_at_the_start(options: dict[str, str]) -> None:
    """A misspelt option stops the service from starting, it is not found out in a call."""
    config = CarrierConfig(options=options)
    with pytest.raises(ValueError, match="option"):
        CARRIER.new_protocol(config, UpgradeRequest("/"))
    with pytest.raises(ValueError, match="option"):
        CARRIER.new_authenticator(config)
