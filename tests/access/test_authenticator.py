"""Whoever comes: plain keys, keys of the file and of the store, tokens, nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.access import authenticator as module
from app.access.authenticator import Admission, Authenticator, Sources
from app.access.jwks import Jwks, JwksTiming
from app.access.keyfile import CHECK_EVERY_S, KeysFile, add_to_file
from app.access.keys import KeyRecord, new_key
from app.access.principal import SITE, Principal, Scope
from app.access.refusal import Reason, Refusal
from app.access.stored import FRESH_S, GRACE_S, KeysAwayError, StoredKeys
from app.access.tokens import TokenRules, TokenVerifier
from tests.support.clock import FakeClock
from tests.support.issuer import AUDIENCE, ISSUER, NOW, claims, public_jwk, token

SITE_KEY = "a-plain-key-of-the-site"


class Store:
    """A store of keys."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyRecord] = {}
        self.asked = 0
        self.away = False

    async def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id."""
        self.asked += 1
        if self.away:
            raise KeysAwayError("away")
        return self.keys.get(key_id)


class Issuer:
    """An issuer with one key."""

    def __init__(self) -> None:
        self.asked = 0

    async def fetch(self) -> bytes:
        """Its key."""
        self.asked += 1
        return json.dumps({"keys": [public_jwk("EdDSA", "k1")]}).encode()


class House:
    """Every source at once."""

    def __init__(self, folder: Path, *, needed: bool = True) -> None:
        self.clock = FakeClock(NOW)
        self.store = Store()
        self.issuer = Issuer()
        self.file_key, self.file_record = new_key("alpha", "file", [Scope.INGEST], now=NOW - 5)
        self.store_key, self.store_record = new_key(
            "beta", "store", [Scope.LABEL, Scope.ERASE], now=NOW - 5, expires_at=NOW + 1000
        )
        self.store.keys[self.store_record.key_id] = self.store_record
        self.path = folder / "keys.json"
        add_to_file(self.path, self.file_record)
        verifier = TokenVerifier(
            Jwks(self.issuer, self.clock, JwksTiming()), TokenRules(ISSUER, AUDIENCE), self.clock
        )
        sources = Sources(
            site_keys=[SITE_KEY, "another-key-of-the-site"],
            file=KeysFile(self.path, self.clock),
            stored=StoredKeys(self.store, self.clock),
            tokens=verifier,
            needed=needed,
        )
        self.authenticator = Authenticator(sources, self.clock)

    async def who(self, secret: str | None, *, ask: bool = True) -> Principal | Reason:
        """Who presents this as a Bearer credential."""
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        found = await self.authenticator.authenticate(headers, ask=ask)
        return found.reason if isinstance(found, Refusal) else found.principal


def run(folder: Path, work: Callable[[House], Awaitable[None]], **options: Any) -> None:
    """Runs with every source."""

    async def main() -> None:
        house = House(folder, **options)
        await work(house)
        await house.authenticator.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_everybody_is_known_by_what_they_present(tmp_path: Path) -> None:
    """Each source gives its own tenant and scopes."""

    async def work(house: House) -> None:
        assert await house.who(SITE_KEY) == SITE
        assert await house.who(house.file_key) == Principal(
            "alpha", "file", frozenset({Scope.INGEST}), house.file_record.key_id
        )
        assert await house.who(house.store_key) == Principal(
            "beta", "store", frozenset({Scope.LABEL, Scope.ERASE}), house.store_record.key_id
        )
        found = await house.who(token(claims(), "EdDSA"))
        assert isinstance(found, Principal)
        assert (found.tenant, found.subject) == ("alpha", "ann")
        assert await house.who(None) == Reason.NO_CREDENTIALS
        assert await house.who(SITE_KEY + "x") == Reason.UNKNOWN_KEY
        assert await house.who(house.file_key + "x") == Reason.UNKNOWN_KEY
        assert await house.who(new_key("alpha", "n", [Scope.ADMIN], now=NOW)[0]) == Reason.UNKNOWN_KEY
        assert await house.who("a.b.c") == Reason.BAD_TOKEN
        assert await house.who("a.b") == Reason.UNKNOWN_KEY

    run(tmp_path, work)


def test_a_token_is_a_bearer_credential_only(tmp_path: Path) -> None:
    """Not an API key."""

    async def work(house: House) -> None:
        found = await house.authenticator.authenticate({"X-API-Key": token(claims(), "EdDSA")})
        assert found == Refusal(Reason.BAD_TOKEN)
        assert house.issuer.asked == 0

    run(tmp_path, work)


def test_where_nothing_is_needed_everybody_is_the_site(tmp_path: Path) -> None:
    """But who presents a key of a tenant is that tenant, and is refused with a wrong one."""

    async def work(house: House) -> None:
        assert await house.who(None) == SITE
        assert await house.who("some key for another service") == SITE
        found = await house.who(house.store_key)
        assert isinstance(found, Principal)
        assert found.tenant == "beta"
        assert await house.who(house.store_key + "x") == Reason.UNKNOWN_KEY

    run(tmp_path, work, needed=False)


def test_one_key_more_or_less_costs_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constant work: as many comparisons, each in constant time, whether a key is known, half known or not at all."""
    compared: list[tuple[str, str]] = []
    honest = module.hmac.compare_digest

    def counting(left: str, right: str) -> bool:
        compared.append((left, right))
        return honest(left, right)

    monkeypatch.setattr("hmac.compare_digest", counting)

    async def work(house: House) -> None:
        counts = set()
        unknown = new_key("alpha", "n", [Scope.INGEST], now=NOW)[0]
        for secret in (house.file_key, house.file_key[:-1] + "x", unknown, house.store_key):
            compared.clear()
            await house.who(secret)
            counts.add(len(compared))
            assert {len(side) for pair in compared for side in pair} == {len("sha256:") + 64}
        assert counts == {3}
        for secret in (SITE_KEY, "another-key-of-the-site", "no key of the site at all"):
            compared.clear()
            await house.who(secret)
            assert len(compared) == 2

    run(tmp_path, work)


def test_keys_do_not_stay_in_memory(tmp_path: Path) -> None:
    """Only digests do, so a dump of the object shows no secret."""

    async def work(house: House) -> None:
        assert SITE_KEY not in repr(vars(house.authenticator))

    run(tmp_path, work)


def test_who_is_put_off_may_still_use_what_is_at_hand(tmp_path: Path) -> None:
    """Nobody is asked for keys that were never seen; known ones go on to open."""

    async def work(house: House) -> None:
        assert await house.who(house.store_key, ask=False) == Reason.UNKNOWN_KEY
        assert await house.who(token(claims(), "EdDSA"), ask=False) == Reason.UNVERIFIABLE
        assert (house.store.asked, house.issuer.asked) == (0, 0)
        assert await house.who(SITE_KEY, ask=False) == SITE
        assert isinstance(await house.who(house.file_key, ask=False), Principal)
        await house.who(house.store_key)
        await house.who(token(claims(), "EdDSA"))
        for _ in range(5):
            house.clock.advance(FRESH_S)
            assert isinstance(await house.who(house.store_key, ask=False), Principal)
            assert isinstance(await house.who(token(claims(), "EdDSA"), ask=False), Principal)

    run(tmp_path, work)


def test_while_the_store_is_away_only_its_unknown_keys_cannot_be_told(tmp_path: Path) -> None:
    """And that is not called a wrong key."""

    async def work(house: House) -> None:
        house.store.away = True
        assert await house.who(house.store_key) == Reason.UNVERIFIABLE
        assert isinstance(await house.who(house.file_key), Principal)
        assert await house.who(SITE_KEY) == SITE

    run(tmp_path, work)


def test_a_long_connection_ends_with_its_key(tmp_path: Path) -> None:
    """Revoked in the store, gone, expired, or taken out of the file; while the store is away it goes on."""

    async def work(house: House) -> None:
        async def admitted(secret: str) -> Admission:
            found = await house.authenticator.authenticate({"X-API-Key": secret})
            assert isinstance(found, Admission)
            return found

        site, file, stored = [await admitted(key) for key in (SITE_KEY, house.file_key, house.store_key)]
        for admission in (site, file, stored):
            assert await house.authenticator.still(admission) == admission
        house.path.write_text("[]")
        house.clock.advance(CHECK_EVERY_S)
        assert await house.authenticator.still(file) == Refusal(Reason.REVOKED_KEY)
        house.store.keys[house.store_record.key_id] = replace(
            house.store_record, revoked_at=house.clock.now()
        )
        house.clock.advance(FRESH_S)
        assert await house.authenticator.still(stored) == Refusal(Reason.REVOKED_KEY)
        house.store.keys[house.store_record.key_id] = house.store_record
        house.authenticator.forget(house.store_record.key_id)
        assert await house.authenticator.still(stored) == stored
        house.store.away = True
        house.clock.advance(GRACE_S + 1)
        assert await house.authenticator.still(stored) == stored
        house.clock.advance(1000)
        assert await house.authenticator.still(stored) == Refusal(Reason.EXPIRED_KEY)
        assert await house.authenticator.still(site) == site

    run(tmp_path, work)


def test_a_long_connection_ends_with_its_token(tmp_path: Path) -> None:
    """When it expires, the skew included."""

    async def work(house: House) -> None:
        found = await house.authenticator.authenticate(
            {"Authorization": f"Bearer {token(claims(exp=NOW + 100), 'EdDSA')}"}
        )
        assert isinstance(found, Admission)
        house.clock.advance(159)
        assert await house.authenticator.still(found) == found
        house.clock.advance(1)
        assert await house.authenticator.still(found) == Refusal(Reason.EXPIRED_TOKEN)

    run(tmp_path, work)


def test_without_any_source_nobody_comes_in() -> None:
    """Where credentials are needed and none are configured."""

    async def work() -> None:
        authenticator = Authenticator(Sources(), FakeClock())
        key, _ = new_key("alpha", "n", [Scope.INGEST], now=NOW)
        assert await authenticator.authenticate({"X-API-Key": key}) == Refusal(Reason.UNKNOWN_KEY)
        authenticator.forget("x")
        await authenticator.close()

    asyncio.run(work())
