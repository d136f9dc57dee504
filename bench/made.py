"""Calls and records to be stored, of the size that real ones have."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.api.protocol import call_body
from app.domain import (
    DEFAULT_TENANT,
    SAMPLE_RATE_HZ,
    AudioFormat,
    AudioQuality,
    Encoding,
    Leg,
    LineRef,
    ModelRef,
    UtteranceRecord,
)
from app.records import record_body
from app.results.counts import StoreCounts
from app.results.opening import Stores, open_stores
from app.results.redis.text import dumps
from app.results.store import CallInfo, CallState, ResultStore, Stored
from app.results.writes import AppendRecord, CloseCall, OpenCall, Write
from app.settings import StoreSettings
from app.telemetry.clock import SystemClock
from app.telemetry.metrics import Metrics
from bench.figures import BenchError

TENANT = DEFAULT_TENANT
OWNER = "bench"
FORMAT = AudioFormat(Encoding.PCM_MULAW, SAMPLE_RATE_HZ, (Leg.CUSTOMER,))
KEPT_S = 6 * 3_600.0
_SCORES = {
    "anger": 0.6123, "disgust": 0.0312, "fear": 0.0411, "happiness": 0.0204,
    "neutral": 0.2107, "sadness": 0.0521, "surprise": 0.0322,
}  # fmt: skip


def made_record(call_id: str, seq: int, latency_ms: float = 41.5) -> UtteranceRecord:
    """The record of one utterance."""
    return UtteranceRecord(
        call_id=call_id,
        leg=Leg.CUSTOMER,
        utterance_id=f"{call_id}.customer.{seq:04d}",
        start_s=round(4.0 * seq, 3),
        end_s=round(4.0 * seq + 3.2, 3),
        scores=_SCORES,
        emotion="anger",
        abstained=False,
        reason=None,
        detail=None,
        confidence=0.6123,
        arousal=0.4211,
        valence=-0.5316,
        expected_cost=0.3877,
        salience=None,
        model=ModelRef("kowairo-8k", "0.1.0", "default"),
        line_profile=LineRef("default", seq),
        audio_quality=AudioQuality(21.3, 0.0, 0.012, -24.6, 0.004, "pcm_mulaw/8000", 3.1),
        latency_ms=latency_ms,
        seq=seq,
        created_at=round(time.time(), 3),
    )


def made_append(call_id: str, seq: int) -> AppendRecord:
    """That record as a change of the store."""
    return AppendRecord(TENANT, made_record(call_id, seq), OWNER)


def made_text(call_id: str, seq: int) -> str:
    """That record as the text that a store keeps."""
    return dumps(record_body(made_record(call_id, seq)))


def made_call(call_id: str, started_at: float | None = None) -> OpenCall:
    """A call begins."""
    started_at = time.time() if started_at is None else started_at
    call = CallInfo(
        call_id,
        "default",
        (Leg.CUSTOMER,),
        started_at,
        language="en",
        metadata={"queue": "billing"},
        team="blue",
        owner=OWNER,
    )
    return OpenCall(call, call_body(call))


def made_ended_call(call_id: str, started_at: float) -> list[Write]:
    """A call that began and ended."""
    opened = made_call(call_id, started_at)
    body = {**opened.body, "state": CallState.ENDED.value, "outcome": "completed"}
    close = CloseCall(TENANT, call_id, "completed", started_at + 60, {}, body, KEPT_S, None, OWNER)
    return [opened, close]


async def write_all(store: ResultStore, writes: list[Write]) -> list[Stored]:
    """Has the store take changes.

    Raises:
        BenchError: it did not take one of them itself.
    """
    answers = await store.write(writes)
    taken = [answer for answer in answers if isinstance(answer, Stored) and not answer.waiting]
    if len(taken) != len(writes):
        raise BenchError(f"the store did not take everything: {set(map(type, answers))}")
    return taken


@asynccontextmanager
async def opened_stores(spool: Path, url: str = "memory://") -> AsyncIterator[Stores]:
    """The stores of a service with such a setting, at work."""
    settings = StoreSettings(url=url, spool_path=spool, max_calls=10_000_000)
    stores = open_stores(settings, SystemClock(), StoreCounts(Metrics()), call_body)
    async with stores.running():
        yield stores
