"""`POST /v1/score`: a recording as the call it would have been, answered at once and kept nowhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.datastructures import UploadFile

from app.access.principal import Principal, Scope
from app.accounting import CallSummary
from app.api.auth import limit_problem
from app.api.deps import ServicesDep, requires
from app.api.errors import ProblemError, draining
from app.api.limits import TenantLimitError
from app.api.protocol import Problem, ScoreBody
from app.api.queries import known_query
from app.audio.recording import Recording, RecordingError, open_recording
from app.domain import DEFAULT_TENANT, CallStart, Leg, UtteranceRecord
from app.engine import Engine
from app.inference.errors import InferenceError
from app.pipeline import SessionWarning
from app.recorded import recording_start, score_recording, score_whole
from app.records import record_body
from app.wire.native import random_call_id

router = APIRouter(prefix="/v1", tags=["score"], dependencies=[Depends(known_query)])

_NAME = r"^[A-Za-z0-9._~-]{1,64}$"
_CALL_ID = r"^[A-Za-z0-9._~-]{1,128}$"
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 413, 422, 500, 503)
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """How an upload is to be taken."""

    call_id: str
    line: str
    legs: tuple[Leg, ...] | None
    whole: bool
    salience: bool
    consent: bool
    notice_given: bool
    tenant: str = DEFAULT_TENANT


def upload_options(
    whole: Annotated[bool, Query(description="The recording is one utterance.")] = False,
    line: Annotated[str, Query(pattern=_NAME, description="Where the audio comes from.")] = "default",
    legs: Annotated[
        str | None, Query(description="Who is on each channel, as `customer,agent` (the default for two).")
    ] = None,
    call_id: Annotated[str | None, Query(pattern=_CALL_ID, description="What records name the call.")] = None,
    salience: Annotated[bool, Query(description="Add the weight of each token.")] = False,
    consent: Annotated[bool, Query(description="The speakers have consented.")] = False,
    notice_given: Annotated[bool, Query(description="The speakers were told.")] = False,
) -> UploadOptions:
    """The query parameters of an upload.

    Raises:
        ProblemError: 422, `legs` names something else than legs, or one twice.
    """
    return UploadOptions(
        call_id or random_call_id(), line, parse_legs(legs), whole, salience, consent, notice_given
    )


def parse_legs(text: str | None) -> tuple[Leg, ...] | None:
    """`customer,agent` as legs.

    Raises:
        ProblemError: 422.
    """
    if text is None:
        return None
    names = re.split(r"\s*,\s*", text.strip())
    if len(names) > len(Leg) or len(set(names)) != len(names) or not set(names) <= {leg.value for leg in Leg}:
        raise ProblemError(
            422,
            "invalid_request",
            "The request has a wrong value",
            "legs: expected 'customer', 'agent' or both with a comma between",
        )
    return tuple(Leg(name) for name in names)


@router.post(
    "/score", summary="Score a recording", response_model=ScoreBody, responses=_PROBLEMS, openapi_extra=_BODY
)
async def score(
    request: Request,
    services: ServicesDep,
    principal: Annotated[Principal, Depends(requires(Scope.INGEST))],
    options: Annotated[UploadOptions, Depends(upload_options)],
) -> dict[str, Any]:
    """Scores a file in any format that soundfile reads (WAV, FLAC, Ogg, MP3, …), one or two channels.

    Send it as the body or as the form field `file`. It is treated as a live call would be, from its line's
    profile on, and is not kept: neither the audio nor the records.
    """
    if services.registry.draining:
        raise draining()
    options = replace(options, tenant=principal.tenant)
    limits = services.access.limits
    try:
        limits.check_audio(principal.tenant)
    except TenantLimitError as error:
        raise limit_problem(error) from None
    await services.lines.open(options.tenant, options.line)
    with services.uploads.place():
        payload = await read_upload(request)
        work = partial(
            score_upload, payload, options, services.engine, services.settings.upload.max_duration_s
        )
        try:
            records, rest, seconds = await services.uploads.run(work)
        except RecordingError as error:
            raise unusable(error) from None
        except InferenceError as error:
            raise ProblemError(
                500, "scoring_failed", "The recording could not be scored", str(error)
            ) from error
    limits.audio(principal.tenant, seconds)  # more than is left is paid back later
    for record in records:
        services.metrics.count_utterance(emotion=record.emotion, reason=record.reason, event=record.event)
    return {"items": [record_body(record) for record in records], **rest}


async def read_upload(request: Request) -> bytes:
    """The recording, from a form's `file` or from the whole body.

    Raises:
        ProblemError: 422, a form without a file; 413 comes from `BodyLimit`.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ProblemError(
                422, "missing_file", "The form holds no file", "expected a form field 'file' that is a file"
            )
        return await file.read()


def score_upload(
    payload: bytes, options: UploadOptions, engine: Engine, max_duration_s: float
) -> tuple[list[UtteranceRecord], dict[str, Any], float]:
    """Scores a recording held in memory: its records, the rest of a `ScoreBody`, and its seconds over all legs.

    Raises:
        RecordingError: it cannot be scored.
        InferenceError: the model failed on it.
    """
    records: list[UtteranceRecord] = []
    warnings: list[dict[str, str]] = []
    summary: dict[str, Any] | None = None
    with open_recording(payload, max_duration_s) as recording:
        start = _start(recording, options)
        if options.whole:
            record = score_whole(recording, start, engine.parts)
            return [record], {"summary": None, "warnings": []}, record.end_s
        for event in score_recording(recording, start, engine.parts):
            if isinstance(event, UtteranceRecord):
                records.append(event)
            elif isinstance(event, SessionWarning):
                warnings.append({"code": event.code, "detail": event.detail})
            elif isinstance(event, CallSummary):
                summary = event.body()
    seconds = 0.0 if summary is None else float(summary["duration_s"]) * len(start.format.channels)
    return records, {"summary": summary, "warnings": warnings}, seconds


def _start(recording: Recording, options: UploadOptions) -> CallStart:
    start = recording_start(
        recording,
        options.call_id,
        legs=options.legs,
        line=options.line,
        salience=options.salience,
        consent=options.consent,
        notice_given=options.notice_given,
    )
    return replace(start, tenant=options.tenant)


def unusable(error: RecordingError) -> ProblemError:
    """The problem that a recording is."""
    status = 413 if error.code == "too_long" else 422
    return ProblemError(status, f"recording_{error.code}", "The recording cannot be scored", error.detail)
