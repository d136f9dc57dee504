"""The sample call as every telephone system brings it."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from app.audio.g711 import PcmArray
from app.audio.recording import open_recording
from app.cli.demo import sample_call
from app.domain import Encoding, Leg
from app.emulators.base import EmulatedCall
from app.emulators.carriers import CARRIERS
from app.emulators.play import Played, Playing, play
from app.emulators.trouble import NO_TROUBLE, Trouble
from app.playing import Pace, telephone_frames
from tests.e2e.streams import Record
from tests.support.server import RunningServer, eventually

LEGS = (Leg.CUSTOMER, Leg.AGENT)
OUTCOMES = ("scored", "silence", "rejected", "lost")


@dataclass(frozen=True)
class Heard:
    """What the service made of a leg. audio: the four outcomes in seconds; played: of the connection it came over."""

    records: list[Record]
    audio: dict[str, float]
    duration_s: float
    played: Played


def free_address() -> str:
    """An address of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def sample_frames(channels: Sequence[int], frames: int | None = None) -> Iterator[tuple[PcmArray, ...]]:
    """These channels of the sample call, from its beginning."""
    with open_recording(sample_call()) as recording:
        for frame in itertools.islice(telephone_frames([recording], 8_000), frames):
            yield tuple(frame[channel] for channel in channels)


def play_sample(
    server: RunningServer,
    audiosocket: str,
    name: str,
    call_id: str,
    *,
    encoding: Encoding | None = None,
    trouble: Trouble = NO_TROUBLE,
    frames: int | None = None,
) -> dict[str, Heard]:
    """Play the sample call through a carrier as fast as it goes, on a line of its own; what was heard, by leg."""
    carrier = CARRIERS[name]
    shares = [(0, 1)] if carrier.legs == 2 else [(0,), (1,)]
    heard: dict[str, Heard] = {}
    for channels in shares:
        legs = tuple(LEGS[channel] for channel in channels)
        own_id = call_id if len(legs) == 2 else f"{call_id}.{legs[0]}"
        parameters = {"line": call_id} | ({"leg": legs[0].value} if len(legs) == 1 else {})
        call = EmulatedCall(
            own_id,
            legs,
            encoding=encoding or carrier.encoding,
            parameters=parameters,
            path=carrier.endpoint(),
            host=server.url.removeprefix("http://"),
        )
        emulator = carrier.emulator(call)
        url = f"tcp://{audiosocket}" if carrier.tcp else server.url.replace("http", "ws", 1)
        if carrier.tcp:
            body = {"call_id": own_id, "line": call_id, "leg": legs[0].value}
            path = f"/v1/ingest/audiosocket/{emulator.recorded_as}"
            assert httpx.put(f"{server.url}{path}", json=body).status_code == 204
        known_as = own_id if carrier.tcp else emulator.recorded_as
        playing = Playing(Pace(0), trouble, stream=str(channels))
        audio = sample_frames(channels, frames)
        played = asyncio.run(play(lambda _, emulator=emulator: emulator, url, audio, playing))
        heard |= _heard(server, known_as, played)
    return heard


def _heard(server: RunningServer, call_id: str, played: Played) -> dict[str, Heard]:
    def ended() -> dict[str, Any] | None:
        answer = httpx.get(f"{server.url}/v1/calls/{call_id}")
        call: dict[str, Any] = answer.json()
        return call if answer.status_code == 200 and call["state"] == "ended" else None

    summary = eventually(ended)["summary"]
    listing = httpx.get(f"{server.url}/v1/calls/{call_id}/utterances", params={"limit": 200}).json()
    return {
        leg: Heard(
            sorted((r for r in listing["items"] if r["leg"] == leg), key=lambda record: record["start_s"]),
            {kind: part["audio"][f"{kind}_s"] for kind in OUTCOMES},
            summary["duration_s"],
            played,
        )
        for leg, part in summary["legs"].items()
    }
