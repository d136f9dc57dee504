"""Entries are read back whatever lies between them, and what is missing is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.results.frames import HEADER_BYTES, Flag, Frame, missing, pack, scan, with_marks

PAYLOADS = st.lists(st.binary(max_size=40).map(lambda data: data.hex().encode()), max_size=8)


def frames_of(payloads: list[bytes]) -> list[Frame]:
    """Entries, numbered from 1."""
    return [Frame(number, 1.5, payload) for number, payload in enumerate(payloads, start=1)]


@given(PAYLOADS)
def test_entries_go_there_and_back(payloads: list[bytes]) -> None:
    """A file of whole entries is read entirely, and nothing of it is unreadable."""
    frames = frames_of(payloads)
    data = b"".join(map(pack, frames))
    found = scan(data)
    assert list(found.frames) == frames
    assert (found.end, found.clean) == (len(data), True)
    assert len(data) == sum(frame.size for frame in frames)


@given(PAYLOADS, st.data())
def test_a_torn_tail_is_seen(payloads: list[bytes], data: st.DataObject) -> None:
    """However much of the end is missing, the entries before it are read, and it is said where they end."""
    frames = frames_of(payloads)
    whole = b"".join(map(pack, frames))
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:cut])
    ends = [sum(frame.size for frame in frames[: n + 1]) for n in range(len(frames))]
    assert list(found.frames) == [frame for frame, end in zip(frames, ends, strict=True) if end <= cut]
    assert found.end == max([end for end in ends if end <= cut], default=0)


@given(PAYLOADS, st.data())
def test_damage_costs_only_what_it_hits(payloads: list[bytes], data: st.DataObject) -> None:
    """Wherever bytes change, every entry that they do not belong to is read, and no other."""
    frames = frames_of([*payloads, b"last"])
    whole = bytearray(b"".join(map(pack, frames)))
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, min(start + 2 * HEADER_BYTES, len(whole))))
    for place in range(start, stop):
        whole[place] ^= 0xFF
    found, at, spared = scan(bytes(whole)), 0, []
    for frame in frames:
        if at + frame.size <= start or at >= stop:
            spared.append(frame)
        at += frame.size
    assert list(found.frames) == spared
    lost, after = missing(found.frames, 1)
    assert lost == after - 1 - len(spared)


def test_what_was_taken_away_on_purpose_is_not_missing() -> None:
    """Marks stand for entries that were removed; without them the gaps count."""
    frames = frames_of([b"a", b"b", b"c", b"d", b"e"])
    left = [frames[1], frames[3]]
    assert missing(left, 1) == (2, 5)
    marked = with_marks(left, 1, 5)
    assert [(frame.number, frame.gone) for frame in marked] == [
        (1, True),
        (2, False),
        (3, True),
        (4, False),
        (5, True),
    ]
    assert missing(marked, 1) == (0, 6)
    assert with_marks(marked, 1, 5) == marked
    assert [frame.number for frame in with_marks([], 4, 9)] == [9]


def test_numbers_below_the_place_are_not_counted() -> None:
    """What was read already can be missing."""
    assert missing([Frame(7, 0.0, b"")], 6) == (1, 8)
    assert missing([Frame(3, 0.0, b""), Frame(6, 0.0, b"")], 6) == (0, 7)


def test_flags_stay() -> None:
    """What must not be refused is still so after it was read."""
    assert scan(pack(Frame(1, 0.0, b"x", Flag.KEEP))).frames[0].flags is Flag.KEEP
