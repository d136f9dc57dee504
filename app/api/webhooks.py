"""`/v1/webhooks/<carrier>`: what carriers say beside their sockets; verified, counted, and put into the log.

Twilio's `statusCallback` and Telnyx's webhooks tell why a stream never came or broke off, which no socket can.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Request, Response

from app.access.refusal import Reason, Refusal
from app.api.auth import AccessError, access_problem
from app.api.deps import Services, ServicesDep
from app.api.errors import ProblemError
from app.api.protocol import Problem
from app.telemetry.logs import get_logger
from app.wire.base import WireError
from app.wire.carrier import RefusedError
from app.wire.telnyx_webhook import parse_webhook, verify
from app.wire.twilio_auth import SIGNATURE_HEADER, webhook_matches

EVENTS = frozenset({"started", "stopped", "failed", "error"})
"""What of a stream's life is counted by its name; everything else is `other`."""

MAX_FIELDS = 64

router = APIRouter(prefix="/v1/webhooks", tags=["carriers"])
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem},
    403: {"model": Problem},
    422: {"model": Problem},
    429: {"model": Problem},
}


@router.post(
    "/telnyx", summary="A webhook of Telnyx", status_code=204, response_class=Response, responses=_REFUSALS
)
async def telnyx(request: Request, services: ServicesDep) -> None:
    """Signed with the account's Ed25519 key (option `webhook_public_key`)."""
    body = await request.body()
    key = services.doors["telnyx"].config.options.get("webhook_public_key")
    if key is None:
        raise _not_configured("the option `webhook_public_key`")
    try:
        verify(request.headers, body, key, services.clock.now())
        event = parse_webhook(body)
    except RefusedError as error:
        raise _refused(services, request, "telnyx", error) from None
    except WireError as error:
        raise ProblemError(422, error.code, error.title, error.detail) from None
    _note(services, "telnyx", event.event_type.rpartition(".")[2])


@router.post(
    "/twilio{slash:path}",
    summary="A stream's statusCallback of Twilio",
    status_code=204,
    response_class=Response,
    responses=_REFUSALS,
)
async def twilio(request: Request, services: ServicesDep, slash: Annotated[str, Path()]) -> None:
    """Signed with the Auth Token over the public address and the form's fields."""
    if slash not in ("", "/"):
        raise ProblemError(404, "not_found", "There is nothing here", "expected /v1/webhooks/twilio")
    config = services.doors["twilio"].config
    if not config.secrets:
        raise _not_configured("`secrets`")
    form = _form(await request.body())
    origin = config.public_origin or f"https://{request.headers.get('host', '')}"
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
    given = request.headers.get(SIGNATURE_HEADER, "")
    if not webhook_matches(given, origin, path, form, config.secrets.values()):
        error = RefusedError(403, "invalid_signature", "X-Twilio-Signature is not that of this request")
        raise _refused(services, request, "twilio", error)
    _note(services, "twilio", dict(form).get("StreamEvent", "").removeprefix("stream-"))


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise ProblemError(
            422, "invalid_form", "The body is not a form", f"expected at most {MAX_FIELDS} form fields"
        ) from None


def _note(services: Services, carrier: str, event: str) -> None:
    known = event if event in EVENTS else "other"
    services.metrics.carrier_webhooks.labels(carrier, known).inc()
    log = get_logger(__name__)
    (log.warning if known in ("failed", "error") else log.info)(
        "carrier_webhook", carrier=carrier, stream=known
    )


def _not_configured(what: str) -> ProblemError:
    return ProblemError(
        403, "carrier_not_configured", "Webhooks of this carrier are not taken", f"expected {what} to be set"
    )


def _refused(services: Services, request: Request, carrier: str, error: RefusedError) -> ProblemError:
    """What is answered; an address that sends wrong signatures again and again is put off."""
    problem = ProblemError(error.status, error.code, "The webhook is not the carrier's", error.detail)
    blocked_s = services.access.wrong_credentials(request)
    if blocked_s > 0:
        problem = access_problem(AccessError(Refusal(Reason.TOO_MANY_FAILURES, blocked_s)))
    services.metrics.ingest_refused.labels(carrier, problem.code).inc()
    return problem
