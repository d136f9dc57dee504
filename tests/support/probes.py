"""Requests about what is another tenant's, each beside its twin about what never was, and their comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.support.raw import Answer, RawClient
from tests.support.walls import GHOST, LINE, MARK, TEAM, ghost_of

VOLATILE_HEADERS = frozenset(
    ("date", "etag", "location", "content-disposition", "content-length", "ratelimit", "connection")
)
"""Of one request only."""

VOLATILE = frozenset(
    (
        *("id", "key", "key_id", "secret", "signature", "object", "calls", "calls_sha256", "audit"),
        *("at", "since", "until", "created_at", "requested_at", "completed_at", "latency_ms", "seconds"),
    )
)
"""Members of bodies that each request makes anew."""

SENT = "(sent)"
_MARKS = re.compile(f"{MARK}|{GHOST}", re.IGNORECASE)
_PLACE = re.compile(r"\{([a-z_]+)(?::path)?\}")

Respell = Callable[[str], str]


def spelt(value: str) -> str:
    """A value as a part of a path."""
    return quote(value, safe="")


@dataclass(frozen=True, slots=True)
class Probe:
    """A request and its twin. Names of parameters in braces stand for values.

    about: by parameter, what is another tenant's. query: parameters that are sent in the query. fixed: more of it.
    content: a body that is sent as it is; text: one with names in braces.
    """

    method: str
    path: str
    about: Mapping[str, str]
    query: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    content: bytes | None = field(default=None, repr=False)

    def send(self, client: RawClient, *, ghost: bool, respell: Respell = spelt) -> Answer:
        """Sends the request, or its twin. respell: writes values into the path."""
        values = {name: ghost_of(own) if ghost else own for name, own in self.about.items()}
        path = _PLACE.sub(lambda found: respell(values[found[1]]), self.path)
        query = urlencode({**{name: values[name] for name in self.query}, **self.fixed})
        if self.text is not None:
            text = _PLACE.sub(lambda found: json.dumps(values[found[1]])[1:-1], self.text)
            sent, headers = text.encode(), {"Content-Type": "application/json"}
        else:
            sent, headers = self.content or b"", {}
        target = path + (f"?{query}" if query else "")
        return client.send(self.method, target, sent or None, headers)

    def plain(self, answer: Answer, *, body: bool = True) -> object:
        """An answer without what only this request has, and with one word for whatever it asked about."""
        headers = {name: value for name, value in answer.headers.items() if name not in VOLATILE_HEADERS}
        words = [form for own in self.about.values() for form in (own, ghost_of(own))]
        return answer.status, headers, _plain_body(answer.body, words) if body else None


def leaks(answer: Answer, needles: Iterable[str], probe: Probe | None = None) -> list[str]:
    """Needles in an answer; not those that were asked for, nor names that anybody may use."""
    text = answer.body.decode("latin-1") + repr(dict(answer.headers))
    for name in (LINE, TEAM, *(() if probe is None else probe.about.values())):
        text = text.replace(name, SENT).replace(json.dumps(name)[1:-1], SENT)
    return [needle for needle in needles if needle in text]


def _plain_body(body: bytes, words: Iterable[str]) -> Any:
    text = body.decode("latin-1")
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, SENT)
    text = _MARKS.sub(SENT, text)
    try:
        return _without_volatile(json.loads(text))
    except ValueError:
        return text


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: type(member).__name__ if name in VOLATILE else _without_volatile(member)
            for name, member in value.items()
        }
    return [_without_volatile(item) for item in value] if isinstance(value, list) else value
