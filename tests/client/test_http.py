"""Both clients ask the same things in the same way, and take refusals as they are meant."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pytest

from app.client import ApiError, AsyncClient, Client, Retry, UnreachableError, requests
from app.client.wire import Request
from tests.contracts.seeded import hold_call
from tests.support.live import on_server
from tests.support.service import ServerThread

Handler = Callable[[httpx.Request], httpx.Response]
PROBLEM = {
    "type": "urn:kowairo:problem:call_not_found",
    "title": "No such call",
    "status": 404,
    "detail": "unknown",
    "code": "call_not_found",
    "errors": [{"where": "path", "problem": "unknown"}],
}
READY = {
    "status": "draining",
    "bundle": "tiny",
    "version": "1",
    "variant": "int8",
    "provider": "cpu",
    "store": "ok",
    "waiting": 0,
    "waiting_bytes": 0,
    "oldest_waiting_s": None,
    "calls_active": 1,
}


class Service:
    """Answers one after the other, the last one for ever; keeps what was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        self.asked.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def asked_both_ways(
    answers: Callable[[], list[httpx.Response]], name: str, *args: Any, **given: Any
) -> list[Any]:
    """What each client makes of the same answers: (value or error, requests, pauses)."""
    outcomes = []
    for way in (_blocking, _waiting):
        service, slept = Service(*answers()), list[float]()
        try:
            value: Any = way(service, slept, name, *args, **given)
        except (ApiError, UnreachableError) as error:
            value = (type(error), str(error), getattr(error, "code", None))
        outcomes.append((value, [(one.method, str(one.url), one.content) for one in service.asked], slept))
    assert outcomes[0] == outcomes[1]
    return list(outcomes[0])


def _blocking(service: Service, slept: list[float], name: str, *args: Any, **given: Any) -> Any:
    with Client("http://kowairo", api_key="k", transport=httpx.MockTransport(service)) as client:
        client._sleep = slept.append
        value = getattr(client, name)(*args, **given)
        return list(value) if isinstance(value, Iterator) else value


def _waiting(service: Service, slept: list[float], name: str, *args: Any, **given: Any) -> Any:
    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def work() -> Any:
        async with AsyncClient(
            "http://kowairo", api_key="k", transport=httpx.MockTransport(service)
        ) as client:
            client._sleep = sleep
            value = getattr(client, name)(*args, **given)
            return [item async for item in value] if isinstance(value, AsyncIterator) else await value

    return asyncio.run(work())


def lines(*names: str, following: str | None = None) -> httpx.Response:
    """A page of lines."""
    items = [{"id": name, "n": 1, "frozen": False, "drift": 0.0} for name in names]
    return httpx.Response(200, json={"items": items, "next": following})


def test_both_clients_can_ask_the_same() -> None:
    """All that the questions are, and nothing else; live events only without blocking."""
    public = [{name for name in vars(kind) if not name.startswith("_")} for kind in (Client, AsyncClient)]
    assert public[1] - public[0] == {"events"}
    assert public[0] - public[1] == set()
    questions = {
        name
        for name, value in vars(requests).items()
        if callable(value) and "Request" in str(value.__annotations__.get("return"))
    }
    assert questions == public[0] - {"send", "each", "close"}


def test_pages_are_followed() -> None:
    """With the same filters, until there is none."""
    pages = lambda: [lines("a", "b", following="x y"), lines("c")]  # noqa: E731
    found, asked, _ = asked_both_ways(pages, "lines", limit=2)
    assert [line.id for line in found] == ["a", "b", "c"]
    assert [url for _, url, _ in asked] == [
        "http://kowairo/v1/lines?limit=2",
        "http://kowairo/v1/lines?limit=2&cursor=x+y",
    ]


def test_problems_are_told() -> None:
    """Code, status, title, detail and errors."""
    with (
        pytest.raises(ApiError, match="HTTP 404: unknown") as caught,
        Client(transport=httpx.MockTransport(Service(httpx.Response(404, json=PROBLEM)))) as client,
    ):
        client.call("x")
    error = caught.value
    assert (error.code, error.status, error.title, error.detail) == (
        "call_not_found",
        404,
        "No such call",
        "unknown",
    )
    assert error.errors == ({"where": "path", "problem": "unknown"},)
    asked_both_ways(lambda: [httpx.Response(404, json=PROBLEM)], "call", "x")


@pytest.mark.parametrize(
    ("retry_after", "slept"), [("7", [7.0, 7.0, 7.0]), (None, [0.5, 1.0, 2.0]), ("x", [0.5, 1.0, 2.0])]
)
def test_refused_requests_are_sent_again(retry_after: str | None, slept: list[float]) -> None:
    """After as long as the service says; without a word, after longer and longer; not for ever."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    refused = lambda: [httpx.Response(503, json={"code": "store_unavailable"}, headers=headers)]  # noqa: E731
    value, asked, pauses = asked_both_ways(refused, "line", "a")
    assert value[2] == "store_unavailable"
    assert len(asked) == 4
    assert pauses == slept


def test_waiting_has_a_bound() -> None:
    """A service that asks for a longer wait is not waited for."""
    refused = lambda: [httpx.Response(429, json=PROBLEM, headers={"Retry-After": "31"})]  # noqa: E731
    _, asked, pauses = asked_both_ways(refused, "line", "a")
    assert (len(asked), pauses) == (1, [])
    recovers = lambda: [httpx.Response(429, headers={"Retry-After": "1"}), lines("a")]  # noqa: E731
    found, _, pauses = asked_both_ways(recovers, "lines")
    assert ([line.id for line in found], pauses) == (["a"], [1.0])
    assert Retry(attempts=1).pause_s(1, None) is None


def test_what_may_not_be_done_twice_is_not_sent_again_after_503() -> None:
    """Half of it may have been done; 429 is a refusal before anything is."""
    away = lambda: [httpx.Response(503, json=PROBLEM)]  # noqa: E731
    assert len(asked_both_ways(away, "make_endpoint", "https://x.example/")[1]) == 1
    assert len(asked_both_ways(away, "give_feedback", "a.customer.0000", "angry")[1]) == 4
    limited = lambda: [httpx.Response(429, json=PROBLEM)]  # noqa: E731
    assert len(asked_both_ways(limited, "make_endpoint", "https://x.example/")[1]) == 4


def test_a_draining_service_says_how_it_stands() -> None:
    """503 of `/readyz` is an answer."""
    value, asked, _ = asked_both_ways(lambda: [httpx.Response(503, json=READY)], "ready")
    assert (value.status, value.calls_active, len(asked)) == ("draining", 1, 1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, text="<html>"), "not JSON"),
        (httpx.Response(200, json={"id": 1}), "not what was expected: id"),
        (httpx.Response(502, text="<html>"), "HTTP 502"),
    ],
)
def test_somebody_elses_answers(answer: httpx.Response, said: str) -> None:
    """They are told in one line."""
    make = lambda: [httpx.Response(answer.status_code, content=answer.content)]  # noqa: E731
    value, _, _ = asked_both_ways(make, "line", "a")
    assert said in value[1]


def test_nobody_there() -> None:
    """No connection, and no address."""

    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    with (
        pytest.raises(UnreachableError, match="no route"),
        Client(transport=httpx.MockTransport(nobody)) as client,
    ):
        client.ready()
    for kind in (Client, AsyncClient):
        with pytest.raises(UnreachableError, match="expected http"):
            kind("http://a:b")


def test_queries_are_written_as_the_service_reads_them() -> None:
    """Times with their zone, flags, names that need escapes; what is not given is not sent."""
    since = datetime(2026, 3, 29, 2, tzinfo=UTC)
    assert requests.calls(since=since, line="a b").query == {
        "line": "a b",
        "since": "2026-03-29T02:00:00+00:00",
        "limit": "200",
    }
    assert requests.call("a/b ü").path == "/v1/calls/a%2Fb%20%C3%BC"
    assert requests.stats(group_by=["line", "team"]).query == {
        "bucket": "1h",
        "tz": "UTC",
        "group_by": "line,team",
    }
    with pytest.raises(ValueError, match="zone"):
        requests.calls(since=datetime(2026, 3, 29))
    assert requests.change_endpoint("we_1", enabled=False).body == {"enabled": False}
    assert isinstance(requests.ready(), Request)


def test_a_real_service(live: ServerThread) -> None:
    """Everything that a dashboard asks, with values of the service's own."""
    on_server(live, hold_call(live.services, "default"))
    with Client(live.url, trust_env=False) as client:
        assert client.ready().status == "ready"
        assert [call.call_id for call in client.calls(line="sales")] == ["a1"]
        report = client.call("a1")
        assert (report.team, report.metadata, len(report.timeline)) == ("north", {"ticket": "77"}, 4)
        assert [record.seq for record in client.utterances("a1", limit=2)] == [1, 2, 3, 4]
        page = client.records("a1", from_seq=3)
        assert ([record.seq for record in page.items], page.last_seq, page.gaps) == ([3, 4], 4, [])
        record = client.utterance("a1.customer.0000")
        assert (record.emotion, record.line, record.model.bundle) == ("anger", "sales", "tiny")
        given = client.give_feedback(record.utterance_id, "angry", labeller="rater-7")
        assert (given.label, given.record.seq) == ("angry", 1)
        assert [one.labeller for one in client.feedback(call_id="a1")] == ["rater-7"]
        assert [one.labeller for one in client.feedback(utterance_id=record.utterance_id)] == ["rater-7"]
        client.take_feedback_back(record.utterance_id, labeller="rater-7")
        assert client.stats(group_by=["line"], bucket="total").group_by == ["line"]
        assert [model.bundle for model in client.models()] == ["tiny"]
        with pytest.raises(ApiError) as ended:
            client.pause("a1")
        assert (ended.value.status, ended.value.code) == (409, "call_ended")
        _desk(client)
        for form, begin in (("jsonl", b"{"), ("csv", b"call_id"), ("parquet", b"PAR1")):
            file = io.BytesIO()
            assert client.export("utterances", file, form=form, line="sales") == len(file.getvalue())
            assert file.getvalue().startswith(begin)
        erasure = client.erase_call("a1")
        assert erasure.status == "done"
        assert client.erasure(erasure.id).receipt == erasure.receipt
        assert client.receipt_key().algorithm
        assert [one.id for one in client.erasures()] == [erasure.id]
        assert list(client.calls()) == []


def _desk(client: Client) -> None:
    """Webhooks and alerts: made, changed, listed, removed."""
    made = client.make_endpoint("https://crm.example.com/hooks", which={"types": ["alert"]})
    assert made.secret.startswith("whsec_")
    assert client.change_endpoint(made.id, description="CRM").description == "CRM"
    assert client.rotate_secret(made.id, overlap_s=60).secret != made.secret
    assert [one.id for one in client.endpoints()] == [client.endpoint(made.id).id]
    assert not client.ping_endpoint(made.id).delivered
    assert list(client.dead_letters(endpoint_id=made.id)) == []
    assert client.redrive_letters(made.id).redriven == 0
    rule = client.make_alert_rule("valence", below=-0.5, for_s=20)
    assert client.replace_alert_rule(rule.id, "valence", below=-0.7).below == -0.7
    assert [one.id for one in client.alert_rules()] == [rule.id]
    assert list(client.alerts(rule_id=rule.id)) == []
    client.delete_alert_rule(rule.id)
    client.delete_endpoint(made.id)


def test_line_profiles(live: ServerThread) -> None:
    """Carried from one line to another, frozen and reset, without blocking."""
    book = live.services.engine.parts.profiles

    async def work() -> None:
        async with AsyncClient(live.url, trust_env=False) as client:
            profile = await client.export_profile("one")
            assert (await client.import_profile("two", profile.model_dump())).n == 1
            assert [line.id async for line in client.lines()] == ["one", "two"]
            assert (await client.freeze_line("two")).frozen
            assert not (await client.unfreeze_line("two")).frozen
            assert (await client.reset_line("two")).n == 0
            file = io.BytesIO()
            assert await client.export("calls", file) == len(file.getvalue())
            assert json.loads(file.getvalue().splitlines()[-1])["type"] == "end"

    book.update("one", np.full(book.dim, 0.5))
    asyncio.run(work())


def test_an_export_that_is_refused_or_breaks_off() -> None:
    """It is waited for where the service says so; half a file is an error."""

    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"half"
            raise httpx.RemoteProtocolError("incomplete")

    running = httpx.Response(429, json=PROBLEM, headers={"Retry-After": "10"})
    whole = httpx.Response(200, content=b"file")
    slept: list[float] = []
    with Client(transport=httpx.MockTransport(Service(running, whole))) as client:
        client._sleep = slept.append
        file = io.BytesIO()
        assert (client.export("calls", file), file.getvalue(), slept) == (4, b"file", [10.0])
    with (
        Client(transport=httpx.MockTransport(Service(httpx.Response(200, stream=Broken())))) as client,
        pytest.raises(UnreachableError, match="incomplete"),
    ):
        client.export("calls", io.BytesIO())
    with (
        Client(transport=httpx.MockTransport(Service(httpx.Response(422, json=PROBLEM)))) as client,
        pytest.raises(ApiError, match="unknown"),
    ):
        client.export("calls", io.BytesIO(), form="xml")
