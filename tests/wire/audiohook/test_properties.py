"""Whatever an AudioHook client sends: nothing but `WireError`, numbers that fit, and time that adds up."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.wire.audiohook import AudioHookProtocol
from app.wire.base import Audio, Gap, GapKind, Notice, Pause, Reply, Resume, Start, Stop, WireError, WireEvent
from app.wire.carrier import CarrierConfig
from tests.wire.audiohook.session import OPEN, PROBE, REQUEST, SESSION

MESSAGES = 100_000
"""That all sequences together hold at least."""

EXAMPLES = 120
LENGTH = 600
AUDIO = [b"\xff\x7f" * samples for samples in (1, 80, 160, 800)]
JUNK: list[Any] = [None, True, -1, 0, 1.5, 10**18, "", "PT", "PT1S", "x" * 300, [], [1], {}, {"id": {}}]


class Sender:
    """A client that is mostly right, and keeps the time as the protocol says it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.seq = 0
        self.heard = 0
        self.at = 0  # samples sent or left out
        self.paused = False
        self.began = 0

    def message(self, kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The next one, right."""
        self.seq += 1
        return {
            "version": "2",
            "type": kind,
            "id": SESSION,
            "seq": self.seq,
            "serverseq": self.heard,
            "position": duration(self.at),
            "parameters": parameters,
        }

    def pause(self) -> dict[str, Any]:
        """Stop, or say so again."""
        if not self.paused:
            self.paused, self.began = True, self.at
        return self.message("paused", {})

    def resume(self) -> dict[str, Any]:
        """Go on with a clock that ran on, or stood still."""
        skipped = self.chance.choice([0, 0, 800, 12_345, 20_000_000]) if self.paused else 0
        start, self.at = (self.began, self.at + skipped) if self.paused else (self.at, self.at)
        self.paused = False
        return self.message("resumed", {"start": duration(start), "discarded": duration(self.at - start)})

    def discard(self) -> dict[str, Any]:
        """Leave something out."""
        skipped = self.chance.choice([0, 100, 8_000])
        start, self.at = self.at, self.at + skipped
        return self.message("discarded", {"start": duration(start), "discarded": duration(skipped)})

    def right(self) -> bytes | dict[str, Any]:
        """A message as it should be."""
        chance = self.chance
        kind = chance.choice(
            ["audio"] * 9 + ["ping", "paused", "resumed", "discarded", "update", "dtmf", "error", "new"]
        )
        if kind == "audio":
            if self.paused:
                return self.resume()
            audio = chance.choice(AUDIO)
            self.at += len(audio) // 2
            return audio
        makers: dict[str, Callable[[], dict[str, Any]]] = {
            "paused": self.pause,
            "resumed": self.resume,
            "discarded": self.discard,
            "update": lambda: self.message("update", {"language": "en-GB"}),
            "dtmf": lambda: self.message("dtmf", {"digit": chance.choice("0123456789*#ABCD")}),
            "error": lambda: self.message("error", {"code": chance.randrange(400, 600), "message": "m"}),
        }
        return makers.get(kind, lambda: self.message(kind, {}))()


def duration(samples: int) -> str:
    """Samples as the reference writes them."""
    return f"PT{samples / 8_000:.6f}S"


def spoilt(chance: random.Random, message: bytes | dict[str, Any]) -> bytes | str:
    """A message with something wrong in it, perhaps."""
    if isinstance(message, bytes):
        return message[: chance.randrange(len(message) + 1)]
    place = message if chance.random() < 0.5 or not message["parameters"] else message["parameters"]
    name = chance.choice(list(place))
    if chance.random() < 0.3:
        del place[name]
    else:
        place[name] = chance.choice(JUNK)
    text = orjson.dumps(message).decode()
    return text[: chance.randrange(len(text))] if chance.random() < 0.1 else text


def receive(protocol: AudioHookProtocol, message: bytes | str | dict[str, Any]) -> list[WireEvent]:
    """Hand over a message."""
    if isinstance(message, bytes):
        return protocol.receive_bytes(message, 0.0)
    text = message if isinstance(message, str) else orjson.dumps(message).decode()
    return protocol.receive_text(text, 0.0)


class Watcher:
    """Checks the order of events and the numbers of replies, and adds up the time."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.at = 0
        self.started = self.stopped = self.paused = False

    def watch(self, events: list[WireEvent]) -> None:
        """Take the events of one message."""
        for event in events:
            assert not self.stopped or isinstance(event, Reply)
            assert self.started or isinstance(event, Start | Notice | Reply | Stop)
            if isinstance(event, Reply):
                self.reply(event.payload)
            elif isinstance(event, Start):
                assert not self.started
                self.started = True
            elif isinstance(event, Audio):
                assert not self.paused
                assert event.packet.position_samples == self.at
                assert event.packet.payload
                assert len(event.packet.payload) % 2 == 0
                self.at += len(event.packet.payload) // 2
            elif isinstance(event, Gap):
                assert (event.kind is GapKind.PAUSED) is self.paused
                end = self.at + event.samples if event.until_samples is None else event.until_samples
                assert end > self.at
                self.at = end
            elif isinstance(event, Pause | Resume):
                assert self.paused is isinstance(event, Resume)
                self.paused = isinstance(event, Pause)
            elif isinstance(event, Stop):
                self.stopped = True

    def reply(self, payload: str | bytes) -> None:
        """The numbers of a reply."""
        said = orjson.loads(payload)
        assert said["seq"] == self.sender.heard + 1
        assert 0 <= said["clientseq"] <= self.sender.seq
        assert isinstance(said["parameters"], dict)
        self.sender.heard = said["seq"]


def one_session(seed: int) -> int:
    """Right messages first, then some that are not, until it fails or closes; how many it took."""
    chance = random.Random(seed)
    sender = Sender(chance)
    watcher = Watcher(sender)
    protocol = AudioHookProtocol(CarrierConfig(), REQUEST)
    probe = chance.random() < 0.1
    if chance.random() < 0.95:
        watcher.watch(receive(protocol, sender.message("open", PROBE if probe else OPEN)))
    count = 1
    error: WireError | None = None
    bad_from = chance.choice([0, LENGTH // 2, LENGTH - 20, LENGTH])
    for index in range(LENGTH):
        right = sender.right()
        message = spoilt(chance, right) if index >= bad_from and chance.random() < 0.2 else right
        count += 1
        try:
            events = receive(protocol, message)
        except WireError as wire_error:
            error = wire_error
            break
        watcher.watch(events)
        if bad_from == LENGTH and watcher.started:
            assert watcher.at == sender.at
            assert watcher.paused == sender.paused
    if error is None:
        sender.at += chance.choice([0, 0, 400])
        watcher.watch(receive(protocol, sender.message("close", {"reason": "end"})))
        assert watcher.stopped
        if bad_from == LENGTH and watcher.started:
            assert watcher.at == sender.at
    else:
        assert bad_from < LENGTH or not watcher.started
    for payload in protocol.farewell(error, draining=False):
        watcher.reply(payload)
    for _ in range(20):  # nobody is heard any more, but for a `close`
        count += 1
        for event in receive(protocol, sender.right()):
            assert isinstance(event, Reply | Stop)
    return count


def test_any_sequence_of_messages() -> None:
    """At least 10⁵ messages: right, nearly right and wrong ones, in sessions, probes and without `open`."""
    messages = 0

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(st.integers(0, 2**63 - 1), st.integers(0, 2**31))
    def sessions(seed: int, other: int) -> None:
        nonlocal messages
        messages += one_session(seed) + one_session(seed ^ other)

    sessions()
    while messages < MESSAGES:  # sequences that failed early
        messages += one_session(messages)
    assert messages >= MESSAGES


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.text(max_size=40),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
                ),
                max_leaves=10,
            ).map(
                lambda value: (
                    orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode() if small(value) else "0"
                )
            ),
        ),
        max_size=10,
    )
)
def test_junk(messages: list[bytes | str]) -> None:
    """Nothing that is no AudioHook at all raises anything but `WireError`."""
    protocol = AudioHookProtocol(CarrierConfig(), REQUEST)
    for message in messages:
        try:
            assert receive(protocol, message) == []
        except WireError:
            continue


def small(value: object) -> bool:
    """Whether orjson can write it."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True
