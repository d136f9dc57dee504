"""An issuer's keys: which are of use, and how rarely they are fetched."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.jwks import MAX_BYTES, Jwks, JwksError, JwksFile, JwksTiming, JwksUrl, read_jwks
from tests.support.clock import FakeClock
from tests.support.issuer import JwksServer, private_key, public_jwk
from tests.support.logs import logged

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the machine's certificates takes a while, and nothing here needs them."""

TIMING = JwksTiming(renew_s=600, again_s=30)


def key_set(*keys: Any) -> bytes:
    """A key set as text."""
    return json.dumps({"keys": list(keys)}).encode()


class Source:
    """An issuer that counts how often it is asked."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.asked = 0
        self.down = False
        self.hold: asyncio.Event | None = None

    async def fetch(self) -> bytes:
        """The key set."""
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.down:
            raise JwksError("down")
        return self.text


def run(work: Callable[[Source, FakeClock, Jwks], Awaitable[None]], *keys: Any) -> None:
    """Runs with an issuer of these keys."""

    async def main() -> None:
        source, clock = Source(key_set(*keys)), FakeClock()
        jwks = Jwks(source, clock, TIMING)
        await work(source, clock, jwks)
        await jwks.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


async def settle() -> None:
    """Lets what goes on in the background come to its end."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("algorithm", "usable"),
    [("RS256", {"RS256", "PS256"}), ("ES256", {"ES256"}), ("EdDSA", {"EdDSA"})],
)
def test_a_key_is_for_the_algorithms_of_its_kind(algorithm: str, usable: set[str]) -> None:
    """And for one of them only, where it says so."""
    named = public_jwk(algorithm, "k")
    unnamed = {name: value for name, value in named.items() if name != "alg"}
    assert set(read_jwks(key_set(named))) == {("k", algorithm)}
    assert set(read_jwks(key_set(unnamed))) == {("k", name) for name in usable}


def _private_jwk() -> dict[str, Any]:
    numbers = private_key("ES256").private_numbers()
    return public_jwk("ES256", "k") | {"d": str(numbers.private_value)}


USELESS: list[Any] = [
    {"kty": "oct", "kid": "k", "k": "c2VjcmV0"},
    {"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256"},
    public_jwk("RS256", "k", alg="HS256"),
    public_jwk("RS256", "k", alg="none"),
    public_jwk("RS256", "k", use="enc"),
    public_jwk("RS256", "k", key_ops=["encrypt"]),
    public_jwk("RS256", None),
    public_jwk("RS256", 7),
    public_jwk("RS256", "k", n="AQAB"),
    public_jwk("RS256", "k", n=5),
    public_jwk("RS256", "k", e="!"),
    public_jwk("ES256", "k", crv="P-384"),
    public_jwk("ES256", "k", crv="secp256k1"),
    public_jwk("ES256", "k", x="AQAB"),
    public_jwk("EdDSA", "k", crv="X25519"),
    public_jwk("EdDSA", "k", x="AQAB"),
    _private_jwk(),
    {"kid": "k"},
    "key",
    None,
]


@pytest.mark.parametrize("useless", USELESS)
def test_other_keys_are_left_out(useless: Any) -> None:
    """Shared secrets, short, private, without an id, not for signing: the good one beside it counts."""
    assert set(read_jwks(key_set(useless, public_jwk("EdDSA", "good")))) == {("good", "EdDSA")}
    with pytest.raises(JwksError, match="none of the keys"):
        read_jwks(key_set(useless))


members = st.dictionaries(
    st.sampled_from(["kty", "kid", "crv", "x", "y", "n", "e", "alg", "use"]),
    st.none()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519"]),
)


@given(st.binary(max_size=64) | st.lists(members, max_size=3).map(lambda keys: key_set(*keys)))
def test_any_text_is_a_key_set_or_is_refused(text: bytes) -> None:
    """Nothing an issuer sends is more than a refusal."""
    with pytest.raises(JwksError):
        read_jwks(text)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"{}", b'{"keys": {}}', key_set(*[{}] * 101)])
def test_no_key_sets(text: bytes) -> None:
    """Nested without end, without keys, with too many."""
    with pytest.raises(JwksError):
        read_jwks(text)


def test_a_known_key_costs_no_fetch() -> None:
    """However often it is asked for; it is fetched again when it is old, and nobody waits for that."""

    async def work(source: Source, clock: FakeClock, jwks: Jwks) -> None:
        first = await jwks.find("k1", "RS256")
        assert first is not None
        for _ in range(1000):
            assert await jwks.find("k1", "RS256") is first
        assert source.asked == 1
        clock.advance(TIMING.renew_s)
        source.hold = asyncio.Event()
        assert await jwks.find("k1", "RS256") is first
        await settle()
        assert source.asked == 2

    run(work, public_jwk("RS256", "k1"))


def test_a_flood_of_unknown_keys_fetches_once_in_a_while() -> None:
    """A thousand different ones in a minute: three fetches."""

    async def work(source: Source, clock: FakeClock, jwks: Jwks) -> None:
        assert await jwks.find("k1", "RS256") is not None
        for number in range(1000):
            assert await jwks.find(f"unknown-{number}", "RS256") is None
            clock.advance(0.0599)
        assert source.asked == 2
        clock.advance(30)
        assert await jwks.find("unknown", "RS256") is None
        assert source.asked == 3

    run(work, public_jwk("RS256", "k1"))


def test_many_who_wait_cause_one_fetch() -> None:
    """A hundred tokens of an issuer that was never asked; one who gives up does not spoil it for the others."""

    async def work(source: Source, _clock: FakeClock, jwks: Jwks) -> None:
        source.hold = asyncio.Event()
        waiting = [asyncio.create_task(jwks.find("k1", "RS256")) for _ in range(100)]
        await settle()
        waiting[0].cancel()
        await settle()
        source.hold.set()
        keys = await asyncio.gather(*waiting[1:])
        assert source.asked == 1
        assert all(key is keys[0] for key in keys)
        assert keys[0] is not None

    run(work, public_jwk("RS256", "k1"))


def test_a_new_key_of_the_issuer_is_found() -> None:
    """Rotation: the first token that names it brings it; the one that is gone no longer counts."""

    async def work(source: Source, clock: FakeClock, jwks: Jwks) -> None:
        await jwks.find("k1", "RS256")
        source.text = key_set(public_jwk("ES256", "k2"))
        clock.advance(TIMING.again_s)
        assert await jwks.find("k2", "ES256") is not None
        assert await jwks.find("k1", "RS256") is None

    run(work, public_jwk("RS256", "k1"))


def test_keys_stay_when_a_fetch_fails() -> None:
    """Whether the issuer is down or sends nonsense; it is complained of, without what came."""

    async def work(source: Source, clock: FakeClock, jwks: Jwks) -> None:
        assert not jwks.available
        await jwks.find("k1", "RS256")
        assert jwks.available
        for down, text in ((True, b""), (False, b"secret nonsense")):
            source.down, source.text = down, text
            clock.advance(TIMING.renew_s)
            assert await jwks.find("k1", "RS256") is not None
            await settle()
            assert await jwks.find("other", "RS256") is None
            assert await jwks.find("k1", "RS256") is not None

    with logged() as log:
        run(work, public_jwk("RS256", "k1"))
    assert log.getvalue().count("jwks_not_fetched") == 2
    assert "nonsense" not in log.getvalue()


def test_without_leave_nothing_is_fetched() -> None:
    """For addresses that are put off."""

    async def work(source: Source, _clock: FakeClock, jwks: Jwks) -> None:
        assert await jwks.find("k1", "RS256", fetch=False) is None
        assert source.asked == 0
        assert jwks.retry_after_s() == 0

    run(work, public_jwk("RS256", "k1"))


def test_keys_come_from_a_file(tmp_path: Path) -> None:
    """Read anew at every fetch; a missing or huge one is a failed fetch."""
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(public_jwk("EdDSA", "k")))
    assert asyncio.run(JwksFile(path).fetch()) == path.read_bytes()
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(JwksError, match="at most"):
        asyncio.run(JwksFile(path).fetch())
    path.unlink()
    with pytest.raises(JwksError, match="cannot be read"):
        asyncio.run(JwksFile(path).fetch())


def test_keys_come_over_http() -> None:
    """From a real server."""
    server = JwksServer(public_jwk("EdDSA", "k"))
    with server.running() as url:
        assert set(read_jwks(asyncio.run(JwksUrl(url, context=CONTEXT).fetch()))) == {("k", "EdDSA")}
    assert server.requests == 1


@pytest.mark.parametrize(
    ("status", "headers", "body", "why"),
    [
        (500, {}, b"{}", "got 500"),
        (302, {"Location": "http://127.0.0.1:1/"}, b"", "got 302"),
        (200, {}, b" " * (MAX_BYTES + 1), "at most"),
        (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b", "compressed"),
    ],
    ids=["fault", "redirect", "huge", "compressed"],
)
def test_answers_that_are_not_taken(status: int, headers: dict[str, str], body: bytes, why: str) -> None:
    """Faults, redirects to elsewhere, endless and compressed ones."""
    server = JwksServer()
    server.status, server.headers, server.body = status, headers, body
    with server.running() as url, pytest.raises(JwksError, match=why):
        asyncio.run(JwksUrl(url, context=CONTEXT).fetch())


def test_a_server_that_does_not_answer_is_given_up() -> None:
    """After the time-out; and one that is not there at once."""
    server = JwksServer()
    server.hold = threading.Event()
    with server.running() as url, pytest.raises(JwksError, match=r"no answer|ReadTimeout|ConnectTimeout"):
        asyncio.run(JwksUrl(url, 0.2, CONTEXT).fetch())
    with pytest.raises(JwksError, match="cannot be read"):
        asyncio.run(JwksUrl(url, context=CONTEXT).fetch())


def test_certificates_are_read_off_the_hot_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, and once."""
    threads = []

    def read() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return CONTEXT

    monkeypatch.setattr("httpx.create_ssl_context", read)

    async def work(url: str) -> None:
        source = JwksUrl(url)
        await source.fetch()
        await source.fetch()

    with JwksServer(public_jwk("EdDSA", "k")).running() as url:
        asyncio.run(work(url))
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("url", ["http://[", "nonsense", "http://\x00", "https://xn--/"])
def test_an_address_that_is_none_is_a_failed_fetch(url: str) -> None:
    """Not a fault of the service."""
    with pytest.raises(JwksError):
        asyncio.run(JwksUrl(url, context=CONTEXT).fetch())
