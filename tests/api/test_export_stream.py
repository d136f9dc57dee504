"""A file is sent piece by piece, by one holder of a lease, and not for a reader that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from app.api.errors import ProblemError
from app.api.export_stream import LEASE_S, PIECE_BYTES, RENEW_S, ExportLease, ExportResponse, pieces
from app.results.documents import DocumentConflictError
from app.results.export import Column, ExportFormat, Kind, Row, make_encoder
from app.results.memory_beside import MemoryDocuments
from app.results.store import StoreAwayError
from tests.support.clock import FakeClock

COLUMNS = (Column("text", Kind.TEXT),)


class Desk:
    """Documents on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.documents = MemoryDocuments(self.clock)

    def lease(self, tenant: str = "alpha") -> ExportLease:
        """A lease that nobody took yet."""
        return ExportLease(self.documents, tenant, self.clock)

    async def free(self) -> bool:
        """Whether the lease could be taken."""
        return (await self.documents.list("alpha", "export_lease")).items == ()


def test_a_tenant_has_one_lease() -> None:
    """The second is told to wait; another tenant is not concerned; it is free once given back."""

    async def scenario() -> None:
        desk = Desk()
        first, second = desk.lease(), desk.lease()
        await first.take()
        with pytest.raises(ProblemError, match="export_running") as refused:
            await second.take()
        assert refused.value.status == 429
        assert int(refused.value.headers["Retry-After"]) > 0
        await desk.lease("beta").take()
        await second.give_back()
        assert not await desk.free()
        await first.give_back()
        await second.take()

    asyncio.run(scenario())


def test_a_lease_is_kept_by_renewing_it() -> None:
    """One whose holder died ends by itself; one that is renewed does not."""

    async def scenario() -> None:
        desk = Desk()
        holder, other = desk.lease(), desk.lease()
        await holder.take()
        for _ in range(10):
            desk.clock.advance(RENEW_S)
            await holder.renew()
        with pytest.raises(ProblemError):
            await other.take()
        desk.clock.advance(LEASE_S)
        await other.take()
        with pytest.raises(DocumentConflictError):
            await holder.renew()
        await holder.give_back()
        assert not await desk.free()

    asyncio.run(scenario())


def test_a_lease_that_ended_is_taken_again() -> None:
    """A holder that was slow goes on where nobody else came."""

    async def scenario() -> None:
        desk = Desk()
        holder = desk.lease()
        await holder.take()
        desk.clock.advance(LEASE_S + 1)
        await holder.renew()
        with pytest.raises(ProblemError):
            await desk.lease().take()

    asyncio.run(scenario())


def test_pieces_are_made_as_they_are_taken() -> None:
    """No more is read than the piece at hand needs."""

    async def scenario() -> None:
        read = 0

        async def pages() -> AsyncIterator[Sequence[Row]]:
            nonlocal read
            for _ in range(1_000):
                read += 1
                yield [{"text": "x" * 1_000}] * 10

        made = pieces(make_encoder(ExportFormat.JSONL, COLUMNS), pages(), Desk().lease())
        first = await anext(made)
        assert PIECE_BYTES <= len(first) < PIECE_BYTES + 20_000
        assert read < 10
        rest = [piece async for piece in made]
        assert read == 1_000
        assert max(len(piece) for piece in rest) < PIECE_BYTES + 20_000
        assert rest[-1].endswith(b'{"type":"end","records":10000}\n')

    asyncio.run(scenario())


async def endless() -> AsyncIterator[bytes]:
    """Pieces without end."""
    while True:
        yield b"x"


async def failing() -> AsyncIterator[bytes]:
    """One piece, then the store is away."""
    yield b"x"
    raise StoreAwayError("gone")


async def respond(desk: Desk, rest: AsyncIterator[bytes], send: Any, stall_timeout_s: float = 30.0) -> None:
    """Sends a file to a client that never hangs up."""
    lease = desk.lease()
    await lease.take()
    response = ExportResponse(
        b"first", rest, lease, what="calls", media_type="text/csv", file_name="x", stall_timeout_s=stall_timeout_s
    )  # fmt: skip

    async def receive() -> Any:
        await asyncio.Event().wait()

    await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)


def test_a_reader_that_takes_nothing_is_left() -> None:
    """The file is broken off, and the lease is free."""

    async def scenario() -> None:
        desk = Desk()
        sent = 0

        async def send(message: Any) -> None:
            nonlocal sent
            sent += 1
            if sent > 5:
                await asyncio.Event().wait()

        await respond(desk, endless(), send, stall_timeout_s=0.01)
        assert sent == 6
        assert await desk.free()

    asyncio.run(scenario())


def test_a_store_that_fails_breaks_the_file_off() -> None:
    """Nothing says that the file is whole, and the lease is free."""

    async def scenario() -> None:
        desk = Desk()
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        await respond(desk, failing(), send)
        bodies = [message for message in messages if message["type"] == "http.response.body"]
        assert [message["body"] for message in bodies] == [b"first", b"x"]
        assert all(message["more_body"] for message in bodies)
        assert await desk.free()

    asyncio.run(scenario())


def test_a_request_that_is_cancelled_frees_the_lease() -> None:
    """However the sending ends."""

    async def scenario() -> None:
        desk = Desk()
        begun = asyncio.Event()

        async def send(message: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(respond(desk, endless(), send))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await desk.free()

    asyncio.run(scenario())
