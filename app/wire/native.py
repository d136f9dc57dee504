"""The native protocol `/v1/stream`, sans I/O: messages in, events out (the replies: `app.wire.replies`).

`docs/protocol.md` is the reference; its examples are executed by `tests/wire/test_protocol_doc.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from uuid import uuid4

import orjson

from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.base import (
    Audio,
    CloseCode,
    Flush,
    Mark,
    Pause,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.replies import (
    encode_error,
    encode_interim,
    encode_line_event,
    encode_mark,
    encode_ready,
    encode_speech_start,
    encode_summary,
    encode_utterance,
    encode_warning,
)

__all__ = [
    "MAX_MARK_CHARS",
    "MAX_MESSAGE_BYTES",
    "MAX_METADATA_BYTES",
    "MAX_METADATA_DEPTH",
    "SAMPLE_RATES_HZ",
    "NativeProtocol",
    "NativeState",
    "encode_error",
    "encode_interim",
    "encode_line_event",
    "encode_mark",
    "encode_ready",
    "encode_speech_start",
    "encode_summary",
    "encode_utterance",
    "encode_warning",
    "parse_start",
    "random_call_id",
]

SAMPLE_RATES_HZ = (8_000, 16_000, 24_000, 48_000)
MAX_MESSAGE_BYTES = 1 << 20
MAX_METADATA_BYTES = 4_096
MAX_METADATA_DEPTH = 8
MAX_MARK_CHARS = 128

_CALL_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_LINE = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_SUBJECT = re.compile(r"[A-Za-z0-9._~:+@-]{1,128}")
_RESUME = re.compile(r"[A-Za-z0-9_-]{16,128}")
_LANGUAGE = re.compile(r"[A-Za-z0-9-]{1,35}")
_CONTROLS: Mapping[str, WireEvent] = {"flush": Flush(), "pause": Pause(), "resume": Resume(), "stop": Stop()}


class NativeState(Enum):
    """Where a stream is: `STARTED` is the only state that takes audio."""

    NEW = auto()
    STARTED = auto()
    STOPPED = auto()
    FAILED = auto()


def random_call_id() -> str:
    """A call id for clients that bring none: 32 hexadecimal digits."""
    return uuid4().hex


class NativeProtocol:
    """One stream's reading side. Raises nothing but `WireError`, after which it takes no more messages."""

    def __init__(
        self,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        new_call_id: Callable[[], str] = random_call_id,
    ) -> None:
        self.state = NativeState.NEW
        self._max_message_bytes = max_message_bytes
        self._new_call_id = new_call_id

    def receive_text(self, text: str) -> list[WireEvent]:
        """Read one text message.

        Raises:
            WireError: not a JSON object, unknown type, a bad field, or a message out of order.
        """
        try:
            return [self._control(self._parse(text))]
        except WireError:
            self.state = NativeState.FAILED
            raise

    def receive_bytes(self, payload: bytes) -> list[WireEvent]:
        """Read one binary message: audio of any length, an empty one is nothing.

        Raises:
            WireError: audio before `start` or after `stop`, or more than the largest message.
        """
        try:
            self._check_size(len(payload))
            if self.state is NativeState.NEW:
                raise WireError(
                    "audio_before_start",
                    "Audio came before the call was started",
                    "expected a text message of type 'start' first, got a binary message",
                    CloseCode.UNSUPPORTED,
                )
            self._check_open("a binary message")
        except WireError:
            self.state = NativeState.FAILED
            raise
        return [Audio(AudioPacket(payload))] if payload else []

    def _parse(self, text: str) -> dict[str, object]:
        self._check_size(len(text))  # before encoding: a character is at least one byte
        try:
            raw = text.encode()
            self._check_size(len(raw))
            message = orjson.loads(raw)
        except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
            raise _invalid_json("expected a JSON object, got text that is not JSON") from error
        if not isinstance(message, dict):
            raise _invalid_json(f"expected a JSON object, got {_kind(message)}")
        return message

    def _control(self, message: dict[str, object]) -> WireEvent:
        kind = message.get("type")
        if not isinstance(kind, str):
            raise _invalid("type", "a string", kind)
        if kind == "start":
            return self._start(message)
        if kind != "mark" and kind not in _CONTROLS:
            expected = ", ".join(("start", "mark", *_CONTROLS))
            raise WireError(
                "unknown_type",
                "A message has an unknown type",
                f"expected a type among {expected}",
                CloseCode.UNSUPPORTED,
            )
        self._check_open(f"'{kind}'")
        if kind == "mark":
            return Mark(_mark_name(message))
        if kind == "stop":
            self.state = NativeState.STOPPED
        return _CONTROLS[kind]

    def _start(self, message: dict[str, object]) -> Start:
        if self.state is NativeState.STARTED:
            raise WireError(
                "already_started",
                "The call was started twice",
                "expected one 'start' per stream, got a second one",
                CloseCode.POLICY,
            )
        if self.state is not NativeState.NEW:
            self._check_open("'start'")
        call = parse_start(message, self._new_call_id)
        self.state = NativeState.STARTED
        return Start(call)

    def _check_open(self, got: str) -> None:
        if self.state is NativeState.NEW:
            raise WireError(
                "not_started",
                "The call was not started",
                f"expected a message of type 'start' first, got {got}",
                CloseCode.POLICY,
            )
        if self.state is not NativeState.STARTED:
            raise WireError(
                "already_stopped",
                "The stream had already ended",
                f"expected nothing more after 'stop' or an error, got {got}",
                CloseCode.POLICY,
            )

    def _check_size(self, size: int) -> None:
        if size > self._max_message_bytes:
            raise WireError(
                "message_too_big",
                "A message is too big",
                f"expected at most {self._max_message_bytes} bytes a message, got {size} or more",
                CloseCode.TOO_BIG,
            )


def parse_start(message: Mapping[str, object], new_call_id: Callable[[], str]) -> CallStart:
    """Read a `start` message; unknown fields are ignored, null counts as absent for optional ones.

    Raises:
        WireError: a required field is missing, or a field has the wrong type or an unsupported value.
    """
    call_id, resume = _matching(message, "call_id", _CALL_ID), _matching(message, "resume", _RESUME)
    if resume is not None and call_id is None:
        raise _invalid("call_id", "the id of the call to resume", None)
    return CallStart(
        call_id=call_id or new_call_id(),
        format=AudioFormat(
            encoding=_encoding(message.get("encoding")),
            sample_rate_hz=_sample_rate(message.get("sample_rate")),
            channels=_channels(message.get("channels")),
        ),
        line=_matching(message, "line", _LINE) or "default",
        language=_matching(message, "language", _LANGUAGE),
        interim=_flag(message, "interim"),
        salience=_flag(message, "salience"),
        consent=_flag(message, "consent"),
        notice_given=_flag(message, "notice_given"),
        metadata=_metadata(message),
        team=_matching(message, "team", _LINE),
        subject=_matching(message, "subject", _SUBJECT),
        resume=resume,
    )


def _encoding(value: object) -> Encoding:
    if not isinstance(value, str):
        raise _invalid("encoding", "a string", value)
    try:
        return Encoding(value)
    except ValueError:
        names = ", ".join(Encoding)
        raise _unsupported("encoding", f"one of {names}, got {value[:32]!r}") from None


def _sample_rate(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid("sample_rate", "an integer", value)
    if value not in SAMPLE_RATES_HZ:
        rates = ", ".join(str(rate) for rate in SAMPLE_RATES_HZ)
        raise _unsupported("sample_rate", f"one of {rates}, got {value}")
    return value


def _channels(value: object) -> tuple[Leg, ...]:
    if not isinstance(value, list):
        raise _invalid("channels", "an array of one or two legs", value)
    names = tuple(leg.value for leg in Leg)
    if any(not isinstance(leg, str) or leg not in names for leg in value):
        raise _unsupported("channels", "'customer', 'agent' or both, or 'mixed' alone")
    if Leg.MIXED in value and len(value) > 1:
        raise _unsupported("channels", "'mixed' to be alone")
    if not value or len(set(value)) != len(value):
        raise _unsupported("channels", f"one or two different legs, got {len(value)} entries")
    return tuple(Leg(leg) for leg in value)


def _matching(message: Mapping[str, object], name: str, pattern: re.Pattern[str]) -> str | None:
    value = message.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _invalid(name, "a string", value)
    if pattern.fullmatch(value) is None:
        raise _invalid(name, f"text matching ^{pattern.pattern}$", value)
    return value


def _flag(message: Mapping[str, object], name: str) -> bool:
    value = message.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _invalid(name, "true or false", value)
    return value


def _metadata(message: Mapping[str, object]) -> dict[str, object]:
    value = message.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid("metadata", "an object", value)
    # Depth first: the encoder has a depth limit of its own.
    if _deeper_than(value, MAX_METADATA_DEPTH):
        raise WireError(
            "invalid_field",
            "A field has a wrong value",
            f"metadata: expected at most {MAX_METADATA_DEPTH} levels",
            CloseCode.INVALID,
        )
    size = len(orjson.dumps(value))
    if size > MAX_METADATA_BYTES:
        raise WireError(
            "metadata_too_big",
            "The metadata is too big",
            f"expected at most {MAX_METADATA_BYTES} bytes of compact JSON, got {size}",
            CloseCode.TOO_BIG,
        )
    return value


def _deeper_than(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(child, levels - 1) for child in children)


def _mark_name(message: Mapping[str, object]) -> str:
    name = message.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_MARK_CHARS:
        raise _invalid("name", f"a string of 1 to {MAX_MARK_CHARS} characters", name)
    return name


def _kind(value: object) -> str:
    names = {type(None): "nothing", bool: "a boolean", int: "a number", float: "a number", list: "an array"}
    if isinstance(value, str):
        return f"a string of {len(value)} characters"
    return names.get(type(value), "an object")


def _invalid(field: str, expected: str, got: object) -> WireError:
    detail = f"{field}: expected {expected}, got {_kind(got)}"
    return WireError("invalid_field", "A field has a wrong value", detail, CloseCode.INVALID)


def _unsupported(field: str, expected: str) -> WireError:
    titles = {
        "encoding": "The encoding is not supported",
        "sample_rate": "The sample rate is not supported",
        "channels": "The channels are not supported",
    }
    return WireError(
        f"unsupported_{field}", titles[field], f"{field}: expected {expected}", CloseCode.UNSUPPORTED
    )


def _invalid_json(detail: str) -> WireError:
    return WireError("invalid_json", "A text message is not a JSON object", detail, CloseCode.INVALID)
