"""Carriers' webhooks: verified before they are read, counted by what they say."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.clock import FakeClock
from tests.support.service import Api, api, make_settings

TOKEN = "0123456789abcdef0123456789abcdef"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
FORM = {"CallSid": "CA1", "StreamEvent": "stream-error", "StreamError": "x"}


@pytest.fixture(scope="module")
def hooks(bundle: Path) -> Iterator[Api]:
    """A service with both carriers configured."""
    carriers = {
        "public_origin": "wss://voice.example.com",
        "twilio": {"secrets": {"AC1": TOKEN}},
        "telnyx": {"options": {"webhook_public_key": PUBLIC}},
    }
    with api(make_settings(bundle, carriers=carriers), FakeClock()) as running:
        yield running


def telnyx_headers(running: Api, body: bytes, age_s: int = 0) -> dict[str, str]:
    """Signed as the vendor does."""
    stamp = str(int(running.services.clock.now()) - age_s)
    signature = base64.b64encode(KEY.sign(stamp.encode() + b"|" + body)).decode()
    return {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature}


def counted(running: Api, carrier: str, event: str) -> float | None:
    """The metric."""
    labels = {"carrier": carrier, "event": event}
    return running.services.metrics.registry.get_sample_value("kowairo_carrier_webhooks_total", labels)


def test_telnyx_signs_its_webhooks(hooks: Api) -> None:
    """A good one is counted; one of another body, or an old one, is refused."""
    body = b'{"data":{"event_type":"streaming_failed","payload":{"failure_reason":"x"}}}'
    path = "/v1/webhooks/telnyx"
    answer = hooks.request("POST", path, content=body, headers=telnyx_headers(hooks, body))
    assert (answer.status_code, counted(hooks, "telnyx", "failed")) == (204, 1)
    for headers, sent in (
        (telnyx_headers(hooks, b"other"), body),
        (telnyx_headers(hooks, body, age_s=301), body),
        ({}, body),
    ):
        assert hooks.request("POST", path, content=sent, headers=headers).status_code == 401
    nonsense = b"[]"
    answer = hooks.request("POST", path, content=nonsense, headers=telnyx_headers(hooks, nonsense))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_json")


def test_twilio_signs_address_and_form(hooks: Api) -> None:
    """Over https and the public name, whatever this service is called inside."""
    text = "https://voice.example.com/v1/webhooks/twilio" + "".join(k + v for k, v in sorted(FORM.items()))
    signature = base64.b64encode(hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()
    path, headers = "/v1/webhooks/twilio", {"X-Twilio-Signature": signature}
    assert hooks.request("POST", path, data=FORM, headers=headers).status_code == 204
    assert counted(hooks, "twilio", "error") == 1
    changed = FORM | {"CallSid": "CA2"}
    answer = hooks.request("POST", path, data=changed, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "invalid_signature")
    assert hooks.request("POST", path + "/x", data=FORM, headers=headers).status_code == 404
    many = {str(number): "" for number in range(99)}
    assert hooks.request("POST", path, data=many, headers=headers).status_code == 422


def test_without_keys_no_webhook_is_taken(web: Api) -> None:
    """Nobody could tell whose they are."""
    for carrier in ("telnyx", "twilio"):
        answer = web.request("POST", f"/v1/webhooks/{carrier}", content=b"{}")
        assert (answer.status_code, answer.json()["code"]) == (403, "carrier_not_configured")


def test_wrong_signatures_put_an_address_off(bundle: Path) -> None:
    """As wrong keys do; a right signature from there is still taken, and other addresses are not put off."""
    carriers = {"twilio": {"secrets": {"AC1": TOKEN}}, "telnyx": {"options": {"webhook_public_key": PUBLIC}}}
    settings = make_settings(
        bundle,
        carriers=carriers,
        limits={"wrong_credentials": 2},
        auth={"trusted_proxies": ["127.0.0.1/32"]},
    )
    body = b'{"data":{"event_type":"streaming_stopped","payload":{}}}'
    with api(settings, FakeClock()) as running:

        def send(carrier: str, peer: str, headers: dict[str, str]) -> tuple[int, str | None]:
            answer = running.request(
                "POST",
                f"/v1/webhooks/{carrier}",
                content=body,
                headers=headers | {"X-Forwarded-For": peer},
            )
            return answer.status_code, answer.headers.get("retry-after")

        wrong = telnyx_headers(running, b"other")
        assert [send("telnyx", "192.0.2.1", wrong) for _ in range(2)] == [(401, None)] * 2
        assert [send(name, "192.0.2.1", wrong) for name in ("twilio", "telnyx")] == [(429, "1")] * 2
        assert send("telnyx", "192.0.2.1", telnyx_headers(running, body)) == (204, None)
        assert send("telnyx", "192.0.2.2", wrong) == (401, None)
        labels = {"carrier": "twilio", "code": "too_many_failures"}
        refused = running.services.metrics.registry.get_sample_value("kowairo_ingest_refused_total", labels)
        assert refused == 1
