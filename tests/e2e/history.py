"""A history of what clients were told, under load and faults, and the check of what can be read against it.

After Jepsen: clients note every record that they were told is durable; in the end everything is read back, and each of
those must be there, once, as it was told.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.sync.client import ClientConnection

from tests.support.streams import customer_audio, opened, pieces, receive, start_message

Record = dict[str, Any]
CLIP_S = 6.5
UTTERANCES_A_CALL = 4


@dataclass(slots=True)
class History:
    """What all clients were told; shared by their threads."""

    told: list[Record] = field(default_factory=list)
    resumed: int = 0
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, record: Record) -> None:
        """A client was told of a record."""
        with self.lock:
            self.told.append(record)

    def durable(self) -> list[Record]:
        """Those that were said to be durable."""
        with self.lock:
            return [record for record in self.told if record["durable"]]

    def count(self) -> int:
        """How many were told to be durable so far."""
        return len(self.durable())


class Caller(threading.Thread):
    """Makes calls one after the other until told to stop; takes a call up again that broke off.

    url: of the socket, asked anew for each connection, since the service may come back elsewhere.
    """

    def __init__(self, name: str, url: Any, history: History, done: threading.Event) -> None:
        super().__init__(name=name)
        self._url = url
        self._history = history
        self._done = done
        self._number = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        """Until told to stop."""
        try:
            while not self._done.is_set():
                self._number += 1
                self._call(f"{self.name}-{self._number}")
        except Exception as error:
            self.failure = error

    def _call(self, call_id: str) -> None:
        """One call, on as many sockets as it takes."""
        secret: str | None = None
        said = 0
        while said < UTTERANCES_A_CALL and not self._done.is_set():
            fields = {"call_id": call_id} | ({} if secret is None else {"resume": secret})
            try:
                with opened(self._url()) as socket:
                    socket.send(start_message(**fields))
                    ready = receive(socket)
                    if ready["type"] == "error":
                        if (
                            ready["code"] in ("try_again", "call_exists", "not_resumable")
                            and secret is not None
                        ):
                            self._history.refused += 1
                            self._done.wait(0.1)
                            if ready["code"] == "not_resumable":
                                continue
                            continue
                        return
                    self._history.resumed += secret is not None
                    secret = ready["resume"]
                    while said < UTTERANCES_A_CALL:
                        self._say(socket)
                        said += 1
                    socket.send('{"type":"stop"}')
            except (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, EOFError):
                self._done.wait(0.05)

    def _say(self, socket: ClientConnection) -> None:
        """One utterance, and what is told of it."""
        for piece in pieces(customer_audio(CLIP_S), 16_000):
            socket.send(piece)
        while True:
            message = receive(socket)
            if message["type"] == "utterance":
                self._history.note(message)
                return


def read_everything(url: str) -> dict[str, list[Record]]:
    """Every record of every call, by call, as REST gives them."""
    found: dict[str, list[Record]] = defaultdict(list)
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        for call_id in _ids(client):
            cursor: dict[str, str] = {}
            while True:
                page = client.get(f"/v1/calls/{call_id}/utterances", params={"limit": 100} | cursor).json()
                found[call_id] += page["items"]
                if page["next"] is None:
                    break
                cursor = {"cursor": page["next"]}
    return found


def _ids(client: httpx.Client) -> list[str]:
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/v1/calls", params={"limit": 100} | cursor).json()
        ids += [call["call_id"] for call in page["items"]]
        if page["next"] is None:
            return ids
        cursor = {"cursor": page["next"]}


def faults(told: list[Record], found: dict[str, list[Record]]) -> list[str]:
    """What is wrong: lost, changed, doubled, out of order or with a hole. Empty where all is well."""
    wrong: list[str] = []
    for call_id, records in found.items():
        numbers = [record["seq"] for record in records]
        if numbers != list(range(1, len(numbers) + 1)):
            wrong.append(f"{call_id}: the numbers are {numbers}")
        ids = [record["utterance_id"] for record in records]
        if len(set(ids)) != len(ids):
            wrong.append(f"{call_id}: an utterance is there twice: {ids}")
    for record in told:
        kept = [
            other
            for other in found.get(record["call_id"], [])
            if other["utterance_id"] == record["utterance_id"]
        ]
        if not kept:
            wrong.append(f"{record['utterance_id']}: told to be durable, and lost")
        elif kept[0] != {name: value for name, value in record.items() if name != "type"}:
            wrong.append(f"{record['utterance_id']}: not as it was told")
    return wrong
