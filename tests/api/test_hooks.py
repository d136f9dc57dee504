"""`/v1/webhook-endpoints` and `/v1/dead-letters`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.access.principal import Scope
from app.api.hook_bodies import EndpointBody, LetterBody, LetterDetailBody, MadeEndpointBody, PingBody
from app.delivery.hooks import EVENT_TYPES, MAX_ENDPOINTS
from app.results.writes import EraseCall
from tests.delivery.parts import HOST, said
from tests.delivery.receiver import Answer, receiving
from tests.support.delivering import DeliveringApi, delivering_api
from tests.support.held import carry_out, put_call
from tests.support.service import make_settings
from tests.support.tenants import Tenants, make_tenants

ENDPOINTS = "/v1/webhook-endpoints"
LETTERS = "/v1/dead-letters"
URL = f"https://{HOST}/in"


@pytest.fixture(scope="module")
def shared(bundle: Path) -> Iterator[DeliveringApi]:
    """A service for requests that are refused."""
    with delivering_api(make_settings(bundle)) as running:
        yield running


@pytest.fixture
def web(bundle: Path) -> Iterator[DeliveringApi]:
    """A service without keys; what fails once is given up."""
    with delivering_api(make_settings(bundle), retry_s=()) as running:
        yield running


def make(web: DeliveringApi, **members: Any) -> dict[str, Any]:
    """A new endpoint."""
    answer = web.request("POST", ENDPOINTS, json={"url": URL, **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def code(answer: Any) -> tuple[int, str]:
    """Status and code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def record_for(web: DeliveringApi, *seqs: int) -> None:
    """Records of a call that has ended, and what follows from them."""
    store = web.services.store

    async def follow() -> None:
        await put_call(store, "call-1")
        call = await store.get_call("default", "call-1")
        for seq in seqs:
            await store.write(await web.desk.follow_ups("default", call, said(seq)))

    asyncio.run(follow())


def failed_letter(web: DeliveringApi, port: int, *seqs: int) -> dict[str, Any]:
    """An endpoint whose deliveries were given up."""
    endpoint = make(web, url=f"http://{HOST}:{port}/")
    record_for(web, *seqs)
    web.deliver()
    return endpoint


def test_a_secret_is_shown_once(web: DeliveringApi) -> None:
    """At its making and at each rotation; nowhere else."""
    made = make(web, description="CRM", filter={"types": ["alert"], "min_confidence": 1})
    MadeEndpointBody.model_validate(made)
    rotated = web.request("POST", f"{ENDPOINTS}/{made['id']}/rotate", json={"overlap_s": 60})
    assert rotated.status_code == 200
    assert rotated.headers["cache-control"] == "no-store"
    new = rotated.json()
    assert new["secret"].startswith("whsec_")
    assert new["secret"] != made["secret"]
    assert len(new["old_secrets_until"]) == 1
    shown = web.get(f"{ENDPOINTS}/{made['id']}")
    EndpointBody.model_validate(shown.json())
    for text in (shown.text, web.get(ENDPOINTS).text):
        assert "whsec_" not in text
        assert "CRM" in text
    web.clock.advance(61.0)
    assert web.get(f"{ENDPOINTS}/{made['id']}").json()["old_secrets_until"] == []


def test_endpoints_are_changed_and_removed(web: DeliveringApi) -> None:
    """What is left out stays; a filter is replaced whole."""
    made = make(web, filter={"lines": ["sales"], "legs": ["customer"]})
    path = f"{ENDPOINTS}/{made['id']}"
    changed = web.request("PATCH", path, json={"enabled": False, "filter": {"teams": ["north"]}})
    assert changed.status_code == 200
    body = changed.json()
    assert (body["url"], body["enabled"], body["filter"]["lines"], body["filter"]["teams"]) == (
        URL,
        False,
        None,
        ["north"],
    )
    assert web.request("PATCH", path, json={"description": "x"}).json()["enabled"] is False
    assert web.request("PATCH", path, json={}).json()["filter"]["teams"] == ["north"]
    assert [item["id"] for item in web.get(ENDPOINTS).json()["items"]] == [made["id"]]
    assert web.request("DELETE", path).status_code == 204
    for method, tail, body in (
        ("DELETE", "", None),
        ("GET", "", None),
        ("PATCH", "", {}),
        ("POST", "/rotate", {}),
        ("POST", "/test", None),
    ):
        answer = web.request(method, path + tail, **({} if body is None else {"json": body}))
        assert code(answer) == (404, "endpoint_not_found")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example/",
        "https://user:word@hooks.example/",
        "https://10.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x0a000001/",
        "https://169.254.169.254/latest/meta-data",
        "https://inside.example/",
        "https://hooks.example/#x",
        "not a url",
    ],
)
def test_targets_inside_are_refused(shared: DeliveringApi, url: str) -> None:
    """When an endpoint is made, and when it is changed; the answer does not quote the URL."""
    answer = shared.request("POST", ENDPOINTS, json={"url": url})
    assert code(answer) == (422, "target_refused")
    assert url not in answer.text
    path = f"{ENDPOINTS}/{make(shared)['id']}"
    assert code(shared.request("PATCH", path, json={"url": url})) == (422, "target_refused")
    assert shared.get(path).json()["url"] == URL


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": 5},
        {"url": ""},
        {"url": "https://hooks.example/" + "a" * 2_048},
        {"url": URL, "secret": "whsec_mine"},
        {"url": URL, "enabled": "yes"},
        {"url": URL, "description": "a\nb"},
        {"url": URL, "description": "a" * 201},
        {"url": URL, "filter": {"types": ["ping"]}},
        {"url": URL, "filter": {"types": []}},
        {"url": URL, "filter": {"type": ["alert"]}},
        {"url": URL, "filter": {"lines": ["a b"]}},
        {"url": URL, "filter": {"lines": ["a"] * 101}},
        {"url": URL, "filter": {"legs": ["boss"]}},
        {"url": URL, "filter": {"min_confidence": 1.1}},
        {"url": URL, "filter": {"min_expected_cost": -1}},
    ],
)
def test_bodies_are_strict(shared: DeliveringApi, body: Any) -> None:
    """Unknown members, wrong types, and what is too long."""
    assert code(shared.request("POST", ENDPOINTS, json=body)) == (422, "invalid_request")


def test_other_bad_input(web: DeliveringApi) -> None:
    """No JSON, doubled members, wrong ids, unknown parameters, cursors of other lists."""
    headers = {"Content-Type": "application/json"}
    answer = web.request("POST", ENDPOINTS, content=b'{"url":"a","url":"b"}', headers=headers)
    assert code(answer) == (422, "duplicate_key")
    assert code(web.request("POST", ENDPOINTS, content=b"url=a")) == (415, "unsupported_media_type")
    assert code(web.get(f"{ENDPOINTS}/we_1")) == (422, "invalid_request")
    assert code(web.get(f"{ENDPOINTS}?limit=5")) == (422, "invalid_request")
    assert code(web.get(f"{LETTERS}?cursor=nonsense")) == (422, "invalid_cursor")
    assert code(web.get(f"{LETTERS}?limit=0")) == (422, "invalid_request")
    assert code(web.get(f"{LETTERS}/dl_1")) == (422, "invalid_request")
    path = f"{ENDPOINTS}/{make(web)['id']}/rotate"
    for overlap in (-1, 8 * 86_400, 1.5, "1"):
        assert code(web.request("POST", path, json={"overlap_s": overlap})) == (422, "invalid_request")


def test_endpoints_are_bounded(web: DeliveringApi) -> None:
    """The fifty-first is refused."""
    for _ in range(MAX_ENDPOINTS):
        make(web)
    assert code(web.request("POST", ENDPOINTS, json={"url": URL})) == (409, "limit_reached")


def test_every_type_of_event_can_be_chosen(web: DeliveringApi) -> None:
    """The filter's list and the feed's are one."""
    made = make(web, filter={"types": list(EVENT_TYPES)})
    assert made["filter"]["types"] == list(EVENT_TYPES)


def test_a_ping_is_sent_at_once(web: DeliveringApi) -> None:
    """Signed; the answer says what became of it, also while the endpoint is disabled."""
    web.clock.advance(time.time() - web.clock.now())
    with receiving() as (receiver, port):
        made = make(web, url=f"http://{HOST}:{port}/", enabled=False)
        answer = web.request("POST", f"{ENDPOINTS}/{made['id']}/test")
        assert answer.status_code == 200
        PingBody.model_validate(answer.json())
        assert (answer.json()["delivered"], answer.json()["outcome"]) == (True, "delivered")
        (request,) = receiver.received
        payload = Webhook(made["secret"]).verify(request.body, dict(request.headers))
        assert (payload["type"], payload["data"]) == ("ping", {"endpoint_id": made["id"]})
        receiver.answer = lambda _: Answer(500, {}, b"secret of the receiver")
        answer = web.request("POST", f"{ENDPOINTS}/{made['id']}/test")
    assert (answer.json()["delivered"], answer.json()["status"], answer.json()["detail"]) == (
        False,
        500,
        "HTTP 500",
    )
    assert "secret of" not in answer.text
    unreachable = web.request("POST", f"{ENDPOINTS}/{made['id']}/test").json()
    assert (unreachable["outcome"], unreachable["status"]) == ("unreachable", None)


def test_dead_letters_are_listed_and_sent_again(web: DeliveringApi) -> None:
    """One by one; what was to be delivered is only in the letter itself."""
    with receiving(lambda _: Answer(500)) as (receiver, port):
        endpoint = failed_letter(web, port, 1, 2, 3)
        page = web.get(f"{LETTERS}?limit=2").json()
        rest = web.get(LETTERS, params={"limit": 2, "cursor": page["next"]}).json()
        assert (len(page["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
        letter = page["items"][0]
        LetterBody.model_validate(letter)
        assert (letter["state"], letter["reason"], letter["status"], letter["tries"]) == (
            "dead",
            "rejected",
            500,
            1,
        )
        assert (letter["call_id"], letter["type"], letter["endpoint_id"]) == (
            "call-1",
            "utterance",
            endpoint["id"],
        )
        detail = web.get(f"{LETTERS}/{letter['id']}").json()
        LetterDetailBody.model_validate(detail)
        assert detail["payload"]["data"]["call_id"] == "call-1"
        receiver.answer = lambda _: Answer(200)
        again = web.request("POST", f"{LETTERS}/{letter['id']}/redrive")
        assert (again.status_code, again.json()["state"]) == (202, "queued")
        assert web.request("POST", f"{LETTERS}/{letter['id']}/redrive").status_code == 202
        web.deliver()
        ids = [one.headers["webhook-id"] for one in receiver.received]
        assert ids.count(letter["webhook_id"]) == 2
        assert code(web.get(f"{LETTERS}/{letter['id']}")) == (404, "dead_letter_not_found")
        assert web.request("DELETE", f"{LETTERS}/{rest['items'][0]['id']}").status_code == 204
        assert len(web.get(LETTERS, params={"endpoint_id": endpoint["id"]}).json()["items"]) == 1
        for method, tail in (("DELETE", ""), ("POST", "/redrive")):
            answer = web.request(method, f"{LETTERS}/{letter['id']}{tail}")
            assert code(answer) == (404, "dead_letter_not_found")


def test_all_letters_of_an_endpoint_are_sent_again(web: DeliveringApi) -> None:
    """Once it works; while it is disabled that is refused, and of one that is not there nothing is."""
    with receiving(lambda _: Answer(500)) as (receiver, port):
        endpoint = failed_letter(web, port, 1, 2, 3)
        whose = {"endpoint_id": endpoint["id"]}
        web.request("PATCH", f"{ENDPOINTS}/{endpoint['id']}", json={"enabled": False})
        assert code(web.request("POST", f"{LETTERS}/redrive", json=whose)) == (409, "endpoint_disabled")
        web.request("PATCH", f"{ENDPOINTS}/{endpoint['id']}", json={"enabled": True})
        receiver.answer = lambda _: Answer(200)
        answer = web.request("POST", f"{LETTERS}/redrive", json=whose)
        assert (answer.status_code, answer.json()) == (202, {"redriven": 3, "more": False})
        web.deliver()
        assert len(receiver.received) == 6
        assert web.get(LETTERS).json()["items"] == []
    other = {"endpoint_id": "we_" + "0" * 24}
    assert code(web.request("POST", f"{LETTERS}/redrive", json=other)) == (404, "endpoint_not_found")
    assert code(web.request("POST", f"{LETTERS}/redrive", json={})) == (422, "invalid_request")


def test_letters_go_with_their_call_and_with_their_endpoint(web: DeliveringApi) -> None:
    """Erasure leaves nothing to list or to send."""
    with receiving(lambda _: Answer(500)) as (_, port):
        endpoint = failed_letter(web, port, 1, 2)
        other = make(web, url=f"http://{HOST}:{port}/other")
        record_for(web, 3)
        web.deliver()
        assert len(web.get(LETTERS).json()["items"]) == 4
        assert web.request("DELETE", f"{ENDPOINTS}/{other['id']}").status_code == 204
        assert len(web.get(LETTERS).json()["items"]) == 3
        asyncio.run(carry_out(web.services.store, EraseCall("default", "call-1")))
        assert web.get(LETTERS).json()["items"] == []
        whose = {"endpoint_id": endpoint["id"]}
        assert web.request("POST", f"{LETTERS}/redrive", json=whose).json()["redriven"] == 0


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    """Two of them."""
    return make_tenants(tmp_path_factory.mktemp("tenants"))


def test_tenants_and_scopes_are_walls(bundle: Path, tenants: Tenants) -> None:
    """Only administrators, each of their own tenant."""
    alpha, beta = tenants.all
    with delivering_api(make_settings(bundle, **tenants.groups)) as web:
        made = web.request("POST", ENDPOINTS, json={"url": URL}, headers=alpha.headers(Scope.ADMIN)).json()
        path = f"{ENDPOINTS}/{made['id']}"
        assert web.get(path, headers=alpha.headers(Scope.ADMIN)).status_code == 200
        assert code(web.get(path, headers=beta.headers())) == (404, "endpoint_not_found")
        assert web.get(ENDPOINTS, headers=beta.headers()).json()["items"] == []
        assert web.request("DELETE", path, headers=beta.headers()).status_code == 404
        for scope in set(Scope) - {Scope.ADMIN}:
            for method, where in (
                ("GET", ENDPOINTS),
                ("GET", path),
                ("POST", f"{path}/test"),
                ("GET", LETTERS),
            ):
                assert web.request(method, where, headers=alpha.headers(scope)).status_code == 403
        assert web.get(ENDPOINTS).status_code == 401
