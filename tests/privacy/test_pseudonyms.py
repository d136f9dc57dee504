"""Pseudonyms tell nothing without the key, and are the same with it."""

from __future__ import annotations

import base64

import pytest

from app.privacy.pseudonyms import PrivacySecrets, SecretError

KEY = base64.b64encode(bytes(range(32))).decode()


def test_the_same_key_names_the_same() -> None:
    """Two processes of a site agree; tenants, kinds and keys are apart."""
    one, two = (PrivacySecrets.from_settings(KEY, None) for _ in range(2))
    named = one.pseudonym("acme", "call", "c-1")
    assert named == two.pseudonym("acme", "call", "c-1")
    assert named.startswith("call:")
    assert "c-1" not in named
    others = {
        one.pseudonym("other", "call", "c-1"),
        one.pseudonym("acme", "subject", "c-1"),
        one.pseudonym("acme", "call", "c-2"),
        PrivacySecrets.from_settings(KEY, "another-digest-key").pseudonym("acme", "call", "c-1"),
        PrivacySecrets.from_settings(None, None).pseudonym("acme", "call", "c-1"),
    }
    assert len(others | {named}) == 6


def test_a_digest_key_outlives_a_change_of_the_receipt_key() -> None:
    """Pseudonyms stay what they are."""
    first = PrivacySecrets.from_settings(KEY, "the-digest-key-stays")
    second = PrivacySecrets.from_settings(base64.b64encode(b"\1" * 32).decode(), "the-digest-key-stays")
    assert first.pseudonym("a", "call", "c") == second.pseudonym("a", "call", "c")
    assert (first.ephemeral, PrivacySecrets.from_settings(None, None).ephemeral) == (False, True)


def test_secrets_are_not_shown() -> None:
    """Whoever logs the object logs no key."""
    assert str(bytes(range(32))) not in repr(PrivacySecrets.from_settings(KEY, None))


@pytest.mark.parametrize("text", ["no base64!", "AAAA", ""])
def test_what_is_no_seed_is_refused(text: str) -> None:
    """With what was expected."""
    with pytest.raises(SecretError, match="32 bytes"):
        PrivacySecrets.from_settings(text, None)
