"""What a message costs each parser: `python -m bench.wire [--repeat N]`.

Every emulator sends 20 ms of speech a frame into its carrier's parser, in memory; two legs where the carrier tells them
apart. Microseconds are CPU time per message of the audio phase, the least of several runs; as absolute ones vary
with the machine, each is also given as a multiple of `orjson.loads` of Twilio's message, measured in the same run.
"""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import orjson

from app.audio.g711 import PcmArray
from app.domain import Leg
from app.emulators.base import EmulatedCall, Emulator
from app.emulators.carriers import CARRIERS as EMULATORS
from app.wire.base import Reply
from app.wire.carrier import CarrierConfig, CarrierProtocol, UpgradeRequest
from app.wire.carriers import CARRIERS

FRAMES = 500
FRAME_SAMPLES = 160
LIMIT_US = 15.0


@dataclass(frozen=True, slots=True)
class Cost:
    """A carrier's cost. legs: of the call. messages: in the audio phase."""

    carrier: str
    legs: int
    messages: int
    microseconds: float


def frames(legs: int) -> list[list[PcmArray]]:
    """Noise like speech, by frame and leg."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 3_000, (FRAMES, legs, FRAME_SAMPLES)).astype(np.int16)
    return [list(frame) for frame in samples]


def opened(name: str, legs: int) -> tuple[Emulator, CarrierProtocol]:
    """Both ends of a call that has begun."""
    sides = (Leg.CUSTOMER, Leg.AGENT)[:legs]
    carrier = EMULATORS[name]
    call_id = carrier.new_call_id()
    call = EmulatedCall(call_id, sides, encoding=carrier.encoding, path=carrier.endpoint())
    emulator = carrier.emulator(call)
    target = emulator.handshake().target if not emulator.tcp else ""
    path, _, query = target.partition("?")
    protocol = CARRIERS[name].new_protocol(CarrierConfig(), UpgradeRequest(path=path, query=query))
    waiting = list(emulator.opening())
    while waiting:
        events = protocol.receive(waiting.pop(0), 0.0)
        for event in events:
            if isinstance(event, Reply):
                waiting += emulator.receive(event.payload)
    return emulator, protocol


def measure(name: str, legs: int, repeat: int) -> Cost:
    """CPU time per message, the least of several runs."""
    least, count = float("inf"), 0
    for _ in range(repeat):
        emulator, protocol = opened(name, legs)
        messages = [
            (message, 0.02 * index)
            for index, frame in enumerate(frames(legs))
            for message in emulator.audio(frame)
        ]
        count = len(messages)
        began = time.process_time()
        for message, now_s in messages:
            protocol.receive(message, now_s)
        least = min(least, (time.process_time() - began) / count)
    return Cost(name, legs, count, 1e6 * least)


def cpu_us(work: Callable[[], object], repeat: int, times: int = 2_000) -> float:
    """Microseconds of CPU time of one call, the least of several runs."""
    least = float("inf")
    for _ in range(repeat):
        began = time.process_time()
        for _ in range(times):
            work()
        least = min(least, (time.process_time() - began) / times)
    return 1e6 * least


def reference() -> str:
    """Twilio's message of 20 ms."""
    payload = base64.b64encode(bytes(range(160))).decode()
    media = {"track": "inbound", "chunk": "7", "timestamp": "120", "payload": payload}
    body = {"event": "media", "sequenceNumber": "8", "media": media, "streamSid": "MZ" + "0" * 32}
    return orjson.dumps(body).decode()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    text = reference()
    baseline = cpu_us(lambda: orjson.loads(text), repeat)
    print(f"orjson.loads of a Twilio message of 20 ms: {baseline:.2f} us; limit a message: {LIMIT_US:g} us")
    print(f"{'carrier':16} {'legs':>4} {'messages':>9} {'us each':>8} {'x loads':>8}")
    for name in CARRIERS:
        for legs in range(1, EMULATORS[name].legs + 1):
            cost = measure(name, legs, repeat)
            ratio = cost.microseconds / baseline
            print(f"{name:16} {legs:4} {cost.messages:9} {cost.microseconds:8.2f} {ratio:8.1f}")


if __name__ == "__main__":
    main()
