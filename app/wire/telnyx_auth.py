"""Telnyx: what a site may set, and who may connect (`docs/carriers/telnyx.md`).

Telnyx signs no upgrade. A stream that was started with `stream_auth_token` shows it as a header of the upgrade and
again in the first message. Source: developers.telnyx.com, "Media streaming over WebSockets" and its AsyncAPI reference.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.wire.carrier import Authenticator, CarrierConfig, RefusedError, UpgradeRequest, same_secret
from app.wire.telnyx_webhook import load_public_key

OPTIONS = frozenset({"tracks", "l16_order", "bearer", "webhook_public_key"})
SECRETS = frozenset({"stream_auth_token"})
TOKEN_NAME = "x-telnyx-streaming-auth-token"  # noqa: S105 # the name of the header and of the member in `connected`

TRACKS = {"inbound": (0,), "outbound": (1,), "both": (0, 1)}
"""What `tracks` may be, and which tracks it opens: 0 inbound, 1 outbound."""


@dataclass(frozen=True, slots=True)
class TelnyxOptions:
    """A site's settings of this carrier. tracks: None: what the first media show. token: None: none is asked for."""

    tracks: tuple[int, ...] | None
    big_endian: bool
    bearer: bool
    token: str | None


def read_options(config: CarrierConfig) -> TelnyxOptions:
    """The settings of this carrier.

    Raises:
        ValueError: an option or secret is unknown or has an impossible value.
    """
    options = config.options
    if unknown := sorted(options.keys() - OPTIONS):
        raise ValueError(f"telnyx: expected options among {sorted(OPTIONS)}, got {unknown}")
    if config.secrets and config.secrets.keys() != SECRETS:
        raise ValueError(f"telnyx: expected no secret but {sorted(SECRETS)}, got {sorted(config.secrets)}")
    if "webhook_public_key" in options:
        load_public_key(options["webhook_public_key"])
    token = config.secrets.get("stream_auth_token")
    if token == "":
        raise ValueError("telnyx: expected a stream_auth_token of at least one character")
    return TelnyxOptions(
        tracks=TRACKS.get(_choice(config, "tracks", ("auto", *TRACKS))),
        big_endian=_choice(config, "l16_order", ("big", "little")) == "big",
        bearer=_choice(config, "bearer", ("false", "true")) == "true",
        token=token,
    )


def shows_token(request: UpgradeRequest, options: TelnyxOptions) -> bool:
    """Whether the upgrade carries the token, or none is asked for."""
    if options.token is None:
        return True
    given = request.headers.get(TOKEN_NAME)
    if given is None and options.bearer:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
    return given is not None and same_secret(given.strip(), options.token)


class TelnyxAuthenticator(Authenticator):
    """Asks for `stream_auth_token` in the header, before the connection is accepted."""

    def __init__(self, config: CarrierConfig) -> None:
        self._options = read_options(config)

    def check(self, request: UpgradeRequest, now_s: float) -> None:
        """Admit a request that shows the token.

        Raises:
            RefusedError: 403 `unauthorized`, the header is missing or wrong.
        """
        if not shows_token(request, self._options):
            raise RefusedError(403, "unauthorized", f"expected the token of the site in {TOKEN_NAME}")


def _choice(config: CarrierConfig, name: str, allowed: tuple[str, ...]) -> str:
    """An option among a few values, the first by default."""
    value = config.options.get(name, allowed[0])
    if value not in allowed:
        raise ValueError(f"telnyx: expected {name} to be one of {', '.join(allowed)}")
    return value
