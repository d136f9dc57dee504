"""Basic and Bearer credentials: only the right ones come in, whatever else is sent."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wire.basic_auth import BasicAuthenticator
from app.wire.carrier import RefusedError, UpgradeRequest


def basic(pair: str) -> str:
    """A header's value."""
    return "Basic " + base64.b64encode(pair.encode()).decode()


def status(secrets: dict[str, str], header: str | None, bearer: bool = False) -> int:
    """What becomes of a request: 0 where it is admitted."""
    request = UpgradeRequest("/", headers={} if header is None else {"authorization": header})
    try:
        BasicAuthenticator(secrets, bearer=bearer).check(request, 0.0)
    except RefusedError as error:
        return error.status if error.code == "unauthorized" and "secret" not in error.detail else -1
    return 0


USERS = {"tenant-a": "secret", "b": "with:colon", "ü": "pässword"}


@pytest.mark.parametrize(
    "header",
    [
        "Basic dGVuYW50LWE6c2VjcmV0",  # the vector of chan_websocket.md
        basic("tenant-a:secret"),
        basic("b:with:colon"),
        basic("ü:pässword"),
        "basic " + basic("tenant-a:secret")[6:],
        "Basic   " + basic("tenant-a:secret")[6:] + " ",
    ],
)
def test_known_users_come_in(header: str) -> None:
    """A user with its password, in any spelling of the scheme."""
    assert status(USERS, header) == 0


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic ???",
        "Basic dGVuYW50LWE6c2VjcmV0, Basic dGVuYW50LWE6c2VjcmV0",
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic é",
        basic("tenant-a"),
        basic("tenant-a:"),
        basic("tenant-a:Secret"),
        basic("tenant-a:secret "),
        basic(":secret"),
        basic("tenant-a:with:colon"),
        basic("bearer:secret"),
        "Bearer secret",
        "Digest x",
    ],
)
def test_everything_else_is_refused(header: str | None) -> None:
    """Missing, broken, unknown, another scheme: 401."""
    assert status(USERS, header) == 401


def test_a_bearer_token_where_one_is_allowed() -> None:
    """The name `bearer` is a token then, and no user any more."""
    secrets = {"bearer": "t0ken", "tenant-a": "secret"}
    assert status(secrets, "Bearer t0ken", bearer=True) == 0
    assert status(secrets, basic("tenant-a:secret"), bearer=True) == 0
    assert status(secrets, basic("bearer:t0ken"), bearer=True) == 401
    assert status(secrets, "Bearer t0ke", bearer=True) == 401
    assert status({"bearer": "t0ken"}, basic(":"), bearer=True) == 401
    assert status({"tenant-a": "secret"}, "Bearer secret", bearer=True) == 401
    assert status(secrets, basic("bearer:t0ken"), bearer=False) == 0


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_gets_past_or_breaks_it(header: str) -> None:
    """Any header at all is answered by a refusal."""
    assert status(USERS, header) == 401
    assert status({"bearer": "t0ken", **USERS}, f"Bearer {header}x", bearer=True) == 401
