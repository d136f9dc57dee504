"""Telnyx webhooks, sans I/O: who sent them, and what they say of a stream.

Signed by Ed25519 over `telnyx-timestamp`, `|` and the raw body, as team-telnyx/telnyx-python verifies it
(`lib/webhook_verification.py`), with its tolerance of 300 s.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.wire.carrier import RefusedError
from app.wire.envelope import dtmf_digit, not_json, object_field, optional_text, parse_object, text_field

TOLERANCE_S = 300.0
SIGNATURE = "telnyx-signature-ed25519"
TIMESTAMP = "telnyx-timestamp"

_KEY_BYTES = 32
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """What a webhook says. event_type: with dots, as `streaming.failed`; the rest None where it says nothing.

    digit: of `call.dtmf.received`. failure_reason: the vendor's text, of `streaming.failed`.
    """

    event_type: str
    call_control_id: str | None = None
    stream_id: str | None = None
    failure_reason: str | None = None
    digit: str | None = None


def load_public_key(public_key_base64: str) -> Ed25519PublicKey:
    """The key of the account, as the portal shows it.

    Raises:
        ValueError: it is not 32 bytes in base64.
    """
    key = _base64(public_key_base64.strip())
    if key is None or len(key) != _KEY_BYTES:
        raise ValueError("telnyx: expected webhook_public_key to be 32 bytes in base64")
    return Ed25519PublicKey.from_public_bytes(key)


def verify(headers: Mapping[str, str], body: bytes, public_key_base64: str, now_s: float) -> None:
    """Admit a webhook. headers: lower-case names. now_s: seconds since the epoch.

    Within the tolerance a webhook may be sent again; what is done with it must bear that.

    Raises:
        RefusedError: 401 `missing_signature`, `bad_signature` or `stale_timestamp`.
        ValueError: the key is none; sites are told when the service starts.
    """
    key = load_public_key(public_key_base64)
    timestamp, encoded = headers.get(TIMESTAMP, "").strip(), headers.get(SIGNATURE, "").strip()
    if not timestamp or not encoded:
        raise RefusedError(401, "missing_signature", f"expected {TIMESTAMP} and {SIGNATURE}")
    signature = _base64(encoded)
    digits = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 16
    if not digits or signature is None or len(signature) != _SIGNATURE_BYTES:
        raise RefusedError(401, "bad_signature", "expected Unix seconds, and 64 bytes in base64")
    try:
        key.verify(signature, timestamp.encode() + b"|" + body)
    except InvalidSignature:
        raise RefusedError(
            401, "bad_signature", "the signature is not the account's over this body"
        ) from None
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise RefusedError(
            401, "stale_timestamp", f"expected a time within {TOLERANCE_S:.0f} s of this clock"
        )


def parse_webhook(body: bytes) -> WebhookEvent:
    """Read a verified webhook; unknown types and members are left to the caller.

    Some deliveries write `streaming_started` for `streaming.started`.

    Raises:
        WireError: `message_too_big`, `invalid_json`, `invalid_field`.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise not_json() from error
    data = object_field(parse_object(text), "data")
    payload = data.get("payload")
    if not isinstance(payload, dict):
        payload = {}
    return WebhookEvent(
        event_type=text_field(data, "event_type").replace("_", "."),
        call_control_id=optional_text(payload, "call_control_id"),
        stream_id=optional_text(payload, "stream_id"),
        failure_reason=optional_text(payload, "failure_reason", max_chars=1024),
        digit=dtmf_digit(payload.get("digit")),
    )


def _base64(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one; so is text that is not ASCII
        return None
