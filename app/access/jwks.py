"""The keys that an issuer of tokens publishes (RFC 7517): from an https address or a file, fetched off the hot path."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
KeySet: TypeAlias = Mapping[tuple[str, str], PublicKey]
"""Public keys by key id and algorithm."""

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""What tokens may be signed with. Nothing with a shared secret (HS…), ever: a public key would be one."""

MAX_BYTES = 512 * 1024
MAX_KEYS = 100
MIN_RSA_BITS = 2048
FETCH_TIMEOUT_S = 5.0

# Compressed, a few bytes could become any number.
_ACCEPT = {"Accept": "application/json", "Accept-Encoding": "identity"}


class JwksError(Exception):
    """The keys cannot be had; the message says why, without quoting what came."""


class JwksSource(Protocol):
    """Where an issuer publishes its keys."""

    async def fetch(self) -> bytes:
        """The JSON text.

        Raises:
            JwksError: it cannot be had.
        """
        ...


class JwksFile:
    """Keys in a file, read anew at every fetch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self) -> bytes:
        """The file; see `JwksSource.fetch`."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise JwksError(f"the file cannot be read: {error.strerror}") from None
        if len(text) > MAX_BYTES:
            raise JwksError(f"expected at most {MAX_BYTES} bytes")
        return text


class JwksUrl:
    """Keys behind an address. Redirects are not followed: the address is what the site trusts."""

    def __init__(
        self, url: str, timeout_s: float = FETCH_TIMEOUT_S, context: ssl.SSLContext | None = None
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._context = context

    async def fetch(self) -> bytes:
        """What is at the address; see `JwksSource.fetch`."""
        if self._context is None:
            # Reading a machine's certificates takes long enough for calls to notice.
            self._context = await asyncio.to_thread(httpx.create_ssl_context)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get(self._context)
        except TimeoutError:
            raise JwksError(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            raise JwksError(f"the address cannot be read: {type(error).__name__}") from None

    async def _get(self, context: ssl.SSLContext) -> bytes:
        async with (
            httpx.AsyncClient(verify=context, timeout=self._timeout_s, follow_redirects=False) as client,
            client.stream("GET", self._url, headers=_ACCEPT) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise JwksError(f"expected status 200, got {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise JwksError("expected an answer that is not compressed")
            text = bytearray()
            async for chunk in response.aiter_raw():
                text += chunk
                if len(text) > MAX_BYTES:
                    raise JwksError(f"expected at most {MAX_BYTES} bytes")
            return bytes(text)


@dataclass(frozen=True, slots=True)
class JwksTiming:
    """When keys are fetched, in seconds.

    renew_s: age at which they are fetched again while those at hand are used. again_s: the least time between two
    fetches, however many tokens name keys that are not there.
    """

    renew_s: float = 600.0
    again_s: float = 30.0


@dataclass(slots=True)
class _State:
    keys: KeySet = field(default_factory=dict)
    fetched_at: float | None = None
    tried_at: float | None = None


class Jwks:
    """An issuer's keys. Those at hand stay in force when a fetch fails."""

    def __init__(self, source: JwksSource, clock: Clock, timing: JwksTiming) -> None:
        self._source = source
        self._clock = clock
        self._timing = timing
        self._state = _State()
        self._fetching: asyncio.Task[None] | None = None
        self._log = get_logger(__name__)

    @property
    def available(self) -> bool:
        """Whether keys were ever had."""
        return self._state.fetched_at is not None

    def retry_after_s(self) -> float:
        """Seconds until keys may be fetched again."""
        tried_at = self._state.tried_at
        return (
            0.0 if tried_at is None else max(0.0, tried_at + self._timing.again_s - self._clock.monotonic())
        )

    async def find(self, key_id: str, algorithm: str, *, fetch: bool = True) -> PublicKey | None:
        """The public key of this id for this algorithm.

        Waits only where the id is not known and the keys may be fetched again; many who wait cause one fetch.
        """
        state, now = self._state, self._clock.monotonic()
        key = state.keys.get((key_id, algorithm))
        if key is not None:
            if state.fetched_at is not None and now - state.fetched_at >= self._timing.renew_s:
                self._fetch()
            return key
        task = self._fetch() if fetch else None
        if task is not None:
            await asyncio.shield(task)
        return self._state.keys.get((key_id, algorithm))

    async def close(self) -> None:
        """Stops fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _fetch(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one; None where it is too early for another."""
        if self._fetching is None:
            if self.retry_after_s() > 0:
                return None
            self._state.tried_at = self._clock.monotonic()
            self._fetching = asyncio.create_task(self._renew())
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _renew(self) -> None:
        try:
            keys = read_jwks(await self._source.fetch())
        except JwksError as error:
            self._log.warning("jwks_not_fetched", why=str(error), keys=len(self._state.keys))
            return
        self._state.keys = keys
        self._state.fetched_at = self._clock.monotonic()
        self._log.info("jwks_fetched", keys=len(keys))


def read_jwks(text: bytes) -> KeySet:
    """The public keys of a key set, for the algorithms that each may be used with.

    Keys that are of no use here are left out: other kinds, short ones, without an id, private ones, not for signing.

    Raises:
        JwksError: it is no key set, or none of its keys is of use.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise JwksError("expected JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise JwksError(f"expected an object whose `keys` are at most {MAX_KEYS} keys")
    keys: dict[tuple[str, str], PublicKey] = {}
    for entry in entries:
        if isinstance(entry, dict):
            for algorithm, key in _public_keys(entry).items():
                keys.setdefault((entry["kid"], algorithm), key)
    if not keys:
        raise JwksError("none of the keys can be used: expected RSA, P-256 or Ed25519 keys with a `kid`")
    return MappingProxyType(keys)


def _public_keys(entry: Mapping[str, Any]) -> dict[str, PublicKey]:
    """One key by algorithm; nothing where it is of no use."""
    operations = entry.get("key_ops", ["verify"])
    usable = (
        isinstance(entry.get("kid"), str)
        and entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in entry  # whoever publishes a private key has no secret left
    )
    if not usable:
        return {}
    try:
        key, algorithms = _parse(entry)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
        return {}
    named = entry.get("alg")
    return {name: key for name in algorithms if key is not None and named in (None, name)}


def _parse(entry: Mapping[str, Any]) -> tuple[PublicKey | None, tuple[str, ...]]:
    kind = entry.get("kty")
    if kind == "RSA":
        key = RSAAlgorithm.from_jwk(dict(entry))
        if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
            return key, ("RS256", "PS256")
    elif kind == "EC" and entry.get("crv") == "P-256":
        curve_key = ECAlgorithm.from_jwk(dict(entry))
        if isinstance(curve_key, EllipticCurvePublicKey) and isinstance(curve_key.curve, SECP256R1):
            return curve_key, ("ES256",)
    elif kind == "OKP" and entry.get("crv") == "Ed25519":
        edwards_key = OKPAlgorithm.from_jwk(dict(entry))
        if isinstance(edwards_key, Ed25519PublicKey):
            return edwards_key, ("EdDSA",)
    return None, ()
