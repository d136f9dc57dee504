"""Every example of the documentation that talks to the service does, on a real server, and is answered well."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import build_services
from tests.contracts.seeded import hold_call, undelivering
from tests.support.live import on_server
from tests.support.service import ServerThread, make_settings, server
from tests.support.streams import SAMPLE, opened, receive, start_message
from tests.support.tenants import Tenant, make_tenants

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
HERE = "http://service"
ORIGINS = ("http://127.0.0.1:8000", "https://kowairo.example", "$KOWAIRO")
KEY = "$KEY"
LIVE = "live-one"
ENDED = ("5f1c", "demo-1", "a1")
"""Ids of calls in the examples."""
SOCKETS = {"/v1/stream"}
INLINE = re.compile(r"`GET (/v1/[^`{…<\s]+)`")
WITH_VALUE = {"-X", "-H", "-d", "-F", "-o"}


@dataclass(slots=True)
class Example:
    """A request that a page shows."""

    text: str
    url: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    form: str | None = None
    streams: bool = False


def curl_examples() -> Iterator[str]:
    """Every curl command on the service in a fenced block, continued lines put together."""
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                for command in re.split(r";(?=\s*curl)", line):
                    if command.strip().startswith("curl "):
                        yield command.strip()


def inline_examples() -> Iterator[str]:
    """Every `GET /v1/…` in prose that names what it wants."""
    for page in PAGES:
        yield from (path for path in INLINE.findall(page.read_text(encoding="utf-8")) if path not in SOCKETS)


def parsed(command: str) -> Example:
    """A command line of curl with the options that our pages use."""
    for origin in ORIGINS:
        command = command.replace(origin, HERE)
    words = iter(
        shlex.split(command.replace("5f1c…", LIVE if "/pause" in command else "5f1c"), comments=True)
    )
    example = Example(command)
    assert next(words) == "curl"
    for word in words:
        value = next(words) if word in WITH_VALUE else ""
        match word:
            case "-X":
                example.method = value
            case "-H":
                name, _, example.headers[name] = value.partition(": ")
                example.headers[name] = value.partition(": ")[2]
            case "-d":
                example.body, example.method = value, "POST"
            case "-F":
                example.form, example.method = value, "POST"
            case "-N":
                example.streams = True
            case "-o":
                pass
            case _:
                assert not word.startswith("-"), f"an option that this test does not know: {word}"
                example.url = word
    return example


CURLS = [parsed(command) for command in dict.fromkeys(curl_examples())]
INLINES = list(dict.fromkeys(inline_examples()))


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tenant, dict[str, Any]]:
    """Who sends the examples."""
    tenants = make_tenants(tmp_path_factory.mktemp("tenants"), ["alpha"])
    return tenants.all[0], tenants.groups


@pytest.fixture(scope="module")
def live(bundle: Path, tenant: tuple[Tenant, dict[str, Any]]) -> Iterator[ServerThread]:
    """A server with keys, as examples have them."""
    settings = make_settings(bundle, **tenant[1])
    with server(settings, undelivering(build_services(settings))) as running:
        yield running


def test_there_are_examples() -> None:
    """They were found, on all three pages."""
    assert len(CURLS) >= 12
    assert len(INLINES) >= 5


@pytest.mark.parametrize("example", CURLS, ids=[example.text for example in CURLS])
def test_commands(live: ServerThread, tenant: tuple[Tenant, dict[str, Any]], example: Example) -> None:
    """Each curl command is answered with success; live feeds begin."""
    _hold_calls(live, tenant[0].name)
    headers = tenant[0].headers() | {
        name: value.replace(KEY, tenant[0].key()) for name, value in example.headers.items()
    }
    url = example.url.replace(HERE, live.url)
    given: dict[str, Any] = {"headers": headers, "content": example.body}
    if example.form is not None:
        name, _, file = example.form.partition("=@")
        given = {"headers": headers, "files": {name: (file, SAMPLE.read_bytes())}}
    with (
        _live_call(live, tenant[0]) as call_id,
        httpx.Client(trust_env=False, timeout=60) as client,
        client.stream(example.method, url.replace(LIVE, call_id), **given) as answer,
    ):
        if not example.streams:
            answer.read()
        assert answer.is_success, answer.read()
        if example.streams:
            assert next(answer.iter_text()).startswith("retry:")


@pytest.mark.parametrize("path", INLINES)
def test_paths_in_prose(live: ServerThread, tenant: tuple[Tenant, dict[str, Any]], path: str) -> None:
    """Each request that prose names is answered with success."""
    _hold_calls(live, tenant[0].name)
    with (
        httpx.Client(trust_env=False, timeout=60, headers=tenant[0].headers()) as client,
        client.stream("GET", live.url + path) as answer,
    ):
        assert answer.is_success, answer.read()


@contextmanager
def _live_call(live: ServerThread, tenant: Tenant) -> Iterator[str]:
    """A call that goes on; its id."""
    with opened(live.stream_url, additional_headers=tenant.headers()) as socket:
        socket.send(start_message())
        yield receive(socket)["call_id"]


def _hold_calls(live: ServerThread, tenant: str) -> None:
    for call_id in ENDED:
        on_server(live, hold_call(live.services, tenant, call_id))
