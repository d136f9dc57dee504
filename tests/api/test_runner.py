"""Joining audio before it is worked on changes neither its bytes nor its order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.api.runner import JOIN_S, Piece, join_audio
from app.domain import AudioPacket
from app.wire.base import Audio, Flush, Mark, WireEvent

BYTES_PER_S = 16_000


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
