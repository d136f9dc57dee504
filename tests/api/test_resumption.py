"""A call that breaks off goes on where it was, for whoever has its secret, and for nobody else."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.api.resumption import earlier_of
from app.domain import Leg
from app.results.store import CallInfo
from tests.support.calls import call
from tests.support.records import make_record
from tests.support.server import eventually
from tests.support.service import ServerThread, make_settings, server
from tests.support.streams import (
    Message,
    customer_audio,
    listen,
    of_type,
    opened,
    pieces,
    receive,
    say,
    start_message,
    started,
)

CLIP_S = 6.5
STOP = '{"type":"stop"}'


def ended(live: ServerThread, call_id: str) -> Message:
    """The call, once its end is on record."""

    def look() -> Message | None:
        body: Message = httpx.get(f"{live.url}/v1/calls/{call_id}", trust_env=False).json()
        return body if body.get("state") == "ended" else None

    return eventually(look)


def break_off(live: ServerThread, call_id: str, seconds: float = CLIP_S) -> tuple[str, list[Message]]:
    """A call whose socket dies after some audio: its secret, and what was heard."""
    with opened(live.stream_url) as socket:
        socket.send(start_message(call_id=call_id))
        ready = receive(socket)
        for piece in pieces(customer_audio(seconds), 800):
            socket.send(piece)
        heard = [receive(socket) for _ in range(2)]
        socket.socket.close()
    return ready["resume"], heard


def test_a_call_goes_on_where_it_broke_off(live: ServerThread) -> None:
    """Its clock, the numbers of its records and its account continue; the viewer sees one call."""
    secret, heard = break_off(live, "on-1")
    assert ended(live, "on-1")["outcome"] == "disconnected"
    before = ended(live, "on-1")["summary"]
    with opened(live.stream_url) as socket:
        socket.send(start_message(call_id="on-1", resume=secret))
        assert receive(socket)["resume"] == secret
        messages = say(socket, [customer_audio(CLIP_S), STOP])
    (record,) = of_type(messages, "utterance")
    first = of_type(heard, "utterance")[0]
    assert (first["seq"], record["seq"]) == (1, 2)
    assert record["start_s"] == pytest.approx(before["duration_s"] + first["start_s"], abs=0.02)
    assert record["utterance_id"] == "on-1.customer.0001"
    summary = messages[-1]
    account = summary["legs"]["customer"]["audio"]
    parts = sum(account[name] for name in ("scored_s", "silence_s", "rejected_s", "lost_s"))
    assert parts == pytest.approx(summary["duration_s"], abs=1e-5)
    assert summary["duration_s"] == pytest.approx(before["duration_s"] + CLIP_S, abs=0.03)
    call_body = ended(live, "on-1")
    assert (call_body["outcome"], call_body["utterances"]) == ("completed", 2)
    assert call_body["summary"] == {k: v for k, v in summary.items() if k != "type"}


def test_the_old_socket_gives_way(live: ServerThread) -> None:
    """A client that comes back before its dead socket was noticed takes its call over."""
    with started(live.stream_url) as _, opened(live.stream_url) as old:
        old.send(start_message(call_id="old-1"))
        secret = receive(old)["resume"]
        with opened(live.stream_url) as new:
            new.send(start_message(call_id="old-1", resume=secret))
            assert receive(new)["type"] == "ready"
            listen(old)
            assert (old.close_code, old.close_reason) == (1008, "superseded")
            assert say(new, [STOP])[-1]["type"] == "summary"


@pytest.mark.parametrize(
    "changes",
    [{"resume": "x" * 32}, {"call_id": "never-was"}, {"channels": ["agent"]}, {"channels": ["mixed"]}],
)
def test_strangers_cannot_take_a_call_up(live: ServerThread, changes: dict[str, object]) -> None:
    """A wrong secret, another call or other legs: refused, and the call is as it was."""
    call_id = f"mine-{abs(hash(str(changes)))}"
    secret, _ = break_off(live, call_id)
    before = ended(live, call_id)
    with opened(live.stream_url) as socket:
        socket.send(start_message(**({"call_id": call_id, "resume": secret} | changes)))
        assert listen(socket)[-1]["code"] == "not_resumable"
        assert (socket.close_code, socket.close_reason) == (1008, "not_resumable")
    assert ended(live, call_id) == before


def test_a_call_that_ended_as_it_should_stays_ended(live: ServerThread) -> None:
    """Its secret is of no use any more."""
    with opened(live.stream_url) as socket:
        socket.send(start_message(call_id="over-1"))
        secret = receive(socket)["resume"]
        say(socket, [STOP])
    with opened(live.stream_url) as socket:
        socket.send(start_message(call_id="over-1", resume=secret))
        assert listen(socket)[-1]["code"] == "not_resumable"


def test_the_window_closes(bundle: Path) -> None:
    """With no time to come back in, nobody can."""
    with server(make_settings(bundle, stream={"resume_window_s": 0})) as live:
        secret, _ = break_off(live, "late-1")
        ended(live, "late-1")
        with opened(live.stream_url) as socket:
            socket.send(start_message(call_id="late-1", resume=secret))
            assert listen(socket)[-1]["code"] == "not_resumable"


def test_a_call_without_an_account_still_adds_up() -> None:
    """Where the process was killed, what was heard before counts as rejected, interrupted."""
    info = CallInfo("c", "default", (Leg.CUSTOMER, Leg.AGENT), 1.0, utterances=3)
    records = [make_record("c", 0), make_record("c", 1, leg=Leg.AGENT), make_record("c", 4)]
    earlier = earlier_of(info, None, records)
    assert earlier.part.utterances == {Leg.CUSTOMER: 5, Leg.AGENT: 2}
    assert earlier.part.offset_s == 9.5
    audio = earlier.summary["legs"]["customer"]["audio"]
    assert (audio["rejected_s"], audio["rejected"]) == (9.5, {"interrupted": 9.5})
    assert call(earlier=earlier.part).earlier is earlier.part
