"""Tenants are walls: one tenant's things are to another what never was, by every route, and cannot be changed."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection

from tests.delivery.parts import HOST
from tests.support.probes import Probe, leaks, spelt
from tests.support.raw import Answer, RawClient
from tests.support.redis import redis_server
from tests.support.routes import FOLDER, SOCKET, RouteSpec
from tests.support.streams import customer_audio, opened, receive, say, start_message, started
from tests.support.walls import BEFORE, BEHIND, LINE, LIVE, MARK, SHARED, World, fill, world


@dataclass(frozen=True, slots=True)
class Rule:
    """How a route is tried. texts: bodies. moving: its answers change by themselves, so only statuses are compared.

    grows: each success leaves something, so that it is tried once and not at random. path: instead of the route's.
    fixed, always: of the query, what is always sent: values, and names of what is another's.
    """

    texts: tuple[str, ...] = ()
    content: bytes | None = field(default=None, repr=False)
    fixed: tuple[tuple[str, str], ...] = ()
    always: tuple[str, ...] = ()
    path: str | None = None
    moving: bool = False
    grows: bool = False


def recording() -> bytes:
    """Two seconds of the sample call as a file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(customer_audio(2.0))
    return file.getvalue()


PLAIN, MOVING = Rule(), Rule(moving=True)
NEEDS_PROFILE = "(a profile)"
ALERT_RULE = '{"kind": "valence", "below": -0.5, "line": "{line}", "team": "{team}"}'
RULES: dict[str, Rule] = {
    "GET /openapi.json": PLAIN,
    "DELETE /v1/calls/{call_id}": PLAIN,
    "POST /v1/erasures": Rule(
        (
            '{"call_id": "{call_id}"}',
            '{"subject": "{subject}"}',
            '{"call_id": "{call_id}", "when_ended": true}',
        ),
    ),
    "GET /v1/erasures": MOVING,
    "GET /v1/erasures/key": PLAIN,
    "GET /v1/erasures/{erasure_id}": PLAIN,
    "GET /v1/calls": PLAIN,
    "GET /v1/calls/{call_id}": PLAIN,
    "GET /v1/calls/{call_id}/utterances": PLAIN,
    "POST /v1/calls/{call_id}/pause": PLAIN,
    "POST /v1/calls/{call_id}/resume": PLAIN,
    "GET /v1/utterances/{utterance_id}": PLAIN,
    "GET /v1/stats": PLAIN,
    "GET /v1/exports/utterances": PLAIN,
    "GET /v1/exports/calls": PLAIN,
    "GET /v1/exports/feedback": PLAIN,
    "POST /v1/utterances/{utterance_id}/feedback": Rule(('{"label": "angry", "labeller": "{labeller}"}',)),
    "GET /v1/utterances/{utterance_id}/feedback": PLAIN,
    "GET /v1/feedback": PLAIN,
    "DELETE /v1/utterances/{utterance_id}/feedback": PLAIN,
    "GET /v1/keys": MOVING,
    "POST /v1/keys": Rule(('{"name": "x", "scopes": ["admin"], "tenant": "{tenant}"}',)),
    "GET /v1/keys/{key_id}": PLAIN,
    "POST /v1/keys/{key_id}/rotate": Rule(("{}",)),
    "DELETE /v1/keys/{key_id}": PLAIN,
    "GET /v1/webhook-endpoints": MOVING,
    "POST /v1/webhook-endpoints": Rule(
        (f'{{"url": "https://{HOST}/x", "filter": {{"lines": ["{{line}}"], "teams": ["{{team}}"]}}}}',),
        grows=True,
    ),
    "GET /v1/webhook-endpoints/{endpoint_id}": PLAIN,
    "PATCH /v1/webhook-endpoints/{endpoint_id}": Rule(('{"enabled": false}', '{"description": "taken"}')),
    "DELETE /v1/webhook-endpoints/{endpoint_id}": PLAIN,
    "POST /v1/webhook-endpoints/{endpoint_id}/rotate": Rule(("{}",)),
    "POST /v1/webhook-endpoints/{endpoint_id}/test": PLAIN,
    "GET /v1/dead-letters": PLAIN,
    "POST /v1/dead-letters/redrive": Rule(('{"endpoint_id": "{endpoint_id}"}',)),
    "GET /v1/dead-letters/{letter_id}": PLAIN,
    "POST /v1/dead-letters/{letter_id}/redrive": PLAIN,
    "DELETE /v1/dead-letters/{letter_id}": PLAIN,
    "GET /v1/alert-rules": MOVING,
    "POST /v1/alert-rules": Rule((ALERT_RULE,), grows=True),
    "GET /v1/alert-rules/{rule_id}": PLAIN,
    "PUT /v1/alert-rules/{rule_id}": Rule((ALERT_RULE,)),
    "DELETE /v1/alert-rules/{rule_id}": PLAIN,
    "GET /v1/alerts": PLAIN,
    "POST /v1/score": Rule(content=recording(), fixed=(("whole", "true"),), always=("call_id", "line")),
    "GET /v1/events": MOVING,
    "GET /v1/calls/{call_id}/events": PLAIN,
    "GET /v1/models": PLAIN,
    "GET /v1/lines": MOVING,
    "GET /v1/lines/{line}": PLAIN,
    "GET /v1/lines/{line}/profile": PLAIN,
    "PUT /v1/lines/{line}/profile": Rule((NEEDS_PROFILE,)),
    "POST /v1/lines/{line}/freeze": PLAIN,
    "POST /v1/lines/{line}/unfreeze": PLAIN,
    "POST /v1/lines/{line}/reset": PLAIN,
    "GET /v1/retention": PLAIN,
    "PUT /v1/retention": Rule(('{"lines": {"{line}": {"calls_s": 100}}}',)),
    "GET /v1/audit": MOVING,
    "GET /v1/audit/verify": MOVING,
    "POST /v1/audit/pseudonym": Rule(('{"call_id": "{call_id}"}', '{"subject": "{subject}"}')),
    "GET /asyncapi.json": PLAIN,
    "GET /v1/schemas": PLAIN,
    "GET /v1/schemas/{name}": Rule(path="/v1/schemas/{call_id}"),
    "GET /livez": PLAIN,
    "GET /readyz": MOVING,
    "GET /metrics": MOVING,
    "PUT /v1/ingest/audiosocket/{uuid}": Rule(('{"call_id": "{call_id}", "line": "{line}"}',)),
    "POST /v1/webhooks/telnyx": Rule(('{"data": {"event_type": "{call_id}"}}',)),
    "POST /v1/webhooks/twilio{slash:path}": Rule(path="/v1/webhooks/twilio/{call_id}"),
    "GET /": PLAIN,
    "GET /docs": PLAIN,
    f"{FOLDER} /assets": Rule(path="/assets/{call_id}"),
}
"""Every route that answers requests. A route that is added needs a rule here."""

SOCKETS = {
    "WS /v1/events",
    "WS /v1/calls/{call_id}/events",
    "WS /v1/stream",
    "WS /v1/ingest/{carrier}",
    "WS /v1/ingest/{carrier}/{secret}",
}
"""Every socket; tests/api/test_tenants_live.py tries them."""

NAMING = {
    "call_id",
    "line",
    "team",
    "outcome",
    "label",
    "labeller",
    "endpoint_id",
    "rule_id",
    "tenant",
    "object",
}
"""Parameters of queries that name something of a tenant."""

NAMELESS = {
    *(
        "cursor",
        "limit",
        "since",
        "until",
        "state",
        "format",
        "leg",
        "legs",
        "type",
        "kind",
        "action",
        "after",
    ),
    *("from_seq", "from_position", "last_event_id", "min_confidence", "min_expected_cost", "emotion"),
    *("bucket", "tz", "group_by", "whole", "salience", "consent", "notice_given"),
}
"""Parameters of queries that name nothing of anybody; cursors and tags have a test of their own."""


@pytest.fixture(scope="module")
def made(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service in which one tenant has everything, a live call, too."""
    with world(bundle, tmp_path_factory.mktemp("walls")) as empty:
        fill(empty)
        with live_call(empty):
            yield empty


def live_call(made: World) -> AbstractContextManager[ClientConnection]:
    """A call of the tenant behind the wall that goes on."""
    headers = made.behind.headers()
    return started(made.server.stream_url, headers=headers, call_id=LIVE, line=LINE, metadata={"name": MARK})


def probes(made: World, client: RawClient) -> list[tuple[str, Rule, Probe]]:
    """Requests about all that the tenant behind the wall has, by every route."""
    profile = client.send("GET", "/v1/lines/plain-line/profile").body.decode()
    found = []
    for spec in made.routes:
        rule = RULES.get(spec.name)
        if rule is not None:
            found += [(spec.name, rule, probe) for probe in probes_of(made, spec, rule, profile)]
    return found


def probes_of(made: World, spec: RouteSpec, rule: Rule, profile: str) -> Iterator[Probe]:
    """Of one route: with each id that its path takes, with each name that its query takes, with each body."""
    owned = made.owned[BEHIND]
    queries = [rule.always, *((name,) for name in sorted((spec.query_names & NAMING) - set(rule.always)))]
    longest = max((len(owned[name]) for name in spec.path_names if name in owned), default=1)
    for turn in range(longest):
        about = {name: ids[turn % len(ids)] for name, ids in owned.items()}
        for query in queries:
            for text in rule.texts or (None,):
                yield Probe(
                    "GET" if spec.method == FOLDER else spec.method,
                    rule.path or spec.path,
                    about,
                    query,
                    dict(rule.fixed),
                    profile if text == NEEDS_PROFILE else text,
                    rule.content,
                )


def compared(made: World, client: RawClient, rule: Rule, probe: Probe, respell: Callable[[str], str]) -> None:
    """Sends a request and its twin; fails where they are told apart, or anything of the other tenant is told."""
    answers = [probe.send(client, ghost=ghost, respell=respell) for ghost in (False, True)]
    told = [probe.plain(answer, body=not rule.moving) for answer in answers]
    assert told[0] == told[1]
    assert answers[0].status < 500
    assert leaks(answers[0], made.needles(), probe) == []


def test_every_route_has_a_rule(made: World) -> None:
    """And every parameter of a query, and every body."""
    routes = made.routes
    assert {route.name for route in routes if route.method != SOCKET} == set(RULES)
    assert {route.name for route in routes if route.method == SOCKET} == SOCKETS
    assert {name for route in routes for name in route.query_names} <= NAMING | NAMELESS
    assert {route.name for route in routes if route.has_body} <= {name for name in RULES if RULES[name].texts}
    for route in routes:
        if route.scope is not None:
            assert set(route.path_names) <= made.owned[BEHIND].keys(), route.name


def test_its_owner_finds_everything(made: World) -> None:
    """Otherwise it would prove nothing that others do not."""
    with made.client(made.behind) as client:
        for spec in made.routes:
            if spec.method != "GET" or spec.scope is None or not spec.path_names:
                continue
            for probe in probes_of(made, spec, RULES[spec.name], ""):
                answer = probe.send(client, ghost=False)
                assert answer.status == 200, (spec.name, answer)


def test_another_tenant_finds_what_never_was(made: World) -> None:
    """The same status, headers and body as for ids that never were, by every route; and nothing is changed."""
    before = made.state_behind()
    with made.client(made.before) as client:
        for _, rule, probe in probes(made, client):
            compared(made, client, rule, probe, spelt)
    assert made.state_behind() == before


RESPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": spelt,
    "each byte encoded": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "encoded twice": lambda value: quote(spelt(value).replace("-", "%2d"), safe=""),
    "upper case": lambda value: spelt(value.upper()),
    "swapped case": lambda value: spelt(value.swapcase()),
    "slash behind": lambda value: spelt(value) + "/",
    "two slashes before": lambda value: "//" + spelt(value),
    "dots before": lambda value: "../" + spelt(value),
    "encoded dots before": lambda value: "%2e%2e/" + spelt(value),
    "encoded slash": lambda value: "x%2f..%2f" + spelt(value),
    "its tenant before": lambda value: f"{BEHIND}%2f" + spelt(value),
    "its tenant in braces": lambda value: "%7B" + BEHIND + "%7D%3A" + spelt(value),
    "dot behind": lambda value: spelt(value) + "%2e",
    "NUL behind": lambda value: spelt(value) + "%00",
    "line end behind": lambda value: spelt(value) + "%0d%0a",
    "star": lambda value: spelt(value[:-1]) + "*",
    "semicolon": lambda value: spelt(value) + ";x=1",
    "wrong UTF-8 behind": lambda value: spelt(value) + "%ff",
    "wide letters": lambda value: spelt(
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)
    ),
}
"""Ways to write an id into a path that something on the way might take for the id itself."""


def test_no_spelling_gets_through(made: World) -> None:
    """Any of its ids, by any route, however it is written: what never was, and nothing is changed."""
    before = made.state_behind()
    with made.client(made.before) as client:
        found = [(name, rule, probe) for name, rule, probe in probes(made, client) if not rule.grows]

        @settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        @given(which=st.sampled_from(found), how=st.sampled_from(sorted(RESPELLINGS)))
        def check(which: tuple[str, Rule, Probe], how: str) -> None:
            _, rule, probe = which
            compared(made, client, rule, probe, RESPELLINGS[how])

        check()
    assert made.state_behind() == before


def view(made: World) -> dict[str, Answer]:
    """Everything that the tenant before the wall can read, by its own ids; what changes by itself is left out."""
    told: dict[str, Answer] = {}
    own = {name: ids[0] for name, ids in made.owned[BEFORE].items()}
    bounds = {"since": "2023-01-01T00:00:00Z", "until": "2023-12-31T00:00:00Z", "bucket": "1d"}
    with made.client(made.before) as client:
        for spec in made.routes:
            moves = "audit" in spec.path or "events" in spec.path
            if spec.method != "GET" or spec.scope is None or moves:
                continue
            fixed = bounds if spec.path == "/v1/stats" else {}
            kinds = ("csv", "jsonl", "parquet") if "format" in spec.query_names else (None,)
            for kind in kinds:
                query = fixed | ({} if kind is None else {"format": kind})
                probe = Probe("GET", spec.path, own, fixed=query)
                told[f"{spec.name} {kind}"] = probe.send(client, ghost=False)
    return told


def test_nobody_notices_that_a_tenant_comes(bundle: Path, tmp_path: Path) -> None:
    """Everything a tenant reads (lists, statistics, exports in every format) is byte for byte what it was before."""
    with world(bundle, tmp_path) as empty:
        before = {name: (answer.status, answer.body) for name, answer in view(empty).items()}
        fill(empty)
        after = {name: (answer.status, answer.body) for name, answer in view(empty).items()}
    assert before == after
    assert {status for status, _ in before.values()} == {200}


def test_cursors_and_tags_of_another_tenant_open_nothing(made: World) -> None:
    """A cursor leads on in one's own list or nowhere; a tag makes no answer `304`."""
    used = 0
    with made.client(made.behind) as theirs, made.client(made.before) as own:
        for spec in made.routes:
            if spec.method != "GET" or spec.scope is None or spec.path_names or "events" in spec.path:
                continue
            page = f"{spec.path}?limit=1" if "cursor" in spec.query_names else spec.path
            answer = theirs.send("GET", page)
            if tag := answer.headers.get("etag"):
                assert own.send("GET", page, None, {"If-None-Match": tag}).status == 200
                used += 1
            if "cursor" in spec.query_names and (cursor := answer.json["next"]):
                answer = own.send("GET", f"{spec.path}?limit=50&cursor={cursor}")
                assert answer.status in (200, 422)
                assert leaks(answer, made.needles()) == []
                used += 1
    assert used >= 4


def test_metrics_name_no_tenant(made: World) -> None:
    """No label has text that a tenant chose, and none a tenant's name."""
    with made.client(made.before) as client:
        text = client.send("GET", "/metrics").body.decode()
    assert "kowairo_http_requests_total" in text
    assert [needle for needle in (*made.needles(), SHARED, "plain-line") if needle in text] == []


def test_walls_stand_in_redis_too(bundle: Path, tmp_path: Path) -> None:
    """The same requests on a real Redis, whose keys of the tenant stay what they were, byte for byte."""
    with redis_server(tmp_path / "redis") as redis, world(bundle, tmp_path, redis) as empty:
        before = {name: (answer.status, answer.body) for name, answer in view(empty).items()}
        fill(empty)
        after = {name: (answer.status, answer.body) for name, answer in view(empty).items()}
        assert before == after
        held = empty.state_behind()
        with empty.client(empty.before) as client:
            for _, rule, probe in probes(empty, client):
                compared(empty, client, rule, probe, spelt)
        assert MARK in repr(held)
        assert empty.state_behind() == held


def test_the_flood_of_one_tenant_limits_no_other(bundle: Path, tmp_path: Path) -> None:
    """Requests are counted by key, audio and calls by tenant."""
    limits = {"requests_per_s": 0.01, "request_burst": 40, "calls": 1, "audio_seconds_per_minute": 1}
    with world(bundle, tmp_path, limits=limits) as made:
        url, theirs, own = made.server.stream_url, made.behind.headers(), made.before.headers()
        with started(url, headers=theirs, call_id="c1") as socket:
            with opened(url, additional_headers=theirs) as second:
                second.send(start_message(call_id="c2"))
                assert receive(second)["code"] == "rate_limited"
            with started(url, headers=own, call_id="c1"):
                assert say(socket, [customer_audio(2.0)] * 2)[-1]["code"] == "rate_limited"
        with started(url, headers=own, call_id="c2") as socket:
            assert say(socket, [customer_audio(0.5), '{"type":"stop"}'])[-1]["type"] == "summary"
        with made.client(made.behind) as flooding:
            statuses = {flooding.send("GET", "/v1/models").status for _ in range(60)}
        assert statuses == {200, 429}
        with made.client(made.before) as client:
            assert client.send("GET", "/v1/models").status == 200
