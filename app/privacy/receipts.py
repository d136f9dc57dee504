"""Signed receipts: what a site can show to prove that it erased something (Ed25519 over canonical JSON)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.privacy.canonical import canonical

ALGORITHM = "Ed25519"
EPHEMERAL = "ephemeral"
KEY_BYTES = 32


class ReceiptError(ValueError):
    """A receipt that proves nothing; the message says why."""


class ReceiptSigner:
    """Signs receipts.

    key: how receipts name the key; `ephemeral` where it is gone with the process.
    public_key: what checks them, base64 of 32 bytes.
    """

    def __init__(self, seed: bytes, *, ephemeral: bool) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        raw = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = base64.b64encode(raw).decode()
        self.key = EPHEMERAL if ephemeral else key_name(raw)

    def sign(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The receipt: the body with `algorithm`, `key` and `signature`.

        Raises:
            ValueError: the body has no canonical form.
        """
        signed = {**body, "algorithm": ALGORITHM, "key": self.key}
        signature = self._private.sign(canonical(signed))
        return {**signed, "signature": base64.b64encode(signature).decode()}


def verify_receipt(receipt: object, public_key: str) -> Mapping[str, Any]:
    """Checks a receipt and returns it.

    Args:
        receipt: the parsed JSON.
        public_key: base64 of 32 bytes, from a place that is trusted.

    Raises:
        ReceiptError: it is no receipt, another key signed it, or something in it was changed.
    """
    raw = _decode(public_key, KEY_BYTES, "public key")
    if not isinstance(receipt, Mapping):
        raise ReceiptError("expected a JSON object")
    signed = dict(receipt)
    signature = signed.pop("signature", None)
    if signed.get("algorithm") != ALGORITHM or not isinstance(signature, str):
        raise ReceiptError(f"expected a receipt with algorithm {ALGORITHM} and a signature")
    if signed.get("key") not in (EPHEMERAL, key_name(raw)):
        raise ReceiptError(f"expected a receipt of key {key_name(raw)}, this one names another")
    try:
        message = canonical(signed)
    except ValueError as error:
        raise ReceiptError(f"no receipt: {error}") from None
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(_decode(signature, 64, "signature"), message)
    except InvalidSignature:
        raise ReceiptError(
            "the signature does not fit: the receipt was changed, or another key made it"
        ) from None
    return receipt


def key_name(public_key: bytes) -> str:
    """A short name of a public key, for people to compare: the first 16 digits of its SHA-256."""
    return f"ed25519:{hashlib.sha256(public_key).hexdigest()[:16]}"


def _decode(text: str, length: int, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ReceiptError(f"{what}: expected base64") from None
    if len(raw) != length:
        raise ReceiptError(f"{what}: expected {length} bytes, got {len(raw)}")
    return raw
