"""Changes and calls as Redis takes them and gives them back."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.domain import Leg
from app.records import record_body
from app.results.redis.link import Argument, RedisLink, Run
from app.results.redis.naming import digest, meta_key, milliseconds, quoted, sortable
from app.results.redis.text import dumps, loads
from app.results.statistics import contribution
from app.results.store import (
    CallActiveError,
    CallExistsError,
    CallInfo,
    CallNotFoundError,
    CallState,
    StatKey,
    StatSums,
    Stored,
    StoreError,
)
from app.results.writes import (
    AddFeedEntry,
    AddMetadata,
    AppendRecord,
    CloseCall,
    Enqueue,
    EraseCall,
    OpenCall,
    Write,
)

SCALE = 1_000_000
"""Statistics are summed in whole millionths, so that a call's share can be taken away again exactly."""

STATES = {"a": CallState.ACTIVE, "e": CallState.ENDED}


def run_of(link: RedisLink, write: Write) -> Run:
    """The operation that carries out a change."""
    match write:
        case OpenCall():
            return _open(link, write)
        case AppendRecord():
            return _append(link, write)
        case AddMetadata():
            return link.write(meta_key(write.tenant), "metadata", write.call_id, *_metadata(write.values))
        case CloseCall():
            return _close(link, write)
        case AddFeedEntry():
            arguments = (quoted(write.type), write.call_id, digest(write.key), dumps(write.body), write.owner)
            return link.write(meta_key(write.tenant), "tell", *arguments)
        case Enqueue():
            queue, kept = quoted(write.queue), milliseconds(link.options.queue_ttl_s)
            work = (queue, write.key, dumps(write.payload), repr(write.due_at), write.call_id or "", kept)
            return link.write(meta_key(write.tenant), "enqueue", *work)
        case EraseCall():
            return link.rest(meta_key(write.tenant), "erase", write.call_id, write.owner)


def outcome_of(answer: Any, durable: bool) -> Stored | StoreError:
    """What became of a change."""
    if isinstance(answer, StoreError):
        return answer
    match answer:
        case ["ok", int(position)]:
            return Stored(durable=durable, position=position)
        case ["ok"]:
            return Stored(durable=durable)
        case ["duplicate"]:
            return Stored(durable=durable, duplicate=True)
        case ["exists"]:
            return CallExistsError("a call with this id is known already")
        case ["none"]:
            return CallNotFoundError("the call is not known")
        case ["active"]:
            return CallActiveError("the call has not ended")
    return StoreError("Redis gave an answer that was not expected")


def call_of(tenant: str, answer: Mapping[str, str] | Sequence[str]) -> CallInfo:
    """The call of which this is the hash."""
    pairs = answer if isinstance(answer, Mapping) else dict(zip(answer[::2], answer[1::2], strict=True))
    return CallInfo(
        call_id=pairs["ix"][16:],
        line=pairs["ln"],
        legs=tuple(Leg(leg) for leg in pairs["lg"].split()),
        started_at=float(pairs["sa"]),
        state=STATES[pairs["s"]],
        language=pairs.get("la"),
        ended_at=_float(pairs.get("ea")),
        outcome=pairs.get("oc"),
        metadata={name[2:]: loads(value) for name, value in pairs.items() if name.startswith("m:")},
        summary=loads(pairs["sm"]) if "sm" in pairs else None,
        utterances=int(pairs.get("q") or pairs.get("u") or 0),
        dropped=int(pairs.get("d") or 0),
        tenant=tenant,
        team=pairs.get("tm"),
        subject=pairs.get("sb"),
        owner=pairs["o"],
        resume=pairs.get("rs"),
        resume_until=_float(pairs.get("ru")),
        version=int(pairs["v"]),
    )


def sums_of(field: str, value: str) -> tuple[StatKey, StatSums]:
    """What a field of a bucket of statistics says."""
    line, team, emotion, outcome = loads(field)
    n, seconds, scored, *rest = (int(number) for number in value.split())
    confidence, arousal, valence, cost = (number / SCALE for number in rest)
    sums = StatSums(n, seconds / SCALE, scored, confidence, arousal, valence, cost)
    return StatKey(line, team, emotion, outcome), sums


def member_of(call: CallInfo) -> str:
    """A call in an index, by its start."""
    return f"{sortable(call.started_at)}{call.call_id}"


def _open(link: RedisLink, write: OpenCall) -> Run:
    call = write.call
    subject = "" if call.subject is None else digest(call.subject)
    begin = (call.call_id, member_of(call), call.line, subject, call.owner, dumps(write.body))
    fields: dict[str, Argument | None] = {
        "lg": " ".join(call.legs),
        "sa": repr(float(call.started_at)),
        "st": dumps([call.line, call.team])[:-1],
        "la": call.language,
        "tm": call.team,
        "sb": call.subject,
        "rs": call.resume,
        "u": call.utterances or None,
        "d": call.dropped or None,
        "v": call.version or None,
        "sm": None if call.summary is None else dumps(call.summary),
    }
    pairs = [item for pair in fields.items() if pair[1] is not None for item in pair if item is not None]
    return link.write(meta_key(call.tenant), "open", *begin, *pairs, *_metadata(call.metadata))


def _append(link: RedisLink, write: AppendRecord) -> Run:
    record = write.record
    if record.seq is None:
        raise ValueError("expected a record with its seq")
    counted: tuple[Argument, ...] = ("",)
    added = contribution(record, "", None)
    if added is not None:
        start, key, sums = added
        parts = (sums.seconds, sums.confidence, sums.arousal, sums.valence, sums.expected_cost)
        seconds, *rest = (round(part * SCALE) for part in parts)
        packed = struct.pack(">7d", sums.n, seconds, sums.scored, *rest)
        counted = (start, f",{dumps([key.emotion, key.outcome])[1:]}", packed)
    text = dumps(record_body(record))
    return link.write(
        meta_key(write.tenant), "append", record.call_id, record.seq, text, write.owner, *counted
    )


def _close(link: RedisLink, write: CloseCall) -> Run:
    begin = (write.call_id, write.owner, milliseconds(write.ttl_s), dumps(write.body))
    pairs: list[Argument] = ["oc", write.outcome, "ea", repr(float(write.ended_at))]
    if write.summary is not None:
        pairs += ["sm", dumps(write.summary)]
    if write.resume_until is not None:
        pairs += ["ru", repr(float(write.resume_until))]
    return link.write(meta_key(write.tenant), "close", *begin, *pairs)


def _metadata(values: Mapping[str, Any]) -> Iterator[Argument]:
    for name, value in values.items():
        yield f"m:{name}"
        yield dumps(value)


def _float(text: str | None) -> float | None:
    return None if text is None else float(text)
