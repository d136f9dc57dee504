"""A client of the native protocol as an emulator, so that tools and tests have one face for every wire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson

from app.audio.g711 import PcmArray, encode
from app.emulators.base import FRAME_S, EmulatedCall, Emulator, Handshake, Message

API_KEY = "api_key"
"""The secret that this wire knows."""

_FLAGS = ("consent", "notice_given", "interim", "salience")
_TEXTS = ("line", "language")


class NativeEmulator(Emulator):
    """`/v1/stream`: audio interleaved in the encoding asked for. Parameters that `start` has no field for are metadata.

    The secret `api_key` is sent as a bearer token.
    """

    carrier = "native"
    server_closes = True

    def __init__(self, call: EmulatedCall) -> None:
        super().__init__(call)
        self.ready = False
        self._call_id: str | None = None

    @property
    def recorded_as(self) -> str:
        """What the service's `ready` says."""
        return self._call_id or super().recorded_as

    def handshake(self) -> Handshake:
        """The key as a header, where there is one."""
        key = self.call.secrets.get(API_KEY)
        query = f"?{self.call.query}" if self.call.query else ""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return Handshake((self.call.path or "/v1/stream") + query, headers)

    def opening(self) -> list[Message]:
        """`start`."""
        call = self.call
        given = dict(call.parameters)
        start: dict[str, object] = {
            "type": "start",
            "call_id": call.call_id,
            "encoding": call.encoding.value,
            "sample_rate": call.sample_rate_hz,
            "channels": [leg.value for leg in call.legs],
        }
        start |= {name: given.pop(name) for name in _TEXTS if name in given}
        start |= {name: given.pop(name) in ("true", "1", "yes") for name in _FLAGS if name in given}
        return [_text(start | ({"metadata": given} if given else {}))]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """One binary message."""
        return [encode(np.stack(frames, axis=1).reshape(-1), self.call.encoding)]

    def closing(self) -> list[Message]:
        """`stop`."""
        return [_text({"type": "stop"})]

    def receive(self, message: Message) -> list[Message]:
        """Hear `ready` and `error`."""
        said = orjson.loads(message)
        if said["type"] == "ready":
            self.ready = True
            self._call_id = said["call_id"]
        elif said["type"] == "error":
            self.problem = f"{said.get('code')}: {said.get('detail')}"
        return []

    def pause(self) -> list[Message]:
        """`pause`."""
        return [_text({"type": "pause"})]

    def resume(self, skipped_frames: int) -> list[Message]:
        """Silence for the time that passed, which the service drops as paused, and `resume`."""
        samples = round(FRAME_S * self.call.sample_rate_hz)
        silence = self.audio([np.zeros(samples, dtype=np.int16)] * len(self.call.legs))
        return silence * skipped_frames + [_text({"type": "resume"})]


def _text(message: dict[str, object]) -> str:
    return orjson.dumps(message).decode()
