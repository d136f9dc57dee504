"""The telephone systems."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from pydantic import Field, IPvAnyNetwork, SecretStr, field_validator

from app.settings.base import Group, LineName, TenantName, long_enough

Side = Literal["customer", "agent"]


class CarrierSettings(Group):
    """One telephone system (`docs/carriers/`).

    tenant: whose calls these are. line: where its audio comes from, unless the call says it. inbound: who speaks on
    its inbound (or first) track. single: who is on a stream of one track. secrets: what the vendor signs with
    or presents, by name (a JSON object). path_secret: the last part of the address. message_secret: expected as
    `token` in the first message. consent, notice_given: hold for all its calls. options: the carrier's own.
    """

    tenant: TenantName = "default"
    line: LineName = "default"
    inbound: Side = "customer"
    single: Literal["customer", "agent", "mixed"] = "customer"
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    path_secret: SecretStr | None = None
    message_secret: SecretStr | None = None
    consent: bool = False
    notice_given: bool = False
    options: dict[str, str] = Field(default_factory=dict)

    @field_validator("path_secret", "message_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        return long_enough(secret)

    @property
    def has_credentials(self) -> bool:
        """Whether a stranger can be told from the carrier."""
        return bool(self.secrets or self.path_secret or self.message_secret)


class AudioSocketSettings(CarrierSettings):
    """Asterisk's AudioSocket, which has neither path nor login.

    listen: `host:port` of the TCP listener; None, the default, for none. allow: networks that may connect.
    registered_only: take only calls whose UUID was registered (`PUT /v1/ingest/audiosocket/{uuid}`); None: in
    production. registration_ttl_s: how long a registered call is waited for.
    """

    listen: str | None = Field(default=None, pattern=r"^.+:\d{1,5}$")
    allow: tuple[IPvAnyNetwork, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    registered_only: bool | None = None
    registration_ttl_s: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    max_registrations: int = Field(default=10_000, ge=1)


class CarriersSettings(Group):
    """The telephone systems. public_origin: how they reach the service, `wss://host[:port]`; signatures cover it."""

    public_origin: str | None = Field(default=None, pattern=r"^wss?://[^/?#\s]+$")
    twilio: CarrierSettings = CarrierSettings()
    telnyx: CarrierSettings = CarrierSettings()
    vonage: CarrierSettings = CarrierSettings(single="mixed")
    audiohook: CarrierSettings = CarrierSettings()
    chan_websocket: CarrierSettings = CarrierSettings()
    freeswitch: CarrierSettings = CarrierSettings()
    audiosocket: AudioSocketSettings = AudioSocketSettings()

    def named(self, name: str) -> CarrierSettings:
        """The settings of a carrier; its name is a field of this group."""
        settings: CarrierSettings = getattr(self, name)
        return settings

    @property
    def with_credentials(self) -> frozenset[str]:
        """Names of the carriers that strangers can be told from."""
        names = (name for name, value in self if isinstance(value, CarrierSettings))
        return frozenset(name for name in names if self.named(name).has_credentials)
