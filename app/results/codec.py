"""Changes of a store as bytes and back, so that they can wait on disk: JSON in ASCII with a version."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from app.domain import Leg
from app.records import record_body, record_from_body
from app.results.store import CallInfo, CallState, StoreError
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

VERSION = 1
"""Grows when older code could misread what newer code wrote; members with defaults may be added without."""

CallKey = tuple[str, str]
"""Tenant and id of a call."""

_PLAIN: dict[str, type[AddMetadata | CloseCall | AddFeedEntry | Enqueue | EraseCall]] = {
    "add_metadata": AddMetadata,
    "close_call": CloseCall,
    "add_feed_entry": AddFeedEntry,
    "enqueue": Enqueue,
    "erase_call": EraseCall,
}
_NAMES: dict[type, str] = {kind: name for name, kind in _PLAIN.items()}


class CodecError(StoreError):
    """A change that cannot be written as JSON, or bytes that are no change this version can read."""


def encode(write: Write) -> bytes:
    """A change as bytes, all of them ASCII.

    Raises:
        CodecError: something in it is not JSON.
    """
    try:
        return json.dumps(_body(write), separators=(",", ":"), default=_as_object).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise CodecError(f"a {type(write).__name__} that is not JSON: {type(error).__name__}") from None


def decode(data: bytes) -> Write:
    """The change of which `encode` made these bytes.

    Raises:
        CodecError: another version, or not made by `encode`.
    """
    try:
        body = json.loads(data)
        if body["v"] != VERSION:
            raise CodecError(f"expected version {VERSION} of a change, got another")
        return _write(body["type"], body["value"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CodecError(f"not a change: {type(error).__name__}") from None


def call_key(write: Write) -> CallKey | None:
    """The call that a change is about; None for work that belongs to none."""
    match write:
        case OpenCall():
            return write.call.tenant, write.call.call_id
        case AppendRecord():
            return write.tenant, write.record.call_id
        case _:
            return None if write.call_id is None else (write.tenant, write.call_id)


def _body(write: Write) -> dict[str, Any]:
    value: dict[str, Any]
    match write:
        case OpenCall():
            kind, value = "open_call", {"call": _members(write.call), "body": write.body}
        case AppendRecord():
            kind = "append_record"
            record = write.record
            value = {
                "tenant": write.tenant,
                "owner": write.owner,
                "record": record_body(record),
                "created_at": record.created_at,  # to the last digit: the body has milliseconds
            }
        case _:
            kind, value = _NAMES[type(write)], _members(write)
    return {"v": VERSION, "type": kind, "value": value}


def _write(kind: str, value: Mapping[str, Any]) -> Write:
    if kind == "open_call":
        call = value["call"]
        legs = tuple(Leg(leg) for leg in call["legs"])
        return OpenCall(CallInfo(**{**call, "legs": legs, "state": CallState(call["state"])}), value["body"])
    if kind == "append_record":
        record = dataclasses.replace(record_from_body(value["record"]), created_at=value["created_at"])
        return AppendRecord(value["tenant"], record, value["owner"])
    return _PLAIN[kind](**value)


def _members(
    value: CallInfo | AddMetadata | CloseCall | AddFeedEntry | Enqueue | EraseCall,
) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _as_object(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError("not JSON")
