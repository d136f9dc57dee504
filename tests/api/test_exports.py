"""Calls, records and labels leave as files: whole, or seen to be broken."""

from __future__ import annotations

import asyncio
import csv
import io
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from pyarrow import parquet

from app.access.principal import Scope
from app.api.deps import Services
from app.api.export_stream import ExportLease, pieces
from app.api.exports import READ_ROWS, utterance_rows
from app.domain import Leg
from app.results.export import ExportFormat, make_encoder
from app.results.export_rows import CALL_COLUMNS, UTTERANCE_COLUMNS
from app.results.memory_beside import MemoryDocuments
from app.results.store import CallFilter, CallInfo, CallNotFoundError, Page, RecordRange, StoreAwayError
from app.settings import Settings
from tests.support.clock import FakeClock
from tests.support.held import STARTED_AT, put_call
from tests.support.records import make_record
from tests.support.server import eventually
from tests.support.service import Api, ServerThread, api, make_settings, server, service_parts
from tests.support.tenants import make_tenants

MIB = 1024 * 1024


async def fill(web: Api, calls: int = 3, records: int = 4) -> None:
    """Calls c0, c1, … with a customer and an agent taking turns."""
    for number in range(calls):
        call_id = f"c{number}"
        legs = [Leg.AGENT if index % 2 else Leg.CUSTOMER for index in range(records)]
        made = [make_record(call_id, index, leg=leg) for index, leg in enumerate(legs)]
        await put_call(
            web.services.store,
            call_id,
            made,
            line="odd" if number % 2 else "even",
            team=f"t{number}",
            started_at=STARTED_AT + number,
        )


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    """The records of a JSON Lines file that says it is whole."""
    assert answer.status_code == 200, answer.text
    *found, end = [orjson.loads(line) for line in answer.content.splitlines()]
    assert end == {"type": "end", "records": len(found)}
    return found


def test_records_leave_in_every_form(web: Api) -> None:
    """The same ones, latest call first, each in the order of its call."""
    asyncio.run(fill(web))
    found = lines(web.get("/v1/exports/utterances"))
    assert [(row["call_id"], row["seq"]) for row in found] == [
        (f"c{call}", seq) for call in (2, 1, 0) for seq in (1, 2, 3, 4)
    ]
    assert list(found[0]) == [column.name for column in UTTERANCE_COLUMNS]
    ids = [row["utterance_id"] for row in found]
    table = csv.DictReader(io.StringIO(web.get("/v1/exports/utterances?format=csv").text, newline=""))
    assert [row["utterance_id"] for row in table] == ids
    file = web.get("/v1/exports/utterances?format=parquet").content
    assert parquet.read_table(io.BytesIO(file)).column("utterance_id").to_pylist() == ids


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        ("csv", "text/csv; charset=utf-8; header=present"),
        ("jsonl", "application/jsonl"),
        ("parquet", "application/vnd.apache.parquet"),
    ],
)
def test_a_file_has_a_name_and_a_kind(bundle: Path, form: str, media_type: str) -> None:
    """A browser saves it; nobody in between keeps it."""
    with api(make_settings(bundle), FakeClock()) as web:
        answer = web.get(f"/v1/exports/calls?format={form}")
    assert answer.headers["content-type"] == media_type
    name = f"kowairo-calls-20231114T221320Z.{form}"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("line=odd", {"c1"}),
        ("team=t2", {"c2"}),
        ("state=active", set()),
        ("since=2023-11-14T22:13:21Z&until=2023-11-14T22:13:22Z", {"c1"}),
        ("leg=agent", {"c0", "c1", "c2"}),
        ("leg=mixed", set()),
    ],
)
def test_records_are_filtered(web: Api, query: str, expected: set[str]) -> None:
    """As calls are, and by leg."""
    asyncio.run(fill(web))
    found = lines(web.get(f"/v1/exports/utterances?{query}"))
    assert {row["call_id"] for row in found} == expected
    assert "leg=agent" not in query or {row["leg"] for row in found} == {"agent"}


def test_calls_leave_with_what_they_hold(web: Api) -> None:
    """More than one page of them, with metadata and summary."""
    asyncio.run(fill(web, calls=READ_ROWS + 5, records=0))
    found = lines(web.get("/v1/exports/calls"))
    assert len({row["call_id"] for row in found}) == READ_ROWS + 5
    assert list(found[0]) == [column.name for column in CALL_COLUMNS]
    assert found[0]["summary"] == {"duration_s": 9.0}


@pytest.mark.parametrize(
    "query",
    ["format=xlsx", "format=", "leg=nobody", "lien=x", "since=yesterday", "limit=5", "format=csv&format=csv"],
)
@pytest.mark.parametrize("what", ["utterances", "calls", "feedback"])
def test_a_wrong_query_is_a_problem(web: Api, what: str, query: str) -> None:
    """422, and no lease is taken."""
    answer = web.get(f"/v1/exports/{what}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert web.get(f"/v1/exports/{what}").status_code == 200


def test_one_export_at_a_time(bundle: Path, tmp_path: Path) -> None:
    """The second of a tenant waits, that of another does not; each sees its own calls only."""
    tenants = make_tenants(tmp_path)
    alpha, beta = tenants.all
    with api(make_settings(bundle, **tenants.groups)) as web:
        asyncio.run(put_call(web.services.store, "c0", [make_record("c0")], tenant=alpha.name))
        lease = ExportLease(web.services.documents, alpha.name, web.services.clock)
        asyncio.run(lease.take())
        refused = web.get("/v1/exports/calls", headers=alpha.headers())
        assert (refused.status_code, refused.json()["code"]) == (429, "export_running")
        assert int(refused.headers["retry-after"]) > 0
        assert lines(web.get("/v1/exports/utterances", headers=beta.headers())) == []
        asyncio.run(lease.give_back())
        assert len(lines(web.get("/v1/exports/utterances", headers=alpha.headers()))) == 1
        assert web.get("/v1/exports/calls", headers=alpha.headers(Scope.READ_STATS)).status_code == 403


class Wrapped:
    """A store that gives pages of one call without end, until something happens."""

    def __init__(self, store: Any, pages: int, then: str) -> None:
        self._store = store
        self._pages = pages
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def list_records(self, tenant: str, call_id: str, *, from_seq: int, limit: int) -> RecordRange:
        """A page, or what happens then."""
        if from_seq > self._pages * limit:
            if self._then == "wait":
                await asyncio.Event().wait()
            raise CallNotFoundError("expired") if self._then == "expire" else StoreAwayError("gone")
        items = tuple(replace(make_record(call_id, n), seq=from_seq + n) for n in range(limit))
        return RecordRange(items, 1, 10**6)


@contextmanager
def wrapped(settings: Settings, pages: int, then: str) -> Iterator[ServerThread]:
    """A real server on such a store, with one call."""
    with service_parts(settings) as parts:
        services = replace(parts, store=Wrapped(parts.store, pages, then))
        asyncio.run(put_call(parts.store, "c0"))
        with server(settings, services) as running:
            yield running


def leases(services: Services) -> int:
    """How many exports run."""
    return len(asyncio.run(services.documents.list("default", "export_lease")).items)


def test_a_store_that_fails_in_the_middle_breaks_the_connection(plain: Settings) -> None:
    """The client sees that the file is not whole; the next export may begin."""
    with wrapped(plain, pages=3, then="fail") as running:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{running.url}/v1/exports/utterances")
        assert eventually(lambda: leases(running.services) == 0 or None)


def test_a_store_that_is_away_at_once_is_a_problem(plain: Settings) -> None:
    """503, as long as nothing was sent; the next export may begin."""
    with wrapped(plain, pages=0, then="fail") as running:
        answer = httpx.get(f"{running.url}/v1/exports/utterances")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert leases(running.services) == 0


def test_a_call_that_expires_in_the_middle_ends_there(plain: Settings) -> None:
    """What was read of it stays; the file is whole."""
    with wrapped(plain, pages=2, then="expire") as running:
        answer = httpx.get(f"{running.url}/v1/exports/utterances")
        assert len(lines(answer)) == 2 * READ_ROWS


def test_a_client_that_leaves_stops_the_work(plain: Settings) -> None:
    """The export ends although the store would wait for ever."""
    with wrapped(plain, pages=3, then="wait") as running:
        with httpx.stream("GET", f"{running.url}/v1/exports/utterances") as answer:
            next(answer.iter_bytes())
            assert leases(running.services) == 1
        assert eventually(lambda: leases(running.services) == 0 or None)


class Endless:
    """A store of one call with so many records, made when they are read."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._items = tuple(make_record("c0", n) for n in range(READ_ROWS))

    async def list_calls(self, *_: Any, **__: Any) -> Page[CallInfo]:
        """The call."""
        return Page((CallInfo("c0", "default", (Leg.CUSTOMER,), STARTED_AT),), None)

    async def list_records(self, tenant: str, call_id: str, *, from_seq: int, limit: int) -> RecordRange:
        """A page of the same records, but for the last one's number."""
        items = self._items if from_seq <= self._count else ()
        last = (replace(items[-1], seq=from_seq + limit - 1),) if items else ()
        return RecordRange(items[:-1] + last, 1, self._count)


@pytest.mark.slow
def test_a_large_export_takes_little_memory() -> None:
    """50,000 records on their way from a store to a reader."""

    async def scenario() -> int:
        clock = FakeClock()
        lease = ExportLease(MemoryDocuments(clock), "default", clock)
        store: Any = Endless(50_000)
        rows = utterance_rows(store, "default", CallFilter(), None)
        made = 0
        async for piece in pieces(make_encoder(ExportFormat.JSONL, UTTERANCE_COLUMNS), rows, lease):
            made += len(piece)
            last = piece
        assert last.endswith(b'{"type":"end","records":50000}\n')
        return made

    tracemalloc.start()
    try:
        made = asyncio.run(scenario())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made > 20 * MIB
    assert peak < 8 * MIB
