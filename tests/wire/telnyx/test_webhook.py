"""Telnyx webhooks: the vendor's signature, and what is read from the body."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from app.wire.base import WireError
from app.wire.carrier import RefusedError
from app.wire.telnyx_webhook import WebhookEvent, load_public_key, parse_webhook, verify

PUBLIC_KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
SIGNED_AT = 1_767_225_600
BODY = b'{"data":{"event_type":"streaming.started"}}'
SIGNATURE = "m5ayfIxZuXvubtvWcfnYUtcyP5FmLdM0xisSHv4vw4mWof21iOI4I3lVO+WKv3uZCZrzRdgc4tWmQStwh1u9Cg=="
HEADERS = {"telnyx-timestamp": str(SIGNED_AT), "telnyx-signature-ed25519": SIGNATURE}


def refusal(headers: dict[str, str], body: bytes = BODY, now_s: float = SIGNED_AT) -> str:
    """The code a webhook is refused with."""
    with pytest.raises(RefusedError) as caught:
        verify(headers, body, PUBLIC_KEY, now_s)
    assert caught.value.status == 401
    return caught.value.code


@pytest.mark.parametrize("offset_s", [-300.0, 0.0, 12.5, 300.0])
def test_the_vendors_vector(offset_s: float) -> None:
    """The vector of the protocol page holds within five minutes to either side."""
    verify(HEADERS, BODY, PUBLIC_KEY, SIGNED_AT + offset_s)


def test_the_vectors_key_is_that_of_the_seed() -> None:
    """Seed bytes 00…1f, as the page says; signing gives the page's signature."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    assert key.public_key() == load_public_key(f" {PUBLIC_KEY}\n")
    assert base64.b64encode(key.sign(f"{SIGNED_AT}|".encode() + BODY)).decode() == SIGNATURE


@pytest.mark.parametrize("offset_s", [-301.0, 301.0])
def test_a_stale_webhook_is_refused(offset_s: float) -> None:
    """Too old, or from the future."""
    assert refusal(HEADERS, now_s=SIGNED_AT + offset_s) == "stale_timestamp"


BAD: dict[str, tuple[dict[str, str], bytes, str]] = {
    "no headers": ({}, BODY, "missing_signature"),
    "no timestamp": ({"telnyx-signature-ed25519": SIGNATURE}, BODY, "missing_signature"),
    "no signature": ({"telnyx-timestamp": str(SIGNED_AT)}, BODY, "missing_signature"),
    "other time": (HEADERS | {"telnyx-timestamp": str(SIGNED_AT + 1)}, BODY, "bad_signature"),
    "time is a word": (HEADERS | {"telnyx-timestamp": "now"}, BODY, "bad_signature"),
    "time in other digits": (HEADERS | {"telnyx-timestamp": "١٢٣"}, BODY, "bad_signature"),
    "endless time": (HEADERS | {"telnyx-timestamp": "1" * 400}, BODY, "bad_signature"),
    "other body": (HEADERS, BODY + b" ", "bad_signature"),
    "no body": (HEADERS, b"", "bad_signature"),
    "not base64": (HEADERS | {"telnyx-signature-ed25519": "#" * 88}, BODY, "bad_signature"),
    "not ASCII": (HEADERS | {"telnyx-signature-ed25519": "é" * 88}, BODY, "bad_signature"),
    "too short": (HEADERS | {"telnyx-signature-ed25519": "AAAA"}, BODY, "bad_signature"),
    "one bit": (HEADERS | {"telnyx-signature-ed25519": "n" + SIGNATURE[1:]}, BODY, "bad_signature"),
}


@pytest.mark.parametrize(("headers", "body", "code"), BAD.values(), ids=BAD.keys())
def test_bad_signatures(headers: dict[str, str], body: bytes, code: str) -> None:
    """Each is refused with a stable code."""
    assert refusal(headers, body) == code


@pytest.mark.parametrize("key", ["", "AAAA", "é", PUBLIC_KEY[:-1], PUBLIC_KEY + PUBLIC_KEY])
def test_a_key_that_is_none_is_the_sites_fault(key: str) -> None:
    """It is told as such, not as a refusal."""
    with pytest.raises(ValueError, match="32 bytes in base64"):
        verify(HEADERS, BODY, key, SIGNED_AT)


def webhook(**data: Any) -> bytes:
    """A body."""
    return json.dumps({"data": data}).encode()


def test_what_a_webhook_says() -> None:
    """Types come with dots, whichever way they were written; what is missing or strange is None."""
    payload = {
        "call_control_id": "v3:x",
        "stream_id": "s",
        "failure_reason": "connection_failed",
        "digit": "#",
        "other": {},
    }
    expected = WebhookEvent("streaming.failed", "v3:x", "s", "connection_failed", "#")
    assert parse_webhook(webhook(event_type="streaming_failed", payload=payload)) == expected
    assert parse_webhook(webhook(event_type="streaming.failed", payload=payload, id="1")) == expected
    assert parse_webhook(BODY) == WebhookEvent("streaming.started")
    strange = {"call_control_id": 5, "stream_id": "", "failure_reason": "x" * 2_000, "digit": "12"}
    assert parse_webhook(webhook(event_type="a", payload=strange)) == WebhookEvent("a")
    assert parse_webhook(webhook(event_type="a", payload=[])) == WebhookEvent("a")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"{}", "invalid_field"),
        (b'{"data":5}', "invalid_field"),
        (webhook(), "invalid_field"),
        (webhook(event_type=5), "invalid_field"),
        (webhook(event_type="x" * 257), "invalid_field"),
        (b" " * 70_000, "message_too_big"),
    ],
)
def test_bad_bodies(body: bytes, code: str) -> None:
    """Each raises a WireError with a stable code."""
    with pytest.raises(WireError) as caught:
        parse_webhook(body)
    assert caught.value.code == code


@given(st.dictionaries(st.sampled_from([*HEADERS, "x"]), st.text(max_size=90)), st.binary(max_size=90))
def test_nothing_but_refusals(headers: dict[str, str], body: bytes) -> None:
    """Whatever comes without a signature of the account is refused, and never read as anything else."""
    assert refusal(headers, body) in ("missing_signature", "bad_signature")
    with contextlib.suppress(WireError):
        assert parse_webhook(body).event_type
