"""Calls put into a store as if they had happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from app.domain import DEFAULT_TENANT, Leg, UtteranceRecord
from app.results.store import CallInfo, ResultStore
from app.results.writes import AppendRecord, CloseCall, EraseCall, OpenCall

STARTED_AT = 1_700_000_000.25
"""2023-11-14T22:13:20.250Z."""


async def put_call(
    store: ResultStore,
    call_id: str,
    records: Iterable[UtteranceRecord] = (),
    *,
    outcome: str | None = "completed",
    ttl_s: float = 86_400.0,
    **fields: Any,
) -> None:
    """One call with its records, numbered from 1 and made at its start unless they say it; live without outcome."""
    info = CallInfo(call_id, "default", (Leg.CUSTOMER,), STARTED_AT, owner="test")
    info = replace(info, **fields)
    await carry_out(store, OpenCall(info, {}))
    for seq, record in enumerate(records, start=1):
        made = record.created_at or info.started_at
        numbered = replace(record, seq=record.seq or seq, created_at=made)
        await carry_out(store, AppendRecord(info.tenant, numbered, "test"))
    if outcome is not None:
        summary = {"duration_s": 9.0}
        ended_at = info.started_at + 99.75
        await carry_out(store, CloseCall(info.tenant, call_id, outcome, ended_at, summary, {}, ttl_s))


async def erase_call(store: ResultStore, call_id: str, tenant: str = DEFAULT_TENANT) -> None:
    """Erases a call that has ended."""
    await carry_out(store, EraseCall(tenant, call_id))


async def carry_out(store: ResultStore, write: Any) -> None:
    """Does one change, and fails where it is refused."""
    (answer,) = await store.write([write])
    if isinstance(answer, Exception):
        raise answer
