"""A real Asterisk plays into the service, by AudioSocket and by chan_websocket, what the emulators play."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from app.domain import Leg
from app.emulators.base import EmulatedCall
from app.emulators.carriers import CARRIERS
from app.emulators.play import Playing, play
from app.playing import Pace
from tests.e2e.carriers import OUTCOMES, free_address, sample_frames
from tests.e2e.streams import Record
from tests.support.asterisk import Asterisk, missing, running_asterisk
from tests.support.server import RunningServer, eventually, running_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]
FRAME_S = 0.02
EXCERPT = slice(710, 1_010)
"""Frames of the customer's leg: 6 s with two utterances that are scored."""

EXCERPT_S = 6.0
CALL_TIMEOUT_S = 60.0
SAME_SCORE = 1e-6
USER, PASSWORD, TOKEN = "tenant-a", "a-password-of-the-test", "a-token-of-the-test"
APPLICATION, DRIVER = "40325ec2-5efd-4bd3-805f-53576e581d13", "40325ec2-5efd-4bd3-805f-53576e581d14"
CALLS = {"application": APPLICATION, "driver": DRIVER, "json": "asterisk-json", "plain": "asterisk-plain"}
EMULATED = {
    "application": "audiosocket",
    "driver": "audiosocket",
    "json": "chan_websocket",
    "plain": "chan_websocket",
}

# The caller waits for longer than the AudioSocket application has patience with two silent sides (2 s).
EXTENSIONS = f"""[calls]
exten => caller,1,Answer()
 same => n,Wait(3)
 same => n,Playback(${{SOUNDS}}/customer)
 same => n,SendDTMF(5#)
 same => n,Wait(0.2)
 same => n,Hangup()
exten => application,1,Answer()
 same => n,AudioSocket({APPLICATION},%(audiosocket)s)
exten => driver,1,Answer()
 same => n,Dial(AudioSocket/%(audiosocket)s/{DRIVER}/c(slin))
exten => json,1,Answer()
 same => n,Set(_queue=billing)
 same => n,Set(__campaign=spring)
 same => n,Dial(WebSocket/kowairo/c(ulaw)f(json)d(in)v(leg=customer,line=json,call=asterisk-json,token={TOKEN}))
exten => plain,1,Answer()
 same => n,Dial(WebSocket/kowairo/c(ulaw)d(in)v(leg=customer,line=plain,call=asterisk-plain,token={TOKEN}))
exten => stranger,1,Answer()
 same => n,Dial(WebSocket/stranger/c(ulaw)f(json)d(in)v(call=asterisk-stranger,token={TOKEN}))
"""
CLIENT = """[%(name)s]
type = websocket_client
uri = %(uri)s
protocols = media
username = tenant-a
password = %(password)s
connection_type = per_call_config
reconnect_attempts = 1
tls_enabled = no
"""


@dataclass(frozen=True)
class Heard:
    """A call that has ended, and its records in order."""

    call: dict[str, Any]
    records: list[Record]


@pytest.fixture(scope="module")
def audiosocket() -> str:
    """Where the server listens for AudioSocket."""
    return free_address()


@pytest.fixture(scope="module")
def server(settings: dict[str, str], audiosocket: str) -> Iterator[RunningServer]:
    """It asks chan_websocket for HTTP Basic and for a token."""
    configured = {
        "KOWAIRO_CARRIERS__AUDIOSOCKET__LISTEN": audiosocket,
        "KOWAIRO_CARRIERS__AUDIOSOCKET__REGISTERED_ONLY": "true",
        "KOWAIRO_CARRIERS__CHAN_WEBSOCKET__SECRETS": f'{{"{USER}":"{PASSWORD}"}}',
        "KOWAIRO_CARRIERS__CHAN_WEBSOCKET__MESSAGE_SECRET": TOKEN,
    }
    with running_server(settings | configured) as running:
        yield running
        assert running.terminate() == 0
        assert "Traceback" not in running.complaints()


@pytest.fixture(scope="module")
def asterisk(server: RunningServer, audiosocket: str) -> Iterator[Asterisk]:
    """It knows the service, and once with a wrong password."""
    uri = server.url.replace("http", "ws", 1) + "/v1/ingest/chan_websocket"
    clients = {"kowairo": PASSWORD, "stranger": "another"}
    files = {
        "extensions.conf": EXTENSIONS % {"audiosocket": audiosocket},
        "websocket_client.conf": "".join(
            CLIENT % {"name": name, "uri": uri, "password": password} for name, password in clients.items()
        ),
    }
    samples = np.concatenate([frame for (frame,) in excerpt()])
    with running_asterisk(files, {"customer.sln": samples.astype("<i2").tobytes()}) as running:
        yield running


@pytest.fixture(scope="module")
def by_asterisk(server: RunningServer, asterisk: Asterisk) -> dict[str, Heard]:
    """Every way at once, since Asterisk plays in real time; the last call is refused."""
    for way in ("application", "driver"):
        announce(server, CALLS[way], way)
    for way in (*CALLS, "stranger"):
        asterisk.command(f"channel originate Local/caller@calls/n extension {way}@calls")
    try:
        return {way: heard(server, call_id) for way, call_id in CALLS.items()}
    except AssertionError as error:
        raise AssertionError(f"{error}; Asterisk said: {asterisk.said()}") from error


@pytest.fixture(scope="module")
def by_emulator(server: RunningServer, audiosocket: str) -> dict[str, Heard]:
    """The same audio by the emulators, by carrier."""
    return {name: emulated(server, audiosocket, name) for name in ("audiosocket", "chan_websocket")}


def excerpt() -> Iterator[tuple[Any, ...]]:
    """What is played."""
    yield from list(sample_frames((0,), EXCERPT.stop))[EXCERPT]


def announce(server: RunningServer, uuid: str, line: str) -> None:
    """Say who comes under a UUID, as the dialplan does with curl."""
    url = f"{server.url}/v1/ingest/audiosocket/{uuid}"
    assert httpx.put(url, json={"leg": "customer", "line": line}).status_code == 204


def emulated(server: RunningServer, audiosocket: str, name: str) -> Heard:
    """One call by an emulator, as fast as it goes, on a line of its own."""
    carrier = CARRIERS[name]
    call = EmulatedCall(
        f"emulated-{name}",
        (Leg.CUSTOMER,),
        encoding=carrier.encoding,
        parameters={"line": f"emulated-{name}"},
        path=carrier.endpoint(),
        host=server.url.removeprefix("http://"),
        secrets={USER: PASSWORD},
        message_secret=TOKEN,
    )
    emulator = carrier.emulator(call)
    if carrier.tcp:
        announce(server, emulator.recorded_as, call.call_id)
    url = f"tcp://{audiosocket}" if carrier.tcp else server.url.replace("http", "ws", 1)
    asyncio.run(play(lambda _: emulator, url, excerpt(), Playing(Pace(0))))
    return heard(server, emulator.recorded_as)


def heard(server: RunningServer, call_id: str) -> Heard:
    """A call, once it has ended."""

    def ended() -> dict[str, Any] | None:
        answer = httpx.get(f"{server.url}/v1/calls/{call_id}")
        call: dict[str, Any] = answer.json()
        return call if answer.status_code == 200 and call["state"] == "ended" else None

    call = eventually(ended, CALL_TIMEOUT_S)
    records = httpx.get(f"{server.url}/v1/calls/{call_id}/utterances").json()["items"]
    return Heard(call, sorted(records, key=lambda record: record["start_s"]))


@pytest.mark.parametrize("way", list(CALLS))
def test_asterisk_is_heard_as_the_emulator_is(
    by_asterisk: dict[str, Heard], by_emulator: dict[str, Heard], way: str
) -> None:
    """The same utterances at the same places with the same scores, whoever brings the recording."""
    found, expected = by_asterisk[way], by_emulator[EMULATED[way]]
    assert len(expected.records) == 2
    assert len(found.records) == len(expected.records)
    for record, other in zip(found.records, expected.records, strict=True):
        assert record["start_s"] == pytest.approx(other["start_s"], abs=3 * FRAME_S)
        assert record["end_s"] == pytest.approx(other["end_s"], abs=3 * FRAME_S)
        assert record["scores"] == pytest.approx(other["scores"], abs=SAME_SCORE)


@pytest.mark.parametrize("way", list(CALLS))
def test_its_time_is_accounted_for(by_asterisk: dict[str, Heard], way: str) -> None:
    """The call is completed and as long as the recording; silence that Asterisk did not send is none of it."""
    call = by_asterisk[way].call
    assert call["outcome"] == "completed"
    summary = call["summary"]
    assert summary["duration_s"] == pytest.approx(EXCERPT_S, abs=0.1)
    assert set(summary["legs"]) == {"customer"}
    audio = summary["legs"]["customer"]["audio"]
    assert sum(audio[f"{kind}_s"] for kind in OUTCOMES) == pytest.approx(summary["duration_s"], abs=0.004)
    assert audio["lost_s"] == 0


@pytest.mark.parametrize("way", list(CALLS))
def test_its_keys_and_names_arrive(by_asterisk: dict[str, Heard], way: str) -> None:
    """Keys at their place; the line and what the dialplan says of the call, but neither token nor dial string."""
    call = by_asterisk[way].call
    metadata = call["metadata"]
    assert metadata["carrier"] == EMULATED[way]
    assert [(key["digit"], key["leg"]) for key in metadata["dtmf"]] == [("5", "customer"), ("#", "customer")]
    assert [key["at_s"] for key in metadata["dtmf"]] == pytest.approx([EXCERPT_S] * 2, abs=0.1)
    assert by_asterisk[way].records[0]["line_profile"]["id"] == way
    if way == "json":
        assert (metadata["queue"], metadata["campaign"]) == ("billing", "spring")
    assert TOKEN not in str(call)
    assert "DIALEDPEERNUMBER" not in metadata


def test_a_wrong_password_is_refused(
    server: RunningServer, asterisk: Asterisk, by_asterisk: dict[str, Heard]
) -> None:
    """Asterisk is told 401 and says so; there is no such call."""
    assert set(by_asterisk) == set(CALLS)
    eventually(lambda: "Unauthorized" in asterisk.said() or None)
    assert "code=unauthorized" in server.complaints()
    assert httpx.get(f"{server.url}/v1/calls/asterisk-stranger").status_code == 404
