"""The runner: joining audio changes neither its bytes nor its order, and records get their track's jitter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.deps import Services
from app.api.runner import JOIN_S, CallRunner, Piece, join_audio
from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg, UtteranceRecord
from app.pipeline import ServerEvent
from app.wire.base import Audio, Flush, Mark, WireEvent
from tests.support.clock import FakeClock
from tests.support.service import make_settings, service_parts
from tests.support.streams import customer_audio

BYTES_PER_S = 16_000
PACKET_S = 0.02


def piece(event: WireEvent, arrived: float) -> Piece:
    """A piece of 16-bit audio at 8 kHz, or a control."""
    size = len(event.packet.payload) if isinstance(event, Audio) else 0
    return Piece(event, arrived, size / BYTES_PER_S)


events = st.one_of(
    st.binary(min_size=1, max_size=400).map(lambda payload: Audio(AudioPacket(payload))),
    st.integers(0, 999).map(lambda position: Audio(AudioPacket(b"\1", position))),
    st.just(Flush()),
    st.text(min_size=1, max_size=3).map(Mark),
)


def flat(pieces: list[Piece]) -> list[object]:
    """Controls, placed packets, and runs of plain audio as their bytes."""
    told: list[object] = []
    for item in pieces:
        plain = isinstance(item.event, Audio) and item.event.packet.position_samples is None
        if plain and told and isinstance(told[-1], bytes):
            told[-1] += item.event.packet.payload  # type: ignore[union-attr]
        else:
            told.append(item.event.packet.payload if plain else item.event)  # type: ignore[union-attr]
    return told


@given(st.lists(events, max_size=60))
def test_joined_audio_is_the_same_audio(given_events: list[WireEvent]) -> None:
    """Bytes, order and controls stay; a joined piece is short and arrived when its last part did."""
    pieces = [piece(event, float(index)) for index, event in enumerate(given_events)]
    joined = list(join_audio(pieces))
    assert flat(joined) == flat(pieces)
    assert [item.arrived for item in joined] == sorted(item.arrived for item in joined)
    assert not joined or joined[-1].arrived == pieces[-1].arrived
    longest = max([JOIN_S, *(item.seconds for item in pieces)])
    assert all(item.seconds <= longest + 1e-9 for item in joined)


def test_byte_sized_messages_are_joined() -> None:
    """A second in messages of a byte is worked on in about fifty turns, not sixteen thousand."""
    pieces = [piece(Audio(AudioPacket(b"\0")), 0.0) for _ in range(BYTES_PER_S)]
    assert len(list(join_audio(pieces))) <= 52


def recorded(bundle: Path, late_s: float, *, separate: bool) -> dict[Leg, UtteranceRecord]:
    """The records of a call in packets of 20 ms, of which every second one of the last track comes late."""
    audio_format = AudioFormat(Encoding.PCM_S16LE, 8_000, (Leg.CUSTOMER, Leg.AGENT), separate=separate)
    clock, told = FakeClock(), list[ServerEvent]()
    speech = customer_audio(6.5)
    width = 640 // len(audio_format.tracks)

    async def answer(event: ServerEvent) -> None:
        told.append(event)

    async def run(services: Services) -> None:
        runner = CallRunner(CallStart("c", audio_format), services, answer)
        await runner.open()
        working = asyncio.create_task(runner.run())
        last = len(audio_format.tracks) - 1
        for index in range(len(speech) // width):
            piece, late = speech[index * width : (index + 1) * width], late_s if index % 2 else 0.0
            for track in range(last):
                await runner.feed(Audio(AudioPacket(piece, track=track)))
            clock.advance(late)
            await runner.feed(Audio(AudioPacket(piece, track=last)))
            clock.advance(PACKET_S - late)
        runner.end_input()
        await working
        await runner.close("completed")

    with service_parts(make_settings(bundle), clock) as services:
        asyncio.run(run(services))
    return {event.leg: event for event in told if isinstance(event, UtteranceRecord)}


def test_a_record_has_the_jitter_of_its_own_track(bundle: Path) -> None:
    """Every second packet of the agent's is 12 ms late: his jitter is 12 ms, the customer's none."""
    records = recorded(bundle, 0.012, separate=True)
    assert records[Leg.CUSTOMER].audio_quality.jitter_ms == 0.0
    assert records[Leg.AGENT].audio_quality.jitter_ms == pytest.approx(12.0, abs=0.1)


def test_legs_that_share_packets_share_their_jitter(bundle: Path) -> None:
    """Interleaved, both sides of the call came late together."""
    records = recorded(bundle, 0.012, separate=False)
    assert set(records) == {Leg.CUSTOMER, Leg.AGENT}
    assert {record.audio_quality.jitter_ms for record in records.values()} == {12.0}
