"""What a call says of itself in a carrier's custom parameters, headers, query or metadata.

A few names mean something to this service, on every carrier:

| name | meaning |
|---|---|
| `token` | the site's `message_secret`; never kept |
| `line`, `language`, `team`, `subject` | as in the native `start` |
| `consent`, `notice_given` | `true`, `1` or `yes` |
| `inbound_is` | `customer` or `agent`: who speaks on the inbound (first) track |
| `leg` | `customer`, `agent` or `mixed`: who is on the only track |

All others become metadata of the call, within bounds: callers may write what they like into them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from app.domain import AudioFormat, CallStart, Leg
from app.wire.base import Notice
from app.wire.carrier import CarrierConfig, same_secret
from app.wire.envelope import unauthorized

MAX_PARAMETERS = 32
MAX_NAME_CHARS = 64
MAX_VALUE_CHARS = 512
MAX_TOTAL_CHARS = 3_072

_LINE = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_TEAM = _LINE
_SUBJECT = re.compile(r"[A-Za-z0-9._~:+@-]{1,128}")
_LANGUAGE = re.compile(r"[A-Za-z0-9-]{1,35}")
_NOT_IN_CALL_ID = re.compile(r"[^A-Za-z0-9._~-]")
_KNOWN = frozenset(
    {"token", "line", "language", "team", "subject", "consent", "notice_given", "inbound_is", "leg"}
)
_YES = frozenset({"true", "1", "yes"})


@dataclass(frozen=True, slots=True)
class Described:
    """A call as its parameters describe it. notices: what of them could not be used."""

    line: str
    language: str | None
    consent: bool
    notice_given: bool
    inbound: Leg
    single: Leg
    metadata: Mapping[str, object]
    team: str | None = None
    subject: str | None = None
    notices: tuple[Notice, ...] = ()

    @property
    def outbound(self) -> Leg:
        """Who speaks on the outbound (second) track."""
        return Leg.AGENT if self.inbound is Leg.CUSTOMER else Leg.CUSTOMER

    def start(
        self, call_id: str, audio_format: AudioFormat, extra: Mapping[str, object] | None = None
    ) -> CallStart:
        """The start of the call. extra: metadata that the carrier itself states; wins over the parameters."""
        return CallStart(
            call_id=safe_call_id(call_id),
            format=audio_format,
            line=self.line,
            language=self.language,
            consent=self.consent,
            notice_given=self.notice_given,
            metadata={**self.metadata, **(extra or {})},
            team=self.team,
            subject=self.subject,
        )


def describe(parameters: Mapping[str, object], config: CarrierConfig, *, trusted: bool = False) -> Described:
    """Read parameters; what cannot be used is left out and noticed, never refused.

    trusted: they came with a valid signature over them, so `token` is not asked for.

    Raises:
        WireError: `unauthorized`, the site asks for a `token` and it is missing or wrong.
    """
    if config.message_secret is not None and not trusted:
        token = parameters.get("token")
        if not isinstance(token, str) or not same_secret(token, config.message_secret):
            raise unauthorized("the parameter `token` is missing or wrong")
    notices: list[Notice] = []
    line = _matching(parameters, "line", _LINE, notices) or config.line
    inbound = _leg(parameters, "inbound_is", (Leg.CUSTOMER, Leg.AGENT), notices) or config.inbound
    metadata, dropped = _metadata(parameters)
    if dropped:
        notices.append(Notice("parameters_dropped", f"{dropped} parameters are too many or too long"))
    return Described(
        line=line,
        language=_matching(parameters, "language", _LANGUAGE, notices),
        consent=config.consent or _yes(parameters.get("consent")),
        notice_given=config.notice_given or _yes(parameters.get("notice_given")),
        inbound=inbound,
        single=_leg(parameters, "leg", tuple(Leg), notices) or config.single,
        metadata=metadata,
        team=_matching(parameters, "team", _TEAM, notices),
        subject=_matching(parameters, "subject", _SUBJECT, notices),
        notices=tuple(notices),
    )


def query_parameters(query: str) -> dict[str, object]:
    """The parameters of a raw query string; the last of a name wins, nonsense is left out."""
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=2 * MAX_PARAMETERS))
    except ValueError:
        return {}


def safe_call_id(text: str) -> str:
    """A carrier's id as a call id: what does not fit into a URL's path becomes `-`."""
    return _NOT_IN_CALL_ID.sub("-", text)[:120] or "-"


def _matching(
    parameters: Mapping[str, object], name: str, pattern: re.Pattern[str], notices: list[Notice]
) -> str | None:
    value = parameters.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    notices.append(Notice("invalid_parameter", f"the parameter `{name}` is not of its form and was left out"))
    return None


def _leg(
    parameters: Mapping[str, object], name: str, allowed: tuple[Leg, ...], notices: list[Notice]
) -> Leg | None:
    value = parameters.get(name)
    if value is None or value == "":
        return None
    for leg in allowed:
        if value == leg.value:
            return leg
    names = ", ".join(leg.value for leg in allowed)
    notices.append(Notice("invalid_parameter", f"the parameter `{name}` is none of {names} and was left out"))
    return None


def _yes(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() in _YES)


def _metadata(parameters: Mapping[str, object]) -> tuple[dict[str, object], int]:
    kept: dict[str, object] = {}
    total = dropped = 0
    for name, value in parameters.items():
        if name in _KNOWN:
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        usable = isinstance(value, bool) or (isinstance(value, str) and len(value) <= MAX_VALUE_CHARS)
        size = len(name) + (len(value) if isinstance(value, str) else 1)
        if (
            not usable
            or len(name) > MAX_NAME_CHARS
            or len(kept) >= MAX_PARAMETERS
            or total + size > MAX_TOTAL_CHARS
        ):
            dropped += 1
            continue
        kept[name] = value
        total += size
    return kept, dropped
