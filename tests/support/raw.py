"""Requests sent as they are written: no client straightens paths, joins headers or follows anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. body: of a stream without an end, its first piece."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class RawClient:
    """One connection that is kept; each request is sent with these headers."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        place = urlsplit(url)
        self._connection = HTTPConnection(place.hostname or "", place.port, timeout=TIMEOUT_S)
        self._headers = dict(headers)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request. headers: beside the client's own, and before them."""
        self._connection.request(method, path, body, self._headers | dict(headers or {}))
        response = self._connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        if told.get("content-type", "").startswith("text/event-stream"):
            answer = Answer(response.status, told, response.read1(65_536))
            self._connection.close()  # the rest never ends; the next request connects anew
            return answer
        return Answer(response.status, told, response.read())

    def send_json(self, method: str, path: str, body: object) -> Answer:
        """One request with JSON."""
        return self.send(method, path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def made(self, method: str, path: str, body: object) -> Any:
        """The same, where it succeeds."""
        answer = self.send_json(method, path, body)
        assert 200 <= answer.status < 300, answer
        return answer.json
