"""Every carrier that can be emulated: a new one is a file in this package and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast
from uuid import uuid4

from app.domain import Encoding
from app.emulators.base import Emulator

DEFAULT_ORIGIN = "ws://127.0.0.1:8000"
DEFAULT_TCP_ORIGIN = "tcp://127.0.0.1:9092"


def _uuid() -> str:
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class EmulatedCarrier:
    """A carrier that can be emulated.

    class_name: in the module of its name. legs: on one connection; a call of more takes a connection for each leg, as
    a real deployment would. encoding: what is on its wire unless another is asked for. new_call_id: an id as the
    carrier makes them.
    """

    name: str
    class_name: str
    legs: int = 2
    encoding: Encoding = Encoding.PCM_MULAW
    path: str = ""
    tcp: bool = False
    new_call_id: Callable[[], str] = _uuid

    @property
    def emulator(self) -> type[Emulator]:
        """The class; its module is imported now."""
        module = importlib.import_module(f"app.emulators.{self.name}")
        return cast(type[Emulator], getattr(module, self.class_name))

    @property
    def origin(self) -> str:
        """Where the service listens unless told otherwise."""
        return DEFAULT_TCP_ORIGIN if self.tcp else DEFAULT_ORIGIN

    def endpoint(self, path_secret: str | None = None) -> str:
        """The path of its endpoint."""
        path = self.path or f"/v1/ingest/{self.name}"
        return path if path_secret is None else f"{path}/{path_secret}"


_ALL = (
    EmulatedCarrier("twilio", "TwilioEmulator", new_call_id=lambda: f"CA{uuid4().hex}"),
    EmulatedCarrier("telnyx", "TelnyxEmulator"),
    EmulatedCarrier("audiohook", "AudiohookEmulator"),
    EmulatedCarrier("audiosocket", "AudiosocketEmulator", legs=1, encoding=Encoding.PCM_S16LE, tcp=True),
    EmulatedCarrier("chan_websocket", "ChanWebsocketEmulator", legs=1),
    EmulatedCarrier("freeswitch", "FreeswitchEmulator", encoding=Encoding.PCM_S16LE),
    EmulatedCarrier("vonage", "VonageEmulator", legs=1, encoding=Encoding.PCM_S16LE),
    EmulatedCarrier("native", "NativeEmulator", path="/v1/stream"),
)
CARRIERS: Mapping[str, EmulatedCarrier] = MappingProxyType({carrier.name: carrier for carrier in _ALL})
