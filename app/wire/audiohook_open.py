"""What an AudioHook `open` offers and says of the call, and the values of its wire: UUIDs, durations, options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain import Leg
from app.wire.carrier import CarrierConfig, check_options
from app.wire.envelope import invalid, optional_text, unsupported
from app.wire.parameters import Described, query_parameters

OPTIONS = frozenset({"entity", "languages"})
"""entity: results are sent as `event` entities of this type. languages: what `supportedLanguages` is answered with."""

SAMPLE_RATE_HZ = 8_000
MAX_DURATION_S = 7 * 24 * 3600
MAX_CONTINUED = 8

NULL_UUID = "00000000-0000-0000-0000-000000000000"
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER = r"[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+"
_DURATION = re.compile(rf"P(?:({_NUMBER})D)?(?:T(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?")
_UNITS_S = (86_400, 3_600, 60, 1)
LANGUAGE = re.compile(r"[A-Za-z0-9-]{1,35}")
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")

_PARTICIPANT = (("participant_id", "id"), ("ani", "ani"), ("ani_name", "aniName"), ("dnis", "dnis"))
_CHANNELS = (("external", "internal"), ("internal", "external"), ("external",), ("internal",))
"""What can be picked of an offer, best first. external: the customer's side, internal: the agent's."""


@dataclass(frozen=True, slots=True)
class AudioHookOptions:
    """The site's options for this carrier, read."""

    entity: str | None = None
    languages: tuple[str, ...] = ()


def read_options(config: CarrierConfig) -> AudioHookOptions:
    """The options of `OPTIONS`.

    Raises:
        ValueError: an unknown one, or a value that is not of its form.
    """
    options = config.options
    check_options(options, dict.fromkeys(OPTIONS))
    entity = options.get("entity")
    if entity is not None and _TOKEN.fullmatch(entity) is None:
        raise ValueError("entity: expected 1 to 64 letters, digits or ._-")
    languages = tuple(code.strip() for code in options.get("languages", "").split(",") if code.strip())
    if any(LANGUAGE.fullmatch(code) is None for code in languages):
        raise ValueError("languages: expected codes such as en-US, separated by commas")
    return AudioHookOptions(entity, languages)


def duration_samples(value: object) -> int | None:
    """A duration (ISO 8601, `PT1.5S`; days, hours and minutes too) in samples; None where it is none."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    match = _DURATION.fullmatch(value)
    if match is None or not any(match.groups()):
        return None
    parts = zip(match.groups(), _UNITS_S, strict=True)
    seconds = sum(float(text.replace(",", ".")) * unit for text, unit in parts if text)
    return round(seconds * SAMPLE_RATE_HZ) if seconds <= MAX_DURATION_S else None


def uuid_field(parameters: Mapping[str, object], name: str) -> str:
    """A member that must be a UUID, in lower case.

    Raises:
        WireError: `invalid_field`.
    """
    value = parameters.get(name)
    if not isinstance(value, str) or UUID.fullmatch(value) is None:
        raise invalid(name, "a UUID")
    return value.lower()


def is_null(value: object) -> bool:
    """Whether a participant's id says that there is none: of a probe."""
    return value is None or value == NULL_UUID


def pick_media(parameters: Mapping[str, object]) -> dict[str, object] | None:
    """The element of the offer to take, copied: as many legs as there are, µ-law; None of an empty offer.

    Raises:
        WireError: `invalid_field`, or `unsupported` where nothing in the offer can be taken.
    """
    offered = parameters.get("media")
    if not isinstance(offered, list):
        raise invalid("media", "an array")
    if not offered:
        return None
    for channels in _CHANNELS:
        for element in offered:
            if (
                isinstance(element, dict)
                and element.get("type") == "audio"
                and element.get("format") == "PCMU"
                and element.get("rate") == SAMPLE_RATE_HZ
                and element.get("channels") == list(channels)
            ):
                return {name: element[name] for name in ("type", "format", "channels", "rate")}
    raise unsupported("media", "PCMU at 8000 Hz with the channels external, internal or both")


def media_legs(media: Mapping[str, object], described: Described) -> tuple[Leg, ...]:
    """Who is on each channel; `external` is the first track of this wire."""
    channels = media["channels"]
    assert isinstance(channels, list)  # noqa: S101 - for mypy: `pick_media` looked
    return tuple(described.inbound if name == "external" else described.outbound for name in channels)


def given_parameters(parameters: Mapping[str, object], query: str) -> dict[str, object]:
    """What the call says of itself: `customConfig` wins over the Connector's variables, those over the query."""
    given: dict[str, object] = {}
    if language := optional_text(parameters, "language", 35):
        given["language"] = language
    given |= query_parameters(query)
    for name in ("inputVariables", "customConfig"):
        values = parameters.get(name)
        if isinstance(values, dict):
            given |= values
    return given


def _continued_sessions(value: object) -> list[str]:
    """The sessions that this one goes on with; Genesys does not do so today."""
    if not isinstance(value, list):
        return []
    ids = [session.get("id") for session in value[:MAX_CONTINUED] if isinstance(session, dict)]
    return [text.lower() for text in ids if isinstance(text, str) and UUID.fullmatch(text)]


def carrier_metadata(
    session_id: str, correlation_id: str, parameters: Mapping[str, object], participant: Mapping[str, object]
) -> dict[str, object]:
    """What the carrier itself states of the call: its ids, and the numbers as it writes them."""
    stated: dict[str, object] = {
        "carrier": "audiohook",
        "organization_id": uuid_field(parameters, "organizationId"),
        "conversation_id": uuid_field(parameters, "conversationId"),
        "session_id": session_id.lower(),
    }
    if UUID.fullmatch(correlation_id):
        stated["correlation_id"] = correlation_id.lower()
    for name, field in _PARTICIPANT:
        if text := optional_text(participant, field):
            stated[name] = text
    if continued := _continued_sessions(parameters.get("continuedSessions")):
        stated["continued_sessions"] = continued
    return stated
