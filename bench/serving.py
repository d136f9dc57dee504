"""A server process to be measured: the service itself, or a bare ASGI application under the same uvicorn.

`python -m bench.serving JSON` serves until it is killed; `ServerProcess` starts it. Beside its own paths each takes
`POST /bench/<what>` with a JSON object, by which the benchmark has it do something; that passes no middleware.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.deps import Services
from app.api.recorder import CallRecorder
from app.api.server import RequestProtocol, StreamProtocol, address_of, bind, make_server
from app.domain import CallStart
from app.main import build_services, create_app
from app.records import record_body
from app.settings import Settings
from app.telemetry.logs import configure_logs
from bench.made import FORMAT, KEPT_S, TENANT, made_ended_call, made_record, write_all

CONTROL = "/bench/"
SEND_BUFFER = 64 * 1024
"""Of the kernel, for each connection, so that a viewer who does not read is noticed soon."""

_FILL_STEP = 500
_MOST_WAITING = 64
_PAGE = 1_000

Work = Callable[..., Awaitable[Any]]


class Controls:
    """Answers `POST /bench/<what>`, and passes everything else on."""

    def __init__(self, app: ASGIApp, works: Mapping[str, Work]) -> None:
        self._app = app
        self._works = works

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "http" or not scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        said = await self._works[scope["path"].removeprefix(CONTROL)](**orjson.loads(body))
        await answer(send, 200, orjson.dumps(said))


async def answer(send: Send, status: int, body: bytes) -> None:
    """A whole response."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Bare:
    """The least that an application can do: answers with so many bytes, and sends the same to every viewer."""

    def __init__(self) -> None:
        self.works: dict[str, Work] = {"tell": self.tell, "usage": self.usage}
        self._viewers: dict[Send, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection. HTTP: `/<status>/<bytes of the body>`."""
        if scope["type"] == "http":
            _, status, size = scope["path"].split("/")
            await answer(send, int(status), b"x" * int(size))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            self._viewers[send] = None
            while (await receive())["type"] != "websocket.disconnect":
                pass
            self._viewers.pop(send)

    async def tell(self, events: int, per_second: float | None) -> dict[str, Any]:
        """Sends a record to every viewer, again and again."""
        before, after = _around_latency()
        began, cpu = time.monotonic(), time.process_time()
        for number in range(events):
            await _pace(began, number, per_second)
            text = f"{before}{1e3 * time.monotonic():.3f}{after}"
            for send in list(self._viewers):
                await send({"type": "websocket.send", "text": text})
        return {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - began}

    async def usage(self) -> dict[str, Any]:
        """What it needs."""
        return {"rss": _rss(), "viewers": len(self._viewers)}


class Service:
    """What the benchmark has the service do."""

    def __init__(self, services: Services) -> None:
        self.works: dict[str, Work] = {
            "fill": self.fill,
            "load": self.load,
            "missing": self.missing,
            "tell": self.tell,
            "usage": self.usage,
        }
        self._services = services
        self._calls = 0
        self._filled = 0

    async def fill(self, calls: int) -> dict[str, Any]:
        """Stores ended calls until there are so many; straight into Redis, where that is the store."""
        redis = self._services.stores.redis
        store = self._services.store if redis is None else redis.results
        now = time.time()
        steps = iter(range(self._filled, calls, _FILL_STEP))

        async def work() -> None:
            for first in steps:
                numbers = range(first, min(first + _FILL_STEP, calls))
                ended = [made_ended_call(f"stored-{number}", now - 120 + number * 1e-6) for number in numbers]
                await write_all(store, [write for writes in ended for write in writes])

        # Two at a time, so that Redis works while the next ones are made.
        await asyncio.gather(work(), work())
        self._filled = max(self._filled, calls)
        return {"calls": self._filled}

    async def tell(self, events: int, per_second: float | None) -> dict[str, Any]:
        """A call makes records, as `app.api.runner` has them stored and told. per_second None: as fast as it can."""
        recorder = await self._opened()
        began, cpu = time.monotonic(), time.process_time()
        for number in range(events):
            await _pace(began, number, per_second)
            if per_second is None:
                await self._taken(_MOST_WAITING)
            await recorder.record(made_record(recorder.info.call_id, number + 1, 1e3 * time.monotonic()))
        if per_second is None:
            await self._taken(0)
        spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - began}
        await recorder.close("completed", {})
        return spent

    async def load(self, calls: int, per_second: float, seconds: float) -> dict[str, Any]:
        """Calls make records for a while. told: how many each; durable: of how many it was said that they last."""
        told: dict[str, int] = {}
        durable = 0
        recorders = [await self._opened() for _ in range(calls)]
        began = time.monotonic()
        for number in range(int(per_second * seconds)):
            await _pace(began, number, per_second)
            recorder = recorders[number % calls]
            call_id = recorder.info.call_id
            made = await recorder.record(made_record(call_id, 1))
            told[call_id] = made.seq or 0
            durable += made.durable
        return {"told": told, "durable": durable}

    async def missing(self, told: Mapping[str, int]) -> dict[str, Any]:
        """How many records of calls are not in the store, or are there twice."""
        missing = twice = 0
        for call_id, last in told.items():
            held: list[int] = []
            while True:
                begin = held[-1] + 1 if held else 1
                found = await self._services.store.list_records(TENANT, call_id, from_seq=begin, limit=_PAGE)
                held += [record.seq or 0 for record in found.items]
                if len(found.items) < _PAGE:
                    break
            missing += len(set(range(1, last + 1)) - set(held))
            twice += len(held) - len(set(held))
        return {"missing": missing, "twice": twice}

    async def usage(self) -> dict[str, Any]:
        """What it needs."""
        services = self._services
        dropped = services.metrics.registry.get_sample_value("kowairo_live_events_dropped_total")
        return {
            "rss": _rss(),
            "viewers": services.publisher.subscribers,
            "waiting": services.publisher.most_waiting,
            "dropped": dropped or 0.0,
        }

    async def _taken(self, most: int) -> None:
        """Waits until no viewer is further behind than so many events."""
        while True:
            if self._services.publisher.most_waiting <= most:
                return
            await asyncio.sleep(0)

    async def _opened(self) -> CallRecorder:
        self._calls += 1
        recorder = CallRecorder(CallStart(f"live-{self._calls}", FORMAT), self._services)
        await recorder.open()
        return recorder


async def _pace(began: float, number: int, per_second: float | None) -> None:
    """Waits until it is time for the next one."""
    left_s = 0.0 if per_second is None else began + number / per_second - time.monotonic()
    if left_s > 0:
        await asyncio.sleep(left_s)


def _around_latency() -> tuple[str, str]:
    """The text of an event before its latency, and after it."""
    body = {"type": "utterance", "position": 1, **record_body(made_record("live-1", 1, 0.5))}
    before, name, after = orjson.dumps(body).decode().partition('"latency_ms":')
    return before + name, after.removeprefix("0.5")


def _rss() -> int:
    """Bytes of this process in memory."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    return 0


def settings_of(bundle: str, store: Mapping[str, Any], most_calls: int) -> Settings:
    """Settings of the service that is measured: no limits in the way, viewers who do not read are not cut off."""
    return Settings.model_validate(
        {
            "port": 0,
            "bundle": {"path": bundle},
            "inference": {"provider": "cpu", "workers": 1},
            "store": {**store, "max_calls": most_calls, "ttl_s": KEPT_S, "max_records_per_call": 100_000},
            "limits": {"requests_per_s": None},
            "live": {"send_timeout_s": 600.0, "keepalive_s": 600.0},
        }
    )


def serve(options: Mapping[str, Any]) -> None:
    """Serves until it is killed, and says where on its standard output. options: `bare`, or those of `settings_of`."""
    configure_logs(level="error", as_json=False)
    settings = Settings.model_validate({"port": 0}) if "bare" in options else settings_of(**options)

    def announce(address: str) -> None:
        print(address, flush=True)

    with bind(settings) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if "bare" in options:
            bare = Bare()
            announce(address_of(sock))
            _bare_server(Controls(bare, bare.works)).run([sock])
            return
        services = build_services(settings)
        app = Controls(create_app(settings, services), Service(services).works)
        make_server(app, services, sock, announce).run([sock])


def _bare_server(app: ASGIApp) -> uvicorn.Server:
    """As `app.api.server` sets uvicorn up."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=RequestProtocol,
        ws=StreamProtocol,
        ws_per_message_deflate=False,
    )
    return uvicorn.Server(config)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
