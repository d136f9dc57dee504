"""A receipt proves what it says to anybody who has the public key, and nothing once a letter of it was changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.privacy.receipts import ReceiptError, ReceiptSigner, verify_receipt

SIGNER = ReceiptSigner(bytes(range(32)), ephemeral=False)
BODY = {"id": "r1", "counts": {"calls": 2}, "places": {"store": "erased"}, "note": "é"}


def test_a_receipt_is_genuine_however_it_was_written() -> None:
    """Spaces, the order of members and escapes are not part of it."""
    receipt = SIGNER.sign(BODY)
    again = json.loads(json.dumps(dict(reversed(receipt.items())), indent=3))
    assert verify_receipt(again, SIGNER.public_key) == receipt
    assert receipt["key"].startswith("ed25519:")


@given(
    st.sampled_from(["id", "counts", "places", "note", "algorithm", "key", "signature", "more"]),
    st.integers(),
)
def test_a_change_anywhere_shows(name: str, value: int) -> None:
    """In what it says, in its signature, and by a member more or less."""
    changed: dict[str, Any] = SIGNER.sign(BODY) | {name: value}
    with pytest.raises(ReceiptError):
        verify_receipt(changed, SIGNER.public_key)
    changed.pop(name)
    if name != "more":
        with pytest.raises(ReceiptError):
            verify_receipt(changed, SIGNER.public_key)


def test_another_key_does_not_verify() -> None:
    """Neither by its name nor, for an ephemeral one, by its signature."""
    other = ReceiptSigner(b"\1" * 32, ephemeral=False)
    with pytest.raises(ReceiptError, match="names another"):
        verify_receipt(SIGNER.sign(BODY), other.public_key)
    fleeting = ReceiptSigner(b"\1" * 32, ephemeral=True)
    assert verify_receipt(fleeting.sign(BODY), fleeting.public_key)["key"] == "ephemeral"
    with pytest.raises(ReceiptError, match="does not fit"):
        verify_receipt(fleeting.sign(BODY), SIGNER.public_key)


@pytest.mark.parametrize("receipt", [None, [], {}, "x", {"algorithm": "Ed25519", "signature": 3}])
def test_what_is_no_receipt_is_refused(receipt: object) -> None:
    """Without a trace of a fault."""
    with pytest.raises(ReceiptError, match="expected"):
        verify_receipt(receipt, SIGNER.public_key)


@pytest.mark.parametrize("key", ["?", "AAAA", ""])
def test_what_is_no_key_is_refused(key: str) -> None:
    """Saying that it is the key."""
    with pytest.raises(ReceiptError, match="public key"):
        verify_receipt(SIGNER.sign(BODY), key)


def test_a_signature_of_another_length_is_refused() -> None:
    """As what it is."""
    with pytest.raises(ReceiptError, match="signature"):
        verify_receipt(SIGNER.sign(BODY) | {"signature": "AAAA"}, SIGNER.public_key)
