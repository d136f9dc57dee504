"""The AsyncAPI document and the schemas of messages: valid, complete, and what is really said."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError

from app.api.alert_bodies import AlertBody
from app.api.contracts.asyncapi import CLOSE_CODES, asyncapi_document
from app.api.contracts.examples import MESSAGES
from app.api.contracts.messages import RaisedAlertBody
from app.api.contracts.schemas import message_schemas
from app.api.live_bodies import BODIES
from app.api.protocol import call_body
from app.delivery.desk import CallEvent
from app.delivery.hooks import EVENT_TYPES
from app.domain import AbstainReason, Leg, LineEvent, ModelRef
from app.records import record_body
from app.results.store import CallInfo
from app.results.writes import CloseCall, EraseCall, OpenCall
from app.wire import replies
from app.wire.base import CloseCode, WireError
from tests.contracts.messages import check, check_event, check_live
from tests.delivery.parts import HOST, said
from tests.delivery.receiver import receiving
from tests.support.delivering import delivering_api
from tests.support.held import carry_out
from tests.support.records import make_record
from tests.support.server import eventually
from tests.support.service import ServerThread, make_settings, server
from tests.support.streams import customer_audio, opened, pieces, receive, say, start_message
from tests.wire.test_protocol_doc import blocks, lines
from tests.wire.test_replies import SCORED

ROOT = Path(__file__).resolve().parents[2]
META_SCHEMA = Path(__file__).parent / "assets" / "asyncapi-3.0.0.json"
LIVE_PAGE = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as it is served."""
    return asyncapi_document("0.1.0")


@pytest.fixture(scope="module")
def live(bundle: Path) -> Iterator[ServerThread]:
    """A server."""
    with server(make_settings(bundle)) as running:
        yield running


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """By the meta-schema of AsyncAPI 3.0, which does refuse what is wrong."""
    validator = Draft7Validator(json.loads(META_SCHEMA.read_text(encoding="utf-8")))
    assert list(validator.iter_errors(document)) == []
    wrong = json.loads(json.dumps(document))
    wrong["operations"]["takeCall"]["action"] = "listen"
    assert list(validator.iter_errors(wrong)) != []


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    """Every one; and every message and schema is used."""
    seen = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                seen.add(part["$ref"])
            for value in part.values():
                walk(value)
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(document)
    for reference in seen:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    for kind in ("messages", "schemas"):
        assert {f"#/components/{kind}/{name}" for name in document["components"][kind]} <= seen


def test_every_type_of_message_has_a_schema() -> None:
    """Of the native protocol, of the feeds, of webhooks."""
    names = set(message_schemas())
    encoded = {name.removeprefix("encode_") for name in vars(replies) if name.startswith("encode_")}
    encoded = (encoded - {"key", "pause"}) | {"dtmf", "paused", "resumed"}
    assert {name.removeprefix("service.") for name in names if name.startswith("service.")} == encoded
    for family in ("live", "event"):
        assert {f"{family}.{kind}" for kind in BODIES} <= names
    assert {f"webhook.{kind}" for kind in (*EVENT_TYPES, "ping")} <= names


def test_schemas_are_schemas() -> None:
    """Draft 2020-12; published ones leave room for more members, those of the tests do not."""
    for name, schema in message_schemas().items():
        Draft202012Validator.check_schema(schema)
        assert '"additionalProperties": false' not in json.dumps(schema), name
    with pytest.raises(ValidationError, match="new_member"):
        check("service.mark", {"type": "mark", "call_id": "c", "name": "m", "new_member": 1})


def test_close_codes_are_those_of_the_service(document: dict[str, Any]) -> None:
    """All of them, on every socket."""
    assert set(CLOSE_CODES) == set(CloseCode)
    for name in ("stream", "eventsSocket", "callEventsSocket"):
        assert {one["code"] for one in document["channels"][name]["x-close-codes"]} == set(
            map(int, CloseCode)
        )


@pytest.mark.parametrize("name", MESSAGES)
def test_examples_have_their_shape(name: str) -> None:
    """Every example of the document."""
    check(name, MESSAGES[name])


@pytest.mark.parametrize("index", range(len(blocks("transcript"))))
def test_transcripts_of_the_protocols_page(index: int) -> None:
    """Every message of both sides."""
    seen = set()
    for side, text in lines(blocks("transcript")[index]):
        if not text.startswith("("):
            kind = json.loads(text)["type"]
            seen.add(kind)
            check(f"{'client' if side == '>' else 'service'}.{kind}", text)
    assert {"start", "ready", "utterance", "summary"} <= seen


def test_clients_messages_of_the_protocols_page() -> None:
    """Those given as examples."""
    for text in blocks("client"):
        check(f"client.{json.loads(text)['type']}", text)


@pytest.mark.parametrize(
    "fields",
    [
        {"encoding": "opus"},
        {"sample_rate": 44_100},
        {"sample_rate": "8000"},
        {"channels": []},
        {"channels": ["customer", "customer"]},
        {"channels": ["mixed", "agent"]},
        {"call_id": "a/b"},
        {"line": ""},
        {"interim": "yes"},
    ],
)
def test_what_the_service_refuses_has_no_right_shape(fields: dict[str, Any]) -> None:
    """A start that the service would not take."""
    check("client.start", start_message())
    with pytest.raises(ValidationError):
        check("client.start", start_message(**fields))


def test_everything_that_can_be_encoded() -> None:
    """Every reply of the native protocol, with each of its members given and left out."""
    model = ModelRef("kowairo-8k", "0.1.0", "default")
    legs = (Leg.CUSTOMER, Leg.AGENT)
    check("service.ready", replies.encode_ready("c", model, {Leg.AGENT: "not allowed"}, legs, "secret"))
    check("service.ready", replies.encode_ready("c", model, {}, (Leg.MIXED,)))
    check("service.speech_start", replies.encode_speech_start("c", Leg.MIXED, "c.mixed.0000", 0.4))
    for record in (SCORED, make_record(), *(make_record(reason=reason) for reason in AbstainReason)):
        check("service.utterance", replies.encode_utterance(record))
        check("service.interim", replies.encode_interim(record))
        check("event.interim", record_body(record))
    check(
        "service.line_event", replies.encode_line_event(LineEvent("c", Leg.AGENT, "tone", "busy", 0.0, 1.0))
    )
    check("service.line_event", replies.encode_line_event(LineEvent("c", Leg.AGENT, "music", None, 0.0, 1.0)))
    check("service.warning", replies.encode_warning("c", "long_gap", "too long"))
    for digit in (None, *"0123456789*#ABCD"):
        check("service.dtmf", replies.encode_key("c", digit, None if digit is None else Leg.CUSTOMER, 1.0))
    check("service.paused", replies.encode_pause("c", True, "rest", 1.0))
    check("service.resumed", replies.encode_pause("c", False, "rest", 1.0))
    check("service.mark", replies.encode_mark("c", "m"))
    for code in CloseCode:
        check("service.error", replies.encode_error(WireError("x", "X", "x", code)))
        check("service.error", replies.encode_error(WireError("x", "X", "x", code), "c"))


def test_a_real_call_and_its_viewers(live: ServerThread) -> None:
    """Everything that the socket of a call and both feeds, as sockets and as text, say of a call."""
    base = live.url.replace("http", "ws", 1)
    call_id = "contract"
    audio = customer_audio(6.5)
    with opened(base + f"/v1/events?call_id={call_id}") as of_all, opened(live.stream_url) as socket:
        socket.send(start_message(call_id=call_id, interim=True, salience=True))
        answers = [receive(socket)]
        with opened(base + f"/v1/calls/{call_id}/events") as of_call:
            controls = [
                '{"type":"mark","name":"m"}',
                '{"type":"pause"}',
                '{"type":"resume"}',
                '{"type":"stop"}',
            ]
            answers += say(socket, [*pieces(audio, 3_200), *controls])
            told = _until_end(of_call, of_call=True)
        told_all = _until_end(of_all, of_call=False)
    for message in answers:
        check(f"service.{message['type']}", message)
    kinds = {message["type"] for message in answers}
    assert {"ready", "speech_start", "interim", "utterance", "mark", "paused", "resumed", "summary"} <= kinds
    assert {"keepalive", "utterance", "interim", "call_paused", "call_resumed", "call_ended"} <= told
    assert {"call_started", "utterance", "call_ended"} <= told_all
    with opened(base + f"/v1/calls/{call_id}/events?from_seq=1") as again:
        assert {"resumed", "utterance", "call_ended"} <= _until_end(again, of_call=True)
    with opened(base + f"/v1/events?from_position=1&call_id={call_id}") as again:
        assert {"resumed", "call_started", "utterance"} <= _until_end(again, of_call=False)
    _check_text(live.url + f"/v1/calls/{call_id}/events?from_seq=1", of_call=True)
    _check_text(live.url + f"/v1/events?from_position=1&call_id={call_id}", of_call=False)


def _until_end(socket: Any, *, of_call: bool) -> set[str]:
    kinds: set[str] = set()
    while "call_ended" not in kinds:
        kinds.add(check_live(socket.recv(60), of_call=of_call))
    return kinds


def _check_text(url: str, *, of_call: bool) -> None:
    """Reads server-sent events until a call's end."""
    kinds = []
    with httpx.stream("GET", url, trust_env=False, timeout=60) as answer:
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kinds.append(value)
            elif name == "data":
                check_event(kinds[-1], value, of_call=of_call)
                if kinds[-1] == "call_ended":
                    break
    assert {"resumed", "utterance", "call_ended"} <= set(kinds)


def test_examples_of_the_feeds_page() -> None:
    """Server-sent events and messages."""
    events = re.findall(r"^```sse\n(.*?)\n```$", LIVE_PAGE, re.M | re.S)
    messages = re.findall(r"^```message\n(.*?)\n```$", LIVE_PAGE, re.M | re.S)
    assert events
    assert messages
    for text in events:
        fields = dict(line.split(": ", 1) for line in text.splitlines())
        check_event(fields["event"], fields["data"], of_call="position" not in fields["data"])
    for text in messages:
        check_live(text, of_call='"seq"' in text)


def test_what_webhooks_deliver(bundle: Path) -> None:
    """Every type, as a receiver gets it, from a call that raises an alert and is erased; and a ping."""
    rule = {"kind": "emotion", "emotion": "angry", "min_score": 0.1}
    with receiving() as (receiver, port), delivering_api(make_settings(bundle)) as web:
        url = f"http://{HOST}:{port}/"
        made = web.request("POST", "/v1/webhook-endpoints", json={"url": url}).json()
        assert web.request("POST", "/v1/alert-rules", json=rule).status_code == 201
        web.request("POST", f"/v1/webhook-endpoints/{made['id']}/test")
        happen_for_webhooks(web)
        web.deliver()
        eventually(lambda: True if len(receiver.received) >= 7 else None)
    kinds = set()
    for _, body in receiver.messages:
        check(f"webhook.{body['type']}", body)
        kinds.add(body["type"])
    assert kinds == {*EVENT_TYPES, "ping"}
    shape = asyncapi_document("0")["components"]["messages"]["webhook.ping"]["headers"]
    for one in receiver.received:
        Draft202012Validator(shape).validate(dict(one.headers))


def happen_for_webhooks(web: Any) -> None:
    """A call that begins, goes on, says something angry, ends and is erased."""
    store, desk, clock = web.services.store, web.desk, web.clock
    info = CallInfo("c", "sales", (Leg.CUSTOMER,), clock.now(), owner="here")

    async def work() -> None:
        body = call_body(info)
        await carry_out(store, OpenCall(info, body))
        for kind in ("call_started", "call_continued"):
            await store.write(await desk.follow_ups("default", info, CallEvent(kind, body, clock.now())))
        angry = said(1, call_id="c", emotion="angry", scores={"angry": 0.9})
        await store.write(await desk.follow_ups("default", info, angry))
        ended = {**body, "summary": {}}
        await carry_out(
            store, CloseCall("default", "c", "completed", clock.now(), {}, ended, 60.0, owner="here")
        )
        await store.write(await desk.follow_ups("default", info, CallEvent("call_ended", ended, clock.now())))

    asyncio.run(work())
    web.deliver()

    async def erase() -> None:
        event = CallEvent("call_erased", {"call_id": "c"}, clock.now())
        await carry_out(store, EraseCall("default", "c"))
        await store.write(await desk.follow_ups("default", info, event))

    asyncio.run(erase())


def test_alerts_have_one_shape() -> None:
    """That of REST, but for its position."""
    ours, shown = RaisedAlertBody.model_fields, dict(AlertBody.model_fields)
    del shown["position"]
    assert {name: field.annotation for name, field in ours.items()} == {
        name: field.annotation for name, field in shown.items()
    }
