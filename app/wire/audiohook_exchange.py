"""What all messages of an AudioHook session have: version, id, and numbers on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from app.wire.audiohook_open import NULL_UUID, UUID, duration_samples
from app.wire.base import CloseCode, WireError
from app.wire.envelope import (
    invalid,
    number_field,
    object_field,
    parse_object,
    text_field,
    unauthorized,
    unsupported,
)

MAX_TEXT_CHARS = 65_535


@dataclass(frozen=True, slots=True)
class Message:
    """What every message of the client says. position: samples, None where it is missing or no duration."""

    type: str
    parameters: Mapping[str, object]
    position: int | None


class Exchange:
    """The numbers of one session. header_id: of the upgrade, which the messages must repeat; None without one."""

    def __init__(self, header_id: str | None) -> None:
        self.id = ""
        """Of the session, once a message has said it."""
        self._header_id = header_id
        self._seq = 0
        self._client_seq = 0

    def read(self, text: str) -> Message:
        """Check a message's version, id and numbers.

        Raises:
            WireError: `message_too_big`, `invalid_json`, `unsupported`, `invalid_field`, `unauthorized`,
                `sequence_error`.
        """
        message = parse_object(text, MAX_TEXT_CHARS)
        if message.get("version") != "2":
            raise unsupported("version", '"2"')
        kind = text_field(message, "type")
        session_id = text_field(message, "id")
        seq = number_field(message, "seq")
        if seq != self._client_seq + 1:
            raise _sequence_error("seq: expected the number after that of the message before")
        self._client_seq = seq
        if number_field(message, "serverseq") > self._seq:
            raise _sequence_error("serverseq: expected no number that was not sent yet")
        self._check_session(session_id)
        return Message(kind, object_field(message, "parameters"), duration_samples(message.get("position")))

    def read_close(self, text: str) -> bool:
        """Whether this is a `close`, whatever its number: what is listened for after a `disconnect`."""
        try:
            message = parse_object(text, MAX_TEXT_CHARS)
            seq = number_field(message, "seq")
        except WireError:
            return False
        if message.get("type") != "close":
            return False
        self._client_seq = seq
        return True

    def build(self, kind: str, parameters: Mapping[str, object]) -> str:
        """The next message of the server."""
        self._seq += 1
        return orjson.dumps(
            {
                "version": "2",
                "type": kind,
                "id": self.id or self._header_id or NULL_UUID,
                "seq": self._seq,
                "clientseq": self._client_seq,
                "parameters": parameters,
            }
        ).decode()

    def _check_session(self, session_id: str) -> None:
        if not self.id:
            if UUID.fullmatch(session_id) is None:
                raise invalid("id", "a UUID")
            header = session_id if self._header_id is None else self._header_id
            if session_id.lower() != header.strip().lower():
                raise unauthorized("id: expected that of the header Audiohook-Session-Id")
            self.id = session_id
        elif session_id.lower() != self.id.lower():
            raise invalid("id", "that of the first message")


def _sequence_error(detail: str) -> WireError:
    return WireError("sequence_error", "A message number is wrong", detail, CloseCode.POLICY)
