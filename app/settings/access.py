"""Who is let in, and how much they may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, IPvAnyNetwork, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from app.settings.base import MIN_API_KEY_CHARS, Group, TenantName

TokenAlgorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]
Origin = Annotated[str, Field(pattern=r"^https?://[^/?#@\s,]+$")]


class AuthSettings(Group):
    """Who is let in. Lists are comma-separated, or JSON.

    api_keys: plain keys of the site; any one of them opens every door. keys_file: hashed keys, read again when it
    changes (`python -m app key new`). key_grace_s: how long keys of the store hold while it is away. jwks_url,
    jwks_file: where the public keys of the issuer of tokens are; jwt_issuer and jwt_audience must be set then.
    jwks_renew_s, jwks_again_s: age at which they are fetched again, and the least time between two fetches.
    allowed_origins: of browsers' pages that may connect, beside the service's own. trusted_proxies: networks whose
    `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    """

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    keys_file: Path | None = None
    key_grace_s: float = Field(default=300.0, ge=0, le=86_400, allow_inf_nan=False)
    jwks_url: str | None = Field(default=None, pattern=r"^https://[^/?#@\s]+[^#@\s]*$")
    jwks_file: Path | None = None
    jwks_renew_s: float = Field(default=600.0, ge=1, allow_inf_nan=False)
    jwks_again_s: float = Field(default=30.0, ge=1, allow_inf_nan=False)
    jwt_issuer: str | None = Field(default=None, min_length=1)
    jwt_audience: str | None = Field(default=None, min_length=1)
    jwt_algorithms: Annotated[tuple[TokenAlgorithm, ...], NoDecode] = ("RS256", "PS256", "ES256", "EdDSA")
    jwt_tenant_claim: str = Field(default="tenant", min_length=1)
    jwt_scope_claim: str = Field(default="scope", min_length=1)
    jwt_skew_s: float = Field(default=60.0, ge=0, le=600, allow_inf_nan=False)
    allowed_origins: Annotated[tuple[Origin, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()

    @field_validator("api_keys", "jwt_algorithms", "allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = value.strip().removeprefix("[").removesuffix("]")
        return tuple(part.strip().strip("\"'") for part in text.split(",") if part.strip())

    @field_validator("api_keys")
    @classmethod
    def _long_enough(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, key in enumerate(keys, start=1):
            secret = key.get_secret_value()
            if len(secret) < MIN_API_KEY_CHARS or not secret.isascii() or not secret.isprintable():
                raise ValueError(
                    f"key {number} must be at least {MIN_API_KEY_CHARS} printable ASCII characters "
                    f"(it has {len(secret)} characters)"
                )
        return keys

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.jwks_url is not None and self.jwks_file is not None:
            raise ValueError("expected one of JWKS_URL and JWKS_FILE")
        if self.takes_tokens and not (self.jwt_issuer and self.jwt_audience and self.jwt_algorithms):
            raise ValueError("tokens need JWT_ISSUER, JWT_AUDIENCE and an algorithm")
        return self

    @property
    def takes_tokens(self) -> bool:
        """Whether tokens of an issuer are accepted."""
        return self.jwks_url is not None or self.jwks_file is not None

    @property
    def needed(self) -> bool:
        """Whether clients must present credentials."""
        return bool(self.api_keys) or self.keys_file is not None or self.takes_tokens


class TenantLimits(Group):
    """How much one tenant may ask for, each None for no limit; these are counts of one process.

    audio_seconds_per_minute: of all its calls and uploads, legs together; a minute's worth may come at once.
    calls: at a time.
    """

    audio_seconds_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    calls: int | None = Field(default=None, ge=1)


class LimitsSettings(TenantLimits):
    """How much clients may ask for, in one process.

    requests_per_s, request_burst: of one key (or person with a token), on average and at once. wrong_credentials:
    that an address may send before it is put off, longer each time, up to wrong_credentials_max_s. tenants: what
    holds for one of them instead.
    """

    requests_per_s: float | None = Field(default=50.0, gt=0, allow_inf_nan=False)
    request_burst: int = Field(default=500, ge=1)
    wrong_credentials: int = Field(default=10, ge=1)
    wrong_credentials_max_s: float = Field(default=300.0, ge=1, allow_inf_nan=False)
    tenants: dict[TenantName, TenantLimits] = Field(default_factory=dict)

    def of(self, tenant: str) -> TenantLimits:
        """What holds for a tenant."""
        return self.tenants.get(tenant, self)
