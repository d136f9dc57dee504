"""Taking a call up again that broke off: on this process or another, with the secret that `ready` gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.accounting import seconds
from app.api.deps import Services
from app.api.recorder import secret_digest
from app.domain import SAMPLE_RATE_HZ, CallStart, EarlierPart, Leg, UtteranceRecord
from app.results.store import CallInfo, CallNotFoundError, NotResumableError, StoreError
from app.wire.base import CloseCode, WireError

_READ = 500
"""Records read at a time."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the store holds of a call that goes on. summary: the account so far, as `CallSummary.body` makes it."""

    info: CallInfo
    part: EarlierPart
    summary: Mapping[str, Any]


async def take_up(services: Services, start: CallStart, secret: str) -> Earlier:
    """Makes a call that broke off live again, here.

    Raises:
        WireError: `not_resumable`; or `try_again`, where the store cannot say or the call has not ended yet.
    """
    store, call_id = services.store, start.call_id
    await _leave_old_socket(services, start, secret)
    try:
        known = await store.get_call(start.tenant, call_id)
        if known.legs != start.format.channels:
            raise NotResumableError("the legs are others")
        info = await store.resume_call(
            start.tenant,
            call_id,
            secret_digest=secret_digest(secret),
            owner=services.owner,
            now=services.clock.now(),
        )
        records = await _records(services, start)
    except (CallNotFoundError, NotResumableError):
        detail = (
            "expected the id and the secret of a call that broke off a short while ago, with the same legs"
        )
        raise WireError(
            "not_resumable", "The call cannot be taken up again", detail, CloseCode.POLICY
        ) from None
    except StoreError:
        raise WireError(
            "try_again", "The call cannot be taken up now", "the store is away", CloseCode.OVERLOADED
        ) from None
    return earlier_of(info, known.summary, records)


def earlier_of(info: CallInfo, account: Mapping[str, Any] | None, records: list[UtteranceRecord]) -> Earlier:
    """Where the call was when it broke off. account: its summary until then.

    A call whose process was killed has no account: what its records do not show counts as rejected, `interrupted`.
    """
    numbers: dict[Leg, int] = {}
    for record in records:
        number = record.utterance_id.rpartition(".")[2]
        numbers[record.leg] = max(numbers.get(record.leg, 0), int(number) + 1)
    summary = account or _without_account(info, records)
    return Earlier(info, EarlierPart(float(summary["duration_s"]), numbers), summary)


def _without_account(info: CallInfo, records: list[UtteranceRecord]) -> dict[str, Any]:
    heard_s = seconds(round(max((record.end_s for record in records), default=0.0) * SAMPLE_RATE_HZ))
    audio = {
        "scored_s": 0.0,
        "silence_s": 0.0,
        "rejected_s": heard_s,
        "lost_s": 0.0,
        "rejected": {"interrupted": heard_s},
    }
    counts = {leg: sum(record.leg is leg for record in records) for leg in info.legs}
    legs = {leg.value: {"utterances": counts[leg], "audio": audio} for leg in info.legs}
    return {"call_id": info.call_id, "duration_s": heard_s, "legs": legs}


async def _records(services: Services, start: CallStart) -> list[UtteranceRecord]:
    records: list[UtteranceRecord] = []
    next_seq = 1
    while True:
        page = await services.store.list_records(start.tenant, start.call_id, from_seq=next_seq, limit=_READ)
        records += page.items
        if len(page.items) < _READ:
            return records
        next_seq = (page.items[-1].seq or 0) + 1


async def _leave_old_socket(services: Services, start: CallStart, secret: str) -> None:
    """A socket that broke without a word may still seem to live: whoever knows the secret ends it."""
    call = services.registry.live(start.tenant, start.call_id)
    if call is not None and call.resume_secret == secret:
        await services.registry.supersede(start.tenant, start.call_id)
