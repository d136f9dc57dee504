"""The shapes of labels that people give utterances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.protocol import Body, UtteranceBody
from app.domain import UtteranceRecord
from app.records import record_body, rfc3339
from app.results.documents import Document
from app.results.store import CallInfo

PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
LABEL_CHARS = 64
LABELLER_CHARS = 100
NOTE_CHARS = 500


class FeedbackRequest(BaseModel):
    """What a person heard. One label per utterance and labeller; a later one replaces it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    label: Annotated[
        str,
        Field(
            max_length=LABEL_CHARS,
            pattern=PRINTABLE,
            description="A category of the head in service, or what the site's KOWAIRO_LABELS__PATTERN takes.",
        ),
    ]
    confidence: Annotated[
        float | None, Field(ge=0, le=1, allow_inf_nan=False, description="How sure the labeller is.")
    ] = None
    note: Annotated[
        str | None,
        Field(
            max_length=NOTE_CHARS,
            description="For whoever retrains. Write nothing that names or describes a person.",
        ),
    ] = None
    labeller: Annotated[
        str | None,
        Field(
            max_length=LABELLER_CHARS,
            pattern=PRINTABLE,
            description="Who says so, a pseudonym; without it, whoever the credentials name.",
        ),
    ] = None


class FeedbackBody(Body):
    """A label and a copy of the record it is about, which outlives the call's own.

    `version`: how often this labeller labelled this utterance.
    """

    utterance_id: str
    call_id: str
    label: str
    confidence: float | None
    note: str | None
    labeller: str
    labelled_at: str
    version: int
    line: str
    team: str | None
    language: str | None
    record: UtteranceBody


SUBJECT = "subject"
"""Kept with a label so that it goes when its subject is erased; never shown."""


def feedback_value(
    given: FeedbackRequest, labeller: str, now: float, record: UtteranceRecord, call: CallInfo
) -> dict[str, Any]:
    """A label as it is kept."""
    return {
        "utterance_id": record.utterance_id,
        "call_id": record.call_id,
        "label": given.label,
        "confidence": given.confidence,
        "note": given.note,
        "labeller": labeller,
        "labelled_at": rfc3339(now),
        "line": call.line,
        "team": call.team,
        SUBJECT: call.subject,
        "language": call.language,
        "record": record_body(record),
    }


def feedback_body(document: Document) -> Mapping[str, Any]:
    """A label that is kept as a `FeedbackBody`."""
    shown = {name: value for name, value in document.value.items() if name != SUBJECT}
    return {**shown, "version": document.version}
