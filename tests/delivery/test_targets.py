"""URLs of webhooks, and connections that go where the check said."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpcore
import pytest

from app.delivery.config import DeliveryConfig
from app.delivery.targets import (
    GuardedBackend,
    SystemResolver,
    TargetGuard,
    TargetRefusedError,
    TargetUnknownError,
)
from tests.delivery.parts import HOST, LOOPBACK, Names, local_config
from tests.delivery.receiver import receiving


def guard(config: DeliveryConfig | None = None, **known: tuple[tuple[str, ...], ...]) -> TargetGuard:
    """Rules, and names with their addresses (dots as underscores)."""
    names = {name.replace("_", "."): answers for name, answers in known.items()}
    return TargetGuard(config or DeliveryConfig(), Names(names))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/", "begins with https"),
        ("ftp://hooks.example/", "begins with https"),
        ("file:///etc/passwd", "begins with https"),
        ("gopher://hooks.example/", "begins with https"),
        ("//hooks.example/", "begins with https"),
        ("hooks.example", "begins with https"),
        ("", "begins with https"),
        ("https://", "a host"),
        ("https:///path", "a host"),
        ("https://user:word@hooks.example/", "no user or password"),
        ("https://user@hooks.example/", "no user or password"),
        ("https://hooks.example/#part", "no fragment"),
        ("https://hooks.example:22/", "ports 443, 8443"),
        ("https://hooks.example:99999/", "port from 1 to 65535"),
        ("https://hooks.example:0/", "port from 1 to 65535"),
        ("https://hooks example/", "a URL|a host"),
        ("https://hooks.example\n/", "a URL"),
        ("https://[::1", "a URL"),
        ("https://%31%32%37.0.0.1/", "a host|as four decimal"),
        ("https://127.0.0.1/", "public address"),
        ("https://127.0.0.1./", "four decimal"),
        ("https://2130706433/", "four decimal"),
        ("https://0x7f000001/", "four decimal"),
        ("https://0x7f.0.0.1/", "four decimal"),
        ("https://0177.0.0.1/", "a URL|four decimal"),
        ("https://017700000001/", "four decimal"),
        ("https://127.1/", "four decimal"),
        ("https://[::1]/", "public address"),
        ("https://[::ffff:127.0.0.1]/", "public address"),
        ("https://[::ffff:7f00:1]/", "public address"),
        ("https://[64:ff9b::7f00:1]/", "public address"),
        ("https://[fe80::1%25eth0]/", "a URL|a host"),
        ("https://169.254.169.254/latest/meta-data/", "public address"),
        ("https://１２７.0.0.1/", "a URL|public address"),
        ("https://" + "a" * 2_048, "at most 2048 characters"),
    ],
)
def test_urls_that_are_refused(url: str, why: str) -> None:
    """Each says what was expected, and quotes nothing."""
    with pytest.raises(TargetRefusedError, match=why):
        guard().parse(url)


def test_a_urls_parts() -> None:
    """What is connected to is what was parsed; nothing is parsed twice."""
    target = guard().parse("https://Hooks.Example:8443/in?tenant=a%20b")
    assert (target.scheme, target.host, target.port) == ("https", "hooks.example", 8443)
    assert target.path == b"/in?tenant=a%20b"
    assert target.authority == "hooks.example:8443"
    assert guard().parse("https://bücher.example/").host == "xn--bcher-kva.example"
    assert guard().parse("https://[2606:4700::1111]/").authority == "[2606:4700::1111]"
    assert guard(local_config()).parse("http://127.0.0.1:1/").authority == "127.0.0.1:1"


@pytest.mark.parametrize(
    "answer",
    [
        ("10.0.0.1",),
        ("1.1.1.1", "127.0.0.1"),
        ("::1",),
        ("::ffff:1.1.1.1",),
        ("fe80::1%2",),
        ("169.254.169.254",),
    ],
)
def test_a_name_of_a_private_address_is_refused(answer: tuple[str, ...]) -> None:
    """Also where only one of its addresses is private."""
    with pytest.raises(TargetRefusedError, match="public address"):
        asyncio.run(guard(hooks_example=(answer,)).addresses(HOST, 443))


def test_a_name_without_address_is_unknown() -> None:
    """Said, not guessed."""
    with pytest.raises(TargetUnknownError):
        asyncio.run(guard().addresses(HOST, 443))
    with pytest.raises(TargetUnknownError):
        asyncio.run(guard(hooks_example=((),)).addresses(HOST, 443))


def test_a_number_never_gets_to_the_resolver() -> None:
    """The connection checks what the URL's rules checked before."""
    with pytest.raises(TargetRefusedError):
        asyncio.run(guard().addresses("0x7f.1", 443))


def test_the_connection_goes_to_the_checked_address() -> None:
    """The name is looked up once: what it says a moment later plays no part."""

    async def connect(port: int) -> tuple[Any, list[str]]:
        names = Names({HOST: (("127.0.0.1",), ("10.0.0.1",))})
        backend = GuardedBackend(TargetGuard(DeliveryConfig(allowed_networks=(LOOPBACK,)), names))
        stream = await backend.connect_tcp(HOST, port, 5.0)
        peer = stream.get_extra_info("server_addr")
        await stream.aclose()
        with pytest.raises(TargetRefusedError):
            await backend.connect_tcp(HOST, port, 5.0)
        return peer, names.asked

    with receiving() as (_, port):
        peer, asked = asyncio.run(connect(port))
    assert tuple(peer[:2]) == ("127.0.0.1", port)
    assert asked == [HOST, HOST]


def test_another_address_is_tried_where_one_does_not_answer() -> None:
    """And where none does, that is said."""

    async def connect(port: int, *addresses: str) -> Any:
        backend = GuardedBackend(TargetGuard(local_config(), Names({HOST: (addresses,)})))
        stream = await backend.connect_tcp(HOST, port, 5.0)
        peer = stream.get_extra_info("server_addr")
        await stream.aclose()
        return peer[0]

    with receiving() as (_, port):
        assert asyncio.run(connect(port, "127.0.0.2", "127.0.0.1")) == "127.0.0.1"
        with pytest.raises(httpcore.ConnectError):
            asyncio.run(connect(port, "127.0.0.2", "127.0.0.3"))


def test_the_systems_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address once; one lookup for all who ask at a time; what it cannot find is unknown."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host != HOST:
            raise socket.gaierror("not known")
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in ("1.1.1.1", "1.1.1.1", "8.8.8.8")]

    async def resolve() -> None:
        resolver = SystemResolver()
        answers = await asyncio.gather(*(resolver.resolve(HOST, 443) for _ in range(5)))
        assert set(answers) == {("1.1.1.1", "8.8.8.8")}
        with pytest.raises(TargetUnknownError):
            await resolver.resolve("nowhere.example", 443)
        resolver.close()

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    asyncio.run(resolve())
    assert asked.count("nowhere.example") == 1
