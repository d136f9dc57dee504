"""What a site may set: the environment, read once and checked (prefix `KOWAIRO_`, groups joined by `__`).

This module knows nothing of the rest of the service: whoever builds a part turns its group into that
part's own configuration.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

ENV_PREFIX = "KOWAIRO_"
MIN_API_KEY_CHARS = 16
_SECRET = re.compile(r"[A-Za-z0-9._~-]{16,256}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Kubernetes puts these beside every pod of a namespace that has a Service named kowairo.
_KUBERNETES = re.compile(r"^KOWAIRO(_\w+)?_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+)$")

AgentPurpose = Literal["none", "safety", "medical"]
CostCells = dict[str, dict[str, float]]


class SettingsError(Exception):
    """The environment cannot be used; the message names each variable, what was expected and what came."""


class Group(BaseModel):
    """A group of settings: unknown names are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BundleSettings(Group):
    """Which model is served. `path` None: the bundle that ships with the code."""

    path: Path | None = None
    variant: Literal["auto", "fp32", "int8"] = "auto"

    def resolved_path(self) -> Path:
        """The folder to load, relative paths taken from the working directory."""
        if self.path is not None:
            return self.path
        return Path(__file__).resolve().parent.parent / "models" / "bundles" / "kowairo-8k"


class InferenceSettings(Group):
    """Where and how wide the model runs.

    threads: inside one model run. workers: calls worked on at the same time. max_batch: GPU only.
    """

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, le=256)
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=256)
    max_batch: int = Field(default=32, ge=1, le=1024)


class StoreSettings(Group):
    """Where results are kept and for how long."""

    url: str = Field(default="memory://", pattern=r"^memory://$")
    max_calls: int = Field(default=2_000, ge=1)
    max_records_per_call: int = Field(default=2_000, ge=1)
    ttl_s: float = Field(default=24 * 3600, gt=0, allow_inf_nan=False)


class AuthSettings(Group):
    """Keys that clients present; any one of them opens every door. Comma-separated, or a JSON list."""

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()

    @field_validator("api_keys", mode="before")
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


class AudioSettings(Group):
    """How speech is found: `FrameVad` and `EndpointConfig` in `app.audio` say what each number does."""

    vad_aggressiveness: int = Field(default=2, ge=0, le=3)
    vad_gate_dbfs: float = Field(default=-60.0, le=0, allow_inf_nan=False)
    vad_floor_margin_db: float = Field(default=7.0, ge=0, le=60, allow_inf_nan=False)
    start_window_frames: int = Field(default=10, ge=1, le=100)
    start_voiced_frames: int = Field(default=6, ge=1, le=100)
    pre_roll_ms: int = Field(default=200, ge=0, le=2_000)
    hangover_ms: int = Field(default=500, ge=20, le=5_000)
    trailing_ms: int = Field(default=200, ge=0, le=5_000)
    min_speech_ms: int = Field(default=200, ge=0, le=10_000)
    long_utterance_s: float = Field(default=6.0, ge=0, le=60, allow_inf_nan=False)
    long_hangover_ms: int = Field(default=300, ge=20, le=5_000)
    max_utterance_s: float = Field(default=15.0, ge=2, le=60, allow_inf_nan=False)
    max_gap_s: float = Field(default=10.0, ge=0, le=600, allow_inf_nan=False)
    max_jump_s: float = Field(default=3_600.0, ge=600, le=86_400, allow_inf_nan=False)
    interim_every_s: float = Field(default=2.0, ge=0.5, le=60, allow_inf_nan=False)


class StreamSettings(Group):
    """Limits of the live socket."""

    max_message_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_calls: int = Field(default=500, ge=1)
    start_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    send_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    queue_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    outbox_messages: int = Field(default=256, ge=8)
    drain_timeout_s: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    farewell_timeout_s: float = Field(default=5.0, gt=0, allow_inf_nan=False)


class UploadSettings(Group):
    """Limits of `POST /v1/score`. workers: recordings worked on at a time; max_pending: these and the waiting."""

    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    max_duration_s: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    workers: int = Field(default=1, ge=1, le=64)
    max_pending: int = Field(default=8, ge=1)


class LiveSettings(Group):
    """Limits of `/v1/events`."""

    max_subscribers: int = Field(default=200, ge=1)
    queue_events: int = Field(default=1_000, ge=1)
    keepalive_s: float = Field(default=15.0, gt=0, allow_inf_nan=False)


class AbstainSettings(Group):
    """A site's own abstention thresholds; None keeps the bundle's.

    quality_widens: poor sound needs more confidence than `min_confidence` (`app.inference.doubt`).
    """

    min_speech_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    min_snr_db: float | None = Field(default=None, allow_inf_nan=False)
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    quality_widens: bool = True


class PolicySettings(Group):
    """Who may be scored, and what a wrong answer costs.

    cost_matrix: `{true category: {decided category: cost}}`; every cost finite and at least 0.
    """

    agent_scoring_purpose: AgentPurpose = "none"
    cost_matrix: CostCells | None = None

    @field_validator("cost_matrix")
    @classmethod
    def _finite_costs(cls, cells: CostCells | None) -> CostCells | None:
        for truth, row in (cells or {}).items():
            for decision, cost in row.items():
                if not math.isfinite(cost) or cost < 0:
                    raise ValueError(
                        f"cell [{truth}][{decision}] is {cost}, expected a finite number of at least 0"
                    )
        return cells


class LineSettings(Group):
    """What holds for one line, where it differs from the site.

    score_mixed: score audio in which both sides are mixed. pause_keys, resume_keys: telephone keys that stop and go
    on with listening, for payments.
    """

    require_consent: bool = False
    require_notice: bool = False
    agent_scoring_purpose: AgentPurpose | None = None
    profile_frozen: bool = False
    score_mixed: bool = False
    pause_keys: str | None = None
    resume_keys: str | None = None


LineName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{1,64}$")]
Side = Literal["customer", "agent"]


class CarrierSettings(Group):
    """One telephone system (`docs/carriers/`).

    line: where its audio comes from, unless the call says it. inbound: who speaks on its inbound (or first) track.
    single: who is on a stream of one track. secrets: what the vendor signs with or presents, by name (a JSON object).
    path_secret: the last part of the address. message_secret: expected as `token` in the first message. consent,
    notice_given: hold for all its calls. options: the carrier's own.
    """

    line: LineName = "default"
    inbound: Side = "customer"
    single: Literal["customer", "agent", "mixed"] = "customer"
    secrets: dict[str, SecretStr] = {}
    path_secret: SecretStr | None = None
    message_secret: SecretStr | None = None
    consent: bool = False
    notice_given: bool = False
    options: dict[str, str] = {}

    @field_validator("path_secret", "message_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not _SECRET.fullmatch(secret.get_secret_value()):
            raise ValueError(f"must be {MIN_API_KEY_CHARS} to 256 of A-Z a-z 0-9 . _ ~ -")
        return secret

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
    audio: AudioSettings = AudioSettings()
    stream: StreamSettings = StreamSettings()
    upload: UploadSettings = UploadSettings()
    live: LiveSettings = LiveSettings()
    abstain: AbstainSettings = AbstainSettings()
    policy: PolicySettings = PolicySettings()
    carriers: CarriersSettings = CarriersSettings()
    lines: dict[LineName, LineSettings] = {}

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.mode == "production" and not self.auth.api_keys:
            raise ValueError("production mode needs at least one key: set KOWAIRO_AUTH__API_KEYS")
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
        """True when clients must present a key."""
        return bool(self.auth.api_keys)

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
