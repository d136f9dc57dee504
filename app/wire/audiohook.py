"""Genesys AudioHook, version 2: the server's side of one session (Monitor; keys of the Audio Connector too).

JSON in text messages, numbered on both sides; µ-law at 8 kHz in binary ones, the channels interleaved byte by byte.
Sources: the types and the server of purecloudlabs/audiohook-reference-implementation. The order of things:
`open` → `opened`, audio and control messages, `close` → `closed`; to end a session the server says `disconnect` and
the client closes. Everything of the client's says its `position`, the time that it has sent or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

import orjson

from app.domain import AudioFormat, AudioPacket, Encoding
from app.wire.audiohook_auth import AudioHookAuthenticator
from app.wire.audiohook_exchange import Exchange, Message
from app.wire.audiohook_open import (
    LANGUAGE,
    NULL_UUID,
    OPTIONS,
    SAMPLE_RATE_HZ,
    carrier_metadata,
    duration_samples,
    given_parameters,
    is_null,
    media_legs,
    pick_media,
    read_options,
    uuid_field,
)
from app.wire.base import (
    Audio,
    Dtmf,
    Gap,
    GapKind,
    Metadata,
    Notices,
    Pause,
    Reply,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import Carrier, CarrierConfig, CarrierProtocol, Payload, UpgradeRequest
from app.wire.envelope import (
    dtmf_digit,
    invalid,
    optional_text,
    out_of_order,
    unauthorized,
    unsupported,
)
from app.wire.parameters import describe

__all__ = ["CARRIER", "OPTIONS", "AudioHookProtocol"]

MAX_RESULT_CHARS = 65_000
MAX_NOTICES = 32
SOURCE = "carrier"
"""Who pauses a call when Genesys does."""

ROUNDING_SAMPLES = 8
"""Durations may be in whole ms: a position is not taken for a hole unless it is further away than one."""

MAX_DRIFT_SAMPLES = SAMPLE_RATE_HZ
"""A `position` further than this from what was received is noticed; less is audio that waits on the client's side."""

PAUSE_PIECE_SAMPLES = 1_800 * SAMPLE_RATE_HZ
"""A long pause is told in pieces, each within what the sample clock believes: monitoring may be off for hours."""


class _State(Enum):
    NEW = auto()
    OPEN = auto()
    PROBE = auto()
    CLOSING = auto()
    """The client has closed, or broken the protocol; `farewell` is still to be said."""
    PARTING = auto()
    """A `disconnect` was said: the client closes."""
    ENDED = auto()


class AudioHookProtocol(CarrierProtocol):
    """One session. Its clock counts samples from the position of `open`."""

    peer_closes = True

    def __init__(self, config: CarrierConfig, request: UpgradeRequest) -> None:
        self._config = config
        self._request = request
        self._options = read_options(config)
        self._state = _State.NEW
        self._exchange = Exchange(request.headers.get("audiohook-session-id"))
        self._channels = 0
        self._origin = 0
        self._at = 0  # samples: received and left out, in the client's time since `open`
        self._paused = False
        self._client_closed = False
        self._notices = Notices(MAX_NOTICES)
        self._handlers: dict[str, Callable[[Message], list[WireEvent]]] = {
            "ping": self._ping,
            "paused": self._pause,
            "resumed": self._resume,
            "discarded": self._discarded,
            "update": self._update,
            "dtmf": self._dtmf,
            "error": self._error,
        }

    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """Read one message.

        Raises:
            WireError: not JSON, too long, a broken envelope or number, a bad field, or a message out of order.
        """
        if self._state in (_State.CLOSING, _State.ENDED):
            return []
        if self._state is _State.PARTING:
            return self._hear_close(text)
        try:
            return self._control(self._exchange.read(text))
        except WireError:
            self._state = _State.CLOSING
            raise

    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Read audio: whole sample instants, of any number.

        Raises:
            WireError: it came before `open`.
        """
        if self._state is not _State.OPEN:
            if self._state is not _State.NEW:
                return []  # of a probe, or after the end
            self._state = _State.CLOSING
            raise out_of_order("expected 'open' before audio")
        events: list[WireEvent] = []
        samples, odd = divmod(len(payload), self._channels)
        if odd:
            payload = payload[:-odd]
            events += self._notice("odd_audio", "audio that ends within a sample of both channels was cut")
        if not samples:
            return events
        if self._paused:
            events += self._notice("audio_while_paused", "audio between 'paused' and 'resumed' was dropped")
            events.append(Gap(GapKind.PAUSED, samples))
        else:
            events.append(Audio(AudioPacket(payload, self._at)))
        self._at += samples
        return events

    def result(self, message: str) -> list[Payload]:
        """An utterance's record as an `event` entity, where the site asks for it: Genesys knows none for emotion."""
        if self._options.entity is None or self._state not in (_State.OPEN, _State.CLOSING):
            return []
        if len(message) > MAX_RESULT_CHARS or orjson.loads(message).get("type") != "utterance":
            return []
        entity = {"type": self._options.entity, "data": orjson.Fragment(message)}
        return [self._exchange.build("event", {"entities": [entity]})]

    def paused(self, paused: bool) -> list[Payload]:
        """Ask Genesys to stop the audio, or to go on; it answers with `paused` or `resumed`."""
        if self._state is not _State.OPEN:
            return []
        return [self._exchange.build("pause" if paused else "resume", {})]

    def farewell(self, error: WireError | None, draining: bool) -> list[Payload]:
        """`closed` where the client has closed; `disconnect` otherwise, which it answers with `close`.

        A drained session is `completed`: Genesys does not take sessions up again (its help says so), and the reasons
        that are left mean a fault of ours.
        """
        if self._state in (_State.PARTING, _State.ENDED):
            return []
        if self._client_closed:
            self._state = _State.ENDED
            return [self._exchange.build("closed", {})]
        self._state = _State.PARTING
        if error is None:
            reason, info = "completed", "draining" if draining else "done"
        else:
            reason, info = "unauthorized" if error.code == "unauthorized" else "error", error.code
        return [self._exchange.build("disconnect", {"reason": reason, "info": info})]

    def _control(self, message: Message) -> list[WireEvent]:
        if message.type == "open":
            return self._open(message)
        if message.type == "close":
            return self._close(message)
        handler = self._handlers.get(message.type)
        if handler is None:
            return []  # `playback_started` and the like, and what later versions bring
        if self._state is _State.NEW and message.type not in ("ping", "error"):
            raise out_of_order(f"expected 'open' before '{message.type}'")
        events = self._check_position(message)
        if self._state is _State.PROBE and message.type not in ("ping", "update"):
            return []
        return events + handler(message)

    def _open(self, message: Message) -> list[WireEvent]:
        if self._state is not _State.NEW:
            raise out_of_order("expected one 'open' a session, got a second one")
        parameters = message.parameters
        organization = uuid_field(parameters, "organizationId")
        header = self._request.headers.get("audiohook-organization-id", organization)
        if organization != header.strip().lower():
            raise unauthorized("organizationId: expected that of the header Audiohook-Organization-Id")
        conversation = uuid_field(parameters, "conversationId")
        participant = parameters.get("participant")
        participant = participant if isinstance(participant, dict) else {}
        media = pick_media(parameters)
        self._origin = message.position or 0
        if conversation == NULL_UUID and is_null(participant.get("id")):
            self._state = _State.PROBE
            return [self._opened(media, parameters)]
        if media is None:
            raise unsupported("media", "one element at least")
        described = describe(given_parameters(parameters, self._request.query), self._config)
        legs = media_legs(media, described)
        self._channels = len(legs)
        correlation = self._request.headers.get("audiohook-correlation-id", "").strip()
        stated = carrier_metadata(self._exchange.id, correlation, parameters, participant)
        call_id = self._exchange.id.lower() if conversation == NULL_UUID else conversation
        start = described.start(call_id, AudioFormat(Encoding.PCM_MULAW, SAMPLE_RATE_HZ, legs), stated)
        self._state = _State.OPEN
        return [self._opened(media, parameters), Start(start), *described.notices]

    def _opened(self, media: Mapping[str, object] | None, offer: Mapping[str, object]) -> Reply:
        answer: dict[str, object] = {"startPaused": False, "media": [] if media is None else [media]}
        if offer.get("supportedLanguages") is True:
            language = optional_text(offer, "language", 35)
            answer["supportedLanguages"] = self._options.languages or ([language] if language else [])
        return self._reply("opened", answer)

    def _ping(self, message: Message) -> list[WireEvent]:
        """Answered at once: `clientseq` of the answer must be the ping's `seq`."""
        return [self._reply("pong", {})]

    def _pause(self, message: Message) -> list[WireEvent]:
        if self._paused:
            return []
        events: list[WireEvent] = []
        position = self._position(message)
        if position is not None and position - self._at > MAX_DRIFT_SAMPLES:
            events += self._gap(GapKind.LOST, position)  # no audio is on its way any more
        self._paused = True
        return [*events, Pause(SOURCE)]

    def _resume(self, message: Message) -> list[WireEvent]:
        """Go on. The client's clock may have run on (`discarded` is real) or stood still (it is zero)."""
        end = self._end_of_hole(message.parameters)
        if not self._paused:  # the answer to a `resume` of ours that was not needed
            return self._gap(GapKind.LOST, end)
        events = self._gap(GapKind.PAUSED, end)
        self._paused = False
        return [*events, Resume(SOURCE)]

    def _discarded(self, message: Message) -> list[WireEvent]:
        return self._gap(
            GapKind.PAUSED if self._paused else GapKind.LOST, self._end_of_hole(message.parameters)
        )

    def _update(self, message: Message) -> list[WireEvent]:
        events: list[WireEvent] = [self._reply("updated", {})]
        language = message.parameters.get("language")
        if not isinstance(language, str) or LANGUAGE.fullmatch(language) is None:
            return [*events, *self._notice("invalid_language", "a language that is no code was left out")]
        return events if self._state is _State.PROBE else [*events, Metadata({"language": language})]

    def _dtmf(self, message: Message) -> list[WireEvent]:
        digit = dtmf_digit(message.parameters.get("digit"))
        if digit is None:
            return self._notice("invalid_dtmf", "a key that no telephone has was left out")
        return [Dtmf(digit)]

    def _error(self, message: Message) -> list[WireEvent]:
        code = message.parameters.get("code")
        known = isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 10_000
        return self._notice(
            "client_error", f"Genesys reported error {code}" if known else "Genesys reported an error"
        )

    def _close(self, message: Message) -> list[WireEvent]:
        """The end, in any state; the time up to its position was promised."""
        events: list[WireEvent] = []
        if self._state is _State.OPEN:
            events += self._check_position(message)
            position = self._position(message)
            if position is not None:
                events += self._gap(GapKind.PAUSED if self._paused else GapKind.LOST, position)
            reason = message.parameters.get("reason")
            if reason in ("error", "disconnect", "reconnect"):
                events.append(Metadata({"close_reason": reason}))
        self._state = _State.CLOSING
        self._client_closed = True
        return [*events, Stop()]

    def _hear_close(self, text: str) -> list[WireEvent]:
        """After our `disconnect`: answer `close`, whatever its number, and nothing else."""
        if not self._exchange.read_close(text):
            return []
        self._state = _State.ENDED
        return [self._reply("closed", {}), Stop()]

    def _end_of_hole(self, parameters: Mapping[str, object]) -> int:
        """Where time without audio ends, on our clock."""
        start = duration_samples(parameters.get("start"))
        length = duration_samples(parameters.get("discarded"))
        if start is None or length is None:
            raise invalid("start and discarded", "durations as in PT1.5S")
        return start + length - self._origin

    def _gap(self, kind: GapKind, until: int) -> list[WireEvent]:
        """Time passes up to a position; nothing where the clock is there already, but for rounding."""
        if until - self._at <= ROUNDING_SAMPLES:
            return []
        step = PAUSE_PIECE_SAMPLES if kind is GapKind.PAUSED else until
        ends = [*range(self._at + step, until, step), until]
        self._at = until
        return [Gap(kind, until_samples=end) for end in ends]

    def _position(self, message: Message) -> int | None:
        """Where a message stands on our clock."""
        return None if message.position is None else message.position - self._origin

    def _check_position(self, message: Message) -> list[WireEvent]:
        """Notice a position that is far from what was received; holes are stated by other messages."""
        position = self._position(message)
        if position is None:
            return self._notice("invalid_position", "a message without a position, a duration as in PT1.5S")
        if self._paused or self._state is not _State.OPEN or message.type in ("resumed", "discarded"):
            return []
        ahead = position - self._at
        if ahead < -MAX_DRIFT_SAMPLES or (ahead > MAX_DRIFT_SAMPLES and message.type != "close"):
            return self._notice("position_mismatch", "a position is more than 1 s from the audio received")
        return []

    def _notice(self, code: str, detail: str) -> list[WireEvent]:
        """A notice, once of each detail."""
        return self._notices.once(code, detail, kind=detail)

    def _reply(self, kind: str, parameters: Mapping[str, object]) -> Reply:
        return Reply(self._exchange.build(kind, parameters))


def _authenticator(config: CarrierConfig) -> AudioHookAuthenticator:
    read_options(config)
    return AudioHookAuthenticator(config)


CARRIER = Carrier("audiohook", AudioHookProtocol, _authenticator)
