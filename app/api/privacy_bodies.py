"""The shapes of erasures, retention, the audit log and line profiles in REST."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.protocol import Body
from app.settings import LineName

CallIdText = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{1,128}$", description="A call's id.")]
Subject = Annotated[
    str, Field(min_length=1, max_length=128, description="A subject tag, as calls were started with.")
]
Seconds = Annotated[int, Field(strict=True, ge=1, le=10**10)]


class Whose(BaseModel):
    """A call or a subject; exactly one."""

    model_config = ConfigDict(extra="forbid")

    call_id: CallIdText | None = None
    subject: Subject | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.call_id is None) == (self.subject is None):
            raise ValueError("expected call_id or subject, and not both")
        return self


class ErasureRequest(Whose):
    """What to erase. `when_ended`: take a live call, too, and erase it once it has ended."""

    when_ended: bool = False


class ByBody(Body):
    """Who asked: the principal, and its key or issuer."""

    who: str
    key_id: str


class ErasedCounts(Body):
    """What was held, and is no more."""

    calls: int
    records: int
    metadata: int
    feedback: int
    dead_letters: int


class AuditPlace(Body):
    """An entry of the audit log: its number and its hash."""

    number: int
    hash: str


class ReceiptBody(Body):
    """Signed with Ed25519 over its canonical JSON without `signature` (`docs/privacy.md`)."""

    type: str
    id: str
    of: Literal["call", "subject"]
    object: str
    requested_at: str
    requested_by: ByBody
    completed_at: str
    outcome: Literal["erased", "nothing_held"]
    counts: ErasedCounts
    places: dict[str, str]
    calls: list[str]
    calls_sha256: str
    audit: AuditPlace
    algorithm: str
    key: str
    signature: str


class ErasureBody(Body):
    """An erasure. `waits_for`: what a pending one waits for. `object`: the pseudonym of what was asked for."""

    id: str
    status: Literal["pending", "done"]
    waits_for: Literal["store", "call_end"] | None
    of: Literal["call", "subject"]
    object: str
    requested_at: str
    requested_by: ByBody
    calls_erased: int
    calls_waiting: int
    receipt: ReceiptBody | None


class ReceiptKeyBody(Body):
    """What checks receipts. `public_key`: base64 of 32 bytes. `key`: how receipts name it."""

    algorithm: str
    key: str
    public_key: str


class AuditBody(Body):
    """One entry. `count` times between `at` and `until`. `hash` covers everything else and `previous`."""

    number: int
    id: str
    at: str
    until: str | None
    count: int
    who: str
    key_id: str
    action: str
    object: str
    outcome: str
    detail: dict[str, Any] | None
    previous: str
    hash: str


class AuditCheckBody(Body):
    """Entries `first` to `last` were checked; `head` is the hash of the last. `broken_at`, `why`: what does not fit."""

    valid: bool
    complete: bool
    entries: int
    first: int | None
    last: int | None
    head: str | None
    broken_at: int | None
    why: str | None


class PseudonymBody(Body):
    """How the audit log and receipts name something."""

    object: str


class PeriodsBody(BaseModel):
    """How long calls and their feedback are kept, whole seconds; null: what holds one level up."""

    model_config = ConfigDict(extra="forbid")

    calls_s: Seconds | None = None
    feedback_s: Seconds | None = None


class RetentionRequest(PeriodsBody):
    """A tenant's policy, whole. `lines`: by line, where it differs."""

    lines: Annotated[dict[LineName, PeriodsBody], Field(max_length=1_000)] = {}


class RetentionLimitsBody(Body):
    """What the site allows, and what holds where nobody chose."""

    min_s: int
    calls_max_s: float
    calls_default_s: float
    feedback_max_s: float
    feedback_default_s: float


class RetentionBody(Body):
    """A tenant's policy and the site's limits. `swept`: calls erased at once because they were too old."""

    calls_s: int | None
    feedback_s: int | None
    lines: dict[str, PeriodsBody]
    limits: RetentionLimitsBody
    swept: int | None = None


class ProfileBody(Body):
    """A line profile as it is exported and imported: sums over embeddings, nothing about a person."""

    format: str
    schema_version: int
    model: str | None
    id: str
    n: int
    frozen: bool
    mean: list[float]
    m2: list[float]
