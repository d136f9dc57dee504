"""Keys: their form, what is kept of them, and when they hold."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.keys import (
    SITE_TENANT,
    KeyFormatError,
    KeyRecord,
    digest_of,
    is_key_id,
    key_id_of,
    known_tenant,
    new_key,
    parse_scopes,
    parse_time,
    timestamp,
)
from app.access.principal import Principal, Scope
from app.access.refusal import Reason, Refusal

NOW = 1_700_000_000.0
scopes = st.sets(st.sampled_from(list(Scope)), min_size=1)
tenants = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
names = st.from_regex(r"[A-Za-z0-9 ._:@+-]{1,64}", fullmatch=True)


@given(tenants, names, scopes, st.none() | st.floats(1, 1e9))
def test_a_new_key_opens_what_it_was_made_for(
    tenant: str, name: str, granted: set[Scope], lifetime_s: float | None
) -> None:
    """Whatever a key is made for, its holder is that; what is kept reads back as itself and tells no secret."""
    key, record = new_key(
        tenant, name, granted, now=NOW, expires_at=None if lifetime_s is None else NOW + lifetime_s
    )
    assert record.verify(key, NOW) == Principal(tenant, name, frozenset(granted), record.key_id)
    kept = json.dumps(record.to_json())
    assert KeyRecord.from_json(json.loads(kept)) == record
    prefix, key_id, secret = key.split("_", 2)
    assert (prefix, key_id, key_id_of(key)) == ("kw", record.key_id, record.key_id)
    assert len(secret) >= 32
    assert secret not in kept
    assert secret not in repr(record)
    assert record.digest not in repr(record)


@given(st.text())
def test_any_text_is_a_key_or_is_not(text: str) -> None:
    """No text breaks the parser, the digest or the check."""
    _, record = new_key("alpha", "n", [Scope.INGEST], now=NOW)
    assert record.verify(text, NOW) == Refusal(Reason.UNKNOWN_KEY)
    found = key_id_of(text)
    assert found is None or is_key_id(found)


@given(st.integers(0, 200), st.characters(codec="ascii", categories=["L", "N"]))
def test_a_key_changed_anywhere_does_not_hold(place: int, other: str) -> None:
    """One other character anywhere, one more or one less, and it is another key."""
    key, record = new_key("alpha", "n", [Scope.INGEST], now=NOW)
    place %= len(key)
    changed = key[:place] + other + key[place + 1 :]
    if changed != key:
        assert record.verify(changed, NOW) == Refusal(Reason.UNKNOWN_KEY)
    assert record.verify(key + other, NOW) == Refusal(Reason.UNKNOWN_KEY)
    assert record.verify(key[:-1], NOW) == Refusal(Reason.UNKNOWN_KEY)


def test_keys_are_different() -> None:
    """Neither ids nor secrets come twice."""
    made = [new_key("alpha", "n", [Scope.INGEST], now=NOW)[0] for _ in range(200)]
    assert len({key_id_of(key) for key in made}) == 200
    assert len({key.split("_", 2)[2] for key in made}) == 200


def test_the_end_of_a_key_is_told_to_its_holder_only() -> None:
    """Expired and revoked are told to who has the whole key; to all others it is not known."""
    key, record = new_key("alpha", "n", [Scope.INGEST], now=NOW, expires_at=NOW + 60)
    assert isinstance(record.verify(key, NOW + 59.9), Principal)
    assert record.verify(key, NOW + 60) == Refusal(Reason.EXPIRED_KEY)
    assert record.verify(key + "x", NOW + 60) == Refusal(Reason.UNKNOWN_KEY)
    revoked = KeyRecord.from_json(record.to_json() | {"revoked_at": timestamp(NOW + 5)})
    assert isinstance(revoked.verify(key, NOW + 4), Principal)
    assert revoked.verify(key, NOW + 5) == Refusal(Reason.REVOKED_KEY)


def test_an_end_is_only_ever_brought_forward() -> None:
    """Rotation does not lengthen the life of a key."""
    _, record = new_key("alpha", "n", [Scope.INGEST], now=NOW, expires_at=NOW + 60)
    assert record.ending(NOW + 10).expires_at == NOW + 10
    assert record.ending(NOW + 100).expires_at == NOW + 60
    _, endless = new_key("alpha", "n", [Scope.INGEST], now=NOW)
    assert endless.ending(NOW + 100).expires_at == NOW + 100


def good() -> dict[str, object]:
    """What is kept of a key."""
    return new_key("alpha", "n", [Scope.INGEST], now=NOW)[1].to_json()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"key_id": "short"}, "key_id"),
        ({"key_id": None}, "key_id"),
        ({"tenant": "../other"}, "tenant"),
        ({"tenant": "_other"}, "tenant"),
        ({"tenant": 7}, "tenant"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": "ingest"}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": [["ingest"]]}, "scopes"),
        ({"digest": "md5:1"}, "digest"),
        ({"digest": "sha256:" + "A" * 64}, "digest"),
        ({"created_at": None}, "created_at"),
        ({"created_at": 5}, "created_at"),
        ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"revoked_at": True}, "revoked_at"),
        ({"made_by": 1}, "made_by"),
        ({"secret": "x"}, "members"),
    ],
)
def test_what_is_kept_is_checked(change: dict[str, object], named: str) -> None:
    """A member that holds something else is named."""
    with pytest.raises(KeyFormatError, match=named):
        KeyRecord.from_json(good() | change)


def test_what_is_kept_is_an_object() -> None:
    """Nothing else is."""
    with pytest.raises(KeyFormatError, match="object"):
        KeyRecord.from_json(["kw"])


@pytest.mark.parametrize(
    "name", ["", "-a", ".a", "a b", "a/b", "ä", "a" * 65, "{a}", "a\n", None, SITE_TENANT]
)
def test_names_that_no_tenant_has(name: object) -> None:
    """A tenant's name can do no harm in a path, a key of the store or a log; the site's own is no tenant's."""
    with pytest.raises(KeyFormatError):
        known_tenant(name)


def test_the_site_has_a_tenant_of_its_own() -> None:
    """Where it may be named."""
    assert known_tenant(SITE_TENANT, site=True) == SITE_TENANT


def test_a_key_that_is_expired_already_is_not_made() -> None:
    """Its end must lie ahead."""
    with pytest.raises(KeyFormatError, match="expires_at"):
        new_key("alpha", "n", [Scope.INGEST], now=NOW, expires_at=NOW)


@pytest.mark.parametrize("text", ["ingest,label", " label  ingest ", "label,,ingest"])
def test_scopes_are_written_with_commas_or_blanks(text: str) -> None:
    """In any order."""
    assert parse_scopes(text) == {Scope.INGEST, Scope.LABEL}


@pytest.mark.parametrize("text", ["", ",", "ingest,all", "INGEST"])
def test_unknown_scopes_are_refused(text: str) -> None:
    """And none at all."""
    with pytest.raises(KeyFormatError, match="scopes"):
        parse_scopes(text)


@given(st.floats(0, 4e9))
def test_times_read_back(seconds: float) -> None:
    """To the millisecond."""
    assert parse_time(timestamp(seconds)) == pytest.approx(seconds, abs=0.001)


@given(st.text())
def test_any_text_is_a_time_or_is_not(text: str) -> None:
    """No text breaks the parser."""
    with contextlib.suppress(KeyFormatError):
        assert isinstance(parse_time(text), float)


def test_any_text_has_a_digest() -> None:
    """Half surrogates too."""
    assert digest_of("\udc80").startswith("sha256:")
