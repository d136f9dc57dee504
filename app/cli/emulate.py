"""`call --carrier`: play recordings as a telephone system would, and show what the service makes of them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from urllib.parse import urlsplit

from app.audio.g711 import PcmArray
from app.audio.recording import Recording
from app.cli.carrier_options import parameters_of, trouble_of
from app.cli.watch import Watch
from app.client import AsyncClient, KowairoError
from app.domain import SAMPLE_RATE_HZ, Leg
from app.emulators.base import EmulatedCall, Emulator
from app.emulators.carriers import CARRIERS
from app.emulators.native import API_KEY
from app.emulators.play import Played, Playing, play
from app.emulators.trouble import NO_TROUBLE
from app.playing import Message, Pace, telephone_frames
from app.wire.parameters import safe_call_id

Opened = Callable[[], contextlib.AbstractContextManager[Sequence[Recording]]]
"""Opens the recordings anew: each connection reads them for itself."""


def emulate(
    options: argparse.Namespace,
    legs: tuple[Leg, ...],
    opened: Opened,
    show: Callable[[Message], None],
    api_key: str | None,
) -> None:
    """Play the call and show its records.

    legs: whose audio is on each channel.

    Raises:
        ClientError: the call was refused, or ended before its time.
        RecordingError: damaged audio.
        ValueError: the carrier cannot send what is asked for.
    """
    asyncio.run(_Emulation(options, legs, opened, show, api_key).run())


class _Emulation:
    """One call, over as many connections as the carrier takes for it."""

    def __init__(
        self,
        options: argparse.Namespace,
        legs: tuple[Leg, ...],
        opened: Opened,
        show: Callable[[Message], None],
        api_key: str | None,
    ) -> None:
        self._options = options
        self._carrier = CARRIERS[options.carrier]
        self._url: str = options.url or self._carrier.origin
        self._legs = legs
        self._opened = opened
        self._show = show
        self._api_key = api_key
        self._complained = False
        self._several = len(legs) > self._carrier.legs
        self._api: str = options.api_url or _api_url(self._url)

    async def run(self) -> None:
        """Play and show; see `emulate`."""
        async with AsyncClient(self._api, api_key=self._api_key) as client:
            watch = Watch(client, self._show)
            endings = await asyncio.gather(
                *(self._connection(client, watch, share) for share in self._shares()), return_exceptions=True
            )
        for ending in endings:
            if isinstance(ending, BaseException):
                raise ending

    def _shares(self) -> list[tuple[int, ...]]:
        """The channels of each connection."""
        channels = range(len(self._legs))
        return [(channel,) for channel in channels] if self._several else [tuple(channels)]

    async def _connection(self, client: AsyncClient, watch: Watch, channels: tuple[int, ...]) -> None:
        call = self._call(channels)
        over = asyncio.Event()
        followers: list[asyncio.Task[None]] = []
        ids = await self._expected(client, watch, call)

        def connected(_: Emulator) -> None:
            if ids:
                followers.append(asyncio.create_task(self._follow(watch, ids.pop(0), over)))

        playing = Playing(
            Pace(self._options.speed),
            trouble_of(self._options),
            stream=call.legs[0].value if self._several else "",
            on_connected=connected,
        )
        try:
            with self._opened() as recordings:
                frames = _picked(telephone_frames(recordings, call.sample_rate_hz), channels)
                played = await play(partial(self._emulator, call), self._url, frames, playing)
            if playing.trouble != NO_TROUBLE and not self._options.json:
                print(_tally_line(played), flush=True)
        finally:
            over.set()
            await asyncio.gather(*followers)

    def _call(self, channels: tuple[int, ...]) -> EmulatedCall:
        options, carrier = self._options, self._carrier
        legs = tuple(self._legs[channel] for channel in channels)
        call_id = self._call_id
        parameters = parameters_of(options)
        if self._several:
            call_id = f"{call_id}.{legs[0].value}"
        if len(legs) == 1 and (self._several or options.legs):
            parameters.setdefault("leg", legs[0].value)
        given = urlsplit(self._url)
        path = "" if given.path == "/" else given.path
        if path and options.path_secret is not None:
            path = f"{path.rstrip('/')}/{options.path_secret}"
        secrets = dict(options.secret or ())
        if carrier.name == "native" and self._api_key is not None:
            secrets.setdefault(API_KEY, self._api_key)
        return EmulatedCall(
            call_id=call_id,
            legs=legs,
            sample_rate_hz=options.sample_rate or SAMPLE_RATE_HZ,
            encoding=options.encoding or carrier.encoding,
            parameters=parameters,
            path=path or carrier.endpoint(options.path_secret),
            query=given.query,
            host=given.netloc,
            public_origin=options.public_origin,
            secrets=secrets,
            path_secret=options.path_secret,
            message_secret=options.message_secret,
        )

    @cached_property
    def _call_id(self) -> str:
        return self._options.call_id or self._carrier.new_call_id()

    def _emulator(self, call: EmulatedCall, number: int) -> Emulator:
        """The n-th connection of a call; where the service does not number ids that are taken, with one of its own."""
        if self._carrier.name in ("native", "audiosocket") and number:
            call = replace(call, call_id=f"{call.call_id}.{number + 1}")
        return self._carrier.emulator(replace(call, now_s=time.time()))

    async def _expected(self, client: AsyncClient, watch: Watch, call: EmulatedCall) -> list[str]:
        """The ids under which the service will know the connections; none where it cannot be asked."""
        try:
            ids = []
            for number in range(2 if self._options.reconnect else 1):
                emulator = self._emulator(call, number)
                known = emulator.recorded_as
                if self._carrier.name == "audiosocket":
                    known = await self._announced(client, known, emulator.call)
                ids.append(await watch.id_of_next(known))
            return ids
        except KowairoError as error:
            self._complain(f"{self._api}: {error}")
            return []

    async def _announced(self, client: AsyncClient, uuid: str, call: EmulatedCall) -> str:
        """Tell the service what the call with this UUID is, as a dialplan does: AudioSocket itself cannot.

        Raises:
            KowairoError: the service cannot be told.
        """
        metadata = dict(call.parameters)
        known: dict[str, object] = {"call_id": safe_call_id(call.call_id), "leg": call.legs[0].value}
        metadata.pop("leg", None)
        known |= {name: metadata.pop(name) for name in ("line", "language") if name in metadata}
        flags = ("consent", "notice_given")
        known |= {name: metadata.pop(name) == "true" for name in flags if name in metadata}
        await client.announce(uuid, {**known, "metadata": metadata})
        return safe_call_id(call.call_id)

    async def _follow(self, watch: Watch, call_id: str, over: asyncio.Event) -> None:
        try:
            if not await watch.follow(call_id, over):
                self._complain(f"the service does not have the end of the call {call_id}")
        except KowairoError as error:
            self._complain(f"{self._api}: {error}")

    def _complain(self, why: object) -> None:
        if not self._complained:
            print(f"kowairo: no records to show: {why}", file=sys.stderr, flush=True)
        self._complained = True


def _picked(
    frames: Iterator[tuple[PcmArray, ...]], channels: Sequence[int]
) -> Iterator[tuple[PcmArray, ...]]:
    for frame in frames:
        yield tuple(frame[channel] for channel in channels)


def _tally_line(played: Played) -> str:
    tally = played.tally
    done = f"{tally.given} audio messages: {tally.sent} sent"
    parts = {"lost": tally.lost, "sent twice": tally.duplicated, "frames swapped": tally.swapped}
    done += "".join(f", {count} {what}" for what, count in parts.items() if count)
    done += f"; over {played.connections} connections" if played.connections > 1 else ""
    return done + ("; cut" if played.cut else "")


def _api_url(url: str) -> str:
    """The service's HTTP side beside one of its sockets."""
    parts = urlsplit(url)
    if parts.scheme == "tcp":
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"http://{host}:8000"
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
