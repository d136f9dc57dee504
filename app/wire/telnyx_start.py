"""Telnyx's `start`: what it says of a call, and how its audio is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain import Encoding
from app.wire.base import Notice
from app.wire.carrier import CarrierConfig
from app.wire.envelope import invalid, number_field, object_field, optional_text, text_field, unsupported
from app.wire.parameters import Described, describe
from app.wire.telnyx_auth import TRACKS

_ENCODINGS = {"PCMU": Encoding.PCM_MULAW, "PCMA": Encoding.PCM_ALAW, "L16": Encoding.PCM_S16LE}
_L16_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_G711_RATE_HZ = 8_000
_MAX_TAGS = 16
_MAX_TAG_CHARS = 64
_MAX_STATE_CHARS = 1_024


@dataclass(frozen=True, slots=True)
class Opening:
    """A call whose `start` was read at `since_s`.

    tracks: which will come, 0 inbound, 1 outbound; None where it does not say. has_leg: the parameter `leg` names who
    is on the only track. extra: metadata that Telnyx itself states.
    """

    call_id: str
    described: Described
    encoding: Encoding
    sample_rate_hz: int
    tracks: tuple[int, ...] | None
    has_leg: bool
    extra: Mapping[str, object]
    notices: tuple[Notice, ...]
    since_s: float


def read_opening(message: Mapping[str, object], config: CarrierConfig, now_s: float) -> Opening:
    """Read a `start` message. `stream_track`, should it be there, goes before the parameter `tracks`.

    Raises:
        WireError: a field is missing or wrong, the codec is unknown, or the parameter `token` is wrong.
    """
    start = object_field(message, "start")
    encoding, rate_hz = _format(start)
    call_id = optional_text(start, "call_control_id") or optional_text(message, "stream_id")
    if call_id is None:
        raise invalid("start.call_control_id", "text of 1 to 256 characters")
    parameters = _parameters(start)
    named = parameters.pop("tracks", None)
    described = describe(parameters, config)
    tracks = _tracks(start.get("stream_track")) or _tracks(named)
    notices = described.notices
    if named not in (None, "") and _tracks(named) is None:
        detail = f"the parameter `tracks` is none of {', '.join(TRACKS)} and was left out"
        notices = (*notices, Notice("invalid_parameter", detail))
    return Opening(
        call_id=call_id,
        described=described,
        encoding=encoding,
        sample_rate_hz=rate_hz,
        tracks=tracks,
        has_leg=parameters.get("leg") == described.single.value,
        extra=_extra(message, start),
        notices=notices,
        since_s=now_s,
    )


def _format(start: Mapping[str, object]) -> tuple[Encoding, int]:
    """How the audio is written, as `media_format` says: it follows the telephone line and is never assumed."""
    media_format = object_field(start, "media_format")
    encoding = _ENCODINGS.get(text_field(media_format, "encoding").upper())
    if encoding is None:
        raise unsupported("media_format.encoding", "PCMU, PCMA or L16; ask for one as `stream_codec`")
    linear = encoding is Encoding.PCM_S16LE
    rate_hz = (
        number_field(media_format, "sample_rate")
        if linear or "sample_rate" in media_format
        else _G711_RATE_HZ
    )
    if rate_hz not in (_L16_RATES_HZ if linear else (_G711_RATE_HZ,)):
        raise unsupported("media_format.sample_rate", "8000, or for L16 one of the usual rates up to 48000")
    if "channels" in media_format and number_field(media_format, "channels") != 1:
        raise unsupported("media_format.channels", "1")
    return encoding, rate_hz


def _parameters(start: Mapping[str, object]) -> dict[str, object]:
    """`custom_parameters`: an object, or the list of name and value as it was ordered."""
    value = start.get("custom_parameters")
    if value is None:
        return {}
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list):
        pairs = [(entry.get("name"), entry.get("value")) for entry in value if isinstance(entry, dict)]
        return {name: given for name, given in pairs if isinstance(name, str)}
    raise invalid("custom_parameters", "an object")


def _tracks(value: object) -> tuple[int, ...] | None:
    """Which tracks a name means, as options or as Telnyx write it; None where it means none."""
    if not isinstance(value, str):
        return None
    return TRACKS.get(value.removesuffix("_track").removesuffix("_tracks"))


def _extra(message: Mapping[str, object], start: Mapping[str, object]) -> dict[str, object]:
    """What Telnyx itself says of the call. from, to: telephone numbers."""
    extra: dict[str, object] = {"carrier": "telnyx"}
    if stream_id := optional_text(message, "stream_id"):
        extra["stream_id"] = stream_id
    for name in ("call_control_id", "call_session_id", "user_id", "from", "to"):
        if value := optional_text(start, name):
            extra[name] = value
    if client_state := optional_text(start, "client_state", _MAX_STATE_CHARS):
        extra["client_state"] = client_state
    tags = start.get("tags")
    if isinstance(tags, list):
        kept = [tag for tag in tags if isinstance(tag, str) and len(tag) <= _MAX_TAG_CHARS][:_MAX_TAGS]
        if kept:
            extra["tags"] = kept
    return extra
