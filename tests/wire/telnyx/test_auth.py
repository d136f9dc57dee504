"""Telnyx: who may connect, and which settings are refused when the service starts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest
from app.wire.telnyx import CARRIER
from tests.wire.telnyx.made import REQUEST, TOKEN

SECRETS = {"stream_auth_token": "s3cret"}
KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="


def admitted(headers: Mapping[str, str], **options: str) -> bool:
    """Whether an upgrade with these headers comes in."""
    authenticator = CARRIER.new_authenticator(CarrierConfig(secrets=SECRETS, options=options))
    refusal: RefusedError | None = None
    try:
        authenticator.check(UpgradeRequest("/v1/ingest/telnyx", headers=headers), 0.0)
    except RefusedError as error:
        refusal = error
    if refusal is not None:
        assert (refusal.status, refusal.code) == (403, "unauthorized")
        assert "s3cret" not in str(refusal)
    return refusal is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({TOKEN: "s3cret"}, True),
        ({TOKEN: " s3cret "}, True),
        ({TOKEN: "S3cret"}, False),
        ({TOKEN: ""}, False),
        ({TOKEN: "s3cret, s3cret"}, False),
        ({TOKEN: "ümläut"}, False),
        ({}, False),
        ({"authorization": "Bearer s3cret"}, False),
    ],
)
def test_the_token_is_asked_for_in_the_header(headers: dict[str, str], expected: bool) -> None:
    """The same token, to the letter."""
    assert admitted(headers) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"authorization": "Bearer s3cret"}, True),
        ({"authorization": "bearer s3cret"}, True),
        ({"authorization": "Basic s3cret"}, False),
        ({"authorization": "Bearer"}, False),
        ({"authorization": "s3cret"}, False),
        ({"authorization": "Bearer wrong"}, False),
        ({TOKEN: "wrong", "authorization": "Bearer s3cret"}, False),
        ({TOKEN: "s3cret", "authorization": "Bearer wrong"}, True),
        ({}, False),
    ],
)
def test_a_bearer_token_is_taken_where_the_site_wants_it(headers: dict[str, str], expected: bool) -> None:
    """Telnyx's own header goes first."""
    assert admitted(headers, bearer="true") is expected


@pytest.mark.parametrize(
    "config",
    [
        CarrierConfig(options={"track": "both"}),
        CarrierConfig(options={"tracks": "all"}),
        CarrierConfig(options={"l16_order": "middle"}),
        CarrierConfig(options={"bearer": "yes"}),
        CarrierConfig(options={"webhook_public_key": "abc"}),
        CarrierConfig(options={"webhook_public_key": KEY[4:]}),
        CarrierConfig(secrets={"token": "s3cret"}),
        CarrierConfig(secrets=SECRETS | {"other": "x"}),
        CarrierConfig(secrets={"stream_auth_token": ""}),
    ],
)
def test_impossible_settings_are_refused(config: CarrierConfig) -> None:
    """By the protocol and by the authenticator, without telling secrets."""
    for make in (lambda: CARRIER.new_protocol(config, REQUEST), lambda: CARRIER.new_authenticator(config)):
        with pytest.raises(ValueError, match="telnyx: expected") as caught:
            make()
        assert "s3cret" not in str(caught.value)


def test_all_settings_together() -> None:
    """Every option with a value of its own."""
    options = {"tracks": "auto", "l16_order": "little", "bearer": "false", "webhook_public_key": KEY}
    CARRIER.new_authenticator(CarrierConfig(secrets=SECRETS, options=options))
