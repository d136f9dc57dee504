"""Asterisk's side of AudioSocket: a UUID, frames of 20 ms, keys, and an end without a word."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import NAMESPACE_OID, UUID, uuid5

from app.audio.g711 import PcmArray, encode
from app.domain import Encoding
from app.emulators.base import EmulatedCall, Emulator, Handshake, Message
from app.wire.audiosocket import DTMF, HEADER_BYTES, RATES_HZ, SLIN, TERMINATE, UUID_KIND, message

APPLICATION_TIMEOUT_S = 2.0
"""The dialplan application gives up when for so long neither side has sent anything."""

_CODECS = {"slin": Encoding.PCM_S16LE, "ulaw": Encoding.PCM_MULAW, "alaw": Encoding.PCM_ALAW}


class AudiosocketEmulator(Emulator):
    """One connection, one leg. A call id that is no UUID is turned into one, always the same.

    Parameters of its own, none of which the wire can carry: `codec_0x10` (`ulaw` or `alaw`: what `Dial(AudioSocket/…)`
    sends without `c(slin)`), `application=true` (times out as the dialplan application does).
    """

    carrier = "audiosocket"
    tcp = True

    def __init__(self, call: EmulatedCall) -> None:
        super().__init__(call)
        if len(call.legs) != 1:
            raise ValueError(f"audiosocket carries one leg a connection, got {len(call.legs)}")
        kinds = {rate: kind for kind, rate in RATES_HZ.items()}
        codec = call.parameters.get("codec_0x10", "slin")
        if call.sample_rate_hz not in kinds:
            raise ValueError(f"audiosocket knows {', '.join(map(str, kinds))} Hz, got {call.sample_rate_hz}")
        if codec not in _CODECS or (codec != "slin" and call.sample_rate_hz != RATES_HZ[SLIN]):
            raise ValueError("codec_0x10: expected slin, or ulaw or alaw at 8000 Hz")
        self._kind = kinds[call.sample_rate_hz]
        self._encoding = _CODECS[codec]
        self._application = call.parameters.get("application") == "true"
        try:
            self.uuid = UUID(call.call_id)
        except ValueError:
            self.uuid = uuid5(NAMESPACE_OID, call.call_id)
        self._heard = bytearray()
        self._busy = True
        self._busy_s = 0.0

    @property
    def recorded_as(self) -> str:
        """The UUID."""
        return str(self.uuid)

    def handshake(self) -> Handshake:
        """None on TCP."""
        return Handshake("")

    def opening(self) -> list[Message]:
        """The UUID."""
        return [message(UUID_KIND, self.uuid.bytes)]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """One message."""
        self._busy = True
        return [message(self._kind, encode(frames[0], self._encoding))]

    def closing(self) -> list[Message]:
        """Nothing: Asterisk just closes the socket."""
        return []

    def dtmf(self, digit: str) -> list[Message]:
        """At the end of the key, as the channel driver does."""
        return [message(DTMF, digit.encode("ascii"))]

    def elapse(self, now_s: float) -> list[Message]:
        """Nothing is said, but the dialplan application loses patience."""
        if self._busy:
            self._busy, self._busy_s = False, now_s
        elif self._application and now_s - self._busy_s > APPLICATION_TIMEOUT_S:
            self.problem = f"nothing was sent either way for {APPLICATION_TIMEOUT_S:g} s"
        return []

    def receive(self, message: Message) -> list[Message]:
        """Asterisk takes audio and the end; anything else ends its leg with an error."""
        if isinstance(message, str):
            self.problem = "text on a wire of bytes"
            return []
        heard = self._heard
        heard += message
        while len(heard) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(heard[1:HEADER_BYTES], "big")
            if len(heard) < end:
                break
            kind = heard[0]
            if kind == TERMINATE:
                self.hung_up = True
            elif kind not in RATES_HZ:
                self.problem = f"a message of kind 0x{kind:02x}, expected audio or 0x00"
            elif end == HEADER_BYTES:
                self.problem = "audio of no length"
            else:
                self._busy = True
            del heard[:end]
        return []
