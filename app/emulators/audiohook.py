"""Genesys Cloud's side of an AudioHook session, as the reference client behaves (`clientsessionimpl.ts`).

The reference: purecloudlabs/audiohook-reference-implementation. Audio leaves in messages of 100 ms, as was seen of the
real one. The clock runs on in a pause (the reference's tone source), so that `resumed` states what was really left out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import numpy as np
import orjson

from app.audio.g711 import PcmArray, encode_ulaw
from app.domain import Leg
from app.emulators.base import FRAME_S, EmulatedCall, Emulator, Handshake, Message
from app.wire.parameters import safe_call_id

SAMPLE_RATE_HZ = 8_000
FRAME_SAMPLES = round(FRAME_S * SAMPLE_RATE_HZ)
MESSAGE_FRAMES = 5
MAX_TEXT_CHARS = 65_535
FIRST_PING_S = 1.0
PING_EVERY_S = 5.0
SIGNATURE_LIFETIME_S = 30
NULL_UUID = "00000000-0000-0000-0000-000000000000"
DEFAULT_API_KEY = "kowairo-emulator"

_SIGNED = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
_OWN_PARAMETERS = ("probe", "connector", "language")


class AudiohookEmulator(Emulator):
    """One session. Signs with the first of the call's secrets, API key → client secret in base64; empty: unsigned.

    Parameters are sent as `customConfig`, but `language`, and `probe=true` (the check that Genesys makes when an
    integration is activated: it opens, closes, and sends no audio) and `connector=true` (keys are told, as the Audio
    Connector does). The customer is `external`, or whom the parameter `inbound_is` names.
    """

    carrier = "audiohook"

    def __init__(self, call: EmulatedCall) -> None:
        super().__init__(call)
        if call.sample_rate_hz != SAMPLE_RATE_HZ:
            raise ValueError(f"audiohook sends {SAMPLE_RATE_HZ} Hz only, got {call.sample_rate_hz}")
        self.ready = False
        self.ended = False
        self.probing = call.parameters.get("probe") == "true"
        self._connector = call.parameters.get("connector") == "true"
        self._organization = str(uuid5(NAMESPACE_URL, "kowairo:organization"))
        self._conversation = NULL_UUID if self.probing else _as_uuid(call.call_id)
        self._session, self._correlation = str(uuid4()), str(uuid4())
        inbound = call.parameters.get("inbound_is", Leg.CUSTOMER.value)
        self._sides = ["external" if leg == inbound else "internal" for leg in call.legs]
        if Leg.MIXED in call.legs or len(set(call.legs)) < len(call.legs):
            raise ValueError("audiohook sends the customer's and the agent's side apart, or one of them")
        self._offer = _offer(sorted(self._sides))
        self._picked: list[str] | None = None  # channels; None until opened
        self._seq = self._server_seq = 0
        self._at = 0  # samples sent or left out
        self._waiting: list[PcmArray] = []  # [n, channels], not enough for a message yet
        self._pause_began = 0
        self._held = self._asked = False  # paused by us, by the server
        self._ping: int | None = None  # number of the ping that waits for its pong
        self._ping_due_s = FIRST_PING_S
        self._ponged = self._closing = False
        self._answers: dict[str, Callable[[Mapping[str, Any]], list[Message]]] = {
            "opened": self._opened,
            "pong": self._ponged_now,
            "pause": self._pause_asked,
            "resume": self._resume_asked,
            "updated": lambda _: [],
            "event": self._event,
            "reconnect": lambda _: [],
            "disconnect": self._disconnected,
            "closed": self._closed,
        }

    @property
    def recorded_as(self) -> str:
        """The conversation's id: the call's own where that is a UUID, or one made of it."""
        return safe_call_id(self._conversation)

    def handshake(self) -> Handshake:
        """Three ids, the API key, and the signature over them."""
        call = self.call
        api_key, secret = next(iter(call.secrets.items()), (DEFAULT_API_KEY, ""))
        target = f"{call.path}?{call.query}" if call.query else call.path
        headers = {
            "Audiohook-Organization-Id": self._organization,
            "Audiohook-Session-Id": self._session,
            "Audiohook-Correlation-Id": self._correlation,
            "X-API-KEY": api_key,
        }
        if secret:
            values = {"@request-target": target, "@authority": _authority(call)}
            values |= {name.lower(): value for name, value in headers.items()}
            headers |= signature_headers(values, api_key, base64.b64decode(secret), int(call.now_s))
        return Handshake(target, headers)

    def opening(self) -> list[Message]:
        """`open`; audio waits for `opened`."""
        given = dict(self.call.parameters)
        own = {name: given.pop(name, None) for name in _OWN_PARAMETERS}
        if self.call.message_secret is not None:
            given["token"] = self.call.message_secret
        parameters: dict[str, object] = {
            "organizationId": self._organization,
            "conversationId": self._conversation,
            "participant": {
                "id": NULL_UUID if self.probing else str(uuid4()),
                "ani": "" if self.probing else "+15550100",
                "aniName": "" if self.probing else "Emulated caller",
                "dnis": "" if self.probing else "+15550199",
            },
            "media": self._offer,
        }
        if own["language"]:
            parameters["language"] = own["language"]
        if given:
            parameters["customConfig"] = given
        return [self._message("open", parameters)]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """A message for every fifth frame; in a pause that the server asked for, only time passes."""
        if self._closing or self.probing or not self._picked:
            return []
        if self._held or self._asked:
            self._at += len(frames[0])
            return []
        by_side = dict(zip(self._sides, frames, strict=True))
        self._waiting.append(np.stack([by_side[side] for side in self._picked], axis=1))
        return self._flush() if len(self._waiting) >= MESSAGE_FRAMES else []

    def closing(self) -> list[Message]:
        """`close`; the connection stays until `closed`."""
        return [*self._flush(), *self._close("end")]

    def receive(self, message: Message) -> list[Message]:
        """Hear the server; what the reference client does not take ends the session with its error code."""
        if isinstance(message, bytes):
            return self._fail(415, "a binary message was sent")
        if len(message) > MAX_TEXT_CHARS:
            return self._fail(413, "a message is too large")
        try:
            said = orjson.loads(message)
        except orjson.JSONDecodeError:
            return self._fail(400, "a message is not JSON")
        if fault := self._fault(said):
            return self._fail(400, fault)
        self._server_seq = said["seq"]
        answer = self._answers.get(said["type"])
        if answer is None:
            return self._fail(400, "a message has a type that is unknown")
        return answer(said)

    def elapse(self, now_s: float) -> list[Message]:
        """Pings: 1 s after `opened`, right after the first pong, then every 5 s."""
        if self._closing or not self._picked or now_s < self._ping_due_s:
            return []
        while self._ping_due_s <= now_s:
            self._ping_due_s += PING_EVERY_S
        return self._send_ping()

    def dtmf(self, digit: str) -> list[Message]:
        """Told by the Audio Connector only."""
        if not self._connector or self._closing:
            return []
        return [*self._flush(), self._message("dtmf", {"digit": digit})]

    def pause(self) -> list[Message]:
        """`paused`, as for a secure pause."""
        if self._held:
            return []
        was_paused = self._asked
        self._held = True
        return [] if was_paused else self._begin_pause()

    def resume(self, skipped_frames: int) -> list[Message]:
        """`resumed` with what was left out, unless the server wants the pause to last."""
        self._at += skipped_frames * FRAME_SAMPLES
        if not self._held:
            return []
        self._held = False
        return [] if self._asked else self._end_pause()

    def _fault(self, said: object) -> str | None:
        """What is wrong with the envelope of a message."""
        if not isinstance(said, dict) or said.get("version") != "2" or said.get("id") != self._session:
            return "a message lacks the version or the session's id"
        if not isinstance(said.get("type"), str) or not isinstance(said.get("parameters"), dict):
            return "a message lacks type or parameters"
        if said.get("seq") != self._server_seq + 1:
            return "seq is not the number after that of the message before"
        client_seq = said.get("clientseq")
        if not isinstance(client_seq, int) or not 0 <= client_seq <= self._seq:
            return "clientseq is not a number that was sent"
        return None

    def _opened(self, said: Mapping[str, Any]) -> list[Message]:
        if self._picked is not None:
            return self._fail(409, "'opened' came twice")
        media = said["parameters"].get("media")
        if not isinstance(media, list) or len(media) > 1:
            return self._fail(400, "more than one media was selected, or none stated")
        if media and media[0] not in self._offer:
            return self._fail(400, "the selected media is not one of those offered")
        self._picked = media[0]["channels"] if media else []
        if self.probing:
            return self._close("end")
        self.ready = True
        self._asked = said["parameters"].get("startPaused") is True
        return self._begin_pause() if self._asked else []

    def _ponged_now(self, said: Mapping[str, Any]) -> list[Message]:
        if self._ping is None:
            return self._fail(409, "a pong came without a ping")
        if said["clientseq"] != self._ping:
            return self._fail(400, "clientseq of a pong is not the ping's seq")
        self._ping = None
        if self._ponged or self._closing:
            return []
        self._ponged = True
        return self._send_ping()

    def _pause_asked(self, said: Mapping[str, Any]) -> list[Message]:
        if self._closing:
            return []
        was_paused = self._held or self._asked
        self._asked = True
        return [self._message("paused", {})] if was_paused else self._begin_pause()

    def _resume_asked(self, said: Mapping[str, Any]) -> list[Message]:
        if self._closing:
            return []
        was_paused, self._asked = self._asked, False
        if self._held:
            return [self._message("paused", {})]
        if was_paused:
            return self._end_pause()
        return [*self._flush(), self._resumed(self._at)]

    def _event(self, said: Mapping[str, Any]) -> list[Message]:
        entities = said["parameters"].get("entities")
        if not isinstance(entities, list) or not all(
            isinstance(one, dict) and isinstance(one.get("type"), str) and "data" in one for one in entities
        ):
            return self._fail(400, "an event lacks its entities")
        return []

    def _disconnected(self, said: Mapping[str, Any]) -> list[Message]:
        self.hung_up = True
        reason = said["parameters"].get("reason")
        if reason not in ("completed", "unauthorized", "error"):
            return self._fail(400, "a disconnect lacks its reason")
        if reason != "completed" and self.problem is None:
            info = said["parameters"].get("info")
            self.problem = f"disconnect, {reason}" + (f": {info}" if info else "")
        return self._close("disconnect")

    def _closed(self, said: Mapping[str, Any]) -> list[Message]:
        if not self._closing:
            return self._fail(409, "'closed' came before 'close'")
        self.ready = self.ended = True  # of a probe: nothing more will come
        return []

    def _send_ping(self) -> list[Message]:
        if self._ping is not None:
            return self._fail(408, "a ping was not answered before the next")
        ping = self._message("ping", {"rtt": "PT0.01S"} if self._ponged else {})
        self._ping = self._seq
        return [ping]

    def _begin_pause(self) -> list[Message]:
        sent = self._flush()
        self._pause_began = self._at
        return [*sent, self._message("paused", {})]

    def _end_pause(self) -> list[Message]:
        return [self._resumed(self._pause_began)]

    def _resumed(self, start: int) -> str:
        return self._message("resumed", {"start": _duration(start), "discarded": _duration(self._at - start)})

    def _flush(self) -> list[Message]:
        """The audio that waits, as a message."""
        if not self._waiting:
            return []
        block = np.concatenate(self._waiting)
        self._waiting = []
        self._at += len(block)
        return [encode_ulaw(block.reshape(-1)).tobytes()]

    def _close(self, reason: str) -> list[Message]:
        if self._closing:
            return []
        self._closing = True
        return [self._message("close", {"reason": reason})]

    def _fail(self, code: int, problem: str) -> list[Message]:
        """Not what the reference client takes: it says `error`, and closes."""
        if self.problem is None:
            self.problem = f"{code}: {problem}"
        if self._closing:
            return []
        return [self._message("error", {"code": code, "message": problem}), *self._close("error")]

    def _message(self, kind: str, parameters: Mapping[str, object]) -> str:
        self._seq += 1
        message = {
            "version": "2",
            "type": kind,
            "id": self._session,
            "seq": self._seq,
            "serverseq": self._server_seq,
            "position": _duration(self._at),
            "parameters": parameters,
        }
        return orjson.dumps(message).decode()


def signature_headers(
    values: Mapping[str, str], api_key: str, secret: bytes, created: int, nonce: str | None = None
) -> dict[str, str]:
    """`Signature-Input` and `Signature` (HTTP Message Signatures, draft 11) as the reference client builds them.

    Written anew, so that the service's own reading of it is put to a test.
    """
    components = " ".join(f'"{name}"' for name in _SIGNED)
    nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
    key = api_key.replace("\\", "\\\\").replace('"', '\\"')
    parameters = (
        f'({components});keyid="{key}";nonce="{nonce}";alg="hmac-sha256"'
        f";created={created};expires={created + SIGNATURE_LIFETIME_S}"
    )
    lines = [f'"{name}": {values[name]}' for name in _SIGNED]
    text = "\n".join([*lines, f'"@signature-params": {parameters}'])
    mac = base64.b64encode(hmac.digest(secret, text.encode("latin-1"), hashlib.sha256)).decode()
    return {"Signature-Input": f"sig1={parameters}", "Signature": f"sig1=:{mac}:"}


def _authority(call: EmulatedCall) -> str:
    """Host and port, without the default ones."""
    if call.public_origin is None:
        return call.host.lower().removesuffix(":443").removesuffix(":80")
    scheme, _, host = call.public_origin.partition("://")
    return host.rstrip("/").lower().removesuffix(":443" if scheme == "wss" else ":80")


def _as_uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, text))


def _offer(sides: Sequence[str]) -> list[dict[str, object]]:
    """Stereo first, then each side alone, as the reference's sources offer."""
    channels = [list(sides)] if len(sides) > 1 else []
    channels += [[side] for side in sides]
    return [
        {"type": "audio", "format": "PCMU", "channels": names, "rate": SAMPLE_RATE_HZ} for names in channels
    ]


def _duration(samples: int) -> str:
    """Seconds to the sample, without trailing zeros: `PT0S`, `PT2.1S`."""
    return f"PT{samples / SAMPLE_RATE_HZ:.6f}".rstrip("0").rstrip(".") + "S"
