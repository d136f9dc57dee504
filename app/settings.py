"""What a site may set: the environment, read once and checked (prefix `KOWAIRO_`, groups joined by `__`).

This module knows nothing of the rest of the service: whoever builds a part turns its group into that
part's own configuration.
"""

from __future__ import annotations

import math
import os
import re
from base64 import b64decode
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
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

ENV_PREFIX = "KOWAIRO_"
MIN_API_KEY_CHARS = 16
_SEED_BYTES = 32
_SECRET = re.compile(r"[A-Za-z0-9._~-]{16,256}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Kubernetes puts these beside every pod of a namespace that has a Service named kowairo.
_KUBERNETES = re.compile(r"^KOWAIRO(_\w+)?_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+)$")

AgentPurpose = Literal["none", "safety", "medical"]
CostCells = dict[str, dict[str, float]]
TenantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
TokenAlgorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]
Origin = Annotated[str, Field(pattern=r"^https?://[^/?#@\s,]+$")]


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

    threads: inside one model run. workers: calls worked on at the same time. max_batch: GPU only. lines_flush_s:
    between two merges of what was learned of lines into what all processes share.
    """

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, le=256)
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=256)
    max_batch: int = Field(default=32, ge=1, le=1024)
    lines_flush_s: float = Field(default=10.0, gt=0, le=3_600, allow_inf_nan=False)


class StoreSettings(Group):
    """Where results are kept and for how long.

    url: `memory://`, or a Redis (`redis://`, `rediss://`, `unix://`, `redis+cluster://`). durable: whether what Redis
    acknowledges survives its being killed; `auto` asks it. connect_timeout_s, timeout_s: after so long it is away.
    spool_path: where records wait while it is. spool_fsync: when what waits is forced to the disk.
    """

    url: str = Field(default="memory://", pattern=r"^(memory://|(rediss?|unix|redis\+cluster)://.+)$")
    max_calls: int = Field(default=2_000, ge=1)
    max_records_per_call: int = Field(default=2_000, ge=1)
    ttl_s: float = Field(default=24 * 3600, gt=0, allow_inf_nan=False)
    feed_entries: int = Field(default=100_000, ge=1)
    stats_ttl_s: float = Field(default=90 * 24 * 3600, gt=0, allow_inf_nan=False)
    durable: Literal["auto", "yes", "no"] = "auto"
    connect_timeout_s: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    timeout_s: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    spool_path: Path = Path("spool")
    spool_max_bytes: int = Field(default=256 * 1024 * 1024, ge=64 * 1024)
    spool_fsync: Literal["always", "interval", "never"] = "always"
    spool_fsync_interval_s: float = Field(default=0.1, gt=0, le=60, allow_inf_nan=False)
    heartbeat_s: float = Field(default=5.0, gt=0, le=300, allow_inf_nan=False)

    @property
    def in_memory(self) -> bool:
        """True where nothing outlives the process."""
        return self.url == "memory://"

    @field_serializer("url")
    def _without_password(self, url: str) -> str:
        return re.sub(r"(?<=://)[^@/]*@", "***@", url)


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
    tenants: dict[TenantName, TenantLimits] = {}

    def of(self, tenant: str) -> TenantLimits:
        """What holds for a tenant."""
        return self.tenants.get(tenant, self)


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
    """Limits of the live socket.

    resume_window_s: how long a call that broke off may be taken up again. drain_grace_s: how long, at a shutdown,
    calls may go on before they are told to reconnect elsewhere.
    """

    max_message_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_calls: int = Field(default=500, ge=1)
    start_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    send_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    queue_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    outbox_messages: int = Field(default=256, ge=8)
    drain_timeout_s: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    farewell_timeout_s: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    resume_window_s: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    drain_grace_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class UploadSettings(Group):
    """Limits of `POST /v1/score`. workers: recordings worked on at a time; max_pending: these and the waiting."""

    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    max_duration_s: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    workers: int = Field(default=1, ge=1, le=64)
    max_pending: int = Field(default=8, ge=1)


class LiveSettings(Group):
    """Limits of the live feeds (`docs/live.md`).

    max_subscribers, max_subscribers_per_tenant: viewers at a time. queue_events: held for one that is behind.
    page_events: read from the store at a time. send_timeout_s: a viewer that takes nothing for so long is cut off.
    poll_s: how often a tenant's feed is looked at that somebody watches, where nothing says that it grew.
    """

    max_subscribers: int = Field(default=1_000, ge=1)
    max_subscribers_per_tenant: int = Field(default=500, ge=1)
    queue_events: int = Field(default=256, ge=2)
    page_events: int = Field(default=100, ge=1, le=1_000)
    keepalive_s: float = Field(default=15.0, gt=0, allow_inf_nan=False)
    send_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    poll_s: float = Field(default=0.5, gt=0, le=60, allow_inf_nan=False)


class StatsSettings(Group):
    """`/v1/stats`. min_group: what would describe fewer utterances is withheld; 1 withholds nothing."""

    min_group: int = Field(default=1, ge=1, le=1_000)


class ExportSettings(Group):
    """`/v1/exports`. stall_timeout_s: a reader that takes nothing for so long is left."""

    stall_timeout_s: float = Field(default=30.0, gt=0, le=600, allow_inf_nan=False)


class LabelSettings(Group):
    """Labels that people give utterances.

    pattern: labels that are taken beside the head's categories, a regular expression for the whole label.
    ttl_s: how long a label is kept, whatever becomes of its call's records.
    """

    pattern: str | None = None
    ttl_s: float = Field(default=365 * 24 * 3600, gt=0, allow_inf_nan=False)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern


class TracingSettings(Group):
    """OpenTelemetry. salt: of the opaque ids that name calls in traces and logs; None: one of this process."""

    enabled: bool = False
    endpoint: str = Field(default="http://127.0.0.1:4318/v1/traces", pattern=r"^https?://[^\s@]+$")
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    service_name: str = Field(default="kowairo", min_length=1, max_length=64)
    salt: SecretStr | None = None


class DeliverySettings(Group):
    """Webhooks (`app.delivery.config.DeliveryConfig` says what each does). retry_s: what is waited after each try."""

    allow_http: bool = False
    allowed_networks: tuple[IPvAnyNetwork, ...] = ()
    allowed_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = (443, 8443)
    ca_file: Path | None = None
    timeout_s: float = Field(default=15.0, gt=0, le=60, allow_inf_nan=False)
    retry_s: tuple[Annotated[float, Field(gt=0, le=7 * 86_400)], ...] = (
        5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
    )  # fmt: skip
    max_parallel: int = Field(default=32, ge=1, le=1_000)
    max_per_endpoint: int = Field(default=4, ge=1, le=100)
    poll_s: float = Field(default=1.0, gt=0, le=60, allow_inf_nan=False)
    cache_s: float = Field(default=5.0, ge=0, le=300, allow_inf_nan=False)
    dead_letter_ttl_s: float = Field(default=14 * 86_400.0, gt=0, allow_inf_nan=False)
    rotation_overlap_s: float = Field(default=86_400.0, ge=0, allow_inf_nan=False)
    drain_s: float = Field(default=5.0, ge=0, le=60, allow_inf_nan=False)


class PrivacySettings(Group):
    """Erasure, retention and the audit log.

    receipt_key: seed of the Ed25519 key that signs receipts of erasures, base64 of 32 bytes; None: one that lasts as
    long as the process. digest_key: makes the pseudonyms in receipts and audit logs; None: comes from the receipt key.
    max_retention_s: the longest that a tenant may keep its calls; None: KOWAIRO_STORE__TTL_S.
    audit_ttl_days: how long audit logs and receipts are kept. audit_buffer: entries that may wait in memory.
    sweep_s: between two looks for calls that are older than their tenant allows.
    """

    receipt_key: SecretStr | None = None
    digest_key: SecretStr | None = None
    max_retention_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    audit_ttl_days: float = Field(default=400.0, gt=0, le=36_500, allow_inf_nan=False)
    audit_buffer: int = Field(default=10_000, ge=1)
    audit_flush_s: float = Field(default=1.0, gt=0, le=60, allow_inf_nan=False)
    sweep_s: float = Field(default=600.0, gt=0, le=86_400, allow_inf_nan=False)

    @field_validator("receipt_key")
    @classmethod
    def _seed(cls, secret: SecretStr | None) -> SecretStr | None:
        try:
            sound = secret is None or len(b64decode(secret.get_secret_value(), validate=True)) == _SEED_BYTES
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(
                f"must be {_SEED_BYTES} random bytes as base64 (openssl rand -base64 {_SEED_BYTES})"
            )
        return secret

    @field_validator("digest_key")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not _SECRET.fullmatch(secret.get_secret_value()):
            raise ValueError(f"must be {MIN_API_KEY_CHARS} to 256 of A-Z a-z 0-9 . _ ~ -")
        return secret


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

    tenant: whose calls these are. line: where its audio comes from, unless the call says it. inbound: who speaks on
    its inbound (or first) track. single: who is on a stream of one track. secrets: what the vendor signs with or presents, by name (a JSON object).
    path_secret: the last part of the address. message_secret: expected as `token` in the first message. consent,
    notice_given: hold for all its calls. options: the carrier's own.
    """

    tenant: TenantName = "default"
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
