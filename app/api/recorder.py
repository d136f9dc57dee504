"""What becomes of a call's results: numbered, stored, and told to whoever watches. A store that fails costs no call."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.api.deps import Services
from app.api.protocol import call_body
from app.delivery.desk import CallEvent
from app.domain import CallStart, UtteranceRecord
from app.records import record_body
from app.results.publish import LiveEvent
from app.results.store import CallExistsError, CallInfo, CallState, Stored, StoreError
from app.results.writes import AddFeedEntry, AddMetadata, AppendRecord, CloseCall, OpenCall, Write
from app.telemetry.logs import get_logger
from app.telemetry.tracing import Stage

MAX_METADATA_MEMBERS = 96
"""Members of a call's metadata, those at its start included."""

RESUMABLE = frozenset({"disconnected", "drained", "idle", "interrupted"})
"""How a call ends that may be taken up again."""

RESUME_SECRET_BYTES = 24


def secret_digest(secret: str) -> str:
    """What is kept of a resume secret. It is random and long, so a plain hash tells nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def closing(
    services: Services, call: CallInfo, outcome: str, summary: Mapping[str, Any] | None
) -> tuple[CallInfo, CloseCall]:
    """The call as it is once it has ended now, and the write that says so; summary: None where nobody knows it."""
    now = services.clock.now()
    ended = replace(call, state=CallState.ENDED, outcome=outcome, ended_at=now, summary=summary)
    write = CloseCall(
        call.tenant,
        call.call_id,
        outcome,
        now,
        summary,
        {**call_body(ended), "summary": summary},
        await services.privacy.retention.ttl_for(call.tenant, call.line),
        now + services.settings.stream.resume_window_s if outcome in RESUMABLE else None,
        services.owner,
    )
    return ended, write


class CallRecorder:
    """Keeps the results of one call. All on one event loop.

    start: the call. earlier: what the store holds of it, where it is taken up again.
    """

    def __init__(self, start: CallStart, services: Services, earlier: CallInfo | None = None) -> None:
        self._services = services
        self._earlier = earlier
        self._seq = 0 if earlier is None else earlier.utterances
        self.resume_secret = start.resume or secrets.token_urlsafe(RESUME_SECRET_BYTES)
        self.info = earlier or CallInfo(
            call_id=start.call_id,
            line=start.line,
            legs=start.format.channels,
            started_at=services.clock.now(),
            language=start.language,
            metadata=start.metadata,
            tenant=start.tenant,
            team=start.team,
            subject=start.subject,
            owner=services.owner,
            resume=secret_digest(self.resume_secret),
        )
        self._log = get_logger(__name__).bind(call_id=start.call_id)

    async def open(self) -> None:
        """Puts the call on record.

        Raises:
            CallExistsError: an ended call with this id is still held.
        """
        info = self.info
        body = call_body(info)
        if self._earlier is None:
            kind: str = "call_started"
            write: Write = OpenCall(info, body)
        else:
            kind = "call_continued"
            key = f"{kind}:{info.call_id}:{info.owner}:{info.version}"
            write = AddFeedEntry(info.tenant, kind, info.call_id, key, body, info.owner)
        await self._event("open_call", kind, body, write)

    async def record(self, record: UtteranceRecord) -> UtteranceRecord:
        """Numbers and stores a record; returns it as it may be told."""
        self._seq += 1
        record = replace(record, seq=self._seq, created_at=round(self._services.clock.now(), 3))
        info = self.info
        writes: list[Write] = [AppendRecord(info.tenant, record, info.owner)]
        likely = replace(record, durable=self._services.stores.durable)
        writes += await self._services.delivery.follow_ups(info.tenant, info, likely)
        stored = await self._write("append", writes)
        record = replace(record, durable=stored.durable)
        self.info = replace(info, utterances=self._seq)
        self._services.metrics.records.labels(str(stored.durable).lower()).inc()
        self._tell("utterance", record_body(record), stored, record.seq)
        return record

    async def add_metadata(self, values: Mapping[str, object]) -> None:
        """Adds to the call's metadata as far as there is room: a client cannot fill the store."""
        known = self.info.metadata
        room = MAX_METADATA_MEMBERS - len(known)
        new = [name for name in values if name not in known][: max(room, 0)]
        kept = {name: value for name, value in values.items() if name in known or name in new}
        self.info = replace(self.info, metadata={**known, **kept})
        await self._write("add_metadata", [AddMetadata(self.info.tenant, self.info.call_id, kept)])

    async def close(self, outcome: str, summary: Mapping[str, Any]) -> None:
        """Puts the end of the call on record."""
        self.info, write = await closing(self._services, self.info, outcome, dict(summary))
        await self._event("close_call", "call_ended", write.body, write)

    def publish(self, event: LiveEvent) -> None:
        """Tells those who watch what is not kept."""
        self._services.publisher.publish(replace(event, tenant=self.info.tenant, line=self.info.line))

    async def _event(self, operation: str, kind: str, body: Mapping[str, Any], write: Write) -> None:
        """Stores an event of the call, and what follows from it; then tells it."""
        services, info = self._services, self.info
        event = CallEvent(kind, body, services.clock.now())
        stored = await self._write(operation, [write])
        self._tell(kind, body, stored)
        # Afterwards: a call that is refused (its id is taken) must not be announced.
        follow_ups = await services.delivery.follow_ups(info.tenant, info, event)
        if follow_ups:
            await self._write(operation, follow_ups)

    def _tell(self, kind: str, body: Mapping[str, Any], stored: Stored, seq: int | None = None) -> None:
        event = LiveEvent(kind, self.info.call_id, body, position=stored.position, seq=seq)
        self.publish(event)

    async def _write(self, operation: str, writes: Sequence[Write]) -> Stored:
        """What became of the first write; nothing, where the store failed."""
        with self._services.tracer.span(Stage.STORE, operation=operation) as span:
            try:
                answers = await self._services.store.write(writes)
            except StoreError as error:
                answers = [error]
                span.fail(type(error).__name__)
        for answer in answers:
            if isinstance(answer, StoreError) and not isinstance(answer, CallExistsError):
                self._services.metrics.store_errors.labels(operation).inc()
                self._log.warning("store_failed", operation=operation, exc_info=answer)
        first = answers[0]
        if isinstance(first, CallExistsError):
            raise first
        return Stored() if isinstance(first, StoreError) else first
