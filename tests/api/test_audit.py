"""The audit log over REST: what was read, erased and changed, by whom; and nothing is read that cannot be logged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse

from app.access.principal import Principal, Scope
from app.api.audit import audited, outcome_of
from app.api.deps import ServicesDep, requires
from app.api.errors import ProblemError, install_error_handlers
from app.api.privacy_bodies import AuditBody, AuditCheckBody
from app.api.protocol import Listing
from app.privacy.audit import NAME
from app.results.documents import JournalEntry
from app.results.store import BadCursorError, CallNotFoundError, StoreAwayError
from tests.support.clock import FakeClock
from tests.support.service import Api, api, make_settings
from tests.support.tenants import Tenants, make_tenants

Reader = Annotated[Principal, Depends(requires(Scope.READ_SCORES))]


def routes(web: Api) -> FastAPI:
    """Some routes that log who reads."""
    app = FastAPI()
    install_error_handlers(app)
    app.state.services = web.services

    @app.get("/calls/{call_id}", dependencies=[Depends(audited("calls.read"))])
    async def read_call(call_id: str, _: Reader) -> dict[str, str]:
        if call_id == "missing":
            raise CallNotFoundError
        return {"call_id": call_id}

    @app.get("/utterances/{utterance_id}", dependencies=[Depends(audited("utterances.read"))])
    async def read_utterance(utterance_id: str, _: Reader) -> dict[str, str]:
        return {"id": utterance_id}

    @app.get("/lines/{line}", dependencies=[Depends(audited("line.read"))])
    async def read_line(line: str, _: Reader) -> dict[str, str]:
        return {"id": line}

    @app.get("/export", dependencies=[Depends(audited("export"))])
    async def export(services: ServicesDep, _: Reader) -> StreamingResponse:
        async def rows() -> Any:
            yield str(services.privacy.audit.waiting)

        return StreamingResponse(rows())

    return app


def ask(app: FastAPI, *paths: str, **options: Any) -> list[httpx.Response]:
    """The answers to some requests."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as session:
            return [await session.get(path, **options) for path in paths]

    return asyncio.run(send())


def logged(web: Api, query: str = "", **options: Any) -> list[tuple[str, str, str, int]]:
    """Action, object, outcome and count of what is logged, oldest first; reading the log left out."""
    answer = web.get(f"/v1/audit?limit=200&{query}", **options)
    assert answer.status_code == 200, answer.text
    Listing[AuditBody].model_validate(answer.json())
    items = reversed(answer.json()["items"])
    return [
        (item["action"], item["object"], item["outcome"], item["count"])
        for item in items
        if item["action"] != "audit.read"
    ]


@pytest.fixture(scope="module")
def shared(bundle: Path) -> Iterator[Api]:
    """A service for requests that change nothing."""
    with api(make_settings(bundle)) as running:
        yield running


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    """Two tenants."""
    return make_tenants(tmp_path_factory.mktemp("tenants"))


@pytest.fixture
def walled(bundle: Path, tenants: Tenants) -> Iterator[Api]:
    """A service of two tenants."""
    with api(make_settings(bundle, **tenants.groups)) as running:
        yield running


@pytest.fixture
def timed(bundle: Path) -> Iterator[Api]:
    """A service on a clock that is moved by hand, whose log holds little."""
    with api(make_settings(bundle, privacy={"audit_buffer": 2}), FakeClock()) as running:
        yield running


def test_reads_are_logged_with_how_they_ended(web: Api) -> None:
    """Calls under their pseudonyms, which an officer can ask for; what names nobody as it is."""
    app = routes(web)
    ask(
        app,
        "/calls/call-1",
        "/calls/missing",
        "/utterances/call-1.customer.0001",
        "/lines/trunk",
        "/lines/a%20b",
    )
    name = web.request("POST", "/v1/audit/pseudonym", json={"call_id": "call-1"}).json()["object"]
    missing = web.request("POST", "/v1/audit/pseudonym", json={"call_id": "missing"}).json()["object"]
    assert logged(web) == [
        ("calls.read", name, "ok", 1),
        ("calls.read", missing, "not_found", 1),
        ("utterances.read", name, "ok", 1),
        ("line.read", "line:trunk", "ok", 1),
        ("line.read", "*", "ok", 1),
    ]
    assert logged(web, f"object={name}&action=calls.read") == [("calls.read", name, "ok", 1)]
    assert "call-1" not in web.get("/v1/audit").text
    assert (
        web.request("POST", "/v1/audit/pseudonym", json={"subject": "p"})
        .json()["object"]
        .startswith("subject:")
    )


def test_polling_is_counted(timed: Api) -> None:
    """A hundred polls within a minute are two entries."""
    app = routes(timed)
    ask(app, *["/calls/call-1"] * 100)
    timed.services.clock.advance(61)  # type: ignore[attr-defined]
    assert [count for _, _, _, count in logged(timed)] == [1, 99]


def test_what_takes_long_is_logged_when_it_begins(web: Api) -> None:
    """An export that never ends was an export."""
    [answer] = ask(routes(web), "/export")
    assert answer.text == "1"
    assert logged(web) == [("export", "*", "started", 1)]


def test_what_cannot_be_logged_is_not_read(timed: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once no more entries can wait, reads are refused until the log can be written."""

    async def away(*_: object, **__: object) -> Any:
        raise StoreAwayError

    app = routes(timed)
    with monkeypatch.context() as patch:
        patch.setattr(type(timed.services.journal), "last", away)
        patch.setattr(type(timed.services.journal), "append", away)
        answers = ask(app, "/calls/a", "/calls/b", "/calls/c")
        assert [answer.status_code for answer in answers] == [200, 200, 503]
        assert answers[2].json()["code"] == "audit_unavailable"
        assert answers[2].headers["retry-after"] == "5"
        asyncio.run(timed.services.privacy.audit.flush())
        assert timed.services.privacy.audit.waiting == 2
    asyncio.run(timed.services.privacy.audit.flush())
    assert ask(app, "/calls/c")[0].status_code == 200
    assert b"kowairo_audit_refused_total 1.0" in timed.services.metrics.exposition()


def test_erasures_and_changes_of_rules_are_there_at_once(web: Api) -> None:
    """With who did them and what changed."""
    web.request("POST", "/v1/erasures", json={"subject": "p"})
    web.request("PUT", "/v1/retention", json={"calls_s": 3600})
    actions = [entry[0] for entry in logged(web)]
    assert actions == ["erase", "retention.change"]
    [change] = web.get("/v1/audit?action=retention.change").json()["items"]
    assert change["detail"]["after"] == {"calls_s": 3600, "feedback_s": None, "lines": {}}
    assert (change["who"], change["key_id"]) == ("site", "site")


def test_the_log_is_read_in_pages_and_by_time(timed: Api) -> None:
    """Latest first; each entry on one page."""
    for number in range(5):
        timed.request("POST", "/v1/erasures", json={"call_id": f"c{number}"})
        timed.services.clock.advance(60)  # type: ignore[attr-defined]
    seen: list[int] = []
    path: str | None = "/v1/audit?limit=2&action=erase"
    while path:
        body = timed.get(path).json()
        seen += [item["number"] for item in body["items"]]
        path = body["next"] and f"/v1/audit?limit=2&action=erase&cursor={body['next']}"
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
    since = "since=2023-11-14T22:14:20Z&until=2023-11-14T22:16:20Z"
    assert len(timed.get(f"/v1/audit?action=erase&{since}").json()["items"]) == 2


def test_the_log_can_be_checked(web: Api) -> None:
    """Whole, from an entry on, and when somebody changed it."""
    for number in range(3):
        web.request("POST", "/v1/erasures", json={"call_id": f"c{number}"})
    body = web.get("/v1/audit/verify").json()
    AuditCheckBody.model_validate(body)
    assert (body["valid"], body["complete"], body["entries"]) == (True, True, 3)
    assert web.get("/v1/audit/verify?after=2").json()["entries"] == 1
    assert web.get("/v1/audit/verify?after=9").json()["code"] == "audit_entry_not_found"
    entries = web.services.journal._lists["default", NAME]  # type: ignore[attr-defined]
    entries[1] = JournalEntry(2, {**entries[1].value, "outcome": "refused"})
    body = web.get("/v1/audit/verify").json()
    assert (body["valid"], body["broken_at"], body["why"]) == (False, 2, "it was changed")


@pytest.mark.parametrize(
    "query",
    [
        "action=Calls Read",
        "action=a.b.c",
        "object=nonsense",
        "since=2023-11-14T22:14:20",
        "since=yesterday",
        "limit=0",
        "limit=1000",
        "nothing=1",
    ],
)
def test_wrong_filters_are_refused(shared: Api, query: str) -> None:
    """Times need a zone; names that are not known are said."""
    assert shared.get(f"/v1/audit?{query}").json()["code"] == "invalid_request"


def test_a_cursor_of_another_list_is_refused(shared: Api) -> None:
    """Or one that somebody made up."""
    assert shared.get("/v1/audit?cursor=AAAA").json()["code"] == "invalid_cursor"


def test_only_officers_read_the_log_and_only_their_own(walled: Api, tenants: Tenants) -> None:
    """Nor may others ask how the log names somebody; refused reads are in the log."""
    alpha, beta = tenants.all
    for scope in Scope:
        if scope is not Scope.ADMIN:
            for method, path in (("GET", ""), ("GET", "/verify"), ("POST", "/pseudonym")):
                options = {"headers": alpha.headers(scope), "json": {"subject": "p"}}
                answer = walled.request(method, f"/v1/audit{path}", **options)
                assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    app = routes(walled)
    ask(app, "/calls/a", headers=alpha.headers(Scope.LABEL))
    ask(app, "/calls/a")
    assert [entry[::2] for entry in logged(walled, headers=alpha.headers())] == [("calls.read", "denied")]
    assert logged(walled, headers=beta.headers()) == []
    names = {
        walled.request("POST", "/v1/audit/pseudonym", json={"subject": "p"}, headers=tenant.headers()).text
        for tenant in tenants.all
    }
    assert len(names) == 2


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ProblemError(403, "x", "x", "x"), "denied"),
        (ProblemError(409, "x", "x", "x"), "refused"),
        (BadCursorError(), "refused"),
        (StoreAwayError(), "failed"),
        (RuntimeError(), "failed"),
    ],
)
def test_how_a_request_ended(error: Exception, outcome: str) -> None:
    """A few words are enough."""
    assert outcome_of(error) == outcome
