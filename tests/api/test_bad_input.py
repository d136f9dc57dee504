"""A tour of bad input: every route, and what clients get wrong or try on purpose. Each is answered by a problem."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.cursors import seal
from tests.support.held import put_call
from tests.support.live import on_server
from tests.support.problems import problem_of
from tests.support.raw import Answer, RawClient
from tests.support.records import make_record
from tests.support.routes import RouteSpec
from tests.support.service import Api, api, make_settings
from tests.support.tenants import make_tenants
from tests.support.walls import BEFORE, UUID, World, world

JSON = {"Content-Type": "application/json"}
TEN_MB = b'{"a": "' + b"x" * 10_000_000 + b'"}'

NOT_JSON = {
    "text": b"hello",
    "half an object": b'{"a": ',
    "two values": b"{} {}",
    "NaN": b'{"below": NaN}',
    "an endless number": b'{"below": -Infinity}',
    "a number beyond floats": b'{"below": 1e999}',
    "an integer of 5,000 digits": b'{"calls_s": ' + b"9" * 5_000 + b"}",
    "wrong UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "half a surrogate": b'{"a": "\\ud800"}',
    "a comment": b"{} // yes",
    "single quotes": b"{'a': 1}",
    "a trailing comma": b'{"a": 1,}',
    "a raw line end in a text": b'{"a": "\n"}',
}
"""Bodies that are no JSON as RFC 8259 has it."""

BOMBS = {
    "lists in lists": b"[" * 30_000 + b"]" * 30_000,
    "lists in lists without an end": b"[" * 60_000,
    "objects in objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "just too deep": b"[" * 33 + b"]" * 33,
}
WRONG = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a long list": b"[" + b"0," * 30_000 + b"0]",
    "many members": json.dumps({f"m{number}": number for number in range(4_000)}).encode(),
    "a member with a strange name": json.dumps({"\x00\u202e" * 50: 1}).encode(),
    "a text": b'"text"',
    "a number": b"1e308",
}
"""JSON that is no body of any route."""


@pytest.fixture(scope="module")
def made(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with two or more of everything that is listed."""
    carriers = {"audiosocket": {"tenant": BEFORE}}
    with world(bundle, tmp_path_factory.mktemp("tour"), carriers=carriers) as running:
        running.owned[BEFORE]["uuid"] = [UUID]
        for number in range(2):
            call_id = f"more-{number}"
            records = [make_record(call_id, index) for index in range(3)]
            on_server(running.server, put_call(running.services.store, call_id, records, tenant=BEFORE))
        with running.client(running.before) as client:
            for number in range(2):
                label = {"label": "angry", "labeller": f"rater {number}"}
                client.made("POST", "/v1/utterances/shared.customer.0000/feedback", label)
                client.made("POST", "/v1/erasures", {"subject": f"nobody {number}"})
                client.made("POST", "/v1/keys", {"name": f"key {number}", "scopes": ["erase"]})
                client.send("GET", f"/v1/calls/more-{number}")
        on_server(running.server, running.services.privacy.audit.flush(everything=True))
        yield running


@pytest.fixture
def client(made: World) -> Iterator[RawClient]:
    """Somebody who may do everything."""
    with made.client(made.before) as sending:
        yield sending


def address(made: World, spec: RouteSpec) -> str:
    """The path of a route with ids of things that there are."""
    path = spec.path
    for name in spec.path_names:
        path = path.replace("{" + name + "}", made.owned[BEFORE][name][0])
    return path


def with_body(made: World) -> list[RouteSpec]:
    """The routes that take JSON."""
    found = [spec for spec in made.routes if spec.has_body]
    assert len(found) >= 12
    return found


def taking(made: World, name: str) -> list[RouteSpec]:
    """The routes whose query has a parameter; the live feeds are left out, which are not lists."""
    return [spec for spec in made.routes if name in spec.query_names and "events" not in spec.path]


def code_of(answer: Answer) -> str:
    """The code of a problem, which is checked."""
    return str(problem_of(answer)["code"])


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_no_json(made: World, client: RawClient, name: str) -> None:
    """422 `invalid_json`, whatever the route."""
    for spec in with_body(made):
        answer = client.send(spec.method, address(made, spec), NOT_JSON[name], JSON)
        assert (answer.status, code_of(answer)) == (422, "invalid_json"), (spec.name, answer)


@pytest.mark.parametrize("name", BOMBS)
def test_json_bombs(made: World, client: RawClient, name: str) -> None:
    """Depth is counted before anything is built."""
    for spec in with_body(made):
        answer = client.send(spec.method, address(made, spec), BOMBS[name], JSON)
        assert (answer.status, code_of(answer) in ("too_deep", "invalid_json")) == (422, True), (
            spec.name, answer,
        )  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_json_of_another_shape(made: World, client: RawClient, name: str) -> None:
    """422, named in few words: no client's own text comes back at length."""
    for spec in with_body(made):
        answer = client.send(spec.method, address(made, spec), WRONG[name], JSON)
        assert (answer.status, code_of(answer)) == (422, "invalid_request"), (spec.name, answer)
        assert len(answer.body) < 8_000, spec.name


def test_a_member_twice(made: World, client: RawClient) -> None:
    """Two parsers would take different ones: 422 `duplicate_key`, also inside."""
    for spec in with_body(made):
        for body in (b'{"a": 1, "a": 1}', b'{"a": {"b": [{"c": 1, "c": 2}]}}', b'{"a": 1, "\\u0061": 2}'):
            answer = client.send(spec.method, address(made, spec), body, JSON)
            assert (answer.status, code_of(answer)) == (422, "duplicate_key"), (spec.name, answer)


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "*/*",
    ],
)
def test_another_media_type(made: World, client: RawClient, media_type: str) -> None:
    """415: what a page of another site can send without asking is no JSON."""
    for spec in with_body(made):
        headers = {"Content-Type": media_type} if media_type else {}
        answer = client.send(spec.method, address(made, spec), b"{}", headers)
        assert (answer.status, code_of(answer)) == (415, "unsupported_media_type"), (spec.name, answer)


def test_ten_megabytes(bundle: Path, tmp_path: Path, made: World) -> None:
    """413, announced or not, on every route that takes anything; no more of it is read than may be."""
    tenants = make_tenants(tmp_path)
    with api(make_settings(bundle, **tenants.groups), headers=tenants.all[0].headers()) as running:
        for spec in made.routes:
            if spec.method not in ("POST", "PUT", "PATCH") or spec.path == "/v1/score":
                continue
            path = address(made, spec) if "slash" not in spec.path else "/v1/webhooks/twilio"
            for content in (TEN_MB, pieces(TEN_MB)) if spec.has_body else (TEN_MB,):
                answer = running.request(spec.method, path, content=content, headers=JSON)
                assert (answer.status_code, answer.json()["code"]) == (413, "body_too_big"), spec.name
        assert too_big_upload(running) == (413, "body_too_big")


async def pieces(body: bytes) -> Iterator[bytes]:  # type: ignore[misc]
    """A body whose length is not announced."""
    for begin in range(0, len(body), 1_000_000):
        yield body[begin : begin + 1_000_000]
        await asyncio.sleep(0)


def too_big_upload(running: Api) -> tuple[int, str]:
    """A recording that says it is bigger than may be."""
    limit = running.services.settings.upload.max_bytes
    headers = {"Content-Length": str(limit * 2), "Content-Type": "audio/wav"}
    answer = running.request("POST", "/v1/score", content=b"RIFF", headers=headers)
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    "limit",
    ["0", "-1", "1000000000", "abc", "", "1.5", "1e2", "0x10", "%D9%A3", "99999999999999999999", "NaN"],
)
def test_a_wrong_page_size(made: World, client: RawClient, limit: str) -> None:
    """422 on every list."""
    for spec in taking(made, "limit"):
        answer = client.send("GET", f"{address(made, spec)}?limit={limit}")
        assert (answer.status, code_of(answer)) == (422, "invalid_request"), (spec.name, answer)


def test_a_wrong_cursor(made: World, client: RawClient) -> None:
    """422 `invalid_cursor` for what no list gave, and for what another list or another query gave."""
    lists = taking(made, "cursor")
    given: dict[str, str] = {}
    for spec in lists:
        place = client.send("GET", f"{address(made, spec)}?limit=1").json["next"]
        if place is not None:
            given[spec.name] = place
    assert len(given) >= 6
    forged = [
        *(
            "x",
            "%00",
            "..%2f..%2fetc%2fpasswd",
            "A" * 4_000,
            "%F0%9F%98%80",
            "=",
            "-1",
            "null",
            "AAAAAAAAAAAAAAAA",
        ),
        *(str(seal(place, "calls")) for place in ("x", "1", "\x00", "9" * 100)),
        base64.urlsafe_b64encode(b"\xff" * 40).decode().rstrip("="),
    ]
    for spec in lists:
        others = [cursor for name, cursor in given.items() if name != spec.name]
        own = given.get(spec.name, "")
        changed = [own[:-1], own[1:], own + "A", own.swapcase()] if own else []
        for cursor in [*forged, *others, *changed]:
            answer = client.send("GET", f"{address(made, spec)}?cursor={cursor}")
            if cursor in changed and answer.status == 200:
                continue  # a place inside the list, as good as any: it opens nothing else
            assert (answer.status, code_of(answer)) == (422, "invalid_cursor"), (spec.name, cursor, answer)
        assert client.send("GET", f"{address(made, spec)}?cursor={'A' * 5_000}").status == 422


def test_an_unknown_parameter(made: World, client: RawClient) -> None:
    """A misspelt filter must not give everything: 422 on every route with credentials, also for one twice."""
    for spec in made.routes:
        if spec.scope is None:
            continue
        body = b"{}" if spec.has_body else None
        for query in ("nonsense=1", "Limit=5", "a%00=1", "%F0%9F%98%80=1", "line[]=x"):
            answer = client.send(spec.method, f"{address(made, spec)}?{query}", body, JSON if body else {})
            assert (answer.status, code_of(answer)) == (422, "invalid_request"), (spec.name, query, answer)
        for name in sorted(spec.query_names - {"type"})[:2]:
            answer = client.send(spec.method, f"{address(made, spec)}?{name}=1&{name}=1", body)
            assert (answer.status, code_of(answer)) == (422, "invalid_request"), (spec.name, name, answer)


@pytest.mark.parametrize(
    "moment",
    [
        *("2026-03-29T02:00:00", "2026-03-29", "yesterday", "", "1700000000", "2026-02-30T00:00:00Z"),
        *(
            "2026-01-01T00:00:00%2B99:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2026-01-01T25:00:00Z",
        ),
        *("2026-01-01T00:00:00+01:00", "%00", "2026-01-01T00:00:00Z%0a", "NaN", "1e400", "-1"),
    ],
)
def test_a_wrong_time(made: World, client: RawClient, moment: str) -> None:
    """422: without a zone (a + that means a space, too), on no calendar, too far away, or no time at all."""
    for spec in taking(made, "since"):
        for name in ("since", "until"):
            answer = client.send("GET", f"{address(made, spec)}?{name}={moment}")
            assert (answer.status, code_of(answer)) == (422, "invalid_request"), (spec.name, name, answer)


def test_an_end_before_the_beginning(made: World, client: RawClient) -> None:
    """422 wherever there is a span of time."""
    for spec in taking(made, "since"):
        query = "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z"
        answer = client.send("GET", f"{address(made, spec)}?{query}")
        assert (answer.status, code_of(answer)) == (422, "invalid_request"), (spec.name, answer)


@pytest.mark.parametrize(
    "zone",
    [
        *(
            "Mars/Phobos",
            "",
            "%00",
            "..%2f..%2f..%2fetc%2fpasswd",
            "%2fetc%2flocaltime",
            "Europe",
            "UTC+1",
            "GMT%2B25",
        ),
        *("europe/paris%00", "Europe/Paris/", "zone.tab", "%F0%9F%98%80", "x" * 64, "x" * 65, "posixrules/x"),
    ],
)
def test_a_wrong_time_zone(client: RawClient, zone: str) -> None:
    """422: names of the tz database, and no file beside it."""
    answer = client.send("GET", f"/v1/stats?tz={zone}")
    assert (answer.status, code_of(answer)) == (422, "invalid_request"), answer


STRANGE = [
    *(
        "..",
        ".",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2fcalls",
        "%00",
        "shared%00",
        "shared%0d%0aX:%201",
    ),
    *("%F0%9F%98%80", "%C3%A9", "e%CC%81", "%E2%80%AEdetrahs", "%EF%BC%8Eshared", "%ff%fe", "%c0%ae%c0%ae"),
    *(
        "x" * 129,
        "x" * 5_000,
        "%20shared",
        "shared%20",
        "shared;x=1",
        "shared,shared",
        "*",
        "%25",
        "{before}:shared",
    ),
    *("'%20OR%201=1--", "$%7Bjndi:ldap://x%7D", "<script>", "-1", "1e999", "%5C..%5C..%5Cetc"),
]


@pytest.mark.parametrize("value", STRANGE)
def test_strange_ids(made: World, client: RawClient, value: str) -> None:
    """Unicode, NUL and tricks with paths: 404 or 422 (405, where they lead to another route), and never success."""
    for spec in made.routes:
        if spec.scope is None or not spec.path_names:
            continue
        path = spec.path.replace("{" + spec.path_names[0] + "}", value)
        body = b'{"label": "angry"}' if spec.has_body else None
        answer = client.send(spec.method, path, body, JSON if body else {})
        assert answer.status in (404, 405, 422), (spec.name, answer)
        code_of(answer)


def test_strange_values_in_queries(made: World, client: RawClient) -> None:
    """Every parameter of every route takes them or answers 422 (404 for an id that there is not)."""
    for spec in made.routes:
        if spec.scope is None or "events" in spec.path or spec.method != "GET":
            continue
        for number, name in enumerate(sorted(spec.query_names)):
            for value in STRANGE[number % 3 :: 3]:
                answer = client.send("GET", f"{address(made, spec)}?{name}={value}")
                if answer.status != 200:
                    code = code_of(answer)
                    refused = answer.status in (404, 422) or code == "foreign_tenant"
                    assert refused, (spec.name, name, value, answer)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/../v1/calls", 404, "not_found"),
        ("GET", "//v1/calls", 404, "not_found"),
        ("GET", "/V1/CALLS", 404, "not_found"),
        ("GET", "/assets/../main.py", 404, "not_found"),
        ("GET", "/assets/%2e%2e/main.py", 404, "not_found"),
        ("GET", "/assets/..%2fmain.py", 404, "not_found"),
        ("GET", "/assets/%00", 404, "not_found"),
        ("GET", "/assets/" + "x" * 5_000, 404, "not_found"),
        ("PUT", "/v1/calls", 405, "method_not_allowed"),
        ("TRACE", "/v1/calls", 405, "method_not_allowed"),
        ("PROPFIND", "/v1/calls", 405, "method_not_allowed"),
        ("POST", "/livez", 405, "method_not_allowed"),
    ],
)
def test_what_there_is_not(client: RawClient, method: str, path: str, status: int, code: str) -> None:
    """A problem as any other."""
    answer = client.send(method, path)
    assert (answer.status, code_of(answer)) == (status, code)
