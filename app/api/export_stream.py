"""Sends a file while it is made: one at a time for each tenant, and never for a reader that is gone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.api.errors import ProblemError
from app.results.documents import DocumentConflictError, DocumentStore
from app.results.export import Encoder, Row
from app.results.store import StoreError
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

LEASE = "export_lease"
"""The kind of document that says that an export runs."""
LEASE_S = 60.0
RENEW_S = 15.0
PIECE_BYTES = 64 * 1024
_KEY = "running"
_CLEANUP_S = 5.0


class StalledError(Exception):
    """A reader took nothing for too long."""


class ExportLease:
    """The right to export: one for each tenant, over all processes. One whose holder died ends by itself."""

    def __init__(self, documents: DocumentStore, tenant: str, clock: Clock) -> None:
        self._documents = documents
        self._tenant = tenant
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._version = 0
        self._written_at = 0.0

    async def take(self) -> None:
        """Takes it.

        Raises:
            ProblemError: 429, another export of the tenant runs.
        """
        try:
            await self._write(0)
        except DocumentConflictError:
            raise ProblemError(
                429,
                "export_running",
                "Another export is running",
                "expected one export at a time: try again when it has ended",
                {"Retry-After": "10"},
            ) from None

    async def renew(self) -> None:
        """Keeps it; to be called often.

        Raises:
            DocumentConflictError: it ended meanwhile, and somebody else has it.
        """
        if self._clock.monotonic() - self._written_at < RENEW_S:
            return
        try:
            await self._write(self._version)
        except DocumentConflictError:
            await self._write(0)  # it ended and nobody took it

    async def give_back(self) -> None:
        """Gives it back, if it is still held."""
        try:
            held = await self._documents.get(self._tenant, LEASE, _KEY)
            if held.value["holder"] == self._holder:
                await self._documents.delete(self._tenant, LEASE, _KEY)
        except StoreError:
            pass  # it ended already, or it ends by itself

    async def _write(self, expected: int) -> None:
        document = await self._documents.put(
            self._tenant,
            LEASE,
            _KEY,
            {"holder": self._holder},
            ttl_s=LEASE_S,
            expected_version=expected,
        )
        self._version = document.version
        self._written_at = self._clock.monotonic()


async def pieces(
    encoder: Encoder, pages: AsyncIterator[Sequence[Row]], lease: ExportLease
) -> AsyncIterator[bytes]:
    """The bytes of a file in pieces of about `PIECE_BYTES`. The encoder works in a thread: calls are live meanwhile."""
    waiting = await asyncio.to_thread(encoder.begin)
    async for rows in pages:
        await lease.renew()
        waiting += await asyncio.to_thread(encoder.rows, rows)
        if len(waiting) >= PIECE_BYTES:
            yield waiting
            waiting = b""
    yield waiting + await asyncio.to_thread(encoder.end)


class ExportResponse(StreamingResponse):
    """A file that is being made. However it ends, the lease is given back.

    What fails once bytes are under way breaks the connection off without the last chunk, so that no part of a file is
    taken for the whole.
    """

    def __init__(
        self,
        first: bytes,
        rest: AsyncIterator[bytes],
        lease: ExportLease,
        *,
        what: str,
        media_type: str,
        file_name: str,
        stall_timeout_s: float,
    ) -> None:
        headers = {
            "Content-Disposition": f'attachment; filename="{file_name}"',
            "X-Accel-Buffering": "no",
        }
        super().__init__(_chain(first, rest, lease), media_type=media_type, headers=headers)
        self._lease = lease
        self._what = what
        self._stall_timeout_s = stall_timeout_s
        self._outcome = "reader_gone"
        self._log = get_logger(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the file is whole, the reader goes or stalls, or the store fails."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.move_on_after(_CLEANUP_S, shield=True):
                await self._lease.give_back()
            self._log.info("export_ended", what=self._what, outcome=self._outcome)

    async def stream_response(self, send: Send) -> None:
        """Sends the pieces; returns before the end where that cannot be reached."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._stall_timeout_s):
                    await send(message)
            except TimeoutError:
                raise StalledError from None

        try:
            await super().stream_response(send_in_time)
            self._outcome = "done"
        except StalledError:
            self._outcome = "reader_stalled"
        except StoreError:
            self._outcome = "store_failed"


async def _chain(first: bytes, rest: AsyncIterator[bytes], lease: ExportLease) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
    # Before the reader knows that the file is whole: it may ask for the next one at once.
    await lease.give_back()
