"""How entries lie in a file of the spool: one after the other, each with its number and a checksum.

An entry is a header and a payload. The header: magic (4 bytes), flags (1), length of the payload (4), number (8),
time (8, epoch seconds as a double), CRC-32 of the payload (4), CRC-32 of all these (4); little endian. Numbers grow by
one, so that what is missing can be counted; where entries were taken away on purpose, an entry with the flag `GONE`
and no payload says so for every missing number up to its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from zlib import crc32

MAGIC = b"\x89KSP"
"""Its first byte is not ASCII, and so never in a payload that is."""

_HEAD = struct.Struct("<4sBIQdI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEAD.size + _CRC.size


class Flag(IntFlag):
    """NONE; KEEP: not to be refused for want of room; GONE: no entry, but a mark where some were."""

    NONE = 0
    KEEP = 1
    GONE = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One entry. at: epoch seconds when it was written."""

    number: int
    at: float
    payload: bytes
    flags: Flag = Flag.NONE

    @property
    def gone(self) -> bool:
        """Whether it only marks where entries were."""
        return Flag.GONE in self.flags

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return HEADER_BYTES + len(self.payload)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a stretch of a file holds. end: where the last readable entry ends. clean: all up to there is readable."""

    frames: tuple[Frame, ...]
    end: int
    clean: bool


def pack(frame: Frame) -> bytes:
    """An entry as it lies in the file."""
    head = _HEAD.pack(MAGIC, frame.flags, len(frame.payload), frame.number, frame.at, crc32(frame.payload))
    return head + _CRC.pack(crc32(head)) + frame.payload


def scan(data: bytes) -> Scan:
    """Every entry that can be read, in order; what cannot is passed over."""
    frames: list[Frame] = []
    start = end = 0
    clean = True
    while (start := data.find(MAGIC, start)) >= 0:
        frame, start_of_next = _frame_at(data, start)
        if frame is not None:
            clean = clean and start == end
            frames.append(frame)
            end = start_of_next
        start = start_of_next
    return Scan(tuple(frames), end, clean)


def missing(frames: Iterable[Frame], expected: int) -> tuple[int, int]:
    """How many entries are not there that should be, from the number `expected` on; and the number after the last."""
    lost = 0
    for frame in frames:
        if frame.number >= expected:
            lost += 0 if frame.gone else frame.number - expected
            expected = frame.number + 1
    return lost, expected


def with_marks(frames: Iterable[Frame], first: int, last: int) -> list[Frame]:
    """The entries left of those with numbers from `first` to `last`, with marks where the others were."""
    marked: list[Frame] = []
    expected = first
    for frame in frames:
        if frame.number > expected and not frame.gone:
            marked.append(Frame(frame.number - 1, frame.at, b"", Flag.GONE))
        marked.append(frame)
        expected = frame.number + 1
    if expected <= last:
        marked.append(Frame(last, 0.0, b"", Flag.GONE))
    return marked


def _frame_at(data: bytes, start: int) -> tuple[Frame | None, int]:
    """The entry that begins there, None where it cannot be read; and where to look on."""
    body = start + HEADER_BYTES
    if body > len(data):
        return None, start + 1
    head = data[start : start + _HEAD.size]
    _magic, flags, length, number, at, checksum = _HEAD.unpack(head)
    if _CRC.unpack_from(data, start + _HEAD.size)[0] != crc32(head) or body + length > len(data):
        return None, start + 1
    payload = data[body : body + length]
    if crc32(payload) != checksum:
        return None, body + length
    return Frame(number, at, payload, Flag(flags)), body + length
