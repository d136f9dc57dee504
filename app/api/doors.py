"""The carriers as the site has configured them, and who of them may come in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain import Leg
from app.settings import CarrierSettings, Settings, SettingsError
from app.wire.carrier import (
    Authenticator,
    Carrier,
    CarrierConfig,
    RefusedError,
    UpgradeRequest,
    same_secret,
)


@dataclass(frozen=True, slots=True)
class Door:
    """A carrier as the site has configured it."""

    carrier: Carrier
    config: CarrierConfig
    authenticator: Authenticator
    open_to_loopback: bool

    def check(self, request: UpgradeRequest, now_s: float) -> None:
        """Admit a request.

        Raises:
            RefusedError: no credentials are configured where they must be, or the request lacks valid ones.
        """
        config = self.config
        if not config.has_credentials:
            if self.open_to_loopback:
                return
            raise RefusedError(
                403, "carrier_not_configured", "no credentials are configured for this carrier"
            )
        given = request.path_secret
        if config.path_secret is not None and (given is None or not same_secret(given, config.path_secret)):
            raise RefusedError(403, "wrong_path", "the last part of the path is missing or wrong")
        if config.secrets:
            self.authenticator.check(request, now_s)


def make_doors(settings: Settings, carriers: Mapping[str, Carrier]) -> dict[str, Door]:
    """Every carrier's door.

    Raises:
        SettingsError: an option or a secret that the carrier cannot use.
    """
    doors: dict[str, Door] = {}
    loopback = settings.mode == "development" and settings.listens_on_loopback
    for name, carrier in carriers.items():
        config = carrier_config(settings.carriers.named(name), settings.carriers.public_origin)
        try:
            carrier.new_protocol(config, UpgradeRequest(path=f"/v1/ingest/{name}"))
            doors[name] = Door(carrier, config, carrier.new_authenticator(config), loopback)
        except ValueError as error:
            raise SettingsError(f"KOWAIRO_CARRIERS__{name.upper()}: {error}") from error
    return doors


def carrier_config(settings: CarrierSettings, public_origin: str | None) -> CarrierConfig:
    """The settings as the carrier's protocol takes them."""
    path_secret, message_secret = settings.path_secret, settings.message_secret
    return CarrierConfig(
        line=settings.line,
        inbound=Leg(settings.inbound),
        single=Leg(settings.single),
        secrets={name: secret.get_secret_value() for name, secret in settings.secrets.items()},
        path_secret=None if path_secret is None else path_secret.get_secret_value(),
        message_secret=None if message_secret is None else message_secret.get_secret_value(),
        public_origin=public_origin,
        consent=settings.consent,
        notice_given=settings.notice_given,
        options=settings.options,
    )
