"""Twilio's signature of the upgrade request, against the vectors of the protocol page."""

from __future__ import annotations

import pytest

from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest
from app.wire.twilio import CARRIER
from app.wire.twilio_auth import sign, signed_urls, webhook_matches

TOKEN = "0123456789abcdef0123456789abcdef"
ORIGIN = "wss://voice.example.com"
PATH = "/media/twilio"
SIGNED = "BbfE/txsZ8UjwSjwaliQOycxGvA="
SIGNED_SLASH = "k+Ojz6Lw6HPAVVgbCJynLjQ4kNc="
SIGNED_HTTPS = "ezFnws/Ko789QZB+WZaYKRfbTn8="


def admits(
    signature: str | None,
    path: str = PATH,
    *,
    origin: str | None = ORIGIN,
    secrets: dict[str, str] | None = None,
    **headers: str,
) -> bool:
    """Whether a request comes in; refusals are of status 403."""
    config = CarrierConfig(public_origin=origin, secrets=secrets or {"AC1": TOKEN})
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if signature is not None:
        given["x-twilio-signature"] = signature
    try:
        CARRIER.new_authenticator(config).check(UpgradeRequest(path, headers=given), 0.0)
    except RefusedError as refused:
        return refused.status != 403
    return True


def test_the_vectors_of_the_protocol_page() -> None:
    """The bare address, the same with a final slash, and the webhook form with its fields appended."""
    assert sign(ORIGIN + PATH, TOKEN) == SIGNED
    assert sign(ORIGIN + PATH + "/", TOKEN) == SIGNED_SLASH
    assert sign("https://voice.example.com" + PATH, TOKEN) == SIGNED_HTTPS
    fields = "CallSidCA00000000000000000000000000000001From+14155550100To+14155550199"
    assert sign("https://voice.example.com/twiml" + fields, TOKEN) == "4ayXPEzLzAsSvQiMqaT+E4rT8GU="


@pytest.mark.parametrize("origin", ["https://voice.example.com", "wss://voice.example.com"])
def test_webhooks_are_signed_with_their_form(origin: str) -> None:
    """The page's webhook, whatever the order of its fields; another field, address or secret does not match."""
    form = [
        ("To", "+14155550199"),
        ("CallSid", "CA00000000000000000000000000000001"),
        ("From", "+14155550100"),
    ]
    given = "4ayXPEzLzAsSvQiMqaT+E4rT8GU="
    assert webhook_matches(given, origin, "/twiml", form, ["0" * 32, TOKEN])
    assert not webhook_matches(given, origin, "/twiml", form[1:], [TOKEN])
    assert not webhook_matches(given, origin, "/twiml/", form, [TOKEN])
    assert not webhook_matches(given, origin, "/twiml", form, ["0" * 32])
    assert not webhook_matches("", origin, "/twiml", form, [])


@pytest.mark.parametrize("path", [PATH, PATH + "/"])
@pytest.mark.parametrize("signature", [SIGNED, SIGNED_SLASH])
def test_the_final_slash_may_differ(signature: str, path: str) -> None:
    """Web servers add and remove it, Twilio may too."""
    assert admits(signature, path)


@pytest.mark.parametrize(
    ("signature", "path"),
    [
        pytest.param(None, PATH, id="none"),
        pytest.param("", PATH, id="empty"),
        pytest.param(SIGNED_HTTPS, PATH, id="of https"),
        pytest.param(SIGNED, PATH + "//", id="two slashes"),
        pytest.param(SIGNED, "/media/other", id="of another path"),
        pytest.param(SIGNED, "/media/%74wilio", id="of the path decoded"),
        pytest.param(SIGNED.lower(), PATH, id="in lower case"),
        pytest.param(SIGNED[:-1], PATH, id="cut off"),
        pytest.param(f"{SIGNED}, {SIGNED}", PATH, id="twice"),
        pytest.param("\u00e9\udcff", PATH, id="no ASCII"),
        pytest.param(SIGNED, "/\udcff", id="a path of broken bytes"),
        pytest.param(sign(ORIGIN + PATH, "other"), PATH, id="with another secret"),
        pytest.param(sign(ORIGIN + ":80" + PATH, TOKEN), PATH, id="of port 80"),
    ],
)
def test_wrong_signatures_are_refused(signature: str | None, path: str) -> None:
    """Missing, malformed, of another address or with another secret."""
    assert not admits(signature, path)


@pytest.mark.parametrize("configured", ["wss://h.example", "wss://h.example:443", "wss://h.example:8443/"])
@pytest.mark.parametrize("signed", ["", ":443"])
def test_the_port_may_be_left_out_or_be_443(configured: str, signed: str) -> None:
    """The signing side is not consistent."""
    assert admits(sign(f"wss://h.example{signed}/x", TOKEN), "/x", origin=configured)


def test_the_configured_port_counts_as_it_is() -> None:
    """A port of one's own is signed as written, and no other."""
    assert admits(sign("wss://h.example:8443/x", TOKEN), "/x", origin="wss://h.example:8443")
    assert not admits(sign("wss://h.example:8444/x", TOKEN), "/x", origin="wss://h.example:8443")


def test_every_address_that_is_tried() -> None:
    """Three hosts, two paths; the scheme is always wss, and an origin may have a path."""
    assert signed_urls("https://h:1/in", "/x/") == (
        "wss://h:1/in/x", "wss://h:1/in/x/", "wss://h/in/x", "wss://h/in/x/", "wss://h:443/in/x", "wss://h:443/in/x/",
    )  # fmt: skip
    assert signed_urls("wss://[::1]", "/x")[:3] == ("wss://[::1]/x", "wss://[::1]/x/", "wss://[::1]:443/x")
    assert len(signed_urls(ORIGIN, "/x")) == 4


def test_without_a_public_origin_the_host_counts() -> None:
    """Behind a proxy that keeps the Host header nothing need be configured."""
    assert admits(SIGNED, origin=None, host="voice.example.com")
    assert not admits(SIGNED, origin=None, host="other.example.com")
    assert not admits(SIGNED, origin=None)


def test_any_of_the_secrets_will_do() -> None:
    """Several accounts, or a token that is being replaced."""
    assert admits(SIGNED, secrets={"old": "0" * 32, "AC2": TOKEN})
    assert not admits(SIGNED, secrets={"old": "0" * 32})


def test_a_shared_key_signs_with_another_hash() -> None:
    """The settings header names the algorithm; one that is not known is refused."""
    shared = sign(ORIGIN + PATH, TOKEN, "HMAC_SHA256")
    settings = "key=SK1, algorithm=hmac_sha256"
    assert admits(shared, x_twilio_webhooks_signature_settings=settings)
    assert not admits(SIGNED, x_twilio_webhooks_signature_settings=settings)
    assert not admits(shared)
    assert admits(SIGNED, x_twilio_webhooks_signature_settings="algorithm=HMAC_SHA1")
    assert not admits(SIGNED, x_twilio_webhooks_signature_settings="algorithm=none")
    assert not admits(SIGNED, x_twilio_webhooks_signature_settings="")
