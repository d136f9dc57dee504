"""What the emulators of Twilio and Telnyx share: two tracks in one stream, 20 ms a message, JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

from app.audio.g711 import PcmArray
from app.domain import Leg
from app.emulators.base import FRAME_S, EmulatedCall


def track_names(call: EmulatedCall) -> list[str]:
    """Which track each leg of the call is on: the customer on the inbound one, or whom `inbound_is` names."""
    inbound = call.parameters.get("inbound_is", Leg.CUSTOMER.value)
    if len(call.legs) == 1:
        other = Leg.AGENT if inbound == Leg.CUSTOMER.value else Leg.CUSTOMER
        return ["outbound" if call.legs[0] is other else "inbound"]
    return ["inbound", "outbound"] if call.legs[0] == inbound else ["outbound", "inbound"]


class MediaClock:
    """Numbers and times of a stream's audio. tracks: of the legs, in their order. encode: 20 ms of one leg."""

    def __init__(self, tracks: Sequence[str], encode: Callable[[PcmArray], bytes]) -> None:
        self.sent_ms = 0
        self._tracks = tracks
        self._encode = encode
        self._chunk = 0

    def media(self, frames: Sequence[PcmArray]) -> list[dict[str, object]]:
        """The `media` of each track, the inbound one first; chunks are numbered by track."""
        self._chunk += 1
        timestamp = str(self.sent_ms)
        self.skip(1)
        return [
            {
                "track": track,
                "chunk": str(self._chunk),
                "timestamp": timestamp,
                "payload": base64.b64encode(self._encode(frame)).decode(),
            }
            for track, frame in sorted(zip(self._tracks, frames, strict=True), key=lambda pair: pair[0])
        ]

    def skip(self, frames: int) -> None:
        """Time passes; the numbers do not."""
        self.sent_ms += round(frames * FRAME_S * 1_000)
