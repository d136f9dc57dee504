"""Everything that a site may set, read from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from app.settings.access import AuthSettings, LimitsSettings
from app.settings.audio import AudioSettings
from app.settings.base import ENV_PREFIX, LineName, SettingsError
from app.settings.carriers import CarriersSettings
from app.settings.delivery import DeliverySettings
from app.settings.doors import StreamSettings, UploadSettings
from app.settings.model import AbstainSettings, BundleSettings, InferenceSettings
from app.settings.policy import LineSettings, PolicySettings
from app.settings.privacy import PrivacySettings
from app.settings.reading import ExportSettings, LabelSettings, LiveSettings, StatsSettings
from app.settings.store import StoreSettings
from app.settings.tracing import TracingSettings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Kubernetes puts these beside every pod of a namespace that has a Service named kowairo.
_KUBERNETES = re.compile(r"^KOWAIRO(_\w+)?_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+)$")


class Settings(BaseSettings):
    """Everything a site may set. Read from the environment by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        extra="forbid",
        frozen=True,
    )

    mode: Literal["development", "production"] = "development"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    bundle: BundleSettings = BundleSettings()
    inference: InferenceSettings = InferenceSettings()
    store: StoreSettings = StoreSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitsSettings = LimitsSettings()
    audio: AudioSettings = AudioSettings()
    stream: StreamSettings = StreamSettings()
    upload: UploadSettings = UploadSettings()
    live: LiveSettings = LiveSettings()
    stats: StatsSettings = StatsSettings()
    exports: ExportSettings = ExportSettings()
    labels: LabelSettings = LabelSettings()
    delivery: DeliverySettings = DeliverySettings()
    tracing: TracingSettings = TracingSettings()
    privacy: PrivacySettings = PrivacySettings()
    abstain: AbstainSettings = AbstainSettings()
    policy: PolicySettings = PolicySettings()
    carriers: CarriersSettings = CarriersSettings()
    lines: dict[LineName, LineSettings] = {}

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.mode == "production" and not self.auth.needed:
            raise ValueError(
                "production mode needs at least one key: set KOWAIRO_AUTH__API_KEYS, KOWAIRO_AUTH__KEYS_FILE, or "
                "KOWAIRO_AUTH__JWKS_URL for tokens"
            )
        if self.store.max_calls < self.stream.max_calls:
            raise ValueError(
                f"KOWAIRO_STORE__MAX_CALLS ({self.store.max_calls}) must be at least "
                f"KOWAIRO_STREAM__MAX_CALLS ({self.stream.max_calls}): a live call is never evicted"
            )
        return self

    @property
    def listens_on_loopback(self) -> bool:
        """True when only this machine can reach the service."""
        return self.host in _LOOPBACK

    @property
    def needs_key(self) -> bool:
        """True when clients must present credentials."""
        return self.auth.needed

    def line(self, line_id: str) -> LineSettings:
        """What holds for a line; the defaults for one that is not configured."""
        return self.lines.get(line_id, LineSettings())

    def in_force(self) -> dict[str, Any]:
        """Every value as plain JSON types, secrets hidden: what `python -m app config` prints."""
        return self.model_dump(mode="json")


def load_settings(**overrides: Any) -> Settings:
    """Reads the environment.

    Args:
        **overrides: values that win over the environment (a command line's `host`, `port`).

    Raises:
        SettingsError: an unknown variable or a value that cannot be used.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except SourceError as error:
        raise SettingsError(f"{error}; expected JSON (cause: {error.__cause__})") from None


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """A misspelt KOWAIRO_MODE must not quietly leave the service in development mode."""
    for name in sorted(environ):
        if not name.upper().startswith(ENV_PREFIX) or _KUBERNETES.match(name.upper()):
            continue
        top = name[len(ENV_PREFIX) :].split("__", 1)[0].lower()
        if top not in Settings.model_fields:
            known = ", ".join(f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields)
            raise SettingsError(f"{name} is not a setting; known: {known}")


def _explain(error: ValidationError) -> str:
    """One line per fault. The value given is left out: it may be a key."""
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        name = (
            ENV_PREFIX + "__".join(str(part) for part in fault["loc"]).upper() if fault["loc"] else "settings"
        )
        lines.append(f"{name}: {fault['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
